"""The MuJoCo tasks on one `MjData` per world, stepped one by one: what `mujoco.batch` replaced.

Same results to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mujoco
import numpy as np
from ultra_agents_plugins.environments.mujoco import HalfCheetah, Hopper
from ultra_agents_plugins.environments.mujoco.vector import LocomotionVectorEnv

STATE = mujoco.mjtState.mjSTATE_INTEGRATION


class LoopVectorEnv(LocomotionVectorEnv):
    """`num_envs` worlds, an `MjData` each."""

    def __init__(self, num_envs: int, *arguments: Any) -> None:
        super().__init__(num_envs, *arguments)
        self._datas = [mujoco.MjData(self.model) for _ in range(num_envs)]
        self._parts = [(data.ctrl, data.qpos, data.qvel) for data in self._datas]
        self.qpos, self.qvel = np.zeros((num_envs, self.model.nq)), np.zeros((num_envs, self.model.nv))

    def snapshot(self, index: int) -> bytes:
        """The state of one world."""
        mujoco.mj_getState(self.model, self._datas[index], self._batch.state[index], STATE)
        return super().snapshot(index)

    def _restore(self, index: int, snapshot: bytes) -> None:
        super()._restore(index, snapshot)
        mujoco.mj_setState(self.model, self._datas[index], self._batch.state[index], STATE)
        self._read([index])

    def _begin(self, indices: Sequence[int]) -> None:
        for index in indices:
            data = self._datas[index]
            mujoco.mj_resetData(self.model, data)
            data.qpos[:], data.qvel[:] = self._first_state(self._generators[index])
            mujoco.mj_forward(self.model, data)
            self._steps[index], self.x_velocity[index] = 0, 0.0
        self._read(indices)
        self._look(indices)

    def _simulate(self, active: Sequence[int], actions: Any) -> None:
        for index in active:
            self._parts[index][0][:] = actions[index]
        for index in active:
            mujoco.mj_step(self.model, self._datas[index], self.physics.frame_skip)
        self._read(active)

    def _read(self, indices: Sequence[int]) -> None:
        for index in indices:
            _, self.qpos[index], self.qvel[index] = self._parts[index]


class _Loop:
    def make(self, num_envs: int) -> LoopVectorEnv:
        """Build `num_envs` worlds."""
        task: Any = self
        sparse = task.options.reward == "sparse"
        return LoopVectorEnv(num_envs, task.physics, task.options, sparse, task.observation_space, task.action_space)


class LoopHopper(_Loop, Hopper):
    """Hopper, an `MjData` for each world."""


class LoopHalfCheetah(_Loop, HalfCheetah):
    """HalfCheetah, an `MjData` for each world."""


LOOPS = {"hopper": LoopHopper, "half-cheetah": LoopHalfCheetah}
