"""Stages 2-7: tell the episodes, ask the agents, test what they say, keep what held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ultra_agents.advice import measured_rewards
from ultra_agents.advice.table import advice_to_lines
from ultra_agents.agents.controls import Follow, Followed
from ultra_agents.agents.explain import Explainer
from ultra_agents.agents.proposers import ControlProposer
from ultra_agents.config import Config, VerificationConfig
from ultra_agents.events import Warned
from ultra_agents.llm.gateway import Gateway
from ultra_agents.narration import choose_segments, narrate
from ultra_agents.narration.prescreen import Evidence, reserve
from ultra_agents.records import Advice, Array, Explanation, Narration, Trajectory
from ultra_agents.rollout.replays import replay
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.joint import decided_together
from ultra_agents.stages.pictures import pictured
from ultra_agents.stages.prescreen import evidence_of, prescreened, prescreens
from ultra_agents.stages.restore_check import restores
from ultra_agents.stages.table import source_of
from ultra_agents.verification import CounterfactualTester, max_tests, snapshot_of

if TYPE_CHECKING:
    from ultra_agents.agents.ray_segments import RaySegments


def narrations(context: RunContext, trajectories: Sequence[Trajectory]) -> list[tuple[Trajectory, Narration]]:
    """Stage 2: the segments worth telling, told."""
    config = context.config.narration
    looks = prescreens(context)
    if looks:
        config = reserve(config)
    told, returns = [], [trajectory.episode_return for trajectory in trajectories]
    for trajectory in trajectories:
        rng = context.streams.generator("segments", trajectory.episode)
        for segment in choose_segments(trajectory, context.environment, config, rng):
            told.append((trajectory, narrate(trajectory, segment, context.environment, config, returns)))
    return prescreened(context, told) if looks else told


def explain_episodes(context: RunContext, trajectories: Sequence[Trajectory]) -> list[Explanation]:
    """Stages 2-6: one state machine per segment, many side by side; then what is undecided, together."""
    verification = context.config.verification
    simulates = verification.mode in ("simulate", "both")
    if simulates and not restores(context, "advice is reflected on, not simulated"):
        verification, simulates = verification.model_copy(update={"mode": "reflect"}), False
    items = narrations(context, trajectories)
    if not simulates or verification.decide == "joint":  # together or not at all: nothing is tested alone
        made = _explained(context, items, verification, None)
    else:
        with CounterfactualTester(
            context.environment,
            context.policy,
            verification,
            context.streams.child("test"),
            max_tests=max_tests(len(items), context.config.agents.max_critical, context.config.agents.max_revisions),
            workers=verification.workers,
            slots=verification.slots,
            engine=context.config.engine,
        ) as tester:
            made = _explained(context, items, verification, tester)
    made = charged(made, evidence_of(context))
    return decided_together(context, trajectories, made) if simulates else made


def _explained(
    context: RunContext,
    items: Sequence[tuple[Trajectory, Narration]],
    verification: VerificationConfig,
    tester: CounterfactualTester | None,
) -> list[Explanation]:
    """What the proposer of this run makes of the segments."""
    with pictured(context, [trajectory for trajectory, _ in items]) as emit:
        return _proposed(replace(context, emit=emit), items, verification, tester)


def _proposed(
    context: RunContext,
    items: Sequence[tuple[Trajectory, Narration]],
    verification: VerificationConfig,
    tester: CounterfactualTester | None,
) -> list[Explanation]:
    config, environment = context.config, context.environment
    if config.proposer != "llm":
        with _following(context, verification) as follow, _elsewhere(config) as cluster:
            control = ControlProposer(
                kind=config.proposer,
                environment=environment,
                agents=config.agents,
                tester=tester,
                streams=context.streams.child("proposer"),
                emit=context.emit,
                checkpoint=context.folder.explain,
                verification=verification,
                follow=follow,
                cluster=cluster,
            )
            return control.explain_all(items, config.agents.concurrency, context.stop)
    roles = config.agents.identifier, config.agents.advisor, config.agents.critic
    chains = [chain for role in roles for chain in role.chains]
    with (
        Gateway(
            config.llms, config.gateway, context.folder.path, context.emit, context.stop, chains, context.grow
        ) as gateway,
        _elsewhere(config) as cluster,
    ):
        explainer = Explainer(
            environment=environment,
            gateway=gateway,
            agents=config.agents,
            verification=verification,
            tester=tester,
            checkpoint=context.folder.explain,
            emit=context.emit,
            source=source_of(config),
            models={
                name: llm.model_dump(mode="json", include={"provider", "options"}) for name, llm in config.llms.items()
            },
            cluster=cluster,
        )
        return explainer.explain_all(items, config.agents.concurrency, context.stop)


@contextmanager
def _elsewhere(config: Config) -> Iterator[RaySegments | None]:
    """The cluster that explains the segments; None where they are explained in this process."""
    if config.engine.kind != "ray" or config.proposer == "oracle":
        yield None
        return
    from ultra_agents.agents.ray_segments import ray_segments

    with ray_segments(config.engine) as segments:
        yield segments


@contextmanager
def _following(context: RunContext, verification: VerificationConfig) -> Iterator[Follow | None]:
    """A simulator in which an oracle's expert plays on from stored states; None where it is not asked for."""
    if context.config.proposer != "oracle" or verification.mode not in ("simulate", "both"):
        yield None
        return
    with context.simulators(1, workers=0) as simulators:
        simulators.reset(seed=context.streams.integers(1, "follow"))

        def follow(trajectory: Trajectory, step: int, length: int, expert: Callable[[Array], Array]) -> Followed:
            before = snapshot_of(trajectory, step)
            (stretch,) = replay(simulators, [before], [length], lambda _, seen, __: expert(seen))
            return Followed(stretch.actions, len(stretch))

        yield follow


def charged(explanations: Sequence[Explanation], evidence: Mapping[str, Evidence]) -> list[Explanation]:
    """The explanations with the environment steps of their pre-screening added to those of their tests."""
    spent = {name: one.env_steps for name, one in evidence.items()}
    return [replace(one, env_steps=one.env_steps + spent.get(one.segment.name, 0)) for one in explanations]


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
