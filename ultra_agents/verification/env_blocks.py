"""Environments of this process, stepped in blocks, with their observations in one array.

A block is stepped as a whole, so the slots in use are packed into the lowest blocks, and a block without any is not
stepped. Results of idle slots of a block are discarded; environments that can skip them do (`idle` of
`SameStepVectorEnv`).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import Any

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.contracts.vector import SameStepVectorEnv, before_reset
from ultra_agents.errors import EnvironmentFault, UltraError
from ultra_agents.plugin_calls import asking, plugin_name
from ultra_agents.records import Array, FloatArray
from ultra_agents.rollout.vector import build
from ultra_agents.seeding import Streams

BLOCK = 32
"""Environments stepped together."""


class Blocks:
    """`slots` environments that can be restored.

    Args:
        environment: Builds them.
        slots: How many.
        streams: Source of the seeds of their first episodes, which nobody looks at.

    Attributes:
        observations: `(slots, ...)`, what each environment shows; before the reset where its episode has just ended.
    """

    def __init__(self, environment: Environment, slots: int, streams: Streams) -> None:
        self._environment = environment
        self._blocks: list[Any] = []
        self._edges = [(start, min(start + BLOCK, slots)) for start in range(0, slots, BLOCK)]
        shown = []
        with asking(environment):
            for number, (start, stop) in enumerate(self._edges):
                self._blocks.append(build(environment, stop - start))
                seeds = streams.integers(stop - start, "idle", number)
                shown.append(np.asarray(self._blocks[-1].reset(seed=seeds)[0]))
        self.observations: Array = np.concatenate(shown)
        self._actions: Array | None = None
        self.free_all()

    def free_all(self) -> None:
        """Every slot is free."""
        self._free = list(range(len(self.observations)))

    @property
    def room(self) -> int:
        """Free slots."""
        return len(self._free)

    def take(self) -> int:
        """The lowest free slot, no longer free."""
        return heapq.heappop(self._free)

    def free(self, slot: int) -> None:
        """Give a slot back."""
        heapq.heappush(self._free, slot)

    def restore(self, slots: Sequence[int], states: Sequence[bytes]) -> list[UltraError | None]:
        """Put states into environments, several of a block at once; for each why it could not be done, or None."""
        faults: list[UltraError | None] = [None] * len(slots)
        groups: dict[int, list[int]] = {}
        for row, slot in enumerate(slots):
            groups.setdefault(slot // BLOCK, []).append(row)
        for number, rows in groups.items():
            try:
                self._restore(number, [slots[row] for row in rows], [states[row] for row in rows])
            except UltraError:  # whose it is shows one by one
                for row in rows:
                    try:
                        self._restore(number, [slots[row]], [states[row]])
                    except UltraError as error:
                        faults[row] = error
        return faults

    def _restore(self, number: int, slots: list[int], states: list[bytes]) -> None:
        places = [slot - self._edges[number][0] for slot in slots]
        with asking(self._environment):
            self.observations[slots] = self._environment.restore(self._blocks[number], places, states)

    def snapshot(self, slot: int) -> bytes:
        """The state of one environment."""
        number = slot // BLOCK
        with asking(self._environment):
            return self._environment.snapshot(self._blocks[number], [slot - self._edges[number][0]])[0]

    def step(self, slots: Array, actions: Array) -> tuple[FloatArray, list[bool], list[bool]]:
        """One step of the blocks in which `slots` `(n,)` are.

        Returns:
            Rewards `(n,)`, and of each slot whether its episode terminated or was truncated. `observations` is new.
        """
        if self._actions is None:
            self._actions = np.stack([actions[0]] * len(self.observations))
        self._actions[slots] = actions
        count = len(self.observations)
        idle = np.ones(count, np.bool_)
        idle[slots] = False
        rewards, terminated, truncated = np.zeros(count), np.zeros(count, np.bool_), np.zeros(count, np.bool_)
        for number in sorted(set((slots // BLOCK).tolist())):
            start, stop = self._edges[number]
            if isinstance(self._blocks[number], SameStepVectorEnv):
                self._blocks[number].idle[:] = idle[start:stop]
            with asking(self._environment):
                seen, earned, ended, cut, info = self._blocks[number].step(self._actions[start:stop])
                seen, over = np.asarray(seen), np.asarray(ended) | np.asarray(cut)
            if seen.shape != self.observations[start:stop].shape or np.shape(earned) != (stop - start,):
                raise EnvironmentFault(
                    f"the environment {plugin_name(self._environment)} returned a step of the wrong shape",
                    found=(seen.shape, np.shape(earned)),
                )
            self.observations[start:stop] = before_reset(seen, over, info)
            rewards[start:stop], terminated[start:stop], truncated[start:stop] = earned, ended, cut
        return rewards[slots], terminated[slots].tolist(), truncated[slots].tolist()

    def close(self) -> None:
        """Close the environments."""
        for block in self._blocks:
            block.close()
        self._blocks = []
