"""Our vector environments as Stable-Baselines3 knows them, with the modulation between the two."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from ultra_agents.contracts import Modulated, Modulation, learning_rewards
from ultra_agents.contracts.vector import before_reset
from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array, FloatArray

from .._episodes import RunningEpisodes


class EngineVecEnv(VecEnv):
    """An SB3 `VecEnv` over a `SAME_STEP` vector environment.

    Ended episodes give `terminal_observation` and `TimeLimit.truncated` (truncated and not terminated) in their info.
    What an algorithm proposes goes through `override` before it steps; `step_wait` then gives the modulated reward.
    Everything is raw here: a `VecNormalize` goes around this, so the modulation sees what the environment gave.

    Args:
        envs: Parallel environments.
        modulation: The engine, or None.
        episodes: Theirs, kept up to date here.

    Attributes:
        updates: Made before the next `reset`, of which its seeds depend.
    """

    def __init__(
        self, envs: gymnasium.vector.VectorEnv, modulation: Modulation | None, episodes: RunningEpisodes
    ) -> None:
        self.envs, self.modulation, self.episodes, self.updates = envs, modulation, episodes, 0
        spaces = envs.single_observation_space, envs.single_action_space
        super().__init__(envs.num_envs, *copy.deepcopy(spaces))  # SB3 seeds and draws from its action space
        self._modulated: Modulated | None = None
        self._actions: Array = np.zeros(0)

    def override(self, actions: Array) -> Modulated | None:
        """What the engine makes of the proposed actions `(n, ...)` of this step; None without a modulation."""
        observations = self.episodes.obs
        assert observations is not None
        self._modulated = None if self.modulation is None else self.modulation.act(observations, actions)
        return self._modulated

    def reset(self) -> Array:
        """Start an episode everywhere."""
        return self.episodes.start(self.updates)

    def step_async(self, actions: Array) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Array, FloatArray, Array, list[dict[str, Any]]]:
        """Observations after any reset, rewards to learn from, ended, and one info per environment."""
        observations, rewards, terminated, truncated, infos = self.envs.step(self._actions)
        rewards = np.array(rewards, dtype=np.float64)
        ended = np.asarray(terminated | truncated)
        before = before_reset(observations, ended, infos)
        self.episodes.count(rewards, ended, infos)
        if self.modulation is not None:
            assert self._modulated is not None
            made = learning_rewards(self.modulation, rewards, self._modulated, before, np.asarray(terminated), ended)
            rewards = np.array(made)
        if not (np.isfinite(observations).all() and np.isfinite(before).all() and np.isfinite(rewards).all()):
            raise EnvironmentFault("the environment gave an observation or a reward that is not a finite number")
        told: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for i in np.flatnonzero(ended):
            cut = bool(truncated[i]) and not bool(terminated[i])
            told[i] = {"terminal_observation": np.array(before[i]), "TimeLimit.truncated": cut}
        self.episodes.obs = np.array(observations)
        return self.episodes.obs, rewards, ended, told

    def close(self) -> None:
        """Nothing: the environments belong to the engine."""

    def get_attr(self, attr_name: str, indices: int | Iterable[int] | None = None) -> list[Any]:
        """`render_mode` is None; nothing else can be asked."""
        if attr_name != "render_mode":
            raise AttributeError(attr_name)
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: int | Iterable[int] | None = None) -> None:
        """Refused."""
        raise AttributeError(attr_name)

    def env_method(
        self, method_name: str, *method_args: Any, indices: int | Iterable[int] | None = None, **method_kwargs: Any
    ) -> list[Any]:
        """Refused."""
        raise AttributeError(method_name)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: int | Iterable[int] | None = None) -> list[bool]:
        """Never."""
        return [False] * self.num_envs
