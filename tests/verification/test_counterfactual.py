from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from ultra_agents.config import VerificationConfig
from ultra_agents.records import Array, FloatArray, Suggestion, Trajectory
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.verification import CounterfactualTester, max_tests


class Walker:
    """Walks left with a fixed chance, whatever it sees; values nothing."""

    def __init__(self, left: float) -> None:
        self.left = left

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        return np.where(uniforms[:, 0] < self.left, 0, 1).astype(np.int64)

    def act(self, observations: Array, rng: Any = None, deterministic: bool = False) -> Array:
        return self.act_with_uniforms(observations, rng.random((len(observations), 1)))

    def value(self, observations: Array) -> FloatArray:
        return np.zeros(len(observations))


@pytest.fixture
def simulators() -> Iterator[Simulators]:
    with make_simulators(create_environment("corridor"), 16) as made:
        yield made


def episode(policy: Walker) -> Trajectory:
    environment, streams = create_environment("corridor"), Streams(3)
    with make_simulators(environment, 1) as one:
        return collect(policy, environment, one, [5], streams, 100)[0]  # type: ignore[arg-type]


def make_tester(
    simulators: Simulators, policy: Walker, seed: int = 0, tests: int = 1, **config: Any
) -> CounterfactualTester:
    settings = VerificationConfig(**{"discount": 1.0, "max_steps": 100_000, **config})
    environment = create_environment("corridor")
    return CounterfactualTester(environment, simulators, policy, settings, Streams(seed), tests)  # type: ignore[arg-type]


def names() -> tuple[str, str]:
    left, right = create_environment("corridor").actions.names
    return left, right


def test_good_advice_passes_and_bad_advice_fails(simulators: Simulators) -> None:
    left, right = names()
    lured, keen = Walker(left=0.7), Walker(left=0.3)
    good = make_tester(simulators, lured)(episode(lured), Suggestion(0, 0, right, 8, ""))
    assert good.passed
    assert good.gain > 0.3
    bad = make_tester(simulators, keen)(episode(keen), Suggestion(0, 0, left, 8, ""))
    assert not bad.passed
    assert bad.gain < 0


def test_suggesting_what_the_policy_does_is_hopeless_and_cheap(simulators: Simulators) -> None:
    policy = Walker(left=0.0)
    found = make_tester(simulators, policy)(episode(policy), Suggestion(0, 0, names()[1], 1, ""))
    assert (found.gain, found.stopped, found.passed) == (0.0, "hopeless", False)
    assert found.env_steps == 2 * found.pairs, "arms that met are not played on"


def test_result_depends_on_seed_and_suggestion_not_on_order(simulators: Simulators) -> None:
    policy = Walker(left=0.6)
    trajectory, (left, right) = episode(policy), names()
    asked = [Suggestion(0, step, name, 3, "") for step in (0, 1) for name in (left, right)]
    one, other = make_tester(simulators, policy), make_tester(simulators, policy)
    forwards = {s: one(trajectory, s) for s in asked}
    backwards = {s: other(trajectory, s) for s in reversed(asked)}
    assert forwards == backwards
    assert make_tester(simulators, policy, seed=1)(trajectory, asked[1]) != forwards[asked[1]]


def test_result_does_not_depend_on_the_number_of_environments() -> None:
    policy = Walker(left=0.6)
    trajectory, suggestion = episode(policy), Suggestion(0, 0, names()[1], 4, "")
    found = []
    for count in (8, 12, 24):
        with make_simulators(create_environment("corridor"), count) as made:
            found.append(make_tester(made, policy, max_pairs=4)(trajectory, suggestion))
    assert found[0] == found[1] == found[2]


def test_cap_is_shared_out_in_advance(simulators: Simulators) -> None:
    policy = Walker(left=0.5)
    found = make_tester(simulators, policy, tests=50, max_steps=100)(
        episode(policy), Suggestion(0, 0, names()[1], 1, "")
    )
    assert found.stopped in ("steps", "good", "bad", "hopeless")
    assert found.pairs <= 6
    assert max_tests(segments=5, max_critical=3, max_revisions=1) == 30


def test_episode_end_needs_no_value_beyond_it(simulators: Simulators) -> None:
    class Boaster(Walker):
        def value(self, observations: Array) -> FloatArray:
            return np.full(len(observations), 1000.0)

    policy = Boaster(left=0.0)
    found = make_tester(simulators, policy)(episode(policy), Suggestion(0, 0, names()[0], 1, ""))
    assert abs(found.gain) < 10, "both arms reach the goal: the value at a terminal state counts nothing"
