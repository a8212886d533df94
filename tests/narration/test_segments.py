from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ultra_agents.config import NarrationConfig
from ultra_agents.errors import EnvironmentFault
from ultra_agents.narration import choose_segments
from ultra_agents.narration.rewards import reward_events, unusual_rewards, usual_reward
from ultra_agents.records import Trajectory
from ultra_agents.testing.corridor import Corridor, CorridorOptions

CONFIG = NarrationConfig(segment_steps=20, segments_per_episode=3)


def rng(seed=0):
    return np.random.default_rng(seed)


def pong(lost=(), won=(), length=400):
    rewards = np.zeros(length)
    rewards[list(lost)], rewards[list(won)] = -1, 1
    return rewards


def sound(segments, length, config):
    assert 1 <= len(segments) <= config.segments_per_episode
    for segment in segments:
        assert 0 <= segment.start < segment.stop <= length
        assert segment.stop - segment.start <= config.segment_steps
        assert segment.kind.strip()
    for before, after in pairwise(segments):
        assert before.stop <= after.start


def test_points_give_one_lost_one_won_and_a_median_one(episode, corridor, pong_kind):
    rewards = pong(lost=(49, 99, 299), won=(149, 399))
    segments = choose_segments(episode(rewards), corridor(kind=pong_kind), CONFIG, rng())
    sound(segments, 400, CONFIG)
    by_kind = {segment.kind: segment for segment in segments}
    assert set(by_kind) == {"point lost", "point won", "median stretch: rally"}
    assert rewards[by_kind["point lost"].stop - 1] == -1
    assert rewards[by_kind["point won"].stop - 1] == 1
    median = by_kind["median stretch: rally"]
    assert not rewards[median.start : median.stop].any(), "the middle of a long rally, not its end"


def test_without_words_of_the_environment_the_kinds_are_generic(episode, corridor):
    segments = choose_segments(episode(pong(lost=(99,), won=(199, 399))), corridor(), CONFIG, rng())
    assert {segment.kind for segment in segments} == {"ends in a punishment", "ends in a reward", "median stretch"}


def test_chance_chooses_among_the_lost_points(episode, corridor):
    one = NarrationConfig(segment_steps=20, segments_per_episode=1)
    trajectory = episode(pong(lost=range(24, 400, 25)))
    picked = {choose_segments(trajectory, corridor(), one, rng(seed))[0].stop for seed in range(40)}
    assert len(picked) > 5
    again = [choose_segments(trajectory, corridor(), CONFIG, rng(7)) for _ in range(2)]
    assert again[0] == again[1]


def test_a_segment_does_not_reach_into_the_rally_before(episode, corridor):
    rewards = pong(lost=(100, 108))
    segments = choose_segments(episode(rewards), corridor(), CONFIG, rng())
    assert (101, 109) in {(segment.start, segment.stop) for segment in segments}


def test_a_short_episode_is_one_segment(episode, corridor):
    trajectory = episode([0.0] * 19 + [1.0])
    (segment,) = choose_segments(trajectory, corridor(), CONFIG, rng())
    assert (segment.episode, segment.start, segment.stop, segment.kind) == (3, 0, 20, "whole episode")
    (named,) = choose_segments(trajectory, Corridor(CorridorOptions()), CONFIG, rng())
    assert named.kind == "wandering"


def test_an_empty_episode_has_no_segment(episode, corridor):
    assert choose_segments(episode([]), corridor(), CONFIG, rng()) == []


def test_constant_rewards_give_start_end_and_somewhere(episode, corridor):
    segments = choose_segments(episode([-1.0] * 200), corridor(), CONFIG, rng())
    assert [segment.kind for segment in segments] == ["start", "middle", "end"]
    assert segments[0].start == 0
    assert segments[-1].stop == 200


def test_the_largest_change_of_value_is_shown(episode, corridor):
    values = np.zeros(200)
    values[120:] = -5
    segments = choose_segments(episode([-1.0] * 200, values), corridor(), CONFIG, rng())
    (change,) = (segment for segment in segments if segment.kind == "largest change")
    assert change.start < 120 < change.stop


def test_dense_rewards_without_values_change_where_the_return_does(episode, corridor):
    rewards = rng().normal(1, 0.01, 200)
    rewards[90:100] -= 3 + rng(1).random(10)
    segments = choose_segments(episode(rewards), corridor(), CONFIG, rng())
    (change,) = (segment for segment in segments if segment.kind == "largest change")
    assert change.start <= 90
    assert change.stop >= 100


@settings(deadline=None, max_examples=150)
@given(
    rewards=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.0, 0.0, 1.0, -1.0, 0.37, -2.5]), min_size=1, max_size=130),
    values=st.booleans(),
    steps=st.integers(4, 40),
    count=st.integers(1, 6),
    seed=st.integers(0, 3),
)
def test_any_episode_gives_sound_segments(rewards, values, steps, count, seed):
    length = len(rewards)
    noise = np.random.default_rng(seed).normal(size=length) if values else np.zeros(length)
    trajectory = Trajectory(
        0, 0, np.zeros((length, 1)), np.zeros(length, int), np.array(rewards), noise, ({},) * length, True, False
    )
    config = NarrationConfig(segment_steps=steps, segments_per_episode=count)
    sound(choose_segments(trajectory, Corridor(CorridorOptions()), config, rng(seed)), length, config)


def test_a_plugin_that_fails_at_naming_is_named(episode, corridor):
    def fail(rewards):
        raise ZeroDivisionError("oops")

    with pytest.raises(EnvironmentFault, match=r"WordyCorridor .*failed at segment_kind"):
        choose_segments(episode(pong(lost=(99,))), corridor(kind=fail), CONFIG, rng())


@pytest.mark.parametrize(
    ("rewards", "usual", "events", "unusual"),
    [
        ([0, 0, 0, 0, -1], 0, [4], [4]),
        ([-1.0] * 5, -1, [], []),
        ([-0.01, -0.01, 0.99], -0.01, [2], [2]),
        ([1.0, 1.1, 0.9, 1.05, 1.2, -40.0], None, [], [5]),
        ([2.0], 2.0, [], []),
        ([], None, [], []),
    ],
)
def test_which_rewards_are_events(rewards, usual, events, unusual):
    array = np.array(rewards, dtype=float)
    assert usual_reward(array) == usual
    assert np.flatnonzero(reward_events(array)).tolist() == events
    assert np.flatnonzero(unusual_rewards(array)).tolist() == unusual
