"""Which steps are told in full: all near what decides, ever fewer the farther away."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultra_agents.narration.rows import NEAR, ranked_steps
from ultra_agents.records import Segment, Trajectory


def walked(rewards, values=None, actions=None):
    length = len(rewards)
    return Trajectory(
        episode=0, seed=0, observations=np.zeros((length, 1), np.float32),
        actions=np.zeros(length, np.int64) if actions is None else np.asarray(actions),
        rewards=np.asarray(rewards, dtype=np.float64),
        values=np.zeros(length) if values is None else np.asarray(values, dtype=np.float64),
        infos=({},) * length, terminated=True, truncated=False,
    )  # fmt: skip


def points(length, **events):
    rewards = np.zeros(length)
    rewards[list(events.get("lost", ()))], rewards[list(events.get("won", ()))] = -1, 1
    return rewards


def segment(start, stop):
    return Segment(0, start, stop, "x")


def test_every_step_before_an_event_and_some_after_it():
    ranked = set(ranked_steps(walked(points(200, lost=[100, 199])), segment(40, 200), stride=1000))
    assert set(range(100 - NEAR, 100 + NEAR // 4 + 1)) <= ranked
    assert set(range(199 - NEAR, 200)) <= ranked
    assert ranked == {40, *range(100 - NEAR, 100 + NEAR // 4 + 1), *range(199 - NEAR, 200)}


def test_far_away_every_so_many_steps_are_wished_for():
    ranked = sorted(ranked_steps(walked(points(200)), segment(0, 100), stride=7))
    assert [step for step in ranked if step < 99 - NEAR] == list(range(0, 99 - NEAR, 7))
    assert sorted(ranked_steps(walked(points(200)), segment(20, 90), stride=1)) == list(range(20, 90))


def test_around_the_largest_changes_of_the_estimate():
    values = np.zeros(200)
    values[61:] = 1.0  # the action at step 60 led there
    ranked = set(ranked_steps(walked(points(200), values), segment(10, 150), stride=1000))
    assert ranked == {10, *range(60 - NEAR // 2 + 1, 60 + 2), *range(149 - NEAR, 150)}
    assert ranked_steps(walked(points(200), values), segment(10, 150), 1000)[2] == 148
    assert 60 in ranked_steps(walked(points(200), values), segment(10, 150), 1000)[:6]


def test_a_new_beginning_after_an_event_is_no_change_of_the_estimate():
    values = np.zeros(200)
    values[50:101] = -0.2
    values[101:] = 5.0
    ranked = ranked_steps(walked(points(200, lost=[100]), values), segment(0, 200), 1000)
    assert {48, 49, 50} <= set(ranked)
    assert 104 in ranked
    assert 105 not in ranked


def test_a_policy_without_an_estimate_is_watched_where_it_lets_go_of_an_action():
    actions = np.r_[np.zeros(60), np.ones(90)].astype(np.int64)
    ranked = set(ranked_steps(walked(points(150), actions=actions), segment(0, 150), stride=1000))
    assert ranked == {0, *range(60 - NEAR // 2 + 1, 60 + 2), *range(149 - NEAR, 150)}
    torques = np.random.default_rng(0).normal(size=(150, 3))  # never held: nothing to let go of
    assert len(ranked_steps(walked(points(150), actions=torques), segment(0, 150), 1000)) == NEAR + 2


@pytest.mark.parametrize("count", [6, 12, 20, 40])
def test_what_is_left_thins_out_with_the_distance(count):
    ranked = ranked_steps(walked(points(100, lost=[99])), segment(0, 100), stride=1)
    left = sorted(ranked[:count])
    gaps = [after - before for before, after in pairwise(left)][::-1]
    assert left[0] == 0
    assert gaps[0] == 1
    assert np.mean(gaps[: len(gaps) // 2]) <= np.mean(gaps[len(gaps) // 2 :])


def test_of_twenty_rows_those_near_the_end_are_complete():
    ranked = ranked_steps(walked(points(60, lost=[59])), segment(0, 60), stride=1)
    left = sorted(ranked[:20])
    assert left[-11:] == list(range(49, 60))
    gaps = [after - before for before, after in pairwise(left[1:])]
    assert gaps == sorted(gaps, reverse=True)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_first_and_last_come_first_and_nothing_twice(data):
    length = data.draw(st.integers(1, 80))
    rewards = data.draw(st.lists(st.sampled_from([0.0, 0.0, 0.0, 1.0, -1.0, 0.3]), min_size=length, max_size=length))
    values = data.draw(
        st.lists(st.floats(-5, 5) | st.just(float("nan")) | st.just(float("inf")), min_size=length, max_size=length)
    )
    actions = data.draw(st.lists(st.integers(0, 2), min_size=length, max_size=length))
    start = data.draw(st.integers(0, length - 1))
    stop = data.draw(st.integers(start + 1, length))
    trajectory = walked(rewards, values, actions)
    ranked = ranked_steps(trajectory, segment(start, stop), data.draw(st.integers(1, 9)))
    assert len(set(ranked)) == len(ranked)
    assert all(start <= step < stop for step in ranked)
    assert set(ranked[:2]) == {start, stop - 1}
    assert set(ranked) <= set(ranked_steps(trajectory, segment(start, stop), 1)) == set(range(start, stop))
