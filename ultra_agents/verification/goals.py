"""Goals on named quantities: which can be set in an environment, and how far a rollout reaches one.

A goal is an expression in the language of rules, what its value is to be, and over how many steps from a state. Its
*score* is well defined for every rollout:

1. The expression's values `x_1 .. x_k` are those of the states that the `k` actions lead to. Where it has no value
   (NaN) stands the worst that the collected episodes or the rollout show. So it does for the steps that are lacking
   where the episode terminated with less earned than the policy's value function promises at the state, or at half of
   the collected ones: falling over reaches nothing. Of any other early end the last value is kept.
2. The shortfall of a value is 0 where the target is met, else the distance from it, negated. Of `maximise` and
   `minimise`, which have no target, it is the value, for `minimise` negated.
3. `on average` is the shortfall of the mean, `at the end` that of `x_k`, `throughout` the least of all, `once` the
   greatest. But for `once`, what ended badly has not reached its target, and stands behind whatever has.

So 0 is a goal reached, and more is never better than that: of plans that reach a goal the one that earns most counts.
Not part of the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.plugin_calls import asking
from ultra_agents.records import Array, FloatArray, Goal, Trajectory
from ultra_agents.rules import Interface, RuleError
from ultra_agents.rules.query import Query
from ultra_agents.verification.jobs import Rollout

NEARER = 0.01
"""Share of what the episodes show of a quantity by which a plan must come nearer than the policy alone."""
WIDER = 1.0
"""How far beyond what the episodes show a target may lie, as a share of that."""
MOST_CHARACTERS = 200
"""Of an expression."""
TARGETS = ("at least", "at most", "between")
"""Aims with a target."""
_EXACT, _BEHIND = 1e-9, 1e-6


@dataclass(frozen=True)
class Reading:
    """How far one rollout reaches a goal.

    Attributes:
        score: As defined above; the greater the better.
        value: What the score is of: the mean, the last, the worst or the best value; None where there is none.
        reached: The target is met.
        steps: Steps that were played.
    """

    score: float
    value: float | None
    reached: bool
    steps: int


class GoalMeter:
    """Checks goals against the collected episodes, and reads how far rollouts reach them; safe to share by threads.

    Args:
        environment: Names the quantities.
        trajectories: The collected episodes.

    Raises:
        RuleError: A name of the environment's cannot be written in an expression.
    """

    def __init__(self, environment: Environment, trajectories: Sequence[Trajectory]) -> None:
        self.environment, self.interface = environment, Interface(tuple(environment.legend))
        self._trajectories = tuple(trajectories)
        self._known: dict[str, tuple[Query, FloatArray]] = {}

    @cached_property
    def columns(self) -> tuple[Mapping[str, FloatArray], ...]:
        """By episode the quantities of its steps, name -> `(T,)`."""
        return tuple(self.columns_of(one) for one in self._trajectories)

    @cached_property
    def _usual(self) -> float:
        """The median of the policy's values of the collected states."""
        return float(np.median(np.concatenate([one.values for one in self._trajectories])))

    def columns_of(self, trajectory: Trajectory) -> Mapping[str, FloatArray]:
        """The quantities of an episode's steps, name -> `(T,)`."""
        return self._quantities(trajectory.observations)

    def fault(self, goal: Goal) -> str:
        """Why `goal` cannot be set here, in a line; empty where it can."""
        ends = {"at least": (True, False), "at most": (False, True), "between": (True, True)}
        wanted = ends.get(goal.aim, (False, False))
        for name, end, needed in (("low", goal.low, wanted[0]), ("high", goal.high, wanted[1])):
            if needed and end is None:
                return f"the aim {goal.aim!r} needs a number in {name}"
        low, high = _target(goal)
        if low > high:
            return f"low ({low:g}) is above high ({high:g})"
        if len(goal.quantity) > MOST_CHARACTERS:
            return f"the quantity is longer than {MOST_CHARACTERS} characters"
        try:
            _, seen = self._compiled(goal.quantity)
        except RuleError as refusal:
            return " ".join(str(refusal).split())
        steps = f"the {sum(len(one) for one in self._trajectories):,} steps collected"
        if not len(seen):
            return f"{goal.quantity} has no value in any of {steps}"
        least, most = float(seen.min()), float(seen.max())
        lowest, highest = self._within_reach(goal.quantity, least, most)
        if lowest == highest:
            return f"{goal.quantity} never changes in {steps}: it is always {least:g}"
        if low > highest or high < lowest:
            return (
                f"{goal.quantity} is {least:.3g} to {most:.3g} in {steps}, and no target outside {lowest:.3g} to "
                f"{highest:.3g} is taken for reachable"
            )
        if goal.aim in TARGETS and low <= least and high >= most:
            return f"{goal.quantity} is {least:.3g} to {most:.3g} in {steps}: every one of them meets this target"
        return ""

    def spread(self, goal: Goal) -> float:
        """The difference of the greatest and the least value that the collected episodes show."""
        _, seen = self._compiled(goal.quantity)
        return float(np.ptp(seen)) if len(seen) else 0.0

    def read(self, goal: Goal, rollout: Rollout, alone: Rollout, worth: float) -> Reading:
        """How far `rollout` reaches `goal`.

        Args:
            goal: The goal; `fault` finds none.
            rollout: With its trace, played to the goal's end or its own.
            alone: The policy alone from the same state, likewise: what follows where `rollout` merged with it.
            worth: The policy's value of the state they begin at.
        """
        seen, last, earned = [observation for _, observation in rollout.seen], rollout, rollout.end
        if (at := rollout.merged) is not None:
            seen, last = [*seen[:at], *(one for _, one in alone.seen[at:])], alone
            earned = float(rollout.earned[at]) + alone.end - float(alone.earned[at])
        return self.reading(goal, np.stack(seen[: goal.steps]), last.terminated and earned < max(worth, self._usual))

    def reading(self, goal: Goal, observations: Array, lost: bool = False) -> Reading:
        """How far a rollout reaches `goal`.

        Args:
            goal: The goal; `fault` finds none.
            observations: `(m, *observation_shape)`, of the states its actions led to, `m` at most `goal.steps`.
            lost: Where `m` is less, it ended badly.
        """
        query, seen = self._compiled(goal.quantity)
        values = query.values(self._quantities(observations), np.zeros(len(observations)))
        finite = np.isfinite(values)
        shown = np.concatenate([seen, values[finite]])
        worst = float(shown[np.argmin(shortfalls(goal, shown))])
        present = np.where(finite, values, worst)
        filled = np.concatenate([present, np.full(goal.steps - len(values), worst if lost else present[-1])])
        each = shortfalls(goal, filled)
        place = {"at the end": len(filled) - 1, "throughout": int(np.argmin(each)), "once": int(np.argmax(each))}
        if goal.when == "on average":
            value = float(np.mean(filled))
            score, known = float(shortfalls(goal, np.array([value]))[0]), bool(finite.any())
        else:
            at = place[goal.when]
            value, score = float(filled[at]), float(each[at])
            known = bool(finite[at]) if at < len(values) else bool(finite[-1]) and not lost
        if lost and len(values) < goal.steps and goal.when != "once":
            score = min(score, -_BEHIND) if goal.aim in TARGETS else score
        reached = goal.aim in TARGETS and score >= -_EXACT and known
        return Reading(score, value if known else None, reached, len(values))

    def _within_reach(self, quantity: str, least: float, most: float) -> tuple[float, float]:
        """Where targets may lie: around what was seen, and within what the plugin calls usual."""
        room = WIDER * (most - least)
        low, high = least - room, most + room
        about = self.environment.legend.get(quantity.strip())
        if about is not None and np.isfinite([about.low, about.high]).all():
            low, high = min(low, about.low), max(high, about.high)
        return low, high

    def _compiled(self, text: str) -> tuple[Query, FloatArray]:
        """The expression, and its finite values at the collected steps; raises `RuleError`."""
        if text not in self._known:
            query = Query(text, self.interface, whose="the goal's quantity", own=False)
            found = [query.values(one, np.zeros(len(next(iter(one.values()))))) for one in self.columns]
            values = np.concatenate(found) if found else np.zeros(0)
            self._known[text] = query, values[np.isfinite(values)]
        return self._known[text]

    def _quantities(self, observations: Array) -> dict[str, FloatArray]:
        with asking(self.environment, "quantities"):
            told = self.environment.quantities(observations)
            return {name: np.asarray(column, np.float64) for name, column in told.items()}


def shortfalls(goal: Goal, values: FloatArray) -> FloatArray:
    """Shortfall of each of `values`: `(n,)` -> `(n,)`."""
    if goal.aim in ("maximise", "minimise"):
        return np.asarray(values if goal.aim == "maximise" else -values, np.float64)
    low, high = _target(goal)
    return np.asarray(np.minimum(np.minimum(values - low, high - values), 0.0), np.float64)


def _target(goal: Goal) -> tuple[float, float]:
    """Where the value is to lie; everywhere where there is no target."""
    low = goal.low if goal.aim in ("at least", "between") and goal.low is not None else -np.inf
    high = goal.high if goal.aim in ("at most", "between") and goal.high is not None else np.inf
    return float(low), float(high)
