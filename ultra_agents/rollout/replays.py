"""Short replays from stored simulator states, many side by side: what a plan or an expert meets on its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from ultra_agents.records import Array
from ultra_agents.rollout.simulators import Simulators

Act: TypeAlias = Callable[[Array, Array, int], Array]
"""Which replays `(n,)`, what they see `(n, ...)`, the time since their start -> actions `(n, ...)`."""


@dataclass(frozen=True, eq=False)
class Replay:
    """What one replay met, in order of time.

    Attributes:
        observations: `(m, *observation_shape)` before each action.
        actions: `(m, ...)`.
        earned: Sum of the rewards.
    """

    observations: Array
    actions: Array
    earned: float

    def __len__(self) -> int:
        return len(self.actions)


def replay(simulators: Simulators, snapshots: Sequence[bytes], lengths: Sequence[int], act: Act) -> list[Replay]:
    """Play from each of `snapshots` for `lengths` steps, or to the end of the episode.

    A replay depends on its own snapshot and actions only; environment steps taken are the sum of the replays'
    lengths. `simulators` must have been reset once.
    """
    made: list[Replay] = []
    width = simulators.num_envs
    for start in range(0, len(snapshots), width):
        batch = range(start, min(start + width, len(snapshots)))
        made += _wave(
            simulators, [snapshots[index] for index in batch], [lengths[index] for index in batch], start, act
        )
    return made


def plans_act(plans: Sequence[Array]) -> Act:
    """The `Act` that carries out `plans`, one array of actions `(length, ...)` per replay."""

    def act(which: Array, observations: Array, time: int) -> Array:
        return np.stack([plans[index][time] for index in which])

    return act


def _wave(
    simulators: Simulators, snapshots: Sequence[bytes], lengths: Sequence[int], first: int, act: Act
) -> list[Replay]:
    count = len(snapshots)
    seen = np.array(simulators.restore(range(count), snapshots))
    observations: list[list[Array]] = [[] for _ in snapshots]
    actions: list[list[Array]] = [[] for _ in snapshots]
    earned = np.zeros(count)
    playing = np.array([length > 0 for length in lengths])
    space = simulators.single_action_space
    idle = np.zeros((simulators.num_envs, *(space.shape or ())), dtype=space.dtype)
    for time in range(max(lengths, default=0)):
        who = np.flatnonzero(playing)
        if not len(who):
            break
        chosen, batch = np.asarray(act(first + who, seen[who], time)), idle.copy()
        batch[who] = chosen
        for slot, action in zip(who, chosen, strict=True):
            observations[slot].append(np.array(seen[slot]))
            actions[slot].append(np.array(action))
        following, rewards, terminated, truncated, _ = simulators.step(batch)
        earned[who] += np.asarray(rewards)[who]
        ended = (np.asarray(terminated) | np.asarray(truncated))[:count]
        playing &= ~ended & (time + 1 < np.asarray(lengths))
        seen = np.array(np.asarray(following)[:count])
    shape = simulators.single_observation_space.shape or ()
    return [
        Replay(
            np.array(observations[slot]).reshape(-1, *shape),
            np.array(actions[slot], dtype=space.dtype).reshape(-1, *(space.shape or ())),
            float(earned[slot]),
        )
        for slot in range(count)
    ]
