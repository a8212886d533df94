"""The collected states that a row of the table would speak for, in rings of growing distance: where it is tested."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from ultra_agents.advice.table import AdviceTable
from ultra_agents.records import Advice, Array, FloatArray, Ring, Trajectory


def rings_of(
    table: AdviceTable,
    advice: Sequence[Advice],
    trajectories: Sequence[Trajectory],
    features: Callable[[Array], FloatArray],
    *,
    rings: int,
    states: int,
    rng: np.random.Generator,
) -> list[tuple[Ring, ...]]:
    """For each row, states it would be matched at, without its own: at most `rings` rings of at most `states` each.

    The rings of a row hold equally many of the states it matches. Of those in a ring the ones returned are spread over
    the episodes and their steps. Only states that can be restored count.

    Args:
        table: Made of `advice`, with the radius it is to be tried at.
        advice: The rows.
        trajectories: The collected episodes.
        features: Observations `(n, ...)` -> features `(n, k)`, the environment's.
        rings: Of a row, at most.
        states: Of a ring, at most.
        rng: Chooses among the states of a ring.
    """
    own = {(row.episode, row.step) for row in advice}
    matched: list[list[tuple[float, int, int]]] = [[] for _ in advice]
    for one in trajectories:
        seen = features(one.observations[: len(one.snapshots or ())])
        rows = table.lookup(seen) if len(seen) else np.zeros(0, dtype=np.int64)
        for step in np.flatnonzero(rows >= 0).tolist():
            if (one.episode, step) not in own:
                distance = np.linalg.norm(seen[step] / table.scale - table.features[rows[step]])
                matched[rows[step]].append((float(distance), one.episode, step))
    return [tuple(_ring(part, states, rng) for part in _parts(sorted(near), rings)) for near in matched]


def _parts(near: list[tuple[float, int, int]], rings: int) -> list[list[tuple[float, int, int]]]:
    edges = np.linspace(0, len(near), rings + 1).round().astype(int).tolist()
    return [near[start:stop] for start, stop in pairwise(edges) if start < stop]


def _ring(near: list[tuple[float, int, int]], states: int, rng: np.random.Generator) -> Ring:
    by_place = sorted(near, key=lambda one: one[1:])
    some = [by_place[int(rng.choice(part))] for part in np.array_split(np.arange(len(near)), min(states, len(near)))]
    return Ring(max(one[0] for one in some), tuple(one[1:] for one in some))
