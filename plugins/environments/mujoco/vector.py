"""Parallel MuJoCo worlds, bit-identical to Gymnasium's v5 environments (a test compares them), with exact snapshots.

The physics is MuJoCo's own, stepped by `mujoco.batch`: a world is its row of integration state (positions, velocities,
inputs and the solver's warm start), and one `MjData` computes a thread's worlds in turn. That is bit-identical to one
`MjData` per world (tests hold them together, in unstable worlds too). Observations and rewards are computed for all
worlds at once. `mujoco.rollout` would not do: its states lack the warm start; results would differ in the last bits.

`vector: native` gives the batch a thread for each core that no other process of the engine steps on. It pays only
where cores are idle, hence the default. What each way brings is in `docs/speed.md`.
"""

from __future__ import annotations

import struct
import zlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
from mujoco.batch import Batch
from pydantic import Field

from ultra_agents.contracts.vector import (
    GENERATOR_BYTES,
    SameStepVectorEnv,
    VectorOptions,
    pack_generator,
    stepping_threads,
    unpack_generator,
    unpack_snapshot,
)
from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array, FloatArray

_HEADER = struct.Struct(f"<4sIId{GENERATOR_BYTES}s")
"""Magic word, CRC-32 of model and MuJoCo's version, steps, forward velocity, generator; then the doubles."""
_MAGIC, _DEFLATED = b"MJC2", b"MJC1"
"""Of snapshots; those of earlier versions hold the doubles deflated, which takes longer than it saves."""


class MujocoOptions(VectorOptions):
    """Options every MuJoCo task has."""

    max_steps: int = Field(1000, ge=1, description="steps after which an episode is truncated")


@dataclass(frozen=True)
class Physics:
    """What Gymnasium's environment of a task is built from.

    Attributes:
        xml: File of the model among Gymnasium's assets.
        frame_skip: Physics steps per agent step.
        total_mass: Kilograms the model is scaled to, or None. In the file it is an attribute that MuJoCo warns of.
    """

    xml: str
    frame_skip: int
    total_mass: float | None = None


@dataclass(frozen=True)
class Locomotion(Physics):
    """Numbers of a task that is about running forward.

    Attributes:
        control_cost: Per squared unit of action.
        healthy_reward: For every step in which the body is upright; 0 where there is no falling.
        height: Height of the torso in m, lowest and highest, outside of which the body has fallen; None: never.
        lean: Angle of the torso in rad beyond which it has fallen.
        bound: Absolute value of any other part of the state at which the body counts as fallen.
        velocity_clip: Observed velocities are clipped to this.
        reset_noise: Of the first positions, uniform; of the first velocities too, or normal where it never falls.
        line: Metres beyond which the sparse version rewards.
    """

    control_cost: float = 1e-3
    healthy_reward: float = 1.0
    height: tuple[float, float] | None = None
    lean: float = np.inf
    bound: float = np.inf
    velocity_clip: float = np.inf
    reset_noise: float = 5e-3
    line: float = 0.6


@cache
def load_model(physics: Physics) -> Any:
    """The compiled model (`mujoco.MjModel`), shared by everybody in this process: nothing changes it."""
    spec = find_spec("gymnasium.envs.mujoco")
    if spec is None or spec.origin is None:
        raise EnvironmentFault("Gymnasium's MuJoCo models are missing", hint="pip install --force-reinstall gymnasium")
    text = (Path(spec.origin).parent / "assets" / physics.xml).read_text(encoding="utf-8")
    if physics.total_mass is not None:
        text = text.replace(f'settotalmass="{physics.total_mass:g}"', "")
    model = mujoco.MjModel.from_xml_string(text)
    if physics.total_mass is not None:
        scratch = mujoco.MjData(model)
        mujoco.mj_setTotalmass(model, physics.total_mass)
        mujoco.mj_setConst(model, scratch)
    return model


class MujocoVectorEnv(SameStepVectorEnv):
    """`num_envs` worlds of one model.

    Attributes:
        x_velocity: Forward velocity over the last step, m/s, `(n,)`.
    """

    def __init__(
        self, num_envs: int, physics: Physics, options: MujocoOptions, observation_space: Any, action_space: Any
    ) -> None:
        super().__init__(num_envs, observation_space, action_space)
        self.physics, self._options = physics, options
        self.model = load_model(physics)
        threads = min(num_envs, stepping_threads()) if options.vector == "native" else 1
        self._batch = Batch(self.model, num_envs, threads)
        self._rest = self._batch.state[0].copy()
        self._controls, self.qpos, self.qvel = (self._batch.bind(name) for name in ("ctrl", "qpos", "qvel"))
        self.dt = self.model.opt.timestep * physics.frame_skip
        self._start_position, self._start_velocity = self.model.qpos0.copy(), np.zeros(self.model.nv)
        self.x_velocity = np.zeros(num_envs)
        self._observations = np.zeros((num_envs, *observation_space.shape))
        self._steps = np.zeros(num_envs, np.int64)
        self._size = self._batch.nstate
        self._crc = zlib.crc32(f"{physics} {mujoco.__version__} {self.model.nq} {self._size}".encode())

    @abstractmethod
    def _first_state(self, generator: np.random.Generator) -> tuple[Array, Array]:
        """Positions `(nq,)` and velocities `(nv,)` an episode starts with."""

    @abstractmethod
    def _look(self, indices: Sequence[int]) -> None:
        """Write the observations of `indices` from the worlds as they are now."""

    @abstractmethod
    def _score(self, before: Array, actions: Array) -> tuple[FloatArray, Array]:
        """Rewards and terminated, given the positions before the step `(n, nq)`."""

    def observe(self) -> Array:
        """The observations of all environments, `(n, ...)` float64 as in Gymnasium."""
        return self._observations.copy()

    def snapshot(self, index: int) -> bytes:
        """MuJoCo's complete state (with the solver's warm start), clock, generator and observation of one world.

        The observation is kept because Gymnasium's may lag the state: the reacher's fingertip is where it was one
        physics step ago.
        """
        head = _HEADER.pack(
            _MAGIC,
            self._crc,
            int(self._steps[index]),
            float(self.x_velocity[index]),
            pack_generator(self._generators[index]),
        )
        return b"".join((head, self._batch.state[index].tobytes(), self._observations[index].tobytes()))

    def _restore(self, index: int, snapshot: bytes) -> None:
        whose = type(self).__name__.removesuffix("VectorEnv")
        deflated = snapshot[:4] == _DEFLATED
        magic = _DEFLATED if deflated else _MAGIC
        crc, steps, velocity, generator = unpack_snapshot(_HEADER, snapshot, magic, whose)
        if crc != self._crc:
            raise EnvironmentFault(
                "this snapshot was taken from another model or another MuJoCo",
                found=f"{crc:08x}",
                expected=f"{self._crc:08x} ({self.physics.xml}, MuJoCo {mujoco.__version__})",
                hint="use the MuJoCo version the episodes were collected with, or collect them again",
            )
        try:
            body = snapshot[_HEADER.size :]
            doubles = np.frombuffer(zlib.decompress(body) if deflated else body, np.float64)
            state, observation = doubles[: self._size], doubles[self._size :]
            self._observations[index] = observation.reshape(self._observations.shape[1:])
        except (zlib.error, ValueError) as error:
            raise EnvironmentFault(
                f"this snapshot of {whose} is damaged", found=f"{len(snapshot)} bytes: {error}"
            ) from error
        self._batch.state[index] = state
        self._steps[index], self.x_velocity[index] = steps, velocity
        unpack_generator(self._generators[index], generator)

    def _begin(self, indices: Sequence[int]) -> None:
        self._batch.state[list(indices)] = self._rest
        for index in indices:
            self.qpos[index], self.qvel[index] = self._first_state(self._generators[index])
            self._steps[index], self.x_velocity[index] = 0, 0.0
        self._batch.forward(indices)
        self._look(indices)

    def _advance(self, actions: Array) -> tuple[FloatArray, Array, Array]:
        actions = np.asarray(actions, np.float32)
        before = self.qpos.copy()
        self._simulate(self.active, actions)
        self._steps += 1
        self._look(range(self.num_envs))
        rewards, terminated = self._score(before, actions)
        return rewards, terminated, self._steps >= self._options.max_steps

    def _simulate(self, active: Sequence[int], actions: Array) -> None:
        """One agent step of the worlds at `active`; actions `(n, nu)`."""
        if len(active) == self.num_envs:
            self._controls[:] = actions
            self._batch.step(nstep=self.physics.frame_skip)
        else:
            self._controls[active] = actions[active]
            self._batch.step(active, self.physics.frame_skip)


class LocomotionVectorEnv(MujocoVectorEnv):
    """Hopper, Walker2d and HalfCheetah: observations are positions (without x) and velocities."""

    physics: Locomotion

    def __init__(
        self,
        num_envs: int,
        physics: Locomotion,
        options: MujocoOptions,
        sparse: bool,
        observation_space: Any,
        action_space: Any,
    ) -> None:
        super().__init__(num_envs, physics, options, observation_space, action_space)
        self._sparse = sparse

    def info(self) -> dict[str, Any]:
        """`x_position` in m and `x_velocity` in m/s over the last step."""
        return {"x_position": self.qpos[:, 0].copy(), "x_velocity": self.x_velocity.copy()}

    def _first_state(self, generator: np.random.Generator) -> tuple[Array, Array]:
        noise, model, falls = self.physics.reset_noise, self.model, self.physics.height is not None
        position = self._start_position + generator.uniform(-noise, noise, model.nq)
        if falls:
            return position, self._start_velocity + generator.uniform(-noise, noise, model.nv)
        return position, self._start_velocity + noise * generator.standard_normal(model.nv)

    def _look(self, indices: Sequence[int]) -> None:
        which, clip = slice(None) if len(indices) == self.num_envs else list(indices), self.physics.velocity_clip
        self._observations[which, : self.model.nq - 1] = self.qpos[which, 1:]
        self._observations[which, self.model.nq - 1 :] = np.clip(self.qvel[which], -clip, clip)

    def _score(self, before: Array, actions: Array) -> tuple[FloatArray, Array]:
        task = self.physics
        self.x_velocity = (self.qpos[:, 0] - before[:, 0]) / self.dt
        # In this order and in these widths, or the last bit differs from Gymnasium's.
        cost = task.control_cost * np.sum(np.square(actions), axis=1)
        fallen = np.zeros(self.num_envs, np.bool_)
        rewards = self.x_velocity
        if task.height is not None:
            fallen = ~self._upright()
            rewards = rewards + ~fallen * task.healthy_reward
        rewards = np.asarray(rewards - cost, np.float64)
        if self._sparse:
            rewards = np.where(self.qpos[:, 0] > task.line, rewards, 0.0)
        return rewards, fallen

    def _upright(self) -> Array:
        task, (height, lean) = self.physics, self.qpos[:, 1:3].T
        assert task.height is not None
        upright = (task.height[0] < height) & (height < task.height[1]) & (-task.lean < lean) & (lean < task.lean)
        if np.isfinite(task.bound):
            rest = np.concatenate([self.qpos[:, 2:], self.qvel], axis=1)
            upright &= np.all((-task.bound < rest) & (rest < task.bound), axis=1)
        return np.asarray(upright)


class ReacherVectorEnv(MujocoVectorEnv):
    """Reacher: cosines and sines of both angles, target, angular velocities, fingertip minus target.

    Args:
        radius: In the sparse version a step is worth 1 while the fingertip is this near to the target, m; None: dense.
    """

    def __init__(
        self,
        num_envs: int,
        physics: Physics,
        options: MujocoOptions,
        radius: float | None,
        observation_space: Any,
        action_space: Any,
    ) -> None:
        super().__init__(num_envs, physics, options, observation_space, action_space)
        self._radius = radius
        self._tips, self._targets = (self._batch.body(name).xpos for name in ("fingertip", "target"))

    def info(self) -> dict[str, Any]:
        """`distance` of the fingertip from the target in m."""
        return {"distance": np.hypot(self._observations[:, 8], self._observations[:, 9])}

    def _first_state(self, generator: np.random.Generator) -> tuple[Array, Array]:
        position = generator.uniform(-0.1, 0.1, self.model.nq) + self._start_position
        while True:
            goal = generator.uniform(-0.2, 0.2, 2)
            if np.linalg.norm(goal) < 0.2:
                break
        position[-2:] = goal
        velocity = self._start_velocity + generator.uniform(-0.005, 0.005, self.model.nv)
        velocity[-2:] = 0
        return position, velocity

    def _look(self, indices: Sequence[int]) -> None:
        for index in indices:
            angles, row = self.qpos[index][:2], self._observations[index]
            row[0:2], row[2:4] = np.cos(angles), np.sin(angles)
            row[4:6], row[6:8] = self.qpos[index][2:], self.qvel[index][:2]
            row[8:10] = (self._tips[index] - self._targets[index])[:2]

    def _score(self, before: Array, actions: Array) -> tuple[FloatArray, Array]:
        away = [float(np.linalg.norm(a - b)) for a, b in zip(self._tips, self._targets, strict=True)]
        distance, never = np.array(away), np.zeros(self.num_envs, np.bool_)
        if self._radius is not None:
            return (distance <= self._radius).astype(np.float64), never
        return np.asarray(-distance - np.square(actions).sum(axis=1), np.float64), never
