"""MountainCar-v0: an underpowered car that must swing to get up the hill; known to be hard to explore.

Stepped as one numpy batch, bit-identical to `gymnasium.make("MountainCar-v0")` (a test compares them).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import gymnasium
import numpy as np
from pydantic import Field

from ultra_agents.contracts import Brief, DiscreteActions, Environment, Options, Quantity, ReferenceReturns
from ultra_agents.contracts.quantities import columns
from ultra_agents.contracts.vector import (
    GENERATOR_BYTES,
    SameStepVectorEnv,
    pack_generator,
    unpack_generator,
    unpack_snapshot,
)
from ultra_agents.records import Array, FloatArray, Scalar

LEFT_WALL, RIGHT_WALL, FLAG, VALLEY = -1.2, 0.6, 0.5, -math.pi / 6
MAX_SPEED, FORCE, GRAVITY = 0.07, 0.001, 0.0025
_STATE = struct.Struct(f"<4sddI{GENERATOR_BYTES}s")
_MAGIC = b"MCR1"


class MountainCarOptions(Options):
    """Options of `MountainCar`."""

    max_steps: int = Field(200, ge=1, description="steps after which an episode is truncated")


class MountainCarVectorEnv(SameStepVectorEnv):
    """`num_envs` cars; observations `(n, 2)` float32 (position, velocity), actions `(n,)` in 0..2."""

    def __init__(self, num_envs: int, max_steps: int, observation_space: Any, action_space: Any) -> None:
        super().__init__(num_envs, observation_space, action_space)
        self._max_steps = max_steps
        self.state = np.zeros((num_envs, 2))
        self._steps = np.zeros(num_envs, np.int64)

    def observe(self) -> Array:
        """Positions and velocities."""
        return self.state.astype(np.float32)

    def snapshot(self, index: int) -> bytes:
        """State, step counter and generator of one car."""
        generator = pack_generator(self._generators[index])
        return _STATE.pack(_MAGIC, *self.state[index].tolist(), int(self._steps[index]), generator)

    def _restore(self, index: int, snapshot: bytes) -> None:
        fields = unpack_snapshot(_STATE, snapshot, _MAGIC, "MountainCar")
        position, velocity, self._steps[index], generator = fields
        self.state[index] = position, velocity
        unpack_generator(self._generators[index], generator)

    def _begin(self, indices: Sequence[int]) -> None:
        for index in indices:
            self.state[index] = self._generators[index].uniform(low=-0.6, high=-0.4), 0.0
            self._steps[index] = 0

    def _advance(self, actions: Array) -> tuple[FloatArray, Array, Array]:
        position, velocity = self.state[:, 0], self.state[:, 1]
        # numpy's vectorised cosine differs from the C library's, which gymnasium uses, in the last bit.
        slope = np.array([math.cos(x) for x in (3 * position).tolist()])
        velocity = velocity + ((actions - 1) * FORCE + slope * -GRAVITY)
        velocity = np.minimum(np.maximum(velocity, -MAX_SPEED), MAX_SPEED)
        position = np.minimum(np.maximum(position + velocity, LEFT_WALL), RIGHT_WALL)
        velocity[(position == LEFT_WALL) & (velocity < 0)] = 0
        self.state[:, 0], self.state[:, 1] = position, velocity
        self._steps += 1
        terminated = (position >= FLAG) & (velocity >= 0)
        return np.full(self.num_envs, -1.0), terminated, self._steps >= self._max_steps


class MountainCar(Environment):
    """The mountain car of Moore (1990) as in gymnasium's `MountainCar-v0`.

    Observation, `(2,)` float32: position (-1.2 to 0.6; valley -0.52, flag 0.5), velocity (-0.07 to 0.07 per step).
    Actions: 0 PUSH_LEFT, 1 COAST, 2 PUSH_RIGHT. Reward: -1 a step. At the time limit an episode is truncated; as in
    gymnasium it is both terminated and truncated when the flag is reached on the very last step.
    """

    Options: ClassVar[type[Options]] = MountainCarOptions
    options: MountainCarOptions

    @property
    def env_id(self) -> str:
        """Id as in gymnasium; another time limit is named in it."""
        limit = self.options.max_steps
        return "MountainCar-v0" if limit == 200 else f"MountainCar-{limit}steps-v0"

    @cached_property
    def observation_space(self) -> gymnasium.Space[Any]:
        """Position and velocity."""
        low = np.array([LEFT_WALL, -MAX_SPEED], np.float32)
        high = np.array([RIGHT_WALL, MAX_SPEED], np.float32)
        return gymnasium.spaces.Box(low, high, dtype=np.float32)

    @cached_property
    def action_space(self) -> gymnasium.Space[Any]:
        """PUSH_LEFT, COAST, PUSH_RIGHT."""
        return gymnasium.spaces.Discrete(3)

    def make(self, num_envs: int) -> MountainCarVectorEnv:
        """Build `num_envs` cars."""
        return MountainCarVectorEnv(num_envs, self.options.max_steps, self.observation_space, self.action_space)

    @property
    def brief(self) -> Brief:
        """The environment in words."""
        return Brief(
            goal="Bring the car to the flag on the right hill (position 0.5) in as few steps as possible.",
            dynamics=(
                "The car moves on a track between a left wall (position -1.2) and the flag (0.5); the valley's bottom "
                "is at -0.52. Velocity is in position units per step, positive to the right, at most 0.07. A push "
                "changes the velocity by 0.001 a step; gravity pulls towards the valley with up to 0.0025, so the "
                "engine alone cannot climb the hill: the car must swing left and right and gain speed with each "
                "swing. Hitting the left wall stops it."
            ),
            actions="PUSH_LEFT: push to the left. COAST: no push. PUSH_RIGHT: push to the right.",
            reward="-1 for every step until the flag is reached.",
            termination=f"At the flag, or after {self.options.max_steps} steps (failure: the return is then "
            f"-{self.options.max_steps}).",
            advice_scale=(
                "One push changes next to nothing; a push must be held for a whole swing, 10 to 40 steps, and only a "
                "consistent series of swings reaches the flag."
            ),
        )

    def describe(self, observation: Array, info: Mapping[str, Scalar]) -> str:
        """Where the car is, which way it rolls, and how far the flag is."""
        position, velocity = (float(v) for v in np.clip(np.nan_to_num(np.asarray(observation, np.float64)), -9, 9))
        if position < VALLEY - 0.1:
            place = "on the left slope"
        elif position > VALLEY + 0.1:
            place = "on the right slope"
        else:
            place = "near the bottom of the valley"
        if abs(velocity) < 0.0005:
            motion = "standing almost still"
        else:
            side = velocity > 0
            uphill = "uphill" if (position > VALLEY) == side else "downhill"
            motion = f"rolling {'right' if side else 'left'} ({uphill}) at {abs(velocity):.3f} per step"
        ahead = f"the flag is {FLAG - position:.2f} ahead" if position < FLAG else "the flag is reached"
        return f"The car is {place} (position {position:.2f}), {motion}; {ahead}."

    @cached_property
    def actions(self) -> DiscreteActions:
        """PUSH_LEFT, COAST, PUSH_RIGHT."""
        return DiscreteActions(("PUSH_LEFT", "COAST", "PUSH_RIGHT"))

    def features(self, observations: Array) -> FloatArray:
        """Position over half the track from the valley, velocity over half the top speed: `(n, 2)`."""
        centre, scale = np.array([VALLEY, 0], np.float32), np.array([0.5, MAX_SPEED / 2], np.float32)
        return np.asarray((np.asarray(observations, np.float32) - centre) / scale)

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        """Position and velocity."""
        return columns(self.legend, np.asarray(observations).T)

    @property
    def legend(self) -> Mapping[str, Quantity]:
        """Position on the track, and its change."""
        place = f"wall at {LEFT_WALL:g}, valley at {VALLEY:.2f}, flag at {FLAG:g}"
        return {
            "position": Quantity("track units", place, "right of 0, on the flag's hill", LEFT_WALL, RIGHT_WALL),
            "velocity": Quantity("track units/step", "change of the position", "to the right", -MAX_SPEED, MAX_SPEED),
        }

    def snapshot(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int]) -> list[bytes]:
        """The complete state of the cars at `indices`."""
        assert isinstance(envs, MountainCarVectorEnv)
        return [envs.snapshot(index) for index in indices]

    def restore(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put `snapshots` into the cars at `indices`."""
        assert isinstance(envs, MountainCarVectorEnv)
        return envs.restore(indices, snapshots)

    def expert(self) -> Callable[[Array], Array]:
        """Push along the velocity (to the left from rest)."""
        return lambda observations: np.where(observations[:, 1] > 0, 2, 0)

    @property
    def reference_returns(self) -> ReferenceReturns:
        """Random play never arrives; good tabular and deep policies need about 100 steps."""
        return ReferenceReturns(
            random=float(-self.options.max_steps),
            reference=-100.0,
            source="random: uniform actions in this plugin; reference: near the best mean published for this task",
        )

    def render(self, envs: gymnasium.vector.VectorEnv, index: int) -> Array:
        """Hills, flag and car, `(200, 300, 3)`."""
        assert isinstance(envs, MountainCarVectorEnv)
        height, width = 200, 300
        frame = np.full((height, width, 3), 255, np.uint8)
        track = np.linspace(LEFT_WALL, RIGHT_WALL, width)
        ground = height - 25 - ((np.sin(3 * track) * 0.45 + 0.55) * 120).astype(np.int64)
        rows = np.arange(height)[:, None]
        frame[rows >= ground[None, :]] = (188, 170, 140)

        def place(position: float) -> tuple[int, int]:
            column = round((position - LEFT_WALL) / (RIGHT_WALL - LEFT_WALL) * (width - 1))
            return int(ground[column]), column

        row, column = place(FLAG)
        frame[row - 30 : row, column : column + 2] = (60, 60, 60)
        frame[row - 30 : row - 20, column + 2 : column + 14] = (220, 60, 60)
        row, column = place(float(envs.state[index, 0]))
        frame[row - 8 : row, max(column - 7, 0) : column + 8] = (50, 90, 200)
        return frame
