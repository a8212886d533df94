from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ultra_agents.contracts import Environment, Policy
from ultra_agents.effects import Effects, measure_effects
from ultra_agents.records import Array, FloatArray, Trajectory
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams


class Always(Policy):
    """Takes the action of a name, whatever it sees; another one with a fixed chance."""

    def __init__(self, environment: Environment, name: str, other: str = "", chance: float = 0.0) -> None:
        codec = environment.actions
        self.action, self.other, self.chance = codec.encode(name), codec.encode(other or name), chance

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        return np.stack([self.other if one < self.chance else self.action for one in uniforms[:, 0]])

    def act(self, observations: Array, rng: Any = None, deterministic: bool = False) -> Array:
        return self.act_with_uniforms(observations, rng.random((len(observations), 1)))

    def value(self, observations: Array) -> FloatArray:
        return np.zeros(len(observations))

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return {}, {}


Play = Callable[..., list[Trajectory]]
Measure = Callable[..., Effects | None]


@pytest.fixture
def always() -> type[Always]:
    return Always


@pytest.fixture
def play() -> Play:
    """Collects episodes."""

    def run(environment: Environment, policy: Policy, episodes: int = 2, steps: int = 40) -> list[Trajectory]:
        with make_simulators(environment, episodes) as simulators:
            return collect(policy, environment, simulators, list(range(episodes)), Streams(3), steps)

    return run


@pytest.fixture
def measure() -> Measure:
    """Measures effects with 8 simulators unless told otherwise."""

    def run(
        environment: Environment,
        policy: Policy,
        trajectories: list[Trajectory],
        max_steps: int = 2000,
        width: int = 8,
        seed: int = 1,
    ) -> Effects | None:
        with make_simulators(environment, width) as simulators:
            return measure_effects(
                trajectories,
                environment=environment,
                policy=policy,
                simulators=simulators,
                streams=Streams(seed),
                max_steps=max_steps,
            )

    return run
