"""`examples/rules/*.yaml` act like the same rules written in numpy, and fit the environments they name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.rules.references import ACTS, INTERFACES, REWARDS, states
from ultra_agents.registry import create_environment
from ultra_agents.rules import RuleError, load_rules

FOLDER = Path(__file__).parents[2] / "examples" / "rules"
N = 10_000
ENVIRONMENTS = {
    "acrobot": "gymnasium:Acrobot-v1",
    "cartpole": "gymnasium:CartPole-v1",
    "mountain_car": "mountain-car",
    "pong": "pong",
    "pong_after_feedback": "pong",
}


def test_every_example_has_a_reference() -> None:
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(ACTS) == set(REWARDS) == set(INTERFACES)


@pytest.mark.parametrize("name", ACTS)
def test_an_example_acts_like_its_reference(name: str) -> None:
    rng = np.random.default_rng(1)
    rules, q = load_rules(FOLDER / f"{name}.yaml", INTERFACES[name]), states(name, N, rng)
    own = rng.uniform(-1.2, 1.2, (N, len(INTERFACES[name].components))) if rules.needs_own else None
    actions, covered = rules.act(q, own)
    expected, expected_covered = ACTS[name](q, own)
    assert np.array_equal(covered, expected_covered)
    np.testing.assert_allclose(actions[covered], expected[covered], rtol=0, atol=1e-12)
    assert covered.mean() > 0.5
    assert expected[covered].std() > 0.1  # what is compared differs between states


@pytest.mark.parametrize("name", REWARDS)
def test_an_examples_reward_or_potential_is_like_its_reference(name: str) -> None:
    rng = np.random.default_rng(2)
    rules, q, after = load_rules(FOLDER / f"{name}.yaml", INTERFACES[name]), states(name, N, rng), states(name, N, rng)
    reward = rules.reward(q, after) if rules.document.reward else rules.potential(after)
    np.testing.assert_allclose(reward, REWARDS[name](q, after), rtol=0, atol=1e-9)
    assert np.abs(reward).max() <= 1
    assert reward.std() > 0.1


@pytest.mark.parametrize("name", ACTS)
def test_an_example_needs_no_interface(name: str) -> None:
    rng = np.random.default_rng(3)
    bound, free = load_rules(FOLDER / f"{name}.yaml", INTERFACES[name]), load_rules(FOLDER / f"{name}.yaml")
    q = states(name, 500, rng)
    if not bound.interface.continuous:
        actions, covered = bound.act(q)
        taken, covered_too = free.act(q)
        assert np.array_equal(covered, covered_too)
        words = np.array(bound.interface.words)[actions[covered]]
        assert np.array_equal(np.array(free.interface.actions)[taken[covered]], words)
    assert set(free.names) == set(bound.names) <= set(bound.interface.quantities)
    assert free.bind(INTERFACES[name]) == bound


@pytest.mark.parametrize(("name", "environment"), ENVIRONMENTS.items())
def test_an_examples_actions_are_the_environments(name: str, environment: str) -> None:
    assert create_environment(environment).actions.names == INTERFACES[name].actions


@pytest.mark.parametrize("name", ACTS)
def test_an_example_for_another_environment_is_refused(name: str) -> None:
    other = INTERFACES["cartpole" if name != "cartpole" else "acrobot"]
    with pytest.raises(RuleError, match="line"):
        load_rules(FOLDER / f"{name}.yaml", other)
