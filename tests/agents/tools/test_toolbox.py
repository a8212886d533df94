"""What each tool says, what it costs, and that no call is too odd for it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ultra_agents.agents.tools.arguments import tools_of
from ultra_agents.config.tools import TOOLS
from ultra_agents.testing.corridor import Corridor, CorridorOptions


def call(box, name, left=10**6, episode=0, **arguments):
    return box.run(name, json.dumps(arguments), box.episodes[episode], left)


def test_data_counts_what_was_collected(boxes):
    box = boxes()
    cells = np.concatenate([one.observations[:, 0] for one in box.episodes]) * 7 + 7
    lefts = np.concatenate([one.actions for one in box.episodes]) == 0
    result = call(box, "data", expression="cell", by="action")
    head, _, left, right = result.text.splitlines()
    assert head == f"cell [cells]: {len(cells)} of {len(cells)} steps in 2 episodes"
    assert left.startswith(f"LEFT: {lefts.sum()}, ")
    assert right.startswith(f"RIGHT: {(~lefts).sum()}, ")
    mean = float(left.split(", ")[1])
    assert mean == pytest.approx(cells[lefts].mean(), rel=5e-3)
    assert result.env_steps == 0
    assert not result.refused
    share = call(box, "data", expression="own == LEFT", where="cell < 6").text.splitlines()[-1].split(", ")
    assert int(share[0]) == (np.round(cells) < 6).sum()
    assert float(share[1]) == pytest.approx(lefts[np.round(cells) < 6].mean(), rel=5e-3)


def test_data_groups_by_values_or_by_ranges(boxes):
    box = boxes()
    few = call(box, "data", expression="reward", by="episode").text.splitlines()[2:]
    assert [row.partition(":")[0] for row in few] == ["episode = 0", "episode = 1"]
    many = call(box, "data", expression="cell", by="steps_left").text.splitlines()[2:]
    assert 2 <= len(many) <= 5
    total = sum(int(row.partition(": ")[2].partition(",")[0]) for row in many)
    assert total == sum(map(len, box.episodes)), "every step is in one group"
    assert "there is nothing to tell" in call(box, "data", expression="cell", where="cell > 99").text
    nothing = call(box, "data", expression="1 / (cell - cell)")
    assert "none of them with a value" in nothing.text


def test_moves_that_lead_to_the_goal_gain_and_the_result_says_how_it_ended(boxes):
    box = boxes()
    step = next(i for i, seen in enumerate(box.episodes[0].observations[:, 0]) if round(seen * 7 + 7) == 7)
    result = call(box, "try_moves", step=step, moves=[{"action": "RIGHT", "hold": 7}])
    assert result.text.startswith(f"RIGHT for 7 steps from step {step}, then the policy, 4 pairs of at most 39 steps")
    assert "better in 4 of 4, worse in 0, the same in 0" in result.text
    assert "with the moves: rewards of +0.93 in 4 of 4" in result.text
    assert "terminated in 4 of 4 (after 7 steps)" in result.text
    assert f"It took {result.env_steps} environment steps." in result.text
    same = call(box, "try_moves", step=step, moves=[{"action": "RIGHT", "hold": 7}])
    assert same == result


def test_the_result_of_a_call_does_not_depend_on_earlier_ones(boxes):
    box, fresh = boxes(), boxes()
    moves = {"step": 1, "moves": [{"action": "RIGHT", "hold": 3}]}
    rule = {"rule": "when: cell >= 0\ndo: RIGHT", "where": ""}
    first = [
        call(box, "try_moves", **moves),
        call(box, "effect", action="RIGHT", hold=2),
        call(box, "try_rule", **rule),
    ]
    again = [call(fresh, "try_rule", **rule), call(fresh, "effect", action="RIGHT", hold=2)]
    assert first[::-1] == [*again, call(fresh, "try_moves", **moves)]


def test_a_rule_is_tried_where_it_acts_otherwise(boxes):
    box = boxes()
    result = call(box, "try_rule", rule="when: cell >= 0\ndo: RIGHT")
    assert result.text.startswith("It would act otherwise than the policy at ")
    assert "Gain +" in result.text
    assert "better in 8 of 8, worse in 0" in result.text
    lefts = sum(int((one.actions == 0).sum()) for one in box.episodes)
    assert f"at {lefts} of " in result.text
    whole = call(box, "try_rule", rule="rules: [{when: cell >= 0, do: RIGHT}]")
    assert whole == result
    near = call(box, "try_rule", rule="when: cell >= 0\ndo: RIGHT", where="cell < 6")
    assert "from states where cell < 6" in near.text


def test_an_effect_is_measured_where_it_is_asked_for(boxes):
    result = call(boxes(), "effect", action="RIGHT", hold=2, where="cell > 3 and cell < 10")
    row = next(line for line in result.text.splitlines() if line.startswith("cell"))
    assert row.startswith("cell [cells] +2 ")
    assert 0 < result.env_steps <= 8 * 16


def test_calls_are_held_to_what_is_left(boxes):
    box = boxes()
    moves = {"step": 0, "moves": [{"action": "RIGHT", "hold": 1}]}
    cheap = call(box, "try_moves", left=2 * 66, **moves)
    assert "2 pairs" in cheap.text
    assert 0 < cheap.env_steps <= 132
    for name, arguments in (
        ("try_moves", moves),
        ("try_rule", {"rule": "when: cell >= 0\ndo: RIGHT"}),
        ("effect", {"action": "RIGHT"}),
    ):
        result = call(box, name, left=20, **arguments)
        assert (result.refused, result.env_steps) == ("beyond the tool budget", 0)
        assert "20 are left" in result.text


@pytest.mark.parametrize(
    ("name", "arguments", "refused", "said"),
    [
        ("erase", "{}", "unknown tool", "There is no tool 'erase'; there are: data, effect, try_moves, try_rule."),
        ("data", "", "arguments not readable", "no JSON object of at most 4,000 characters: ''."),
        ("data", '{"expression": "cell"', "arguments not readable", "no JSON object"),
        ("data", "[1]", "arguments not readable", "no JSON object"),
        ("data", "[" * 3000, "arguments not readable", "no JSON object"),
        ("data", "{}", "arguments not usable", "expression: Field required"),
        ("data", '{"expression": "cell", "sort": 1}', "arguments not usable", "sort: Extra inputs are not permitted"),
        ("data", '{"expression": "ball"}', "expression refused", "there is no quantity, let or constant 'ball'"),
        ("data", '{"expression": "__import__(\'os\')"}', "expression refused", "a name is not usable"),
        ("data", '{"expression": "1e999"}', "expression refused", "a number is too large"),
        ("data", '{"expression": "1 / 0"}', "expression refused", "this never has a value"),
        ("data", '{"expression": "cell", "where": "cell"}', "expression refused", "a number where a condition"),
        ("data", '{"expression": "%s"}' % ("cell + " * 500), "expression refused", "is too long"),
        ("try_moves", '{"step": 999, "moves": [{"action": "RIGHT", "hold": 1}]}', "moves refused", "step outside"),
        ("try_moves", '{"step": 1e400, "moves": []}', "arguments not usable", "step: "),
        ("try_moves", '{"step": NaN, "moves": []}', "arguments not usable", "step: "),
        ("try_moves", '{"step": 0, "moves": []}', "arguments not usable", "at least 1 item"),
        ("try_moves", '{"step": 0, "moves": [{"action": "FLY", "hold": 1}]}', "moves refused", "legal are: LEFT"),
        ("try_moves", '{"step": 0, "moves": [{"action": "LEFT", "hold": 99}]}', "moves refused", "at most 8 steps"),
        (
            "try_moves",
            '{"step": 0, "moves": [{"action": "LEFT", "hold": 1}, {"action": "RIGHT", "hold": 1}]}',
            "moves refused",
            "At most 1 moves",
        ),
        ("try_rule", '{"rule": "when: cell >\\ndo: RIGHT"}', "rule refused", "this is no expression"),
        ("try_rule", '{"rule": "cell > 3"}', "rule refused", "the rules"),
        ("try_rule", '{"rule": "rules: &a [*a]"}', "rule refused", "anchors, aliases and tags are not allowed"),
        ("try_rule", '{"rule": "potential: cell"}', "rule refused", "there is no rule to act by"),
        ("try_rule", '{"rule": "when: cell < -5\\ndo: LEFT"}', "rule changes nothing", "nothing the policy"),
        ("effect", '{"action": "FLY"}', "unknown action", "there are: LEFT, RIGHT"),
        ("effect", '{"action": "LEFT", "hold": 9}', "arguments not usable", "hold: "),
        ("effect", '{"action": "LEFT", "where": "cell > 99"}', "no such state", "No step of the collected episodes"),
    ],
)  # fmt: skip
def test_nonsense_is_answered_in_a_line(boxes, name, arguments, refused, said):
    box = boxes()
    result = box.run(name, arguments, box.episodes[0], 10**6)
    assert (result.refused, result.env_steps) == (refused, 0)
    assert said in result.text
    assert "\n" not in result.text
    assert len(result.text) <= 400


def test_tools_that_have_nothing_to_work_with_are_not_offered(boxes):
    class Nameless(Corridor):
        absent = frozenset({"quantities"})

    assert boxes().names == TOOLS
    assert boxes(use=("try_moves", "data")).names == ("try_moves", "data")
    without = boxes(world=Nameless(CorridorOptions(length=15, max_steps=40)))
    assert without.names == ("data", "try_moves")
    assert "reward" in call(without, "data", expression="reward").text


def test_the_run_is_shared_out_evenly(boxes):
    box = boxes(conversations=7, steps=1000, calls=20)
    assert (box.share.calls, box.share.steps) == (2, 142)


def test_servers_are_told_every_argument(boxes):
    told = {tool["name"]: tool["parameters"] for tool in tools_of(TOOLS)}
    assert list(told) == list(TOOLS)
    assert told["data"]["required"] == ["expression", "where", "by"]
    assert told["try_moves"]["properties"]["moves"]["items"]["required"] == ["action", "hold"]
    assert all(one["additionalProperties"] is False for one in told.values())
