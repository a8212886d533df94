"""Which steps of a segment are told in full: every one near what decides, ever fewer the farther away.

What decides: unusual rewards, the end of the segment, and the few steps over which the policy's own value estimate
changed most (of a policy without one, those at which it let go of what it had long been doing). Steps are ranked, so
that a smaller budget shows a part of what a larger one does; of any part the distances between two shown steps grow
with the distance from what decides.
"""

from __future__ import annotations

import numpy as np

from ultra_agents.narration.rewards import unusual_rewards
from ultra_agents.records import Array, FloatArray, Segment, Trajectory

NEAR = 16
"""Every step up to this distance is wished for: so many before an event, a quarter of that after it."""
AFTER = 4
"""What led to an event says more of it than what came after: a step after it is that many times as far away."""
TURNS = 3
"""Steps of a segment at which the policy's own estimate changed most, at most; half as many steps around each."""
APART = 4
"""Steps between two of them, at least."""


def ranked_steps(trajectory: Trajectory, segment: Segment, stride: int) -> tuple[int, ...]:
    """The steps wished for, the most needed first: the first one, the last one, then by distance from what decides.

    Args:
        trajectory: The episode.
        segment: A stretch of it that is not empty.
        stride: Environment steps between two that are wished for, far from what decides.
    """
    start, last = segment.start, segment.stop - 1
    steps = np.arange(start, last + 1)
    far = _distances(trajectory, segment)
    changed = _changes(trajectory.actions)
    wished = (far <= NEAR) | ((steps - start) % stride == 0)
    wished[[0, -1]] = True

    def need(step: int) -> tuple[bool, float, bool, int]:
        before_last = last - step
        # Multiples of two, four, ... keep their place for longer, so that what is left far away is spread evenly; by
        # the root, so that far steps go before near ones.
        spread = before_last & -before_last or 1
        return step not in (start, last), float(far[step - start]) / spread**0.5, not changed[step], -step

    return tuple(sorted((int(step) for step in steps[wished]), key=need))


def _distances(trajectory: Trajectory, segment: Segment) -> FloatArray:
    """`(steps of the segment,)`: how far each is from the nearest thing that decides."""
    start, last = segment.start, segment.stop - 1
    steps = np.arange(start, last + 1)
    unusual = np.flatnonzero(unusual_rewards(trajectory.rewards)[start : last + 1]) + start
    far = np.full(len(steps), np.inf)
    for event in {*map(int, unusual), last}:
        far = np.minimum(far, _away(steps, event))
    for turn in _turns(trajectory, segment):
        far = np.minimum(far, 1 + 2 * _away(steps, turn))
    return far


def _away(steps: Array, event: int) -> FloatArray:
    before = (event - steps).astype(np.float64)
    return np.where(before >= 0, before, -AFTER * before)


def _turns(trajectory: Trajectory, segment: Segment) -> list[int]:
    """At most `TURNS` steps after which the estimate changed most, but for the new beginning after an event."""
    inside = slice(segment.start, segment.stop - 1)
    values = np.asarray(trajectory.values, dtype=np.float64)
    values = np.nan_to_num(values[segment.start : segment.stop], posinf=0.0, neginf=0.0)
    size = np.abs(np.diff(values))
    size[unusual_rewards(trajectory.rewards)[inside]] = 0.0
    if not np.any(size > 0):
        size = _held_before(trajectory.actions)[inside]
    found: list[int] = []
    for index in np.argsort(-size, kind="stable"):
        if len(found) == TURNS or size[index] <= 0:
            break
        if all(abs(segment.start + int(index) - other) >= APART for other in found):
            found.append(segment.start + int(index))
    return found


def _changes(actions: Array) -> Array:
    """`(T,)` bool: another action than one step before."""
    rows = np.asarray(actions).reshape(len(actions), -1)
    return np.concatenate([[False], np.any(rows[1:] != rows[:-1], axis=1)])


def _held_before(actions: Array) -> FloatArray:
    """`(T,)`: where an action ends that was held for two steps or more, for how many; 0 elsewhere."""
    held = np.zeros(len(actions))
    begin = 0
    for step in np.flatnonzero(_changes(actions)):
        held[step] = step - begin if step - begin > 1 else 0
        begin = int(step)
    return held
