"""How far from its own state a plan still helps: the radius of a row is what a test supports.

A plan that is right where it was made can be wrong a few pixels further on, and a table follows it there. So a plan is
tested at states of the collected episodes that its row would be matched at, in rings of growing distance, by paired
rollouts under common random numbers, one pair a state: many states tell more than many pairs at one. All differences
so far are pooled, and the error is shared out over the rings. The row reaches as far as the furthest state tested in
the last ring at which the pooled gain is positive with the confidence asked and the ring's own is not negative. A row
that is supported in no ring acts at its own state only. Not part of the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from ultra_agents.config import VerificationConfig
from ultra_agents.records import Plan, Ring, Suggestion, Trajectory
from ultra_agents.verification.counterfactual import CounterfactualTester
from ultra_agents.verification.sequential import Rule, decide, interval, returns_spread

NOWHERE = -1.0
"""Reach of a row that nothing supports, not even at its own state."""
ONE_PAIR = {"screen_pairs": 0, "min_pairs": 1, "max_pairs": 1}
"""Options of the tester: every state brings one difference."""


@dataclass(frozen=True)
class Claim:
    """A row under test.

    Attributes:
        episode: Of its own state.
        step: Of its own state.
        plan: What is done where the row matches.
        held: The plan held at its own state, by a test of its own.
        rings: States it would be matched at, the nearest first.
    """

    episode: int
    step: int
    plan: Plan
    held: bool
    rings: tuple[Ring, ...]


@dataclass(frozen=True)
class Reach:
    """How far a row may act.

    Attributes:
        radius: In spreads of the features; 0: at its own state only; `NOWHERE`: not at all.
        states: States it was tested at.
        gain: Mean paired difference there; 0 without any.
        low: Lower end of its interval.
        high: Upper end.
    """

    radius: float
    states: int = 0
    gain: float = 0.0
    low: float = 0.0
    high: float = 0.0


@dataclass
class _Row:
    """A claim in progress."""

    claim: Claim
    rings: list[Ring]
    rule: Rule
    radius: float
    found: list[float] = field(default_factory=list)
    open: bool = True


def measure_reach(
    claims: Sequence[Claim],
    trajectories: Sequence[Trajectory],
    tester: CounterfactualTester,
    config: VerificationConfig,
    max_steps: int,
    progress: Callable[[int], object] = lambda steps: None,
) -> list[Reach]:
    """How far each row may act.

    Args:
        claims: The rows; where the budget does not pay for all, the first ones come first.
        trajectories: The collected episodes.
        tester: Made with the options `ONE_PAIR`.
        config: Confidence, smallest gain, noise, horizon.
        max_steps: Environment steps of all of it, at most.
        progress: Told the environment steps so far, after every ring.
    """
    by_episode = {one.episode: one for one in trajectories}
    rows = [_begun(claim, by_episode[claim.episode], config) for claim in claims]
    for number in range(max((len(row.rings) for row in rows), default=0)):
        left, asked = max_steps - tester.env_steps, list[tuple[Suggestion, _Row]]()
        for row in rows:
            states = row.rings[number].states if row.open and number < len(row.rings) else ()
            worst = 2 * len(states) * (row.claim.plan.steps + config.horizon)
            row.open &= worst <= left
            if states and row.open:
                left -= worst
                asked += [(Suggestion(*state, row.claim.plan), row) for state in states]
        if not asked:
            continue
        asked.sort(key=lambda one: (one[0].episode, one[0].step))
        brought: dict[int, list[float]] = {id(row): [] for row in rows}
        for episode, some in groupby(asked, key=lambda one: one[0].episode):
            part = list(some)
            results = tester.test_all(by_episode[episode], [suggestion for suggestion, _ in part])
            for (_, row), result in zip(part, results, strict=True):
                if result is not None and result.pairs:
                    brought[id(row)].append(result.gain)
        for row in {id(row): row for _, row in asked}.values():
            _judge(row, row.rings[number], brought[id(row)])
        progress(tester.env_steps)
    return [_ended(row) for row in rows]


def _begun(claim: Claim, trajectory: Trajectory, config: VerificationConfig) -> _Row:
    own = [] if claim.held else [Ring(0.0, ((claim.episode, claim.step),))]
    rings = [*own, *claim.rings]
    spread = returns_spread(trajectory.rewards, config.discount)
    at = tuple(range(2, max(len(rings), 1) + 2))  # a single difference decides nothing
    rule = Rule(at, config.confidence, config.noise * spread, config.min_gain * spread)
    return _Row(claim, rings, rule, 0.0 if claim.held else NOWHERE)


def _judge(row: _Row, ring: Ring, brought: Sequence[float]) -> None:
    """Whether the row reaches this ring, and whether a further one is worth trying."""
    row.found += brought
    verdict = decide(row.found, row.rule)
    if verdict == "good" and brought and np.mean(brought) >= 0:
        row.radius = ring.radius
    elif verdict is not None:  # it does harm, or nothing, or the ring spoils what the nearer ones won
        row.open = False


def _ended(row: _Row) -> Reach:
    if not row.found:
        return Reach(row.radius)
    ends = interval(row.found, row.rule)
    return Reach(row.radius, len(row.found), ends.mean, ends.low, ends.high)
