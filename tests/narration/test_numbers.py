"""Steps told as rows of numbers: figures, hidden actions, rewards, budgets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ultra_agents.config import NarrationConfig
from ultra_agents.narration import Numbers, figure, narrate
from ultra_agents.narration.describe import estimate_tokens
from ultra_agents.records import Segment, Trajectory
from ultra_agents.testing.corridor import Corridor, CorridorOptions


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "0"), (-0.52345, "-0.523"), (0.00123456, "0.00123"), (1234.5, "1234"), (1.5e-9, "0"),
        (100.0, "100"), (2.50, "2.5"), (math.nan, "-"), (math.inf, "-"), (-3e7, "-30000000"),
    ],
)  # fmt: skip
def test_figures_are_short_and_never_powers_of_ten(value, text):
    assert figure(value) == text


def test_digits_far_below_the_scale_are_left_out():
    assert figure(-0.000767, scale=0.785) == "-0.0008"
    assert figure(0.00123, scale=0.07) == "0.00123"
    assert figure(12.345, scale=160) == "12.3"
    assert figure(0.00001, scale=1.0) == "0"
    assert figure(0.5, scale=math.inf) == "0.5"


def told(count=10, stride=3, budget=900, **options):
    rewards = np.zeros(count)
    rewards[5] = 1.0
    trajectory = Trajectory(
        0, 0, np.zeros((count, 1), np.float32), np.arange(count) // 4 % 2, rewards, np.zeros(count), ({},) * count,
        True, False,
    )  # fmt: skip
    config = NarrationConfig(stride=stride, token_budget=budget)
    world = Corridor(CorridorOptions())
    columns = {"a": np.arange(count) / 2, "b": np.full(count, math.nan)}
    done = ("done", lambda step: "UP" if trajectory.actions[step] else "DOWN")
    lines = Numbers(trajectory, world, config, columns, {"a": 1.0, "b": 1.0}, done, **options)
    return narrate(trajectory, Segment(0, 0, count, "all"), world, config, (), lines)


def test_actions_between_two_rows_are_told():
    rows = told(count=40, stride=40).text.splitlines()
    at = rows.index("step: a b | done")
    assert rows[at - 1] == "31 of these 40 steps are described; of the others it is told what was done."
    assert rows[at + 5 : at + 17] == [
        "4: 2 - | UP.",
        "5: 2.5 - | UP. Reward +1 (wandering).",
        "6: 3 - | UP.",
        "7: 3.5 - | UP.",
        "8: 4 - | DOWN.",
        "9: 4.5 - | DOWN.",
        "10: 5 - | DOWN.",
        "11: 5.5 - | DOWN.",
        "12: 6 - | UP.",
        "13: 6.5 - | UP.",
        "14-22 | UP x2, DOWN x4, UP x3.",
        "23: 11.5 - | UP.",
    ]
    assert rows[-1] == "This stretch ends at step 39. The episode terminated here."


def test_actions_that_are_numbers_are_averaged_where_there_is_no_room_for_each():
    wide = {"count": 400, "stride": 400, "averaged": lambda first, stop: f"{first + stop}"}
    assert "on average" not in told(budget=900, **wide).text
    rows = told(budget=150, **wide).text.splitlines()
    assert "13-398 | on average 412." in rows
    assert "1-4 | DOWN x3, UP." in rows, "where the order is as short it is told"


def test_a_column_beside_and_whose_episode_it_is():
    rows = told(stride=1, beside=("own", lambda step: f"own {step}"), whose="Test episode 2").text.splitlines()
    assert rows[0].startswith("Test episode 2: return +1 in 10 steps")
    assert "step: a b | done | own" in rows
    assert "3: 1.5 - | DOWN | own 3." in rows
    assert not any(row.startswith("1-") for row in rows)


def test_the_budget_is_kept():
    narration = told(count=200, stride=1, budget=200)
    assert narration.tokens <= 200
    assert estimate_tokens(narration.text) == narration.tokens
    assert narration.steps[0] == 0
    assert narration.steps[-1] == 199
