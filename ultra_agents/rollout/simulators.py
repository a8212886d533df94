"""Parallel simulators in this process or in workers: same seeds and actions, same results, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.contracts.vector import SameStepVectorEnv, workers_wanted
from ultra_agents.errors import ConfigError
from ultra_agents.plugin_calls import asking
from ultra_agents.records import Array
from ultra_agents.rollout.vector import Simulators, StepResult, build
from ultra_agents.rollout.workers import WorkerSimulators

__all__ = ["LocalSimulators", "Simulators", "StepResult", "make_simulators"]


def make_simulators(
    environment: Environment, num_envs: int, workers: int = 0, on_note: Callable[[str], None] | None = None
) -> Simulators:
    """Build `num_envs` parallel environments.

    Args:
        environment: The plugin.
        num_envs: Parallel environments, at least 1.
        workers: Processes to spread them over; 0 steps them in this process. More than `num_envs` are not started.
            With one, it steps half of them and this process the other half. An environment with `vector: async` gets
            at least one per CPU core.
        on_note: Told what a person should know and what stops nothing, at most once for each kind.

    Raises:
        EnvironmentFault: The plugin fails to build them, or builds something else than it announces.
        ConfigError: A number that makes no sense.
    """
    if num_envs < 1 or workers < 0:
        raise ConfigError(
            "simulators need at least one environment and no negative number of workers",
            found=f"num_envs={num_envs}, workers={workers}",
        )
    workers = max(workers, workers_wanted(environment))
    if workers == 0:
        return LocalSimulators(environment, num_envs, on_note)
    return WorkerSimulators(environment, num_envs, workers, on_note)


class LocalSimulators(Simulators):
    """All environments in this process."""

    def __init__(self, environment: Environment, num_envs: int, on_note: Callable[[str], None] | None = None) -> None:
        super().__init__(environment, num_envs, on_note)
        self._actions: Any = None
        with asking(environment):
            self._envs: Any = build(environment, num_envs)

    def step_async(self, actions: Any) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def rest(self, idle: Array) -> None:
        """Leave these out where the plugin's environments can be."""
        if isinstance(self._envs, SameStepVectorEnv):
            self._envs.idle[:] = idle

    def close_extras(self, **kwargs: Any) -> None:
        """Close the plugin's environments."""
        self._envs.close()

    def _reset(self, seeds: list[int | None] | None, options: dict[str, Any] | None) -> tuple[Array, dict[str, Any]]:
        self.rest(np.zeros(self.num_envs, np.bool_))
        with asking(self.environment):
            observations, info = self._envs.reset(seed=seeds, options=options)
        return observations, info

    def _collect_step(self) -> StepResult:
        with asking(self.environment):
            result: StepResult = self._envs.step(self._actions)
        return result

    def _snapshot(self, indices: list[int]) -> list[bytes]:
        with asking(self.environment):
            return self.environment.snapshot(self._envs, indices)

    def _restore(self, indices: list[int], snapshots: Sequence[bytes]) -> Array:
        with asking(self.environment):
            return self.environment.restore(self._envs, indices, snapshots)

    def _render(self, index: int) -> Array:
        with asking(self.environment):
            return self.environment.render(self._envs, index)
