"""A chain with one decision, its optimal policy, and small settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ultra_agents.config import Config, parse_config
from ultra_agents.contracts import Brief, DiscreteActions, Environment, Options, Policy
from ultra_agents.contracts.vector import SameStepVectorEnv

CELLS, DECISIVE = 6, 3


class _Chain(SameStepVectorEnv):
    """Every action goes one cell on; only in cell `DECISIVE` it matters which one: 1 earns 1, 0 earns nothing."""

    def __init__(self, num_envs: int, observation_space: Any, action_space: Any) -> None:
        super().__init__(num_envs, observation_space, action_space)
        self.cells = np.zeros(num_envs, np.int64)

    def observe(self) -> Any:
        return np.eye(CELLS, dtype=np.float32)[self.cells]

    def _begin(self, indices: Sequence[int]) -> None:
        self.cells[list(indices)] = 0

    def _advance(self, actions: Any) -> Any:
        rewards = ((self.cells == DECISIVE) & (actions == 1)).astype(np.float64)
        ended = self.cells == CELLS - 1
        self.cells = np.minimum(self.cells + 1, CELLS - 1)
        return rewards, ended, np.zeros_like(ended)

    def snapshot(self, index: int) -> bytes:
        return bytes([int(self.cells[index])])

    def _restore(self, index: int, snapshot: bytes) -> None:
        self.cells[index] = snapshot[0]


class Chain(Environment):
    """Six cells in a row, one decision."""

    env_id = "Chain-v1"  # type: ignore[assignment]
    observation_space = gymnasium.spaces.Box(0.0, 1.0, (CELLS,), np.float32)  # type: ignore[assignment]
    action_space = gymnasium.spaces.Discrete(2)  # type: ignore[assignment]
    actions = DiscreteActions(("LEFT", "RIGHT"))  # type: ignore[assignment]
    brief = Brief("", "", "", "", "")  # type: ignore[assignment]
    Options: ClassVar[type[Options]] = Options

    def make(self, num_envs: int) -> _Chain:
        return _Chain(num_envs, self.observation_space, self.action_space)

    def describe(self, observation: Any, info: Any) -> str:
        return "a cell"

    def features(self, observations: Any) -> Any:
        return np.asarray(observations)

    def snapshot(self, envs: Any, indices: Sequence[int]) -> list[bytes]:
        return [envs.snapshot(index) for index in indices]

    def restore(self, envs: Any, indices: Sequence[int], snapshots: Sequence[bytes]) -> Any:
        return envs.restore(indices, snapshots)


class Right(Policy):
    """Always 1: the optimum of the chain."""

    def act(self, observations: Any, rng: Any = None, deterministic: bool = False) -> Any:
        return np.ones(len(observations), np.int64)

    def act_with_uniforms(self, observations: Any, uniforms: Any) -> Any:
        return self.act(observations)

    def value(self, observations: Any) -> Any:
        return np.zeros(len(observations))

    def state(self) -> Any:
        return {}, {}


class Keeps(Policy):
    """A mask that keeps with a given probability of each observation, drawn by inverse CDF."""

    def __init__(self, probability: Callable[[Any], Any]) -> None:
        self.probability = probability

    def act_with_uniforms(self, observations: Any, uniforms: Any) -> Any:
        return (uniforms[:, 0] > self.probability(observations)).astype(np.int64)

    def act(self, observations: Any, rng: Any = None, deterministic: bool = False) -> Any:
        raise NotImplementedError

    def value(self, observations: Any) -> Any:
        raise NotImplementedError

    def state(self) -> Any:
        raise NotImplementedError


def settings(**changes: Any) -> Config:
    base: dict[str, Any] = {
        "environment": {"name": "corridor", "options": {"length": 9, "max_steps": 20}},
        "policy": {"train_steps": 1000},
        "refine": {"steps": 6000, "num_envs": 8, "workers": 0, "algorithm": {"name": "ppo", "options": SMALL}},
    }
    return parse_config({**base, **changes}, "test")


SMALL = {"hidden": [16, 16], "num_steps": 32}
