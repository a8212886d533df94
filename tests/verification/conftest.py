from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ultra_agents.config import VerificationConfig
from ultra_agents.contracts import Policy
from ultra_agents.records import Array, FloatArray, Plan, Suggestion, Trajectory
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.verification import CounterfactualTester

LEFT, RIGHT = create_environment("corridor").actions.names


class Walker(Policy):
    """Walks left with a fixed chance, whatever it sees; values every state alike."""

    def __init__(self, left: float, worth: float = 0.0) -> None:
        self.left, self.worth = left, worth

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        return np.where(uniforms[:, 0] < self.left, 0, 1).astype(np.int64)

    def act(self, observations: Array, rng: Any = None, deterministic: bool = False) -> Array:
        return self.act_with_uniforms(observations, rng.random((len(observations), 1)))

    def value(self, observations: Array) -> FloatArray:
        return np.full(len(observations), self.worth)

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return {}, {}


class Counted(Corridor):
    """A corridor that counts the steps its walkers take."""

    taken = 0

    def make(self, num_envs: int) -> Any:
        envs, world = super().make(num_envs), self
        step = envs.step

        def counting(actions: Any) -> Any:
            world.taken += num_envs
            return step(actions)

        envs.step = counting  # type: ignore[method-assign]
        return envs


def corridor(**options: Any) -> Corridor:
    return Corridor(CorridorOptions(**options))


def play(policy: Policy, environment: Any = None, episode: int = 0, seed: int = 5) -> Trajectory:
    """One episode on record, numbered `episode`."""
    world = environment or corridor()
    with make_simulators(world, 1) as one:
        made = collect(policy, world, one, [seed + number for number in range(episode + 1)], Streams(3), 100)
    return made[episode]


def settings(**options: Any) -> VerificationConfig:
    free = {"discount": 1.0, "max_steps": 10**9, "max_test_steps": 10**6, "noise": 0.0}
    return VerificationConfig(**{**free, **options})


@pytest.fixture
def testers() -> Any:
    """Makes testers, and closes them."""
    made: list[CounterfactualTester] = []

    def make(policy: Policy, environment: Any = None, seed: int = 0, tests: int = 1, **rest: Any) -> Any:
        pool = {key: rest.pop(key) for key in ("workers", "slots") if key in rest}
        config = settings(**rest)
        made.append(
            CounterfactualTester(environment or corridor(), policy, config, Streams(seed), max_tests=tests, **pool)
        )
        return made[-1]

    yield make
    for tester in made:
        tester.close()


def suggest(step: int, *moves: tuple[str, int], episode: int = 0) -> Suggestion:
    return Suggestion(episode, step, Plan(moves))


def outcomes(plays: Any, *asked: Any) -> list[Any]:
    """What comes of jobs of a `Player`, or of tasks of a `Host`, that are played side by side."""
    found: dict[int, Any] = {}
    for number, one in enumerate(asked):
        plays.add(number, one)
    while plays.busy:
        found.update(plays.tick())
    return [found[number] for number in range(len(asked))]
