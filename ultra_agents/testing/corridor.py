"""A corridor with a reward at its far end and a lure at the near one: tiny, exact, with a known optimum.

Part of the product: it runs a whole pipeline in seconds, and tells a broken method from a hard task. The exact
optimum and the exact return of random play come from dynamic programming over its few states.
"""

from __future__ import annotations

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
from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array, FloatArray, Scalar

_STATE = struct.Struct(f"<4sII{GENERATOR_BYTES}s")
_MAGIC = b"COR1"


class CorridorOptions(Options):
    """Options of `Corridor`."""

    length: int = Field(9, ge=3, le=1001, description="cells, both ends included; episodes start in the middle")
    max_steps: int = Field(50, ge=1, description="steps after which an episode is truncated")
    goal: float = Field(1.0, allow_inf_nan=False, description="reward for entering the right end")
    lure: float = Field(0.2, allow_inf_nan=False, description="reward for entering the left end")
    step_cost: float = Field(0.01, ge=0, allow_inf_nan=False, description="subtracted on every step")
    slip: float = Field(0.0, ge=0, lt=1, description="chance that a step goes the other way")


class CorridorVectorEnv(SameStepVectorEnv):
    """`num_envs` walkers; observations `(n, 1)` float32 in [-1, 1], actions `(n,)`: 0 left, 1 right."""

    def __init__(self, num_envs: int, options: CorridorOptions, observation_space: Any, action_space: Any) -> None:
        super().__init__(num_envs, observation_space, action_space)
        self._options = options
        self.cells = np.full(num_envs, options.length // 2)
        self._steps = np.zeros(num_envs, np.int64)

    def observe(self) -> Array:
        """Cells as observations, -1 at the left end and 1 at the right one."""
        return (2.0 * self.cells / (self._options.length - 1) - 1.0).astype(np.float32)[:, None]

    def info(self) -> dict[str, Any]:
        """The cells."""
        return {"cell": self.cells.copy()}

    def snapshot(self, index: int) -> bytes:
        """Cell, step counter and generator of one walker."""
        generator = pack_generator(self._generators[index])
        return _STATE.pack(_MAGIC, int(self.cells[index]), int(self._steps[index]), generator)

    def _restore(self, index: int, snapshot: bytes) -> None:
        cell, steps, generator = unpack_snapshot(_STATE, snapshot, _MAGIC, "this corridor")
        if not 0 < cell < self._options.length - 1:
            raise EnvironmentFault(
                "this is not a snapshot of this corridor",
                found=f"cell {cell}",
                expected=f"a cell inside a corridor of {self._options.length}",
            )
        self.cells[index], self._steps[index] = cell, steps
        unpack_generator(self._generators[index], generator)

    def _begin(self, indices: Sequence[int]) -> None:
        self.cells[list(indices)] = self._options.length // 2
        self._steps[list(indices)] = 0

    def _advance(self, actions: Array) -> tuple[FloatArray, Array, Array]:
        options = self._options
        moves = 2 * actions.astype(np.int64) - 1
        if options.slip:
            moves[np.array([generator.random() for generator in self._generators]) < options.slip] *= -1
        self.cells += moves
        self._steps += 1
        right, left = self.cells == options.length - 1, self.cells == 0
        rewards = options.goal * right + options.lure * left - options.step_cost
        terminated = right | left
        return rewards, terminated, (self._steps >= options.max_steps) & ~terminated


class Corridor(Environment):
    """`length` cells in a row, start in the middle, 0 LEFT and 1 RIGHT, both ends terminal.

    Observation, `(1,)` float32: the cell, -1 at the left end to 1 at the right one; information: `cell`, from 0.
    """

    Options: ClassVar[type[Options]] = CorridorOptions
    options: CorridorOptions

    @property
    def env_id(self) -> str:
        """Id with everything that changes the task."""
        o = self.options
        slip = f"-slip{o.slip:g}" if o.slip else ""
        return f"Corridor-{o.length}x{o.max_steps}-goal{o.goal:g}-lure{o.lure:g}-cost{o.step_cost:g}{slip}-v1"

    @cached_property
    def observation_space(self) -> gymnasium.Space[Any]:
        """The cell in [-1, 1]."""
        return gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

    @cached_property
    def action_space(self) -> gymnasium.Space[Any]:
        """LEFT, RIGHT."""
        return gymnasium.spaces.Discrete(2)

    def make(self, num_envs: int) -> CorridorVectorEnv:
        """Build `num_envs` walkers."""
        return CorridorVectorEnv(num_envs, self.options, self.observation_space, self.action_space)

    @property
    def brief(self) -> Brief:
        """The environment in words."""
        o = self.options
        slips = f" With chance {o.slip:g} a step goes the other way." if o.slip else ""
        return Brief(
            goal="Walk to the end of the corridor that is worth more.",
            dynamics=f"A row of cells 0 to {o.length - 1}; I start in cell {o.length // 2}.{slips}",
            actions="LEFT: one cell to the left. RIGHT: one cell to the right.",
            reward=f"{o.goal:+g} in the right end, {o.lure:+g} in the left end, -{o.step_cost:g} for every step.",
            termination=f"At either end, or after {o.max_steps} steps.",
            advice_scale="A single step is quickly undone; a direction has to be held to the end.",
        )

    def describe(self, observation: Array, info: Mapping[str, Scalar]) -> str:
        """The cell, and how far both ends are."""
        last = self.options.length - 1
        place = float(np.clip(np.nan_to_num(np.asarray(observation, np.float64).reshape(-1)[0]), -1, 1))
        cell = round((place + 1) / 2 * last)
        return f"I am in cell {cell}: {last - cell} steps from the right end, {cell} from the left end."

    @cached_property
    def actions(self) -> DiscreteActions:
        """LEFT, RIGHT."""
        return DiscreteActions(("LEFT", "RIGHT"))

    def features(self, observations: Array) -> FloatArray:
        """The observation: `(n, 1)`."""
        return np.array(observations, np.float32)

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        """The cell, and how far the right end is."""
        last = self.options.length - 1
        cell = np.rint((np.asarray(observations, np.float64)[:, 0] + 1) / 2 * last)
        return columns(self.legend, [cell, last - cell])

    @property
    def legend(self) -> Mapping[str, Quantity]:
        """Cells and steps."""
        last = self.options.length - 1
        return {
            "cell": Quantity("cells", "place in the corridor, 0 at the left end", "to the right", 0, last),
            "to_right_end": Quantity("steps", "to the right end", "", 0, last),
        }

    def segment_kind(self, trajectory_rewards: FloatArray) -> str | None:
        """`goal reached`, `lured` or `wandering`, by the last reward."""
        last, o = float(trajectory_rewards[-1]) if len(trajectory_rewards) else -np.inf, self.options
        ends = {"goal reached": o.goal - o.step_cost, "lured": o.lure - o.step_cost}
        return next((kind for kind, reward in ends.items() if np.isclose(last, reward)), "wandering")

    def snapshot(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int]) -> list[bytes]:
        """The complete state of the walkers at `indices`."""
        assert isinstance(envs, CorridorVectorEnv)
        return [envs.snapshot(index) for index in indices]

    def restore(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put `snapshots` into the walkers at `indices`."""
        assert isinstance(envs, CorridorVectorEnv)
        return envs.restore(indices, snapshots)

    def expert(self) -> Callable[[Array], Array]:
        """The best action of each cell with all of `max_steps` left."""
        best = self._plan()[1]

        def act(observations: Array) -> Array:
            cells = np.rint((np.asarray(observations)[:, 0] + 1) / 2 * (self.options.length - 1)).astype(np.int64)
            return np.asarray(best[np.clip(cells, 0, self.options.length - 1)])

        return act

    @property
    def reference_returns(self) -> ReferenceReturns:
        """Exact: expected returns of uniform and of optimal play from the start."""
        best, _, uniform = self._plan()
        start = self.options.length // 2
        return ReferenceReturns(float(uniform[start]), float(best[start]), "exact, by dynamic programming")

    def render(self, envs: gymnasium.vector.VectorEnv, index: int) -> Array:
        """The row of cells, `(16, 16 * length, 3)`: lure yellow, goal green, walker blue."""
        assert isinstance(envs, CorridorVectorEnv)
        cells = np.full((1, self.options.length, 3), 235, np.uint8)
        cells[0, 0], cells[0, -1] = (240, 200, 60), (80, 180, 90)
        cells[0, envs.cells[index]] = (50, 90, 200)
        frame = np.kron(cells, np.ones((16, 16, 1), np.uint8))
        frame[:, ::16] = 255
        return frame

    def _plan(self) -> tuple[FloatArray, Array, FloatArray]:
        """By cell, with all steps left: value of optimal play, best action, value of uniform play."""
        o = self.options
        arriving = np.full(o.length, -o.step_cost)
        arriving[0] += o.lure
        arriving[-1] += o.goal
        best, uniform = np.zeros(o.length), np.zeros(o.length)
        values: FloatArray = np.zeros((2, o.length))
        for _ in range(o.max_steps):
            values, even = _backup(arriving + best, o.slip), _backup(arriving + uniform, o.slip)
            best[1:-1], uniform[1:-1] = values.max(axis=0)[1:-1], even.mean(axis=0)[1:-1]
        return best, np.argmax(values, axis=0), uniform


def _backup(worth: FloatArray, slip: float) -> FloatArray:
    """Worth of arriving in each cell `(length,)` -> worth of LEFT and RIGHT in each cell `(2, length)`."""
    left, right = np.roll(worth, 1), np.roll(worth, -1)
    return np.stack([(1 - slip) * left + slip * right, (1 - slip) * right + slip * left])
