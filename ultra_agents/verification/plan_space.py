"""Distributions over plans that a search draws from and moves towards its best plans.

A plan has up to so many moves, each an action and a hold. Holds, and actions that are told apart by name, are drawn
by the frequencies they have among the best plans. Continuous actions are corrections of what the policy would do, each
held for some steps (a torque held by itself would stop a gait), drawn from a normal distribution around those of the
best plans, and spelled as the action codec spells them, so that what was played is what its name says. As in the
cross-entropy method (Rubinstein 1999; de Boer et al. 2005), the distribution moves part of the way in each round.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from gymnasium.spaces import Box

from ultra_agents.contracts import Environment
from ultra_agents.records import Array, FloatArray, Plan

SMOOTHING = 0.3
"""How much of the last round's distribution is kept."""
SPREAD, NARROWEST = 0.25, 0.02
"""Standard deviation of a component at first and at least, as a share of its range."""
DRAWS = 8
"""Draws for each plan that is wanted, at most: small spaces run out of plans that were not drawn before."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """One plan as numbers.

    Attributes:
        plan: The same in words.
        actions: `(moves,)` indices into the names, or corrections `(moves, components)`.
        holds: `(moves,)` environment steps.
    """

    plan: Plan
    actions: Array
    holds: Array


class PlanSpace:
    """Plans of up to `moves` moves with holds `low..high`, all together at most `most` steps.

    Args:
        environment: Names the actions; its codec spells continuous ones.
        moves: Moves of a plan, at most.
        low: Least hold, environment steps.
        high: Greatest hold.
        own: `(steps of the longest plan, components)`, what the policy would do from the state on; of no account where
            actions are told apart by name.
        most: Environment steps of a plan, at most, `low` at least; None: no limit beyond those of moves and holds.
    """

    def __init__(
        self, environment: Environment, moves: int, low: int, high: int, own: FloatArray, most: int | None = None
    ) -> None:
        self._codec, self._moves = environment.actions, moves
        self._holds = np.arange(low, high + 1)
        self._most = moves * high if most is None else most
        self._by_count = np.full(moves, 1 / moves)
        self._by_hold = np.full((moves, len(self._holds)), 1 / len(self._holds))
        self._names = self._codec.names
        self._by_name = np.full((moves, len(self._names)), 1 / len(self._names))
        self._bounds: tuple[FloatArray, FloatArray] | None = None
        if continuous(environment):
            space = environment.action_space
            assert isinstance(space, Box)
            self._bounds = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
            self._range = self._bounds[1] - self._bounds[0]
            self._own = np.asarray(own, np.float64)
            self._mean = np.zeros((moves, len(self._range)))
            self._deviation = np.broadcast_to(SPREAD * self._range, self._mean.shape).copy()

    def draw(self, count: int, rng: np.random.Generator, known: Collection[Plan]) -> list[Drawn]:
        """Up to `count` plans, none of them among `known`; of continuous ones first what the policy would do."""
        if self._bounds is None or known:
            return distinct(lambda: self._one(rng), count, known)
        whole = self._cut(np.full(len(self._mean), self._holds[-1]))
        alone = self._corrected(self._mean[: len(whole)], whole)
        return [alone, *distinct(lambda: self._one(rng), count - 1, {alone.plan})]

    def learn(self, best: Sequence[Drawn]) -> None:
        """Move towards the best plans."""
        keep = SMOOTHING
        counts = np.bincount([len(one.holds) - 1 for one in best], minlength=self._moves) / len(best)
        self._by_count = keep * self._by_count + (1 - keep) * counts
        for move in range(self._moves):
            having = [one for one in best if len(one.holds) > move]
            if not having:
                continue
            holds = np.bincount([one.holds[move] - self._holds[0] for one in having], minlength=len(self._holds))
            self._by_hold[move] = keep * self._by_hold[move] + (1 - keep) * holds / len(having)
            actions = np.array([one.actions[move] for one in having])
            if self._bounds is None:
                names = np.bincount(actions, minlength=len(self._names)) / len(having)
                self._by_name[move] = keep * self._by_name[move] + (1 - keep) * names
            else:
                self._mean[move] = keep * self._mean[move] + (1 - keep) * actions.mean(axis=0)
                spread = keep * self._deviation[move] + (1 - keep) * actions.std(axis=0)
                self._deviation[move] = np.maximum(spread, NARROWEST * self._range)

    def around(self, plan: Plan, count: int, rng: np.random.Generator) -> list[Drawn]:
        """The plan itself, and up to `count - 1` with other holds and torques around its own; names stay as they are.

        Holds are up to twice as long, or as short as the shortest.
        """
        holds = np.array([hold for _, hold in plan.moves])
        low, high = np.minimum(self._holds[0], holds), np.maximum(self._holds[-1], holds)
        names, most = [name for name, _ in plan.moves], max(self._most, plan.steps)
        values = np.stack([np.asarray(self._codec.encode(name), np.float64) for name in names])

        def one() -> Drawn:
            drawn = np.array([rng.integers(max(lo, hold // 2), min(hi, 2 * hold) + 1)
                              for lo, hold, hi in zip(low, holds, high, strict=True)])  # fmt: skip
            drawn = shortened(drawn, low, most)
            if self._bounds is None:
                return Drawn(Plan.of(zip(names, drawn.tolist(), strict=True)), values, drawn)
            moved = rng.normal(values, SPREAD * self._range)
            return Drawn(self._spelled(moved, drawn), moved, drawn)

        return [Drawn(plan, values, holds), *distinct(one, count - 1, {plan})]

    def _one(self, rng: np.random.Generator) -> Drawn:
        count = 1 + int(rng.choice(self._moves, p=self._by_count))
        holds = self._cut(np.array([rng.choice(self._holds, p=self._by_hold[move]) for move in range(count)]))
        count = len(holds)
        if self._bounds is None:
            actions = np.array([rng.choice(len(self._names), p=self._by_name[move]) for move in range(count)])
            names = [self._names[index] for index in actions.tolist()]
            return Drawn(Plan.of(zip(names, holds.tolist(), strict=True)), actions, holds)
        return self._corrected(rng.normal(self._mean[:count], self._deviation[:count]), holds)

    def _cut(self, holds: Array) -> Array:
        """As many of the moves as fit into the longest plan, the last ones as short as it takes."""
        low = self._holds[0]
        kept = holds[: max(self._most // low, 1)]
        return shortened(kept, np.full(len(kept), low), self._most)

    def _corrected(self, corrections: FloatArray, holds: Array) -> Drawn:
        added = np.repeat(corrections, holds, axis=0)
        plan = self._spelled(self._own[: len(added)] + added, np.ones(len(added), np.int64))
        return Drawn(plan, corrections, holds)

    def _spelled(self, actions: FloatArray, holds: Array) -> Plan:
        assert self._bounds is not None, "names are not spelled"
        names = [self._codec.spell(np.asarray(action, np.float32)) for action in np.clip(actions, *self._bounds)]
        return Plan.of(zip(names, holds.tolist(), strict=True))


def shortened(holds: Array, least: Array, most: int) -> Array:
    """Holds `(moves,)` that are at most `most` together, the last ones shortened first, none below its `least`."""
    made, excess = holds.copy(), int(holds.sum()) - most
    for move in reversed(range(len(made))):
        cut = min(max(excess, 0), int(made[move] - least[move]))
        made[move] -= cut
        excess -= cut
    return made


def continuous(environment: Environment) -> bool:
    """Whether its codec spells any torque: else a search is left with the names that are listed."""
    space = environment.action_space
    return isinstance(space, Box) and bool(environment.actions.components) and bool(np.isfinite(space.high).all())


def distinct(one: Callable[[], Drawn], count: int, known: Collection[Plan]) -> list[Drawn]:
    """Up to `count` draws with different plans that are not `known`."""
    found: dict[Plan, Drawn] = {}
    for _ in range(DRAWS * max(count, 0)):
        if len(found) == count:
            break
        drawn = one()
        if drawn.plan not in known:
            found.setdefault(drawn.plan, drawn)
    return list(found.values())
