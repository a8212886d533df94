"""How the replays of a test went, from the rollouts it played anyway."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np

from ultra_agents.contracts import Environment, capabilities
from ultra_agents.plugin_calls import asking
from ultra_agents.records import Array, Ending, Moment, Replays
from ultra_agents.text import valid_text
from ultra_agents.verification.jobs import Rollout

MOMENTS = 7
"""Times of a replay that are kept, at most."""
QUANTITIES = 6
"""Quantities told at them, at most: those in which the two differ most first."""


def replays(
    environment: Environment,
    first: Array | None,
    own: Sequence[Rollout],
    advised: Sequence[Rollout],
    cut: int,
    length: int,
    usual: float | None,
) -> Replays:
    """How the pairs of a test went, as far as its result speaks of them.

    Args:
        environment: Names actions and quantities.
        first: The observation at the restored state; None where the replays were not kept step by step.
        own: The policy alone, by pair.
        advised: The same with the suggestion.
        cut: Steps from the state at which they were compared.
        length: Steps of the suggestion.
        usual: The reward that steps earn as a rule; None where there is none.
    """
    pairs = [_pair(base, rollout, cut, usual) for base, rollout in zip(own, advised, strict=True)]
    told = tuple(one for one, _ in pairs), tuple(one for _, one in pairs)
    return Replays(cut, *told, _moments(environment, first, own[0], advised[0], pairs[0], length))


def _pair(base: Rollout, rollout: Rollout, cut: int, usual: float | None) -> tuple[Ending, Ending]:
    """Both endings; a replay that merged with the policy's own goes on as that does."""
    alone, with_it = base.rewards[:cut], rollout.rewards[:cut]
    follows = rollout.merged is not None and rollout.merged <= cut
    if follows:
        with_it = (*rollout.rewards[: rollout.merged], *base.rewards[rollout.merged : cut])
    ended = base if follows else rollout
    return _ending(with_it, ended, usual, merged=follows), _ending(alone, base, usual)


def _ending(rewards: Sequence[float], ended: Rollout, usual: float | None, *, merged: bool = False) -> Ending:
    over = ""
    if ended.over and ended.time <= len(rewards):
        over = "terminated" if ended.terminated else "truncated"
    elif merged:
        over = "merged"
    at = None if usual is None else next((step for step, one in enumerate(rewards) if one != usual), None)
    event = None if at is None else float(rewards[at])
    return Ending(len(rewards), over, float(sum(rewards)), event, None if at is None else at + 1)


def _moments(
    environment: Environment,
    first: Array | None,
    base: Rollout,
    rollout: Rollout,
    endings: tuple[Ending, Ending],
    length: int,
) -> tuple[Moment, ...]:
    """The pair at the state, where moves change, and where something happens."""
    if first is None or not rollout.seen or not base.seen or "quantities" not in capabilities(environment):
        return ()
    sides = [(rollout, min(endings[0].steps, len(rollout.seen))), (base, min(endings[1].steps, len(base.seen)))]
    last = sides[0][1] if rollout.merged is not None else max(steps for _, steps in sides)
    times = _times(rollout, sides, endings, length, last)
    told = _told(environment, first, sides, times)
    shown = {name: list(zip(*told[name], strict=True)) for name in _shown(environment, told)}
    return tuple(
        Moment(
            time,
            (_action(environment, *sides[0], time), _action(environment, *sides[1], time)),
            {name: rows[number] for name, rows in shown.items()},
        )
        for number, time in enumerate(times)
    )


def _times(
    rollout: Rollout, sides: Sequence[tuple[Rollout, int]], endings: tuple[Ending, Ending], length: int, last: int
) -> list[int]:
    """The state, where the suggestion's moves begin and end, just before what happened, and the last step."""
    moves = [len(list(run)) for _, run in groupby(rollout.seen[:length], key=lambda row: row[0].tobytes())]
    happened = [one.at for one in endings if one.at is not None]
    ends = [steps for _, steps in sides]
    wanted = [0, last, length, *happened, *np.cumsum(moves).tolist(), *ends, last // 2, last // 4, 3 * last // 4]
    return sorted(list(dict.fromkeys(time for time in wanted if 0 <= time <= last))[:MOMENTS])


def _told(
    environment: Environment, first: Array, sides: Sequence[tuple[Rollout, int]], times: Sequence[int]
) -> dict[str, tuple[Told, Told]]:
    """The quantities of both sides at the times that are kept; None where a side was over, or there is none."""
    known = [sum(time <= steps for time in times) for _, steps in sides]
    rows = [
        rollout.seen[time - 1][1] if time else first
        for (rollout, _), count in zip(sides, known, strict=True)
        for time in times[:count]
    ]
    with asking(environment, "quantities"):
        columns = {
            name: [value if math.isfinite(value) else None for value in np.asarray(column, np.float64).tolist()]
            for name, column in environment.quantities(np.stack(rows)).items()
        }
    over = [[None] * (len(times) - count) for count in known]
    return {name: (row[: known[0]] + over[0], row[known[0] :] + over[1]) for name, row in columns.items()}


Told = Sequence[float | None]
"""A quantity at the times that are kept; None where there is none."""


def _shown(environment: Environment, told: Mapping[str, tuple[Told, Told]]) -> list[str]:
    """The quantities in which the two differ most, then those that change most; in the environment's order."""
    weights, legend = {}, environment.legend
    for name, (advised, alone) in told.items():
        about = legend[name]
        scale = abs(about.high - about.low)
        scale = scale if math.isfinite(scale) and scale > 0 else 1.0
        apart = sum(abs(a - b) for a, b in zip(advised, alone, strict=True) if a is not None and b is not None)
        own = [b for b in alone if b is not None]
        weight = (apart or max(own, default=0.0) - min(own, default=0.0)) / scale
        if weight > 0:
            weights[name] = apart > 0, weight
    best = set(sorted(weights, key=weights.__getitem__, reverse=True)[:QUANTITIES])
    return [name for name in told if name in best]


def _action(environment: Environment, rollout: Rollout, steps: int, time: int) -> str:
    """What is done at a time; empty where nothing more is known to be done."""
    if time >= steps:
        return ""
    with asking(environment, "actions.decode"):
        return valid_text(str(environment.actions.decode(rollout.seen[time][0])))
