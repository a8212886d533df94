"""This project's simulators as an SB3 `VecEnv`, so that everybody trains on the same environments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, VecTransposeImage


class Adaptor(VecEnv):
    """Passes everything on; final observations and truncation are said the way SB3 expects them.

    Args:
        sims: What is stepped.
    """

    def __init__(self, sims: Any) -> None:
        self.sims, self.render_mode = sims, None
        super().__init__(sims.num_envs, sims.single_observation_space, sims.single_action_space)

    def reset(self) -> Any:
        """First observations."""
        return self.sims.reset(seed=self._seeds if self._seeds[0] is not None else list(range(self.num_envs)))[0]

    def step_async(self, actions: Any) -> None:
        """Let all step."""
        self.sims.step_async(actions)

    def step_wait(self) -> Any:
        """What came of it."""
        observations, rewards, terminated, truncated, infos = self.sims.step_wait()
        dones = terminated | truncated
        told: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for index in np.flatnonzero(dones).tolist():
            cut = bool(truncated[index] and not terminated[index])
            told[index] = {"terminal_observation": infos["final_obs"][index], "TimeLimit.truncated": cut}
        return observations, rewards, dones, told

    def close(self) -> None:
        """The simulators are closed by whoever made them."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """Nothing is known of single environments."""
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Nothing can be set."""

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Nothing can be called."""
        return [None] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Nothing is wrapped."""
        return [False] * self.num_envs

    def get_images(self) -> Sequence[Any]:
        """Nothing is drawn."""
        return []


def adapted(sims: Any, normalize: bool) -> VecEnv:
    """The simulators, with channels first for screens and normalised observations if asked for."""
    envs: VecEnv = Adaptor(sims)
    shape = sims.single_observation_space.shape
    if len(shape) == 3 and shape[-1] < shape[0]:
        envs = VecTransposeImage(envs)
    return VecNormalize(envs, norm_reward=False) if normalize else envs
