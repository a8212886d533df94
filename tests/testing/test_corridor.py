from __future__ import annotations

import numpy as np
import pytest

from ultra_agents.registry import create_environment
from ultra_agents.testing.corridor import Corridor, CorridorOptions


def mean_return(environment: Corridor, act: object, episodes: int = 4000) -> float:
    envs = environment.make(episodes)
    observations, _ = envs.reset(seed=list(range(episodes)))
    total, playing = np.zeros(episodes), np.ones(episodes, bool)
    while playing.any():
        observations, rewards, terminated, truncated, _ = envs.step(act(observations))  # type: ignore[operator]
        total += rewards * playing
        playing &= ~(terminated | truncated)
    return float(total.mean())


def test_the_optimum_is_the_walk_to_the_goal() -> None:
    corridor = create_environment("corridor")
    assert corridor.reference_returns.reference == pytest.approx(1.0 - 4 * 0.01)
    assert mean_return(corridor, corridor.expert(), 3) == pytest.approx(corridor.reference_returns.reference)


@pytest.mark.parametrize(
    "options", [{}, {"slip": 0.2}, {"lure": 3.0}, {"goal": -1.0, "lure": -0.5, "step_cost": 0.0, "max_steps": 12}]
)
def test_the_exact_returns_are_those_of_play(options: dict[str, float]) -> None:
    corridor = Corridor(CorridorOptions(**options))
    rng = np.random.default_rng(0)
    exact = corridor.reference_returns
    played = mean_return(corridor, lambda observations: rng.integers(0, 2, len(observations)))
    assert played == pytest.approx(exact.random, abs=0.05)
    if options.get("max_steps") is None:
        assert mean_return(corridor, corridor.expert()) == pytest.approx(exact.reference, abs=0.05)
    assert exact.reference >= exact.random


def test_a_bigger_lure_is_worth_following() -> None:
    act = Corridor(CorridorOptions(lure=3.0)).expert()
    assert act(np.zeros((1, 1), np.float32)).tolist() == [0]


def test_stretches_have_names() -> None:
    corridor = create_environment("corridor")
    kinds = [corridor.segment_kind(np.array([-0.01, last])) for last in (0.99, 0.19, -0.01)]
    assert kinds == ["goal reached", "lured", "wandering"]


def test_the_walker_is_drawn_in_its_cell() -> None:
    corridor = create_environment("corridor")
    envs = corridor.make(2)
    envs.reset(seed=[0, 1])
    envs.step([0, 1])
    for index, cell in enumerate((3, 5)):
        assert corridor.render(envs, index)[8, 16 * cell + 8].tolist() == [50, 90, 200]
