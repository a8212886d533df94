from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ultra_agents.config import VerificationConfig
from ultra_agents.contracts import Learn, Modulated
from ultra_agents.records import Array, FloatArray, TestResult
from ultra_agents.registry import create_environment
from ultra_agents.seeding import Streams
from ultra_agents.verification import JointTester

from .conftest import Walker, corridor


class Script:
    """A modulation that plays `rows`: (cell, action) pairs, always; keeps count of what it is told."""

    learn: Learn = "mixture"

    def __init__(self, rows: Sequence[tuple[int, int]], length: int = 9) -> None:
        self.rows, self.length, self.calls = dict(rows), length, []

    def begin(self, num_envs: int) -> None:
        self.calls.append("begin")

    def set_progress(self, progress: float) -> None: ...

    def act(self, observations: Array, actions: Array) -> Modulated:
        self.calls.append("act")
        cells = np.rint((observations[:, 0] + 1) / 2 * (self.length - 1)).astype(int)
        matched = np.isin(cells, list(self.rows))
        chosen = np.array([self.rows.get(cell, own) for cell, own in zip(cells, actions, strict=True)])
        share = matched.astype(float)
        return Modulated(chosen, matched, matched, share, chosen, share)

    def behaviour_log_prob(self, policy_log_prob: FloatArray, modulated: Modulated) -> FloatArray:
        return policy_log_prob

    def reward(self, rewards: FloatArray, modulated: Modulated, next_observations: Array, ended: Array) -> FloatArray:
        self.calls.append("reward")
        assert next_observations.shape[0] == len(ended)
        return rewards

    def metrics(self) -> dict[str, float]:
        return {}

    def state(self) -> dict[str, Any]:
        return {}

    def load_state(self, state: dict[str, Any]) -> None: ...


GOOD = [(cell, 1) for cell in range(1, 8)]
BAD = [(cell, 0) for cell in range(1, 8)]


def joint_tester(rows: Any = None, policy: Any = None, world: Any = None, **options: Any) -> JointTester[Any]:
    config = VerificationConfig(**{"joint_horizon": 50, "noise": 0.0, "joint_min_rows": 1, **options})
    build = Script if rows is None else rows
    return JointTester(world or corridor(), policy or Walker(0.5), config, Streams(0), build, range(100, 116))


def test_a_set_that_holds_is_kept_whole() -> None:
    with joint_tester() as joint:
        found = joint.select(GOOD)
        assert (found.passed, found.stopped, found.kept) == (True, "good", tuple(range(7)))
        assert found.sets == 1
        assert found.low > 0
        assert found.env_steps == joint.env_steps > 0


class Chance(JointTester[int]):
    """Every set is worth nothing: what its episodes earn is drawn, those of the policy alone once for all sets."""

    def __init__(self, rng: np.random.Generator) -> None:
        config = VerificationConfig()
        world, none = corridor(), Script([])
        super().__init__(world, Walker(0.5), config, Streams(0), lambda rows: none, range(config.joint_pairs))
        self._rng, self._spread = rng, 1.0

    def _episodes(self, table: Any, first: int) -> list[float]:
        self.env_steps += 30 * self._simulators.num_envs
        return list(self._rng.normal(0, 1, self._simulators.num_envs))


def test_splitting_a_set_worth_nothing_keeps_something_no_more_often_than_is_asked() -> None:
    """All parts are tested against the same episodes: with the whole error for each, half of these kept one."""
    rng, kept = np.random.default_rng(0), 0
    for _ in range(150):
        with Chance(rng) as joint:
            kept += joint.select(list(range(16))).passed
    assert kept / 150 <= 1 - VerificationConfig().confidence


def test_a_set_without_a_use_is_dropped() -> None:
    with joint_tester() as joint:
        found = joint.select(BAD)
        assert (found.passed, found.kept, found.stopped) == (False, (), "hopeless")
        assert found.gain < 0
        assert found.sets > 1, "halves were given a chance"


def test_a_failed_set_is_split_and_pruned() -> None:
    mixed = [(4, 0), (3, 0), (2, 0), (1, 0), (4, 1), (5, 1), (6, 1), (7, 1)]
    with joint_tester(lambda rows: Script(list(reversed(rows)))) as joint:
        whole = joint.test(mixed)
        found = joint.select(mixed)
    assert not whole.passed
    assert found.passed
    assert set(found.kept) <= {4, 5, 6, 7}
    assert len(found.kept) >= 2


def test_no_row_alone_but_all_together() -> None:
    world = corridor(length=41, max_steps=60)
    rows = [(cell, 1) for cell in range(1, 40)]
    with joint_tester(lambda part: Script(part, 41), Walker(0.75), world, joint_horizon=60) as joint:
        alone = [joint.test([row]) for row in rows[::6]]
        together = joint.select(rows)
    assert not any(result.passed for result in alone)
    assert together.passed
    assert len(together.kept) == len(rows)


def test_the_policy_alone_is_played_once_and_results_repeat() -> None:
    with joint_tester() as joint:
        first, spent = joint.test(GOOD), joint.env_steps
        second = joint.test(GOOD)
        assert joint.env_steps - spent < spent
        assert (first.gain, first.low, first.pairs) == (second.gain, second.low, second.pairs)
    with joint_tester() as other:
        assert other.test(GOOD) == first


def test_the_cap_is_kept() -> None:
    for cap in (0, 500, 1000):
        with joint_tester(joint_max_steps=cap) as joint:
            found = joint.select(BAD)
            assert joint.env_steps <= cap
            assert not found.passed
            if cap < 400:
                assert (found.stopped, found.pairs) == ("steps", 0)


def test_every_vector_step_reaches_the_modulation() -> None:
    made: list[Script] = []

    def build(rows: Any) -> Script:
        made.append(Script(rows))
        return made[-1]

    with joint_tester(build) as joint:
        joint.test(GOOD)
    (script,) = made
    assert script.calls[:3] == ["begin", "act", "reward"]
    assert script.calls.count("act") == script.calls.count("reward")


def test_another_policy_acts_with_the_same_random_numbers() -> None:
    """A copy that learnt nothing has no luck of its own; one that walks to the goal is kept."""
    world, policy = corridor(slip=0.3), Walker(0.5)
    config = VerificationConfig(joint_horizon=50, noise=0.0, joint_min_rows=1)
    for copy, kept in ((Walker(0.5), ()), (Walker(0.0), (0,))):
        tester = JointTester[Any](world, policy, config, Streams(5), lambda _, c=copy: c, list(range(16)))
        with tester:
            result = tester.test(["row"])
        assert result.kept == kept
        assert (result.gain == 0.0) == (not kept)


def test_an_undecided_set_is_kept_only_where_leaning_is_enough() -> None:
    world, policy = corridor(slip=0.3), Walker(0.5)
    config = VerificationConfig(
        joint_horizon=50, joint_pairs=4, joint_min_pairs=4, joint_min_rows=1, noise=50.0, min_gain=0.0
    )
    kept = {}
    for copy, lean in ((0.3, False), (0.3, True), (0.7, True)):
        build = lambda _, left=copy: Walker(left)  # noqa: E731
        with JointTester[Any](world, policy, config, Streams(5), build, list(range(4))) as tester:
            found = tester.select(["row"], lean=lean)
        assert (found.passed, found.stopped) == (False, "pairs")
        kept[copy, lean] = found.kept
    assert kept == {(0.3, False): (), (0.3, True): (0,), (0.7, True): ()}


def test_nothing_to_test_and_too_few_seeds() -> None:
    with joint_tester() as joint:
        assert joint.select([]).stopped == "empty"
    with pytest.raises(ValueError, match="seeds"):
        JointTester(corridor(), Walker(0.5), VerificationConfig(), Streams(0), Script, [1, 2])


def test_mountain_car_reaches_the_flag_only_with_the_whole_table() -> None:
    """Rows say: rolling this way, push this way. The policy brakes, and with one row alone it pushes to one side."""
    world = create_environment("mountain-car")

    class Brake(Walker):
        def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
            return np.where(observations[:, 1] > 0, 0, 2)

    class Push(Script):
        def act(self, observations: Array, actions: Array) -> Modulated:
            side = np.where(observations[:, 1] > 0, 1, 0)
            chosen = np.array([self.rows.get(int(one), own) for one, own in zip(side, actions, strict=True)])
            ones = np.ones(len(actions))
            return Modulated(chosen, ones > 0, ones > 0, ones, chosen, ones)

    with joint_tester(Push, Brake(0.5), world, joint_horizon=200) as joint:
        assert not joint.test([(1, 2)]).passed
        assert not joint.test([(0, 0)]).passed
        both = joint.select([(1, 2), (0, 0)])
    assert both.passed
    assert both.gain > 5


def test_what_goes_to_the_joint_test() -> None:
    def result(stopped: str, passed: bool = False, high: float = 1.0) -> TestResult:
        return TestResult(0.0, -1.0, high, 3, 10, passed, stopped)

    assert result("hopeless").set_candidate
    assert result("pairs").set_candidate
    assert not result("good", passed=True).set_candidate
    assert not result("bad").set_candidate
    assert not result("invalid").set_candidate
    assert not result("hopeless", high=-0.5).set_candidate
