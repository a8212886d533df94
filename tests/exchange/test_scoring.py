"""When a score is too far below what somebody says."""

from __future__ import annotations

import numpy as np
import pytest

from ultra_agents.contracts import Environment
from ultra_agents.errors import ConfigError, PolicyError
from ultra_agents.exchange.scoring import Score, UniformPolicy, random_score, refuse_drop, score, stderr
from ultra_agents.records import Returns
from ultra_agents.registry import create_algorithm, create_environment


def returns(*values: float) -> Returns:
    return Returns(values, tuple(range(len(values))), (1,) * len(values))


@pytest.mark.parametrize(
    ("values", "expected", "floor", "stops"),
    [
        ((100, 100, 100), 100, 0, False),
        ((81, 81, 81), 100, 0, False),  # a fifth of what it has over random actions is forgiven
        ((79, 79, 79), 100, 0, True),
        ((0, 80, 160), 150, 0, False),  # within three standard errors of 46
        ((-240, -240), -200, -500, False),
        ((-270, -270), -200, -500, True),
        ((120, 120), 100, 0, False),
        ((95, 95), 100, 99, True),  # next to random actions five points are the world
    ],
)
def test_far_below(values: tuple[float, ...], expected: float, floor: float, stops: bool) -> None:
    found = Score(returns(*values), returns(*(value - 1000 for value in values)), 0)
    if not stops:
        refuse_drop(found, expected, "--expect", "the policy x", lambda: floor, "look")
        return
    with pytest.raises(PolicyError, match="far below what --expect says") as caught:
        refuse_drop(found, expected, "--expect", "the policy x", lambda: floor, "look")
    assert f"random actions score {floor:,.1f}" in str(caught.value)


def test_the_better_way_of_acting_counts() -> None:
    found = Score(returns(10.0, 10.0), returns(100.0, 100.0), 0)
    refuse_drop(found, 100, "--expect", "x", lambda: pytest.fail("not needed"), "look")
    assert found.record()["mean"] == 10
    assert found.record()["deterministic"]["mean"] == 100
    assert found.steps == 4


def test_standard_errors() -> None:
    assert stderr(returns(1.0)) == 0
    assert stderr(returns(0.0, 2.0)) == pytest.approx(1.0)


def test_random_actions_are_measured_or_known() -> None:
    cart = create_environment("gymnasium:CartPole-v1")
    assert 12 < random_score(cart, 20, 0) < 40
    pong = create_environment("pong")
    assert random_score(pong, 1, 0) == pong.reference_returns.random


@pytest.mark.parametrize("name", ["gymnasium:CartPole-v1", "gymnasium:Pendulum-v1"])
def test_uniform_actions_fill_the_space(name: str) -> None:
    environment = create_environment(name)
    policy = UniformPolicy(environment)
    actions = policy.act(np.zeros((500, 3)), np.random.default_rng(0))
    assert all(environment.action_space.contains(action) for action in actions)
    assert actions.std() > 0.4


def test_a_score_is_the_same_twice_and_needs_episodes() -> None:
    environment: Environment = create_environment("gymnasium:CartPole-v1")
    spaces = environment.observation_space, environment.action_space
    policy = create_algorithm("ppo").create_policy(*spaces, 0)
    assert score(policy, environment, 3, 5).sampled.values == score(policy, environment, 3, 5).sampled.values
    with pytest.raises(ConfigError, match="needs episodes"):
        score(policy, environment, 0, 5)
