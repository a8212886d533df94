"""Corridors that fail on purpose; a module of its own so that worker processes can import it."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np

from ultra_agents.testing.corridor import Corridor, CorridorVectorEnv


class NaNAfterAWhile(Corridor):
    def make(self, num_envs: int) -> CorridorVectorEnv:
        envs = super().make(num_envs)
        original, calls = envs.step, []

        def step(actions: Any) -> Any:
            calls.append(1)
            result = original(actions)
            if len(calls) == 3:
                result[0][-1] = np.nan
            return result

        envs.step = step  # type: ignore[method-assign]
        return envs


class InfiniteReward(Corridor):
    def make(self, num_envs: int) -> CorridorVectorEnv:
        envs = super().make(num_envs)
        original = envs.step

        def step(actions: Any) -> Any:
            observations, rewards, *rest = original(actions)
            rewards[0] = np.inf
            return observations, rewards, *rest

        envs.step = step  # type: ignore[method-assign]
        return envs


class Raises(Corridor):
    """Raises in `step` when an action is 1, in every worker that meets one."""

    def make(self, num_envs: int) -> CorridorVectorEnv:
        envs = super().make(num_envs)
        original = envs.step

        def step(actions: Any) -> Any:
            if np.any(np.asarray(actions) == 1):
                raise FileNotFoundError("the map of the corridor")
            return original(actions)

        envs.step = step  # type: ignore[method-assign]
        return envs


class Dies(Corridor):
    """The process that steps it is killed when an action is 1."""

    def make(self, num_envs: int) -> CorridorVectorEnv:
        envs = super().make(num_envs)
        original = envs.step

        def step(actions: Any) -> Any:
            if np.any(np.asarray(actions) == 1):
                os.kill(os.getpid(), signal.SIGKILL)
            return original(actions)

        envs.step = step  # type: ignore[method-assign]
        return envs


class FailsToBuild(Corridor):
    def make(self, num_envs: int) -> CorridorVectorEnv:
        raise RuntimeError("no licence")


class BuildsTooMany(Corridor):
    def make(self, num_envs: int) -> CorridorVectorEnv:
        return super().make(num_envs + 1)
