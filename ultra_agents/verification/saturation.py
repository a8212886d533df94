"""How often continuous actions are at their bounds: a rule whose gains saturate them is a switch, whatever it says."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box

from ultra_agents.records import Array

NEAR = 1e-6
"""Distance from a bound, as a share of the range, that counts as at it."""


class Saturation:
    """A `Watch` that counts the components of actions at a bound.

    Args:
        space: The action space; nothing is counted where it is no bounded box.
    """

    def __init__(self, space: Any) -> None:
        box = isinstance(space, Box) and bool(np.isfinite(space.low).all() and np.isfinite(space.high).all())
        self._space = space if box else None
        self._at = self._seen = 0

    @property
    def share(self) -> float | None:
        """Of all components in all steps seen, those at a bound; None where nothing was counted."""
        return self._at / self._seen if self._seen else None

    def __call__(
        self, observations: Array, actions: Array, rewards: Array, terminated: Array, truncated: Array, alive: Array
    ) -> None:
        """Count a step of those that still play."""
        if self._space is None:
            return
        done, near = np.asarray(actions)[alive], NEAR * (self._space.high - self._space.low)
        self._at += int(np.count_nonzero((done <= self._space.low + near) | (done >= self._space.high - near)))
        self._seen += done.size
