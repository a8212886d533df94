"""What parallel simulators offer wherever they run, and the checks on what the plugin returns."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from ultra_agents.contracts import Environment, capabilities
from ultra_agents.errors import EnvironmentFault
from ultra_agents.plugin_calls import KIT, plugin_name
from ultra_agents.records import Array, FloatArray

StepResult = tuple[Array, FloatArray, Array, Array, dict[str, Any]]


class Simulators(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """A vector environment with snapshots and frames, autoresetting in the same step.

    Every answer is checked: shapes, and that observations and rewards are finite.

    Attributes:
        environment: The plugin that is simulated.
        can_snapshot: `snapshot` and `restore` work.
        can_render: `render_frame` works.
        halves: The two halves of the environments, one where there is only one environment. Workers step each of them
            apart (`send_half`, `receive_half`), so that one steps while the actions for the other are chosen.
    """

    def __init__(self, environment: Environment, num_envs: int, on_note: Callable[[str], None] | None = None) -> None:
        self.environment, self._on_note = environment, on_note
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.single_observation_space = environment.observation_space
        self.single_action_space = environment.action_space
        self.observation_space = batch_space(environment.observation_space, num_envs)
        self.action_space = batch_space(environment.action_space, num_envs)
        offered = capabilities(environment)
        self.can_snapshot = "snapshot" in offered
        self.can_render = "render" in offered
        self.halves = halves(num_envs)
        self._shape = (num_envs, *(environment.observation_space.shape or ()))
        self._bounds = _bounds(environment.observation_space)

    def __enter__(self) -> Simulators:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode everywhere.

        Args:
            seed: One per environment; an integer stands for `seed, seed + 1, ...`; None goes on as things are.
            options: Handed to the plugin.

        Returns:
            Observations `(n, ...)`, and information as arrays of length `n`.
        """
        seeds = [seed + index for index in range(self.num_envs)] if isinstance(seed, int) else seed
        if seeds is not None and len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments")
        observations, info = self._reset(None if seeds is None else list(seeds), options)
        self._check(observations, None)
        return observations, info

    def step(self, actions: Any) -> StepResult:
        """Actions `(n, ...)` -> observations, rewards, terminated, truncated, information, as gymnasium has it."""
        self.step_async(actions)
        return self.step_wait()

    def step_wait(self) -> StepResult:
        """The result of the last `step_async`."""
        result = self._collect_step()
        self._check(result[0], result[1])
        return result

    def rest(self, idle: Array) -> None:
        """Environments `idle` `(n,)` bool need not be stepped until the next reset: nobody looks at their results."""

    def snapshot(self, indices: Sequence[int]) -> list[bytes]:
        """The complete states of the environments at `indices`, in that order."""
        self._need(self.can_snapshot, "save its state", "advice cannot be tested there: set verification.mode=none")
        return self._snapshot(self._known(indices))

    def restore(self, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put `snapshots` into the environments at `indices`; their observations `(len(indices), ...)`."""
        self._need(self.can_snapshot, "restore a state", "advice cannot be tested there: set verification.mode=none")
        if len(indices) != len(snapshots):
            raise ValueError(f"{len(snapshots)} snapshots for {len(indices)} environments")
        return self._restore(self._known(indices), snapshots)

    def render_frame(self, index: int) -> Array:
        """The environment at `index` as an RGB frame `(height, width, 3)` of uint8."""
        self._need(self.can_render, "draw itself", None)
        return self._render(self._known([index])[0])

    @abstractmethod
    def step_async(self, actions: Any) -> None:
        """Hand over actions `(n, ...)`; `step_wait` must follow."""

    @abstractmethod
    def _reset(
        self, seeds: list[int | None] | None, options: dict[str, Any] | None
    ) -> tuple[Array, dict[str, Any]]: ...

    @abstractmethod
    def _collect_step(self) -> StepResult: ...

    @abstractmethod
    def _snapshot(self, indices: list[int]) -> list[bytes]: ...

    @abstractmethod
    def _restore(self, indices: list[int], snapshots: Sequence[bytes]) -> Array: ...

    @abstractmethod
    def _render(self, index: int) -> Array: ...

    def _known(self, indices: Sequence[int]) -> list[int]:
        plain = [int(index) for index in indices]
        if any(not 0 <= index < self.num_envs for index in plain):
            raise IndexError(f"environments {plain} of {self.num_envs}")
        return plain

    def _need(self, offered: bool, what: str, hint: str | None) -> None:
        if not offered:
            raise EnvironmentFault(f"the environment {plugin_name(self.environment)} cannot {what}", hint=hint)

    def _check(self, observations: Array, rewards: FloatArray | None, envs: slice = slice(0)) -> None:
        """Check what the environments `envs`, all unless said, returned."""
        expected = (envs.stop - (envs.start or 0) or self.num_envs, *self._shape[1:])
        if observations.shape != expected:
            raise EnvironmentFault(
                f"the environment {plugin_name(self.environment)} returned observations of the wrong shape",
                found=observations.shape,
                expected=expected,
            )
        first = envs.start or 0
        # One sum instead of two passes: it is finite exactly when nothing in it is NaN or infinite, but for overflow.
        if observations.dtype.kind == "f" and not math.isfinite(float(observations.sum())):
            self._refuse(observations, "an observation", first)
        if self._bounds is not None:
            self._check_bounds(observations, *self._bounds, first)
        if rewards is not None and not math.isfinite(float(rewards.sum())):
            self._refuse(rewards, "a reward", first)

    def _check_bounds(self, observations: Array, low: Array, high: Array, first: int) -> None:
        outside = (observations < low) | (observations > high)
        if outside.any():
            index = int(np.flatnonzero(outside.reshape(len(observations), -1).any(axis=1))[0])
            if not self.environment.enforces_bounds:
                self._bounds = None
                if self._on_note is not None:
                    self._on_note(
                        f"the environment {plugin_name(self.environment)} returns observations outside its "
                        f"observation_space ({observations[index]}); they are taken as they are"[:400]
                    )
                return
            raise EnvironmentFault(
                f"the environment {plugin_name(self.environment)} returned an observation outside its space",
                found=f"environment {first + index}: {observations[index]}",
                expected=self.single_observation_space,
                hint="widen its observation_space; ultra plugins check NAME runs the conformance kit over the plugin",
            )

    def _refuse(self, values: Array, what: str, first: int) -> None:
        bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
        if len(bad):
            raise EnvironmentFault(
                f"the environment {plugin_name(self.environment)} returned {what} that is not finite",
                found=f"environment {first + bad[0]}: {values[bad[0]]}",
                expected="finite numbers",
                hint=KIT,
            )


def _bounds(space: gymnasium.Space[Any]) -> tuple[Array, Array] | None:
    """Lowest and highest values of a `Box`, with a thousandth of its width for rounding; None where none bind."""
    if not isinstance(space, gymnasium.spaces.Box):
        return None
    if space.dtype is not None and space.dtype.kind in "iu":
        limits = np.iinfo(space.dtype)
        if (space.low == limits.min).all() and (space.high == limits.max).all():
            return None
        return space.low, space.high
    if not (np.isfinite(space.low).any() or np.isfinite(space.high).any()):
        return None
    with np.errstate(over="ignore"):
        slack = np.where(np.isfinite(space.high - space.low), 1e-3 * (space.high - space.low), 0.0)
    return space.low - slack, space.high + slack


def build(environment: Environment, num_envs: int) -> gymnasium.vector.VectorEnv:
    """`environment.make(num_envs)`, checked against what the plugin announces."""
    envs = environment.make(num_envs)
    found = (
        envs.num_envs,
        envs.single_observation_space,
        envs.single_action_space,
        envs.metadata.get("autoreset_mode"),
    )
    expected = (
        num_envs,
        environment.observation_space,
        environment.action_space,
        AutoresetMode.SAME_STEP,
    )
    if found != expected:
        envs.close()
        raise EnvironmentFault(
            f"the environment {plugin_name(environment)} builds something else than it announces",
            found=found,
            expected=expected,
        )
    return envs


def halves(num_envs: int) -> tuple[slice, ...]:
    """The environments in two parts, nearly equal; in one where there is only one environment."""
    middle = num_envs // 2
    return (slice(0, middle), slice(middle, num_envs)) if middle else (slice(0, num_envs),)


def chunks(num_envs: int, workers: int) -> Iterator[range]:
    """Split `range(num_envs)` into `min(workers, num_envs)` contiguous, nearly equal parts."""
    parts = min(workers, num_envs)
    edges = [num_envs * part // parts for part in range(parts + 1)]
    return (range(start, stop) for start, stop in pairwise(edges))
