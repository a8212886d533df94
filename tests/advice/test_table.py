from typing import Any

import numpy as np
import pytest

from ultra_agents.advice import build_table, measured_rewards
from ultra_agents.advice.table import MANY, AdviceTable, advice_from_lines, advice_to_lines
from ultra_agents.records import Advice, JointVerdict, Plan, TestResult, Trajectory
from ultra_agents.registry import create_environment


def advice(step: int, gain: float | None = None, **changes: Any) -> Advice:
    left, right = create_environment("corridor").actions.names
    test = None if gain is None else TestResult(gain, gain - 0.1, gain + 0.1, 4, 20, gain > 0, "good")
    row: dict[str, Any] = {
        "episode": 0, "step": step, "plan": Plan(((right, 2),)), "reward": 0.5, "taken_action": left,
        "taken_reward": -0.5, "rationale": "ünder <b>", "advice": "go", "critique": "yes", "importance": 0.5,
        "source": "scripted", "test": test,
    }  # fmt: skip
    return Advice(**{**row, **changes})


@pytest.fixture
def trajectory() -> Trajectory:
    cells = np.linspace(-1, 1, 41, dtype=np.float32)[:, None]
    zeros = np.zeros(41)
    return Trajectory(0, 0, cells, np.zeros(41, dtype=np.int64), zeros, zeros, ({},) * 41, True, False)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_radius_hits_the_share_asked(trajectory: Trajectory, share: float) -> None:
    environment = create_environment("corridor")
    table = build_table([advice(5), advice(30)], [trajectory], environment, hit_rate=share)
    hits = table.lookup(environment.features(trajectory.observations)) >= 0
    assert hits.mean() == pytest.approx(share, abs=0.06)
    assert table.target == share


def test_a_few_rows_cover_few_states(trajectory: Trajectory) -> None:
    environment = create_environment("corridor")
    table = build_table([advice(5), advice(30)], [trajectory], environment, hit_rate=0.5, hit_per_entry=0.05)
    assert table.target == pytest.approx(0.1)
    assert (table.lookup(environment.features(trajectory.observations)) >= 0).mean() == pytest.approx(0.1, abs=0.06)


def test_nearest_row_answers(trajectory: Trajectory) -> None:
    environment = create_environment("corridor")
    table = build_table([advice(5), advice(30)], [trajectory], environment, hit_rate=1.0)
    rows = table.lookup(environment.features(trajectory.observations))
    assert rows[[0, 5, 16, 19, 30, 40]].tolist() == [0, 0, 0, 1, 1, 1]


def test_exact_covers_the_critical_states_only(trajectory: Trajectory) -> None:
    environment = create_environment("corridor")
    table = build_table([advice(5), advice(30)], [trajectory], environment, match="exact", hit_rate=0.5)
    rows = table.lookup(environment.features(trajectory.observations))
    assert np.flatnonzero(rows >= 0).tolist() == [5, 30]
    assert table.target is None


def test_a_world_of_few_states_is_hit_by_the_very_states_of_the_table(trajectory: Trajectory) -> None:
    environment = create_environment("corridor")
    often = Trajectory(
        0, 0, np.repeat(trajectory.observations[[5, 20]], 20, axis=0), np.zeros(40, dtype=np.int64), np.zeros(40),
        np.zeros(40), ({},) * 40, True, False,
    )  # fmt: skip
    table = build_table([advice(0)], [often], environment, hit_rate=0.1)
    assert table.radius == 0.0
    assert (table.lookup(environment.features(often.observations)) >= 0).tolist() == [True] * 20 + [False] * 20


def test_empty_table_matches_nothing(trajectory: Trajectory) -> None:
    environment = create_environment("corridor")
    table = build_table([], [trajectory], environment)
    assert (table.lookup(environment.features(trajectory.observations)) == -1).all()
    assert len(table) == 0


def test_columns_follow_the_advice(trajectory: Trajectory) -> None:
    table = build_table([advice(5, gain=0.25), advice(30)], [trajectory], create_environment("corridor"))
    assert table.actions.tolist() == [1, 1]
    assert table.taken_actions.tolist() == [0, 0]
    assert table.holds.tolist() == [2, 2]
    assert table.weights.tolist() == [0.25, 1.0], "untested advice weighs 1"


def test_plans_are_encoded_step_by_step(trajectory: Trajectory) -> None:
    environment = create_environment("corridor")
    left, right = environment.actions.names
    rows = [
        advice(5, plan=Plan(((right, 2), (left, 1), (right, 2)))),
        advice(30, plan=Plan(((left, 1), (right, 2)))),
    ]
    table = build_table(rows, [trajectory], environment)
    assert table.plans.tolist() == [[1, 1, 0, 1, 1], [0, 1, 1, 1, 1]], "the shorter one repeats its last action"
    assert table.holds.tolist() == [5, 3]
    assert table.actions.tolist() == [1, 0], "the first of each plan"
    assert table.plans.dtype == environment.action_space.dtype


def test_a_table_without_rows_has_plans_of_one_step(trajectory: Trajectory) -> None:
    table = build_table([], [trajectory], create_environment("corridor"))
    assert table.plans.shape == (0, 1)
    assert table.actions.shape == table.holds.shape == (0,)


def test_vector_actions_are_encoded_as_vectors() -> None:
    environment = create_environment("hopper")
    seen = np.zeros((4, *environment.observation_space.shape), dtype=np.float64)
    taken, zeros = np.zeros((4, 3), dtype=np.float32), np.zeros(4)
    episode = Trajectory(0, 0, seen, taken, zeros, zeros, ({},) * 4, True, False)
    first, second = environment.actions.names[:2]
    row = advice(1, plan=Plan(((first, 1), (second, 2))), taken_action=first)
    table = build_table([row], [episode], environment)
    expected = [environment.actions.encode(name) for name in (first, second, second)]
    assert np.array_equal(table.plans, np.array([expected]))
    assert table.plans.shape == (1, 3, 3)


def test_measured_rewards_are_normalised_gains() -> None:
    rows = measured_rewards([advice(1, gain=2.0), advice(2, gain=0.5), advice(3)])
    assert [row.reward for row in rows] == [1.0, 0.25, 0.5]
    assert [row.taken_reward for row in rows] == [0.0, 0.0, -0.5]


def test_lines_round_trip() -> None:
    joint = JointVerdict(True, 0.3, 0.1, 0.5, 8)
    rows = [advice(1, gain=2.0), advice(2), advice(3, gain=-0.1, joint=joint, plan=Plan((("LEFT", 1), ("RIGHT", 4))))]
    assert advice_from_lines(advice_to_lines(rows)) == rows


def test_of_very_many_rows_a_near_one_answers() -> None:
    rng = np.random.default_rng(0)
    rows, seen, radius = rng.normal(size=(MANY, 4)), rng.normal(size=(200, 4)), 0.3
    words, actions = rng.normal(size=MANY), np.zeros((MANY, 1, 1), dtype=np.int64)
    holds, scale = np.ones(MANY, dtype=np.int64), np.ones(4)
    table = AdviceTable(rows, scale, actions, holds, words, actions[:, 0], words, words, radius, "nearest")
    found = table.lookup(seen)
    distances = np.linalg.norm(seen[:, None] - rows[None], axis=2)
    nearest = distances.min(axis=1)
    assert (found >= 0)[nearest <= radius / 2].all()
    assert not (found >= 0)[nearest > radius].any()
    matched = np.flatnonzero(found >= 0)
    assert 0 < len(matched) < len(seen)
    own = distances[matched, found[matched]]
    assert (own <= np.minimum(2 * nearest[matched], radius)).all()


def test_a_row_is_matched_no_further_than_it_was_tested(trajectory: Trajectory) -> None:
    environment = create_environment("corridor")
    advice_rows, features = [advice(5), advice(30)], environment.features(trajectory.observations)
    free = build_table(advice_rows, [trajectory], environment, hit_rate=0.5)
    tested = build_table(advice_rows, [trajectory], environment, hit_rate=0.5, reach=[0.0, 100.0])
    assert tested.radius == free.radius, "nothing exceeds the calibrated radius either"
    rows = tested.lookup(features)
    assert np.flatnonzero(rows == 0).tolist() == [5], "its own state only"
    assert np.array_equal(np.flatnonzero(rows == 1), np.flatnonzero(free.lookup(features) == 1))
    nearest = build_table(advice_rows, [trajectory], environment, hit_rate=0.5, reach=[0.0, 0.12])
    assert nearest.radius == pytest.approx(0.12)
    assert np.flatnonzero(nearest.lookup(features) == 1).tolist() == [29, 30, 31]
    exact = build_table(advice_rows, [trajectory], environment, match="exact", reach=[0.0, 0.0])
    assert np.flatnonzero(exact.lookup(features) >= 0).tolist() == [5, 30]
    assert len(build_table([], [trajectory], environment, reach=[])) == 0
