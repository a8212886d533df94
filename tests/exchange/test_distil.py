"""A teacher that can only be asked becomes a policy that can be trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ultra_agents.contracts import agreed
from ultra_agents.errors import ConfigError
from ultra_agents.exchange.distil import distil
from ultra_agents.registry import create_algorithm, create_environment


def test_a_student_takes_over_continuous_actions() -> None:
    environment = create_environment("gymnasium:Pendulum-v1")

    def teacher(observations: Any) -> Any:
        return np.clip(-2.0 * observations[:, 1:2] - 0.5 * observations[:, 2:3], -2, 2).astype(np.float32)

    algorithm = create_algorithm("ppo", {"clone_steps": 300})
    lessons: list[tuple[int, float]] = []
    made = distil(teacher, algorithm, environment, 3000, 0, lambda *row: lessons.append(row))
    assert made.agreement > 0.9
    assert [number for number, _ in lessons] == [1, 2, 3]
    assert lessons[-1][1] == made.agreement
    assert 2000 < made.steps <= 3000
    arrays, _ = made.policy.state()
    assert arrays["normalizer.count"][0] > 1000, "the statistics of what was seen"
    assert np.exp(arrays["log_std"]) < 1.0, "a copy does not act at random"
    again = distil(teacher, algorithm, environment, 3000, 0)
    np.testing.assert_array_equal(again.policy.state()[0]["actor.0.weight"], arrays["actor.0.weight"])


def test_agreement() -> None:
    assert agreed(np.array([0, 1, 1, 0]), np.array([0, 1, 0, 0])) == 0.75
    teacher = np.array([[1.0], [-1.0]])
    assert agreed(teacher, teacher) == 1.0
    assert agreed(np.zeros((2, 1)), teacher) == 0.0
    assert agreed(np.zeros((2, 1)), np.zeros((2, 1))) == 1.0


def test_what_cannot_be_done_is_said() -> None:
    environment = create_environment("gymnasium:CartPole-v1")
    with pytest.raises(ConfigError, match="too few steps"):
        distil(lambda obs: np.zeros(len(obs), int), create_algorithm("ppo"), environment, 3, 0)
    with pytest.raises(ConfigError, match="cannot learn from demonstrations"):
        distil(lambda obs: np.zeros(len(obs), int), create_algorithm("sb3-td3"), environment, 3000, 0)
