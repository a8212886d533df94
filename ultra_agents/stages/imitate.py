"""Stage 8: replay what was accepted, learn to do the same, and go on from there if the policy got better.

A table acts where a visited state happens to lie near one of its rows, and an on-policy update learns from that by the
noisy returns of what followed. An accepted plan is worth more: carried out again from its stored state it shows what
to do in every state on its way. These demonstrations are cloned into a copy of the starting policy, which is put to
the same paired test as a set of advice (`verification.JointTester`): episodes of the copy against episodes of the
policy. Refining starts from the copy where it is better with the confidence asked; one that is undecided is called so
and is used only where `imitation.mode: better` asks for whatever earned more. Every environment step of the replays
and of the test is charged to the method. Not part of the ULTRA paper, where a table of advice only overrides and
rewards; `imitation.mode: never` leaves it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np

from ultra_agents.config import VerificationConfig, follows_actions
from ultra_agents.contracts import Demonstrations, Policy, agreed
from ultra_agents.events import StageProgress, StepsSpent
from ultra_agents.records import HUMAN, Advice, FloatArray, Plan, Trajectory
from ultra_agents.rollout.replays import Replay, plans_act, replay
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings, Imitation
from ultra_agents.stages.narrate import restores
from ultra_agents.text import counted, spanned
from ultra_agents.verification import JointResult, JointTester, snapshot_of

SIDE_BY_SIDE = 32
"""Plans replayed at once."""
_Key: TypeAlias = tuple[int, int, Plan]


class Imitator:
    """Clones sets of advice into copies of the starting policy; every plan is replayed once, whatever sets it is in.

    Args:
        context: The run.
        trajectories: The episodes with the states the advice was made for.
    """

    def __init__(self, context: RunContext, trajectories: Sequence[Trajectory]) -> None:
        self._context = context
        self._by_episode = {trajectory.episode: trajectory for trajectory in trajectories}
        self._replays: dict[_Key, Replay] = {}

    @property
    def env_steps(self) -> int:
        """Environment steps of all replays so far."""
        return sum(map(len, self._replays.values()))

    def demonstrations(self, advice: Sequence[Advice]) -> Demonstrations:
        """The states that `advice` passes and what it does there, weighted as `imitation.weights` says."""
        self._replay([row for row in advice if _key(row) not in self._replays])
        replays = [self._replays[_key(row)] for row in advice]
        actions = np.concatenate([one.actions for one in replays])
        return Demonstrations(
            observations=np.concatenate([one.observations for one in replays]),
            actions=actions,
            weights=weights_of(advice, [len(one) for one in replays], self._context.config.imitation.weights),
            visited=np.concatenate([one.observations for one in self._by_episode.values()]),
        )

    def copy(self, advice: Sequence[Advice]) -> Policy:
        """The starting policy, having learnt to do what `advice` says."""
        return self.learnt(self.demonstrations(advice))

    def learnt(self, demonstrations: Demonstrations) -> Policy:
        """The starting policy, having learnt from `demonstrations`."""
        context = self._context
        context.check_stop()
        return context.algorithm.imitate(context.policy, demonstrations, context.streams.child("imitate", "clone"))

    def agreement(self, demonstrations: Demonstrations, copy: Policy) -> tuple[float, float]:
        """How nearly the starting policy and the copy do, without their noise, what was demonstrated."""
        seen, done = demonstrations.observations, demonstrations.actions
        before, after = (agreed(one.act(seen, deterministic=True), done) for one in (self._context.policy, copy))
        return before, after

    def _replay(self, advice: Sequence[Advice]) -> None:
        if not advice:
            return
        context = self._context
        plans = [context.environment.actions.encode_plan(row.plan.moves) for row in advice]
        snapshots = [snapshot_of(self._by_episode[row.episode], row.step) for row in advice]
        with context.simulators(min(len(plans), SIDE_BY_SIDE), workers=0) as simulators:
            simulators.reset(seed=context.streams.integers(simulators.num_envs, "imitate", "reset"))
            made = replay(simulators, snapshots, [len(plan) for plan in plans], plans_act(plans))
        self._replays |= {_key(row): one for row, one in zip(advice, made, strict=True)}


def weights_of(advice: Sequence[Advice], lengths: Sequence[int], by: Literal["equal", "gain"]) -> FloatArray:
    """How much each demonstrated step counts, `(sum of lengths,)`, mean 1.

    By gain a plan's steps count as much as its own test measured. A plan without a gain of its own (it is held with
    others, or untested) counts as the least of those that have one.
    """
    gains = np.array([0.0 if row.test is None else row.test.gain for row in advice])
    if by == "equal" or not (gains > 0).any():
        return np.ones(sum(lengths))
    gains[gains <= 0] = gains[gains > 0].min()
    weights = np.repeat(gains, lengths)
    return np.asarray(weights / weights.mean())


def imitates(context: RunContext, findings: Findings) -> str | None:
    """Why advice is not imitated in this run; None where it is."""
    config = context.config
    if config.imitation.mode == "never":
        return "not asked for"
    if not any(map(follows_actions, config.methods)):
        return "no method follows suggested actions"
    if not context.algorithm.can_imitate:
        return f"the algorithm {config.refine.algorithm.name!r} cannot learn from demonstrations"
    return None if restores(context, findings, "advice is not replayed") else "states cannot be restored"


def imitate_advice(context: RunContext, findings: Findings) -> Imitation:
    """Clone the accepted plans into a copy of the starting policy; keep the copy where it proves better.

    Where the joint test was of exactly this advice, as imitated, its copy and its verdict are taken over; what they
    cost is charged there.
    """
    config, advice, joint = context.config, findings.advice, findings.explained.joint
    why = imitates(context, findings) or (None if advice else "there is no advice")
    if why is not None:
        return Imitation(0, 0, 0.0, 0.0, 0.0, 0, 0, False, f"nothing imitated: {why}")
    copy: Policy
    found: JointResult | None
    agreement: tuple[float, ...]
    if joint is not None and findings.explained.copy is not None and _same(joint.advice, advice):
        copy, found, steps, spent = findings.explained.copy, joint, joint.steps, 0
        agreement = joint.agreement
    else:
        imitator = Imitator(context, findings.trajectories)
        context.emit(StageProgress("imitate", 0, 0, f"replaying {counted(len(advice), 'plan')}"))
        demonstrations = imitator.demonstrations(advice)
        steps, spent, found = len(demonstrations), imitator.env_steps, None
        context.emit(StepsSpent("imitate", spent, "replays"))
        context.emit(StageProgress("imitate", 0, 0, f"learning from {steps} demonstrated steps"))
        copy = imitator.learnt(demonstrations)
        agreement = imitator.agreement(demonstrations, copy)
        if config.imitation.mode != "always":
            found = _compared(context, copy, 0 if joint is None else joint.env_steps)
            spent += found.env_steps
            context.emit(StepsSpent("imitate", found.env_steps, "comparison"))
    used = found is None or found.passed or (config.imitation.mode == "better" and found.leans)
    verdict = "untested" if found is None else found.verdict
    made = Imitation(len(advice), steps, 0.0, 0.0, 0.0, 0, spent, used, "", copy if used else None, verdict, agreement)
    what = f"{counted(len(advice), 'plan')}, {counted(steps, 'demonstrated step')}"
    if agreement:
        what += f", agreement with them {agreement[0]:.2f} before and {agreement[1]:.2f} after"
    if found is None:
        return replace(made, headline=f"{what}; used untested")
    measured = f"{spanned(found.gain, found.low, found.high)} in {counted(found.pairs, 'pair')}"
    fate = "used" if used else "not used"
    if verdict == "undecided":
        fate += ", though undecided" if used else ", undecided"
    return replace(
        made, gain=found.gain, low=found.low, high=found.high, pairs=found.pairs,
        headline=f"{fate}: {measured}, {what}",
    )  # fmt: skip


def _same(places: Sequence[tuple[int, int]], advice: Sequence[Advice]) -> bool:
    """Whether a joint test that kept `places` kept exactly `advice`; a person's came after it."""
    tested = all(row.source != HUMAN for row in advice)
    return tested and bool(places) and set(places) == {(row.episode, row.step) for row in advice}


def joint_rule(context: RunContext) -> VerificationConfig:
    """How sets are tested in this run: a test that ate the budget would leave nothing to refine with."""
    rule = context.config.verification
    return rule.model_copy(update={"joint_max_steps": min(rule.joint_max_steps, context.config.refine.steps // 5)})


def _compared(context: RunContext, copy: Policy, spent: int) -> JointResult:
    """Episodes of the copy against episodes of the starting policy, paired by seed and random numbers."""
    streams, rule = context.streams.child("imitate", "compare"), joint_rule(context)
    rule = rule.model_copy(update={"joint_max_steps": max(rule.joint_max_steps - spent, 0)})
    seeds = streams.integers(rule.joint_pairs, "reset")

    def progress(steps: int) -> None:
        context.emit(StageProgress("imitate", steps, rule.joint_max_steps, "the copy against the policy, in episodes"))
        context.stop()  # waits while a person lets the run wait; a comparison that began is brought to its end

    tester = JointTester[Policy](
        context.environment, context.policy, rule, streams, lambda one: one[0], seeds, progress
    )
    with tester:
        return tester.test([copy])


def _key(row: Advice) -> _Key:
    return row.episode, row.step, row.plan
