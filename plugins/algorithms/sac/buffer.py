"""What `sac.py` remembers: the executed actions and what followed, in a ring of fixed size."""

from __future__ import annotations

from typing import Any

import numpy as np

from ultra_agents.records import Array, FloatArray

COLUMNS = ("obs", "next_obs", "actions", "rewards", "terminated", "suggested", "weight")


class ReplayBuffer:
    """The last `capacity` transitions; rows of numpy arrays, committed by the system as they are filled.

    Attributes:
        size: Rows filled.
        obs: `(capacity, raw_dim)` raw observations, float32 (bytes stay bytes).
        next_obs: The same after the step, before any reset.
        actions: `(capacity, action_dim)` executed unit actions.
        rewards: `(capacity,)` to learn from, the modulation's included.
        terminated: `(capacity,)` 1 where the episode really ended; truncated ones bootstrap.
        suggested: `(capacity, action_dim)` suggested unit actions; only kept for `imitate`.
        weight: `(capacity,)` its weight where the table matched, else 0; only kept for `imitate`.

    Args:
        capacity: Rows.
        raw_dim: Numbers of one observation.
        action_dim: Numbers of one action.
        bytes_only: Observations are uint8.
        imitate: Keep suggestions.
    """

    def __init__(self, capacity: int, raw_dim: int, action_dim: int, bytes_only: bool, imitate: bool) -> None:
        self.capacity, self.size, self._next = capacity, 0, 0
        kind: Any = np.uint8 if bytes_only else np.float32
        rows = capacity if imitate else 0
        self.obs, self.next_obs = (np.empty((capacity, raw_dim), kind) for _ in range(2))
        self.actions = np.empty((capacity, action_dim), np.float32)
        self.rewards, self.terminated = (np.empty(capacity, np.float32) for _ in range(2))
        self.suggested, self.weight = np.empty((rows, action_dim), np.float32), np.empty(rows, np.float32)

    def add(self, obs: Array, next_obs: Array, actions: Array, rewards: FloatArray, terminated: Array) -> Array:
        """Store `n` transitions over the oldest ones; the rows `(n,)` they are in."""
        n = len(obs)
        rows = (self._next + np.arange(n)) % self.capacity
        self.obs[rows], self.next_obs[rows] = obs.reshape(n, -1), next_obs.reshape(n, -1)
        self.actions[rows], self.rewards[rows], self.terminated[rows] = actions, rewards, terminated
        self._next = int(rows[-1] + 1) % self.capacity
        self.size = min(self.size + n, self.capacity)
        return rows

    def state(self) -> dict[str, Array]:
        """The filled rows, and where the next one goes."""
        arrays = {name: getattr(self, name)[: self.size].copy() for name in COLUMNS}
        return arrays | {"next": np.asarray([self._next])}

    def load(self, arrays: dict[str, Array]) -> None:
        """Inverse of `state`."""
        self.size, self._next = len(arrays["rewards"]), int(arrays["next"][0])
        for name in COLUMNS:
            getattr(self, name)[: len(arrays[name])] = arrays[name]
