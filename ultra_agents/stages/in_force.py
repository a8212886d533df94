"""Between imitating and refining: nothing acts in training that was not tested as it will act.

Plans that are right in their own states can ruin training, since a table spreads them to states in its radius where
nobody tested them. So the table is tested twice before it acts. Each row gets the radius that a test at neighbouring
states supports (`verification.reach`). Then the table as a whole, with those radii and at the strength that training
begins with, is one hypothesis in whole episodes (`verification.JointTester`), against the very policy it will act
over. What loses, gains too little or stays undecided does not act: training goes on without a table. All of it is
charged to the methods that use advice.

The test is of suggested actions. The rewards of a table are not felt by a policy that does not learn, so they are
given where its actions held. Not tested, since asked for so: `advice.in_force: always`, `verification.mode: none` and
`reflect`. A table that nobody will consult, for refining starts from the copy that learnt it, is not tested either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ultra_agents.advice import rings_of
from ultra_agents.config import follows_actions, variant_of
from ultra_agents.contracts import Modulation, Policy
from ultra_agents.events import StageProgress, StepsSpent
from ultra_agents.records import HUMAN, Advice, Plan
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings, TableTest
from ultra_agents.stages.imitate import joint_rule
from ultra_agents.stages.narrate import restores
from ultra_agents.stages.table import advice_table, modulation_engine
from ultra_agents.text import counted, spanned
from ultra_agents.verification import CounterfactualTester, JointTester
from ultra_agents.verification.reach import ONE_PAIR, Claim, measure_reach

SHARE_FOR_REACH = 10
"""At most one in so many steps of a method's budget goes into finding out how far rows reach."""


def try_table(context: RunContext, findings: Findings) -> TableTest:
    """Whether the table of this run may act in training, and how far from its states each row does."""
    config, advice = context.config, findings.advice
    if not advice:
        return TableTest("empty", False, headline="there is no table: no advice was accepted")
    over = _policy_under_the_table(context, findings)
    if over is None:
        return TableTest("retired", False, headline="not needed: refining starts from the copy that learnt it")
    if config.advice.in_force == "always" or not config.verification.simulates:
        why = "advice.in_force" if config.advice.in_force == "always" else "verification.mode"
        value = config.advice.in_force if config.advice.in_force == "always" else config.verification.mode
        return TableTest(
            "untested", True, headline=f"{counted(len(advice), 'row')} in force, untested, as {why}: {value} asks"
        )
    known = _tested_together(findings)
    if known and over is context.policy and len(known) == len(advice):
        return _tested_already(findings)
    found = replace(_reaches(context, findings, over, known), rows=len(advice))
    if not found.acting:
        return replace(
            found, verdict="undecided", headline="no row was found to hold anywhere: the table does not act"
        )
    return _in_episodes(context, findings, over, found)


def _policy_under_the_table(context: RunContext, findings: Findings) -> Policy | None:
    """The policy that refining starts from with the table in force; None where the table acts for nobody."""
    config, copy = context.config, findings.copy
    if copy is None:
        return context.policy
    if config.imitation.table == "keep" and any(map(follows_actions, config.methods)):
        return copy
    rewarded = any(variant_of(method) == "r" for method in config.methods)
    return context.policy if rewarded else None


def _tested_together(findings: Findings) -> set[tuple[int, int]]:
    """Rows that held as a table in force, in the joint test; a person's came after it."""
    joint = findings.explained.joint
    if joint is None or joint.imitated or not joint.passed:
        return set()
    return set(joint.advice) & {(row.episode, row.step) for row in findings.advice if row.source != HUMAN}


def _tested_already(findings: Findings) -> TableTest:
    """The joint test was of exactly this table."""
    joint, rows = findings.explained.joint, len(findings.advice)
    assert joint is not None
    measured = f"{spanned(joint.gain, joint.low, joint.high)} in {counted(joint.pairs, 'pair')}"
    return TableTest(
        "holds", True, (), joint.gain, joint.low, joint.high, joint.pairs, rows=rows, stopped=joint.stopped,
        headline=f"holds: {measured}, as tested together; {counted(rows, 'row')} in force",
    )  # fmt: skip


def _reaches(context: RunContext, findings: Findings, over: Policy, known: set[tuple[int, int]]) -> TableTest:
    """The radius of each row; rows that held in a table are as far as it was tested."""
    config, advice, trajectories = context.config, findings.advice, findings.trajectories
    streams, rule = context.streams.child("table"), config.verification
    table = advice_table(context, trajectories, advice)
    as_table = [row for row in advice if (row.episode, row.step) in known]
    tested_at = advice_table(context, trajectories, as_table).radius
    radii = {index: tested_at for index, row in enumerate(advice) if (row.episode, row.step) in known}
    if not restores(context, findings, "the radius of rows is not tested, the table only as a whole"):
        return TableTest("undecided", False, (table.radius,) * len(advice))
    rings = rings_of(
        table, advice, trajectories, context.environment.features,
        rings=rule.reach_rings if table.match == "nearest" else 0, states=rule.reach_states,
        rng=streams.generator("neighbours"),
    )  # fmt: skip
    asked = sorted((index for index in range(len(advice)) if index not in radii), key=lambda at: -_gain(advice[at]))
    claims = [
        Claim(
            row.episode, row.step, _carried_out(context, row), row.test is not None and row.test.passed, rings[index]
        )
        for index, row in ((index, advice[index]) for index in asked)
    ]
    limit = min(rule.reach_max_steps, config.refine.steps // SHARE_FOR_REACH)

    def progress(steps: int) -> None:
        context.emit(StageProgress("table", steps, limit, f"{counted(len(claims), 'row')} at the states around"))
        context.stop()  # waits while a person lets the run wait

    with CounterfactualTester(
        context.environment,
        over,
        rule.model_copy(update=ONE_PAIR),
        streams.child("reach"),
        max_tests=1,
        workers=rule.workers,
        slots=rule.slots,
        engine=config.engine,
    ) as tester:
        found = measure_reach(claims, trajectories, tester, rule, limit, progress)
        spent = tester.env_steps
    context.emit(StepsSpent("table", spent, "reach"))
    radii |= dict(zip(asked, (one.radius for one in found), strict=True))
    reaches = tuple(radii[index] for index in range(len(advice)))
    return TableTest("undecided", False, reaches, env_steps=spent, neighbours=sum(one.states for one in found))


def _in_episodes(context: RunContext, findings: Findings, over: Policy, found: TableTest) -> TableTest:
    """The table as it will act, against the policy alone."""
    streams, rule = context.streams.child("table"), joint_rule(context)
    trajectories, advice = findings.trajectories, findings.advice
    words = found.words
    if not _visited(context, findings, found):
        return replace(found, headline=f"does not act, undecided: no state but their own is covered; {words}")
    seeds = streams.integers(rule.joint_pairs, "reset")

    def build(rows: Sequence[Advice]) -> Modulation:
        rng = streams.generator("modulation")
        return modulation_engine(context, trajectories, rows, "ra", rng, found.reaches)

    def progress(steps: int) -> None:
        context.emit(StageProgress("table", steps, rule.joint_max_steps, "the table as it will act, in episodes"))
        context.stop()  # waits while a person lets the run wait; a test that began is brought to its end

    with JointTester[Advice](context.environment, over, rule, streams, build, seeds, progress) as tester:
        test = tester.test(advice)
    context.emit(StepsSpent("table", test.env_steps, "episodes"))
    made = replace(
        found, acts=test.passed, gain=test.gain, low=test.low, high=test.high, pairs=test.pairs, stopped=test.stopped,
        env_steps=found.env_steps + test.env_steps, verdict=test.verdict,
    )  # fmt: skip
    measured = f"{spanned(test.gain, test.low, test.high)} in {counted(test.pairs, 'pair')}"
    fate = "in force" if test.passed else "training goes on without it"
    return replace(made, headline=f"{made.verdict}: {measured}; {words}; {fate}")


def _visited(context: RunContext, findings: Findings, found: TableTest) -> int:
    """States of the collected episodes that the table would act at, its own apart: without any it has no effect."""
    table = advice_table(context, findings.trajectories, findings.advice, found.reaches)
    features, own = context.environment.features, {(row.episode, row.step) for row in findings.advice}
    return sum(
        (one.episode, step) not in own
        for one in findings.trajectories
        for step in np.flatnonzero(table.lookup(features(one.observations)) >= 0).tolist()
    )


def _gain(row: Advice) -> float:
    return 0.0 if row.test is None else row.test.gain


def _carried_out(context: RunContext, row: Advice) -> Plan:
    """The plan as far as the engine holds it."""
    if context.config.modulation.hold:
        return row.plan
    return Plan(((row.plan.moves[0][0], 1),))
