from __future__ import annotations

import math
import re

import numpy as np
import pytest

from ultra_agents.config import NarrationConfig
from ultra_agents.errors import EnvironmentFault
from ultra_agents.narration import narrate, step_line
from ultra_agents.records import Segment
from ultra_agents.testing.corridor import Corridor, CorridorOptions


def shown(text):
    """The steps that are described."""
    return tuple(int(number) for number in re.findall(r"^Step (\d+): ", text, re.MULTILINE))


def test_a_narration_word_for_word(episode, corridor, pong_kind):
    rewards = np.zeros(30)
    rewards[[9, 24]], rewards[19] = -1, 1
    environment = corridor(say=lambda cell: f"the ball is {cell} away", kind=pong_kind)
    told = narrate(
        episode(rewards), Segment(3, 12, 25, "point lost"), environment, NarrationConfig(stride=4, token_budget=215)
    )
    assert told.text == (
        "Episode 3 of the policy: return -1 in 30 steps, terminated.\n"
        "In the whole episode: 2 x point lost, 1 x point won. Every other step earns 0.\n"
        "Before this stretch: 1 x point lost.\n"
        "This stretch: steps 12 to 24 (point lost), return 0.\n"
        "5 of these 13 steps are described; of the others it is told what was done.\n"
        "Step 12: the ball is 12 away. Action: LEFT.\n"
        "Steps 13-17: RIGHT, LEFT, RIGHT, LEFT, RIGHT.\n"
        "Step 18: the ball is 18 away. Action: LEFT.\n"
        "Step 19: the ball is 19 away. Action: RIGHT. Reward +1 (point won).\n"
        "Steps 20-22: LEFT, RIGHT, LEFT.\n"
        "Step 23: the ball is 23 away. Action: RIGHT.\n"
        "Step 24: the ball is 24 away. Action: LEFT. Reward -1 (point lost).\n"
        "This stretch ends at step 24: point lost (reward -1)."
    )
    assert told.steps == (12, 18, 19, 23, 24)
    assert told.won == (12, 18, 19)
    assert told.candidates == (23, 24)
    assert told.tokens == math.ceil(len(told.text) / 3.5)


def test_one_episode_is_seen_among_all_that_were_played(episode, corridor):
    config, where = NarrationConfig(), Segment(3, 5, 20, "end")
    alone = narrate(episode([0.0] * 30), where, corridor(), config, [0.0])
    assert alone.text == narrate(episode([0.0] * 30), where, corridor(), config).text
    among = narrate(episode([0.0] * 30), where, corridor(), config, [0.0, -3.0, 12.5, 1.0])
    first, *rest = among.text.split("\n")
    assert first == "All 4 episodes played: returns from -3 to +12.5, median +0.5."
    assert "\n".join(rest) == alone.text
    assert among.tokens > alone.tokens


def test_dense_rewards_are_told_by_the_step_and_sums_are_called_so(episode, corridor):
    rewards = np.linspace(0.5, 2.0, 20)
    told = narrate(episode(rewards), Segment(3, 5, 16, "x"), corridor(), NarrationConfig(token_budget=340))
    assert told.steps == (5, 7, 11, 13, 14, 15)
    for line in (
        f"left end. Action: RIGHT. Reward {rewards[5]:+.3f}.",
        f"Step 6, action only: LEFT. Reward {rewards[6]:+.3f}.",
        f"Steps 8-10: LEFT, RIGHT, LEFT. Rewards of these 3 steps together: {rewards[8:11].sum():+.3f}.",
        f"left end. Action: LEFT. Reward {rewards[14]:+.3f}.",
    ):
        assert f"{line}\n" in told.text
    assert "Reward per step: mean +1.25, from +0.5 to +2." in told.text
    assert f"Return before this stretch: {rewards[:5].sum():+.3f}".rstrip("0") in told.text


@pytest.mark.parametrize("budget", [150, 250, 400, 900])
def test_the_budget_is_kept_by_showing_fewer_steps(episode, corridor, budget):
    rewards = np.zeros(120)
    rewards[[77, 119]] = -1
    environment = corridor(say=lambda cell: f"a line of quite some words about the cell {cell} and what is near")
    told = narrate(
        episode(rewards), Segment(3, 60, 120, "x"), environment, NarrationConfig(stride=2, token_budget=budget)
    )
    assert told.tokens <= budget
    assert {60, 77, 119} <= set(told.steps) == set(shown(told.text))
    config = NarrationConfig(stride=2, token_budget=2 * budget)
    finer = narrate(episode(rewards), Segment(3, 60, 120, "x"), environment, config)
    assert len(finer.steps) >= len(told.steps)


def test_when_nothing_else_helps_unusual_rewards_are_left_out(episode, corridor):
    rewards = np.zeros(200)
    rewards[160::5] = -1
    environment = corridor(say=lambda cell: "a line of quite some words about the cell and all that is near to it")
    told = narrate(episode(rewards), Segment(3, 150, 200, "x"), environment, NarrationConfig(token_budget=150))
    assert told.tokens <= 150
    assert told.steps[0] == 150
    assert told.steps[-1] == 199


def test_the_smallest_budget_still_tells_the_first_and_the_last_step(episode, corridor):
    environment = corridor(say=lambda cell: "words " * 15)
    told = narrate(episode([0.0] * 50), Segment(3, 0, 50, "x"), environment, NarrationConfig(token_budget=100))
    assert told.steps == (0, 49)


def test_a_single_step_can_be_told(episode, corridor):
    told = narrate(episode([0.0, 1.0, 0.0]), Segment(3, 1, 2, "x"), corridor(), NarrationConfig())
    assert told.steps == (1,)


def test_words_are_put_on_one_line(episode, corridor):
    environment = corridor(say=lambda cell: " two\nlines\t")
    assert step_line(episode([0.0] * 4), 1, environment) == "Step 1: two lines. Action: RIGHT."


@pytest.mark.parametrize(
    ("say", "found"),
    [
        (lambda cell: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda cell: None, "step 0: None"),
        (lambda cell: "  \n ", "step 0:"),
        (lambda cell: "x" * 1_000_000, "1000000 characters"),
        (lambda cell: b"bytes", "bytes"),
    ],
)
def test_a_faulty_describer_is_named(episode, corridor, say, found):
    with pytest.raises(EnvironmentFault) as caught:
        narrate(episode([0.0] * 30), Segment(3, 0, 30, "x"), corridor(say=say), NarrationConfig())
    assert "WordyCorridor" in str(caught.value)
    assert found in str(caught.value)


def test_descriptions_too_long_for_two_of_them_are_a_fault(episode, corridor):
    environment = corridor(say=lambda cell: "words " * 30)
    with pytest.raises(EnvironmentFault, match="too long to narrate two"):
        narrate(episode([0.0] * 30), Segment(3, 0, 30, "x"), environment, NarrationConfig(token_budget=100))


def test_a_codec_that_fails_is_named(episode):
    class Broken(Corridor):
        @property
        def actions(self):
            raise KeyError("gone")

    with pytest.raises(EnvironmentFault, match=r"Broken .*failed at actions"):
        narrate(episode([0.0] * 9), Segment(3, 0, 9, "x"), Broken(CorridorOptions()), NarrationConfig())


def test_a_segment_outside_the_episode_is_refused(episode, corridor):
    with pytest.raises(ValueError, match="not inside an episode of 9 steps"):
        narrate(episode([0.0] * 9), Segment(3, 5, 12, "x"), corridor(), NarrationConfig())
