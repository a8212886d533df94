"""What the method kit prepares and trains in: the corridor, PPO with a tiny network, and advice that is made up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ultra_agents.config import parse_config
from ultra_agents.contracts import Advised, Learn, Method, Modulated, Modulation, Prepared, Setting, Terms, Trainer
from ultra_agents.methods import EngineServices, terms_of
from ultra_agents.records import Array, FloatArray, Trajectory, Variant
from ultra_agents.registry import create_algorithm
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.testing._algorithm_world import Recorder
from ultra_agents.testing._report import require
from ultra_agents.testing.corridor import Corridor, CorridorOptions

BUDGET, NUM_ENVS, EPISODES = 3000, 4, 3
ADVISED = {"collect": 60, "test": 100}
"""What explaining is said to have cost."""
SMALL = {"hidden": [8], "num_steps": 16}


class Bare(Corridor):
    """A corridor without optional capabilities, which counts the simulators built of it."""

    built = 0

    @property
    def absent(self) -> frozenset[str]:
        """All of them."""
        return frozenset({"snapshot", "expert", "reference_returns", "render", "policies"})

    def make(self, num_envs: int) -> Any:
        """Count, and build."""
        self.built += 1
        return super().make(num_envs)


@dataclass(frozen=True, eq=False)
class CountingServices(EngineServices):
    """The engine's, which count the environment steps a method has taken.

    Attributes:
        taken: Steps by how they were taken.
    """

    taken: dict[str, int] = field(default_factory=lambda: {"simulators": 0, "collect": 0})

    def simulators(self, num_envs: int) -> Simulators:
        """Simulators that count."""
        made = super().simulators(num_envs)
        step: Callable[[Any], Any] = made.step

        def counting(actions: Any) -> Any:
            self.taken["simulators"] += num_envs
            return step(actions)

        made.step = counting  # type: ignore[method-assign]
        return made

    def collect(
        self,
        episodes: int,
        streams: Streams,
        on_episode: Callable[[Trajectory], None] | None = None,
        poll: Callable[[], None] = lambda: None,
    ) -> list[Trajectory]:
        """Episodes, counted by their lengths."""
        made = super().collect(episodes, streams, on_episode, poll)
        self.taken["collect"] += sum(map(len, made))
        return made


class CheckedModulation:
    """Passes everything on to a modulation and looks at its answers.

    Args:
        inner: The modulation.
        action_space: Of one environment.
    """

    def __init__(self, inner: Modulation, action_space: gymnasium.Space[Any]) -> None:
        self.learn: Learn = inner.learn
        self._inner, self._space = inner, action_space

    def __getattr__(self, name: str) -> Any:
        if name == "partwise":  # parts would not be looked at
            raise AttributeError(name)
        return getattr(self._inner, name)

    def act(self, observations: Array, actions: Array) -> Modulated:
        """Every array has one row per environment, and what is executed can be."""
        made = self._inner.act(observations, actions)
        for name in ("actions", "matched", "followed", "probability", "suggested", "weight"):
            rows = np.shape(getattr(made, name))[:1]
            require(rows == (len(actions),), f"act gives {name} of {rows} rows for {len(actions)} environments")
        require(all(map(self._space.contains, made.actions)), f"act gives the actions {made.actions!r}")
        return made

    def behaviour_log_prob(self, policy_log_prob: FloatArray, modulated: Modulated) -> FloatArray:
        """One finite number per environment."""
        return _numbers(
            self._inner.behaviour_log_prob(policy_log_prob, modulated), policy_log_prob, "behaviour_log_prob"
        )

    def reward(self, rewards: FloatArray, modulated: Modulated, next_observations: Array, ended: Array) -> FloatArray:
        """One finite number per environment."""
        return _numbers(self._inner.reward(rewards, modulated, next_observations, ended), rewards, "reward")


def _numbers(found: FloatArray, given: FloatArray, what: str) -> FloatArray:
    require(np.shape(found) == np.shape(given), f"{what} gives shape {np.shape(found)} for {np.shape(given)}")
    require(np.isfinite(found).all(), f"{what} gives numbers that are not finite")
    return found


class Trial:
    """Prepares a method as a run would.

    Args:
        method: What is tried.
        folder: Where it may keep files.

    Attributes:
        environment: Where it is tried.
        start: The starting policy.
        weights: A copy of the starting policy's arrays.
    """

    def __init__(self, method: Method, folder: Path) -> None:
        self.method, self._folder = method, folder
        corridor = {"length": 9, "max_steps": 20}
        self._config = parse_config(
            {
                "environment": {"name": "corridor", "options": corridor},
                "policy": {"train_steps": 1000},
                "refine": {"steps": BUDGET, "num_envs": NUM_ENVS, "workers": 0},
                "modulation": {"restart_probability": 0.5},
            },
            "the trial",
        )
        self.environment = Corridor(CorridorOptions(**corridor))
        self._algorithm = create_algorithm("ppo", SMALL)
        self.start = self._algorithm.create_policy(
            self.environment.observation_space, self.environment.action_space, 1
        )
        self.weights = {name: part.copy() for name, part in self.start.state()[0].items()}
        with make_simulators(self.environment, EPISODES) as simulators:
            self._played = collect(self.start, self.environment, simulators, range(EPISODES), Streams(5), 100)

    @property
    def terms(self) -> Terms:
        """What holds for the method."""
        return terms_of(self._config, self.environment, self._algorithm)

    def bare_terms(self) -> tuple[Terms, Bare]:
        """The same where the environment offers nothing optional, and that environment."""
        environment = Bare(self.environment.options)
        return terms_of(self._config, environment, self._algorithm), environment

    def prepare(self, folder: str = "first") -> tuple[Prepared, dict[str, int]]:
        """What the method prepares, and the steps it has taken for it; each `folder` is a run of its own."""
        place = self._folder / folder
        place.mkdir(exist_ok=True)
        services = CountingServices(
            self._config, self.environment, self.start, Streams(3),
            lambda count: make_simulators(self.environment, count), place,
        )  # fmt: skip
        states = [(one.snapshots or ())[len(one) // 2] for one in self._played]
        advised = Advised(_advice, ADVISED, critical=states) if self.method.advice is not None else None
        setting = Setting(self.terms, self.start, Streams(3), self._played, services, advised)
        return self.method.prepare(setting), services.taken

    @contextmanager
    def trainer(self, prepared: Prepared) -> Iterator[Trainer]:
        """Training as the engine begins it."""
        with make_simulators(self.environment, NUM_ENVS) as simulators:
            envs = simulators if prepared.restarts is None else prepared.restarts(simulators)
            space, modulation = self.environment.action_space, prepared.modulation
            checked = None if modulation is None else CheckedModulation(modulation, space)
            yield self._algorithm.trainer(prepared.start, envs, BUDGET, Streams(4), checked, prepared.fresh)


def _advice(variant: Variant) -> Recorder:
    return Recorder("mixture", continuous=False, suggestion=1)


def same_arrays(mine: Mapping[str, Array], its: Mapping[str, Array]) -> bool:
    """Whether two policies hold the same arrays."""
    return mine.keys() == its.keys() and all(np.array_equal(part, its[name]) for name, part in mine.items())
