"""From which states of the collected episodes effects are measured, and the fact that divides them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.contracts.quantities import FACT
from ultra_agents.plugin_calls import asking
from ultra_agents.records import Array, FloatArray, Trajectory

FEWEST = 4
"""States on either side of a fact, at least."""
EVEN = 0.2
"""Share of states on the rarer side of a fact that divides them, at least."""


def named(environment: Environment, observations: Array) -> Mapping[str, FloatArray]:
    """The quantities of `(n, ...)` observations, `(n,)` each."""
    with asking(environment, "quantities"):
        return environment.quantities(observations)


def dividing_fact(trajectories: Sequence[Trajectory], environment: Environment) -> tuple[str | None, Array]:
    """The fact that divides the states of the episodes most evenly, if one does, and where it is so."""
    told = [named(environment, one.observations[: len(one)]) for one in trajectories]
    name, so, most = None, np.zeros(sum(map(len, trajectories)), dtype=bool), EVEN
    for fact in (key for key, one in environment.legend.items() if one.unit == FACT):
        values = np.concatenate([row[fact] for row in told]) == 1
        rarer = min(values.mean(), 1 - values.mean())
        if rarer >= most and min(values.sum(), len(values) - values.sum()) >= FEWEST:
            name, so, most = fact, values, rarer
    return name, so


def chosen_states(so: Array, count: int, rng: np.random.Generator) -> Array:
    """Places of `count` states, those where something is so and others in the shares in which they are met.

    One is drawn from each of equal stretches of the episodes in a row; of either side there are `FEWEST` at least.
    """
    ones, others = np.flatnonzero(so), np.flatnonzero(~so)
    wanted = round(count * len(ones) / len(so))
    if len(ones) and count >= 2 * FEWEST:
        wanted = min(max(wanted, FEWEST, count - len(others)), count - FEWEST, len(ones))
    return np.concatenate([_spread_out(ones, wanted, rng), _spread_out(others, count - wanted, rng)])


def _spread_out(places: Array, count: int, rng: np.random.Generator) -> Array:
    edges = np.linspace(0, len(places), count + 1).astype(int)
    return np.array([places[int(rng.integers(low, high))] for low, high in pairwise(edges)], dtype=int)
