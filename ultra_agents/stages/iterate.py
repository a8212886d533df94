"""Expert iteration: once a copy that learnt the advice is better, its own episodes are searched for more.

The loop of Anthony et al. 2017 (arXiv 1705.08439): an expert that is slow, here the proposer with the simulator's
test, improves on the policy at some states; a network learns what it did there; the expert starts from the better
network. A round (`imitation.iterations`) plays new episodes of the copy, has the proposer suggest, tests, replays and
clones what held into a copy of the copy, and compares the two in paired episodes. The loop ends at the first copy that
is not used. All of it is charged to the methods that act on suggested actions; the rounds together take at most one
part in `SHARE` of what the stages before them left of the budget. Not part of the ULTRA paper.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ultra_agents.config import Config
from ultra_agents.contracts import Policy
from ultra_agents.events import Event, StageProgress, StepsSpent, Warned
from ultra_agents.runs.files import round_stage
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.explain import explain_episodes, rows_of_table
from ultra_agents.stages.findings import Findings
from ultra_agents.stages.imitate import imitate_advice
from ultra_agents.stages.narrate import narrate_episodes
from ultra_agents.stages.prepare import collect_episodes
from ultra_agents.stages.rounds import Round
from ultra_agents.text import counted

SHARE = 2
"""Further rounds take at most one in so many of the environment steps that the stages before them left."""
LEAST = 4
"""A round begins where so many times the steps of its episodes are left for it."""


def iterate_advice(context: RunContext, findings: Findings, number: int) -> Round:
    """Round `number`, 2 for the first one after the stage `imitate`.

    Raises:
        UltraError: As the stages it goes through again.
    """
    before = _copy_before(findings, number)
    if before is None:
        return Round(number, "not begun: no copy is better than the policy before it")
    left = _allowance(context.config, findings)
    if left < LEAST * sum(map(len, findings.trajectories)):
        return Round(number, f"not begun: {max(left, 0):,} environment steps are left for it")
    made = _round_context(context, before, number)
    trajectories = collect_episodes(made)
    collecting = sum(map(len, trajectories))
    made = replace(made, config=_within(made.config, left - collecting))
    found = Findings(trajectories, findings.restoring, findings.effects)
    found = replace(found, narrations=narrate_episodes(made, found))
    found = replace(found, explained=explain_episodes(made, found))
    found = replace(found, advice=rows_of_table(made.config, found.explanations))
    learnt = imitate_advice(made, found)
    returns = float(np.mean([one.episode_return for one in trajectories]))
    tested = sum(attempt.test is not None for one in found.explanations for attempt in one.attempts)
    headline = (
        f"{learnt.headline} (episodes of the copy before: {returns:.4g}; {counted(tested, 'suggestion')} tested)"
    )
    return Round(
        number, headline, len(trajectories), returns, tested, learnt.plans, learnt.steps, learnt.agreement,
        learnt.gain, learnt.low, learnt.high, learnt.pairs, learnt.verdict, learnt.used, collecting,
        sum(one.env_steps for one in found.explanations), learnt.env_steps, learnt.copy,
    )  # fmt: skip


def _copy_before(findings: Findings, number: int) -> Policy | None:
    """The copy that the round before it made and that is used; None where there is none."""
    last = findings.imitation if number == 2 else findings.rounds[number - 3]
    return None if last is None else last.copy


def _allowance(config: Config, findings: Findings) -> int:
    """Environment steps that further rounds may still take."""
    return (config.refine.steps - findings.explaining - findings.imitating) // SHARE - findings.iterating


def _round_context(context: RunContext, policy: Policy, number: int) -> RunContext:
    """The run as a round sees it: from another policy, with random numbers and a checkpoint of its own."""

    def emit(event: Event) -> None:
        if isinstance(event, StepsSpent):
            context.emit(replace(event, work=f"round {number}: {event.work}"))
        elif isinstance(event, StageProgress):
            context.emit(replace(event, stage=round_stage(number)))
        elif isinstance(event, Warned):
            context.emit(event)

    collect = context.config.collect.model_copy(update={"folder": None})
    return replace(
        context,
        config=context.config.model_copy(update={"collect": collect}),
        emit=emit,
        emit_streaming=None,
        streams=context.streams.child("round", number),
        start=policy,
        round=number,
    )


def _within(config: Config, steps: int) -> Config:
    """The same with caps under which search, tests and comparison take no more than `steps`.

    The least part is for the replays, which are as long as the accepted plans.
    """
    search, agents, rule = config.agents.search, config.agents, config.verification
    search = search.model_copy(update={"total_steps": max(min(search.total_steps, steps // 2), 1)})
    rule = rule.model_copy(
        update={
            "max_steps": min(rule.max_steps, steps // 4),
            "joint_max_steps": min(rule.joint_max_steps, steps // 5),
        }
    )
    return config.model_copy(update={"agents": agents.model_copy(update={"search": search}), "verification": rule})
