"""Stages 3-7: ask the agents, test what they say, keep what held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

from ultra_agents.advice import measured_rewards
from ultra_agents.advice.table import advice_to_lines
from ultra_agents.agents.checkpoint import checkpoint_of
from ultra_agents.agents.controls import Control, ExpertRollout, Oracle, Random, Search, Value
from ultra_agents.agents.goal_control import RandomGoals
from ultra_agents.agents.goal_terms import Goals
from ultra_agents.agents.proposer import control_proposer, model_proposer
from ultra_agents.config import Config, VerificationConfig, models_of
from ultra_agents.events import Emit, Warned
from ultra_agents.llm.gateway import Gateway
from ultra_agents.narration.rewards import usual_reward
from ultra_agents.records import Advice, Array, Explanation, Trajectory, advice_of
from ultra_agents.rollout.replays import replay
from ultra_agents.seeding import Streams
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Explained, Findings
from ultra_agents.stages.joint import decided_together
from ultra_agents.stages.narrate import restores
from ultra_agents.stages.pictures import pictured
from ultra_agents.stages.searching import goals_of, searching
from ultra_agents.stages.tools import tools_of
from ultra_agents.verification import CounterfactualTester, PlanSearch, max_tests, snapshot_of


def explain_episodes(context: RunContext, findings: Findings) -> Explained:
    """Stages 3-6: one state machine per segment, many side by side; then what is undecided, together."""
    verification = context.config.verification
    simulates = verification.simulates
    if simulates and not restores(context, findings, "advice is reflected on, not simulated"):
        verification, simulates = verification.model_copy(update={"mode": "reflect"}), False
    if not simulates or verification.decide == "joint":  # together or not at all: nothing is tested alone
        made = _explained(context, findings, verification, None)
    else:
        with suggestion_tester(context, findings) as tester:
            made = _explained(context, findings, verification, tester)
    made = [
        replace(one, env_steps=one.env_steps + narration.env_steps)
        for one, narration in zip(made, findings.narrations, strict=True)
    ]
    return decided_together(context, findings, made) if simulates else Explained(tuple(made))


def suggestion_tester(context: RunContext, findings: Findings, workers: int | None = None) -> CounterfactualTester:
    """What tests suggestions of this run, whoever made them; `workers` other than `verification.workers`, if given."""
    verification, agents = context.config.verification, context.agents
    return CounterfactualTester(
        context.environment,
        context.policy,
        verification,
        streams_of_tests(context, findings),
        max_tests=max_tests(len(findings.narrations), agents.max_critical, agents.max_revisions),
        workers=verification.workers if workers is None else workers,
        slots=verification.slots,
        engine=context.config.engine,
        usual=usual_reward,
    )


def streams_of_tests(context: RunContext, findings: Findings) -> Streams:
    """Random numbers of the tests: what models hear of them is part of what they are shown.

    The set that is used is tested together and learnt with the run's own.
    """
    told = context.config.proposer == "llm"
    return (context.telling(findings.trajectories) if told else context.streams).child("test")


def _explained(
    context: RunContext, findings: Findings, verification: VerificationConfig, tester: CounterfactualTester | None
) -> list[Explanation]:
    """What the proposer of this run makes of the segments."""
    config, environment, items = context.config, context.environment, findings.told
    with (
        pictured(context, [trajectory for trajectory, _ in items]) as emit,
        searching(context, findings, verification, tester is not None) as search,
    ):
        goals = goals_of(context, findings, search)
        if config.proposer != "llm":
            with _control(context, verification, search, goals) as control:
                proposer = control_proposer(
                    control=control,
                    environment=environment,
                    agents=context.agents,
                    tester=tester,
                    emit=emit,
                    checkpoint=checkpoint_of(context.folder, context.round),
                    verification=verification,
                )
                return proposer.explain(items, context.agents.concurrency, context.stop)
        with asking(context, emit) as gateway, tools_of(context, findings, gateway) as tools:
            proposer = model_proposer(
                environment=environment,
                gateway=gateway,
                agents=context.agents,
                verification=verification,
                tester=tester,
                checkpoint=checkpoint_of(context.folder, context.round),
                emit=emit,
                source=source_of(config),
                effects=findings.effects.text,
                refines=search.improve if search is not None and config.agents.search.refine else None,
                goals=goals,
                models=models_of(config),
                tools=tools,
            )
            return proposer.explain(items, context.agents.concurrency, context.stop)


@contextmanager
def asking(context: RunContext, emit: Emit | None = None) -> Iterator[Gateway]:
    """The gateway to the models of this run."""
    config = context.config
    roles = config.agents.identifier, config.agents.advisor, config.agents.critic
    chains = [chain for role in roles for chain in role.chains]
    told = emit or context.emit
    with Gateway(
        config.llms, config.gateway, context.folder.path, told, context.stop, chains, context.emit_streaming
    ) as gateway:
        yield gateway


@contextmanager
def _control(
    context: RunContext, verification: VerificationConfig, search: PlanSearch | None, goals: Goals | None
) -> Iterator[Control]:
    """The control that proposes; an oracle's expert plays on in a simulator where advice is simulated."""
    streams, name = context.streams.child("proposer"), context.config.proposer
    if goals is not None:
        yield RandomGoals(streams, goals)
        return
    if name == "search":
        numbers = context.config.agents.search.model_dump(mode="json")
        yield Search(streams, None if search is None else search.find, numbers)
        return
    if name != "oracle":
        yield {"random": Random, "value": Value}[name](streams)
        return
    length = context.config.agents.expert_steps
    if not verification.simulates:
        yield Oracle(streams, context.environment, None, length)
        return
    with context.simulators(1, workers=0) as simulators:
        simulators.reset(seed=context.streams.integers(1, "follow"))

        def play(trajectory: Trajectory, step: int, steps: int, expert: Callable[[Array], Array]) -> ExpertRollout:
            before = snapshot_of(trajectory, step)
            (made,) = replay(simulators, [before], [steps], lambda _, seen, __: expert(seen))
            return ExpertRollout(made.actions, len(made))

        yield Oracle(streams, context.environment, play, length)


def source_of(config: Config) -> str:
    """Who proposes, as explanations say it: a control, or the advisor's provider."""
    if config.proposer != "llm":
        return config.proposer
    return config.llms[config.agents.advisor.llm or next(iter(config.llms))].provider


def tabulate(context: RunContext, findings: Findings) -> list[Advice]:
    """Stage 7: what survived goes to the table."""
    advice = rows_of_table(context.config, findings.explanations)
    context.folder.write_text(context.folder.advice, advice_to_lines(advice))
    if not advice:
        context.emit(
            Warned("no suggestion survived: refining with an empty table equals `continue` on a smaller budget")
        )
    return advice


def rows_of_table(config: Config, explanations: Sequence[Explanation]) -> list[Advice]:
    """The rows that accepted cases make, one for a state: of several, as a person may add them, what gained most."""
    best: dict[tuple[int, int], Advice] = {}
    for row in advice_of(explanations):
        known = best.get((row.episode, row.step))
        if known is None or (row.test is not None and (known.test is None or row.test.gain > known.test.gain)):
            best[row.episode, row.step] = row
    rows = list(best.values())
    return list(measured_rewards(rows)) if config.advice.reward == "measured" else rows
