"""What the algorithm kit trains in: a tiny exact world, and a modulation that keeps a record."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ultra_agents.contracts import Learn, Modulated
from ultra_agents.records import Array, FloatArray

BONUS = 1000.0
"""Reward the recording modulation adds; no return in the world comes near it."""
_STATE = struct.Struct("<16s16sIf")
_LENGTH = 7


class World(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """`num_envs` walkers on the line; observations `(n, 2)`: place in [-1, 1] and time left in [0, 1].

    A step moves by up to 0.25 (discrete: 0 left, 1 stay, 2 right) and earns the place; beyond -1 or 1 the episode
    terminates, after 7 steps it is truncated.

    Attributes:
        executed: Every batch of actions taken, in order.
        can_snapshot: `snapshot` and `restore` are exact.
    """

    can_snapshot = True

    def __init__(self, num_envs: int, continuous: bool) -> None:
        self.num_envs, self.continuous = num_envs, continuous
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = Box(-1.25, 1.25, (2,), np.float32)
        self.single_action_space = Box(-1, 1, (1,), np.float32) if continuous else Discrete(3)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.executed: list[Array] = []
        self._generators = [np.random.default_rng(index) for index in range(num_envs)]
        self._place, self._clock = np.zeros(num_envs, np.float32), np.zeros(num_envs, np.int64)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode everywhere."""
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        for index, one in enumerate(seeds or ()):
            if one is not None:
                self._generators[index] = np.random.default_rng(one)
        self._begin(range(self.num_envs))
        return self._observe(), {}

    def step(self, actions: Any) -> tuple[Array, FloatArray, Array, Array, dict[str, Any]]:
        """Move everybody."""
        actions = np.array(actions)
        self.executed.append(actions)
        push = actions[:, 0] if self.continuous else actions - 1
        self._place = np.asarray(self._place + 0.25 * np.clip(push, -1, 1), dtype=np.float32)
        self._clock += 1
        rewards = self._place.astype(np.float64)
        terminated = np.abs(self._place) > 1
        truncated = ~terminated & (self._clock >= _LENGTH)
        ended, info = np.flatnonzero(terminated | truncated), {}
        if len(ended):
            final = np.full(self.num_envs, None, dtype=object)
            observations = self._observe()
            for index in ended:
                final[index] = observations[index]
            info["final_obs"] = final
            self._begin(ended)
        return self._observe(), rewards, terminated, truncated, info

    def snapshot(self, indices: Sequence[int]) -> list[bytes]:
        """Exact states as bytes."""
        taken = []
        for i in indices:
            state: Any = self._generators[i].bit_generator.state["state"]
            halves = (int(state[key]).to_bytes(16, "little") for key in ("state", "inc"))
            taken.append(_STATE.pack(*halves, int(self._clock[i]), float(self._place[i])))
        return taken

    def restore(self, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put exact states back."""
        for i, data in zip(indices, snapshots, strict=True):
            state, inc, self._clock[i], self._place[i] = _STATE.unpack(data)
            whole: Any = self._generators[i].bit_generator.state
            whole["state"] = {"state": int.from_bytes(state, "little"), "inc": int.from_bytes(inc, "little")}
            self._generators[i].bit_generator.state = whole
        return self._observe()[list(indices)]

    def _begin(self, indices: Any) -> None:
        for index in indices:
            self._place[index], self._clock[index] = self._generators[index].uniform(-0.5, 0.5), 0

    def _observe(self) -> Array:
        return np.stack([self._place, 1 - self._clock / _LENGTH], axis=1).astype(np.float32)


class Recorder:
    """A modulation that follows one suggestion on a fixed share of the steps and pays `BONUS` on all.

    Args:
        learn: How overridden steps enter the update.
        continuous: Actions are floats.
        suggestion: The action; the default is of `World`.

    Attributes:
        calls: Names of the methods called, in order.
        executed: Every batch of actions it gave out.
        progress: What `set_progress` was told.
        seen: Observations handed to `reward` where episodes ended.
    """

    def __init__(self, learn: Learn, continuous: bool, suggestion: float | None = None) -> None:
        self.learn: Learn = learn
        self._suggestion = (0.5 if continuous else 2) if suggestion is None else suggestion
        self._continuous = continuous
        self._rng = np.random.default_rng(0)
        self.calls: list[str] = []
        self.executed: list[Array] = []
        self.progress: list[float] = []
        self.seen: list[Array] = []

    def begin(self, num_envs: int) -> None:
        """Record."""
        self.calls.append("begin")

    def set_progress(self, progress: float) -> None:
        """Record."""
        self.progress.append(progress)

    def act(self, observations: Array, actions: Array) -> Modulated:
        """Follow with a chance of 0.3."""
        self.calls.append("act")
        followed = self._rng.random(len(actions)) < 0.3
        suggested = np.full_like(actions, self._suggestion)
        executed = np.array(actions)
        executed[followed] = suggested[followed]
        self.executed.append(executed)
        everywhere = np.ones(len(actions))
        return Modulated(executed, everywhere > 0, followed, 0.3 * everywhere, suggested, everywhere)

    def behaviour_log_prob(self, policy_log_prob: FloatArray, modulated: Modulated) -> FloatArray:
        """Exact for discrete actions; the policy's own for continuous ones."""
        if self.learn != "mixture" or self._continuous:
            return policy_log_prob
        hit = modulated.actions == modulated.suggested
        return np.asarray(np.log(0.7 * np.exp(policy_log_prob) + 0.3 * hit))

    def reward(self, rewards: FloatArray, modulated: Modulated, next_observations: Array, ended: Array) -> FloatArray:
        """Pay the bonus."""
        self.calls.append("reward")
        self.seen += list(np.array(next_observations)[np.asarray(ended)])
        return np.asarray(rewards + BONUS)

    def metrics(self) -> dict[str, float]:
        """One figure."""
        return {"strength": 0.3}

    def state(self) -> dict[str, Any]:
        """The generator."""
        return {"rng": self._rng.bit_generator.state}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self._rng.bit_generator.state = state["rng"]
