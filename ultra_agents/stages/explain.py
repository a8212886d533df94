"""Stages 2-7: tell the episodes, ask the agents, test what they say, keep what held."""

from __future__ import annotations

from collections.abc import Sequence

from ultra_agents.advice import AdviceTable, build_table, measured_rewards
from ultra_agents.advice.table import advice_to_lines
from ultra_agents.agents.explain import Explainer
from ultra_agents.agents.proposers import ControlProposer
from ultra_agents.contracts import capabilities
from ultra_agents.events import Warned
from ultra_agents.llm.gateway import Gateway
from ultra_agents.narration import choose_segments, narrate
from ultra_agents.records import Advice, Explanation, Narration, Trajectory
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.stages.context import RunContext
from ultra_agents.verification import CounterfactualTester, max_tests


def narrations(context: RunContext, trajectories: Sequence[Trajectory]) -> list[tuple[Trajectory, Narration]]:
    """Stage 2: the segments worth telling, told."""
    config = context.config.narration
    told = []
    for trajectory in trajectories:
        rng = context.streams.generator("segments", trajectory.episode)
        for segment in choose_segments(trajectory, context.environment, config, rng):
            told.append((trajectory, narrate(trajectory, segment, context.environment, config)))
    return told


def explain_episodes(context: RunContext, trajectories: Sequence[Trajectory]) -> list[Explanation]:
    """Stages 2-6: one state machine per segment, many side by side."""
    config, environment = context.config, context.environment
    items = narrations(context, trajectories)
    verification = config.verification
    if verification.mode in ("simulate", "both") and "snapshot" not in capabilities(environment):
        context.emit(Warned(f"{environment.env_id} cannot restore states: advice is reflected on, not simulated"))
        verification = verification.model_copy(update={"mode": "reflect"})
    simulators: Simulators | None = None
    tester: CounterfactualTester | None = None
    try:
        if verification.mode in ("simulate", "both"):
            simulators = context.simulators(2 * verification.max_pairs, workers=0)
            tests = max_tests(len(items), config.agents.max_critical, config.agents.max_revisions)
            tester = CounterfactualTester(
                environment, simulators, context.policy, verification, context.streams.child("test"), tests
            )
        if config.proposer != "llm":
            control = ControlProposer(
                kind=config.proposer,
                environment=environment,
                agents=config.agents,
                tester=tester,
                streams=context.streams.child("proposer"),
                emit=context.emit,
                checkpoint=context.folder.explain,
            )
            return control.explain_all(items, config.agents.concurrency, context.stop)
        with Gateway(config.llms, config.gateway, context.folder.path, context.emit) as gateway:
            explainer = Explainer(
                environment=environment,
                gateway=gateway,
                agents=config.agents,
                verification=verification,
                tester=tester,
                checkpoint=context.folder.explain,
                emit=context.emit,
                source=config.llms[config.agents.advisor.llm or next(iter(config.llms))].provider,
            )
            return explainer.explain_all(items, config.agents.concurrency, context.stop)
    finally:
        if simulators is not None:
            simulators.close()


def tabulate(
    context: RunContext, trajectories: Sequence[Trajectory], explanations: Sequence[Explanation]
) -> list[Advice]:
    """Stage 7: what survived goes to the table."""
    advice = [row for explanation in explanations for row in explanation.advice]
    if context.config.advice.reward == "measured":
        advice = measured_rewards(advice)
    context.folder.write_text(context.folder.advice, advice_to_lines(advice))
    if not advice:
        context.emit(
            Warned("no suggestion survived: refining with an empty table equals `continue` on a smaller budget")
        )
    return advice


def advice_table(context: RunContext, trajectories: Sequence[Trajectory], advice: Sequence[Advice]) -> AdviceTable:
    """The table that `advice` makes, with this run's matching."""
    config = context.config.advice
    return build_table(
        advice,
        trajectories,
        context.environment,
        match=config.match,
        hit_rate=config.hit_rate,
        hit_per_entry=config.hit_per_entry,
        adaptive=config.adaptive,
    )
