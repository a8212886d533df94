"""How stretches end, what came after them, and where nothing could be gained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ultra_agents.config import NarrationConfig
from ultra_agents.narration import narrate
from ultra_agents.narration.outcomes import ending, next_event, won_steps
from ultra_agents.records import Segment


def game(episode, lost=(), won=(), length=60, **ended):
    rewards = np.zeros(length)
    rewards[list(lost)], rewards[list(won)] = -1, 1
    return replace(episode(rewards), **{"terminated": False, "truncated": False, **ended})


@pytest.mark.parametrize(
    ("stretch", "ended", "told", "short"),
    [
        ((0, 31), {}, "This stretch ends at step 30: point lost (reward -1).", "End: point lost (reward -1)."),
        (
            (0, 17), {},
            "This stretch ends at step 16, undecided: point lost (reward -1) came 14 steps later, at step 30.",
            "Next: point lost (reward -1) at step 30.",
        ),
        (
            (31, 40), {},
            "This stretch ends at step 39, undecided: point won (reward +1) came 1 step later, at step 40.",
            "Next: point won (reward +1) at step 40.",
        ),
        (
            (41, 50), {"truncated": True},
            "This stretch ends at step 49. The episode went on for 10 steps; then it was cut by the time limit.",
            "The episode went on for 10 steps.",
        ),
        (
            (41, 60), {"terminated": True}, "This stretch ends at step 59. The episode terminated here.",
            "The episode terminated here.",
        ),
        ((41, 60), {"truncated": True}, "This stretch ends at step 59. The time limit cut the episode here.",
         "The time limit cut the episode here."),
        ((41, 60), {}, "This stretch ends at step 59. The record of the episode was cut here.",
         "The record of the episode was cut here."),
    ],
)  # fmt: skip
def test_how_a_stretch_ends(episode, corridor, pong_kind, stretch, ended, told, short):
    trajectory = game(episode, lost=[30], won=[40], **ended)
    where, world = Segment(3, *stretch, "x"), corridor(kind=pong_kind)
    assert ending(trajectory, where, world) == told
    assert ending(trajectory, where, world, short=True) == short
    assert len(short) < len(told)
    assert narrate(trajectory, where, world, NarrationConfig()).text.splitlines()[-1] == told


def test_an_event_that_ends_the_episode_is_both(episode, corridor, pong_kind):
    trajectory = game(episode, lost=[20, 59], terminated=True)
    assert ending(trajectory, Segment(3, 30, 60, "x"), corridor(kind=pong_kind)) == (
        "This stretch ends at step 59: point lost (reward -1). The episode terminated here."
    )


def test_what_dense_rewards_came_to_after_the_stretch(episode, corridor):
    trajectory = episode(np.linspace(0.5, 2.0, 20))
    assert ending(trajectory, Segment(3, 0, 17, "x"), corridor()) == (
        "This stretch ends at step 16. The episode went on for 3 steps, with a return of +5.763; then it terminated."
    )


def test_rewards_without_a_word_are_told_by_their_value(episode, corridor):
    assert (
        ending(game(episode, won=[9]), Segment(3, 0, 10, "x"), corridor()) == "This stretch ends at step 9: reward +1."
    )


def test_the_next_event_is_looked_for_in_the_whole_episode(episode):
    trajectory = game(episode, lost=[30], won=[40])
    assert [next_event(trajectory, step) for step in (0, 30, 31, 40, 41)] == [30, 30, 40, 40, None]
    assert next_event(episode(np.linspace(0, 1, 30)), 3) is None


def test_steps_of_points_won_are_no_candidates(episode, corridor):
    trajectory = game(episode, lost=[30], won=[40, 50])
    assert won_steps(trajectory, (0, 30, 31, 40, 41, 50, 51, 59)) == (31, 40, 41, 50)
    told = narrate(trajectory, Segment(3, 25, 45, "x"), corridor(), NarrationConfig(stride=1))
    assert told.steps == tuple(range(25, 45))
    assert told.candidates == tuple(range(25, 31))
    nothing = narrate(trajectory, Segment(3, 35, 45, "x"), corridor(), NarrationConfig(stride=1))
    assert nothing.candidates == ()
    undecided = narrate(trajectory, Segment(3, 51, 60, "x"), corridor(), NarrationConfig(stride=1))
    assert undecided.candidates == undecided.steps


def test_a_stretch_cut_before_its_point_is_won_has_no_candidates(episode):
    assert won_steps(game(episode, lost=[10], won=[58]), (20, 21, 22)) == (20, 21, 22)


@pytest.mark.parametrize(
    "rewards",
    [
        [0.0] * 20 + [1.0] + [0.0] * 20 + [1.0],  # bricks: more of them, sooner
        [-1.0] * 40 + [0.0],  # a goal: sooner
        [-1.0] * 40,
        list(np.linspace(-1, 1, 40)),
        [0.0] * 20 + [-1.0] + [0.0] * 20,
    ],
)
def test_where_rewards_are_not_of_both_kinds_all_steps_are_candidates(episode, rewards):
    assert won_steps(episode(rewards), tuple(range(len(rewards)))) == ()
