"""The episodes under way in a trainer's parallel environments: begun, counted, kept for an exact resume."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np

from ultra_agents.contracts import Modulation
from ultra_agents.contracts.vector import from_reset
from ultra_agents.records import Array, FloatArray
from ultra_agents.seeding import Streams

ALL = slice(None)


class RunningEpisodes:
    """What is under way in `n` `SAME_STEP` environments, and what ended since it was last asked.

    Where the environments give no snapshots (`can_snapshot`, `snapshot`, `restore`), taking the state ends the running
    episodes: the next update starts new ones with seeds of its own, here as after `load`.

    Args:
        envs: Parallel environments.
        streams: Gives the seeds of resets.
        modulation: The engine, told whenever episodes start everywhere; or None.

    Attributes:
        obs: `(n, ...)` as the environments gave them last; None while no episode runs.
        returns: `(n,)` so far, not modulated.
        lengths: `(n,)` so far, environment steps.
        can_save: The environments give snapshots.
    """

    def __init__(self, envs: gymnasium.vector.VectorEnv, streams: Streams, modulation: Modulation | None) -> None:
        self.envs, self.streams, self.modulation = envs, streams, modulation
        self.obs: Array | None = None
        self.returns, self.lengths = np.zeros(envs.num_envs), np.zeros(envs.num_envs, dtype=np.int64)
        self.can_save = bool(getattr(envs, "can_snapshot", False))
        self._ended: list[tuple[int, float, int]] = []

    def start(self, updates: int) -> Array:
        """Begin an episode everywhere, with the seeds of one after so many updates; observations `(n, ...)`."""
        seeds = self.streams.integers(self.envs.num_envs, "envs", updates)
        self.obs = np.array(self.envs.reset(seed=seeds)[0])  # type: ignore[arg-type]
        self.returns[:], self.lengths[:] = 0.0, 0
        if self.modulation is not None:
            self.modulation.begin(self.envs.num_envs)
        return self.obs

    def count(self, rewards: FloatArray, ended: Array, infos: dict[str, Any], envs: slice = ALL, t: int = 0) -> None:
        """Take in one step of `envs`; episodes that began at a restored state end uncounted.

        Args:
            rewards: `(m,)`, not modulated.
            ended: `(m,)`, terminated or truncated.
            infos: Of that step.
            envs: Which of the environments stepped.
            t: Step within the update, to be given where environments step in parts: it puts what ended in order.
        """
        returns, lengths = self.returns[envs], self.lengths[envs]  # views
        returns += rewards
        lengths += 1
        if ended.any():
            whole = from_reset(ended, infos)
            ends = zip(returns[whole].tolist(), lengths[whole].tolist(), strict=True)
            self._ended += [(t, value, length) for value, length in ends]
            returns[ended], lengths[ended] = 0.0, 0

    def metrics(self) -> dict[str, float]:
        """`return_mean`, `episodes` and `length_mean` of what ended since the last call; means of none are NaN."""
        ended = np.asarray(sorted(self._ended, key=lambda end: end[0]), dtype=np.float64).reshape(-1, 3)
        self._ended = []
        return {
            "return_mean": float(ended[:, 1].mean()) if len(ended) else math.nan,
            "episodes": float(len(ended)),
            "length_mean": float(ended[:, 2].mean()) if len(ended) else math.nan,
        }

    def state(self) -> dict[str, Array]:
        """Running episodes by their snapshots; where there are none, they end here."""
        arrays: dict[str, Array] = {"episode/returns": self.returns.copy(), "episode/lengths": self.lengths.copy()}
        if self.obs is not None and self.can_save:
            taken = self.envs.snapshot(range(self.envs.num_envs))  # type: ignore[attr-defined]
            arrays |= {f"snapshot/{i}": np.frombuffer(data, dtype=np.uint8).copy() for i, data in enumerate(taken)}
            arrays["obs"] = self.obs.copy()
        else:
            self.obs = None
        return arrays

    def restorable(self, arrays: dict[str, Array]) -> bool:
        """Whether these hold running episodes that the environments can take up."""
        return "obs" in arrays and self.can_save

    def load(self, arrays: dict[str, Array], modulation: dict[str, Any] | None, updates: int) -> None:
        """Inverse of `state` and the modulation's after so many updates; what cannot be restored has ended."""
        restorable = self.restorable(arrays)
        if restorable and self.obs is None:
            self.start(updates)
        if self.modulation is not None and modulation is not None:
            self.modulation.load_state(modulation)
        if restorable:
            n = self.envs.num_envs
            self.envs.restore(range(n), [arrays[f"snapshot/{i}"].tobytes() for i in range(n)])  # type: ignore[attr-defined]
            self.obs = np.array(arrays["obs"])
            self.returns, self.lengths = np.array(arrays["episode/returns"]), np.array(arrays["episode/lengths"])
        else:
            self.obs = None
