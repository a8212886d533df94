"""Suggestions of several moves: asked for, judged, tested and kept as a whole."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from ultra_agents.agents.schemas import advisor_reply, end_word, leave_word, plan_of
from ultra_agents.agents.state import EXPLANATION
from ultra_agents.contracts import DiscreteActions
from ultra_agents.llm.structured import reply_schema
from ultra_agents.records import Plan

MOVES = DiscreteActions(("UP", "DOWN", "STAY"))
PLAN = {"reasoning": "x", "action": "UP", "hold": 5, "action_2": "STAY", "hold_2": 2, "action_3": "END", "hold_3": 1}


def test_one_move_is_asked_for_as_ever():
    assert list(reply_schema(advisor_reply(MOVES, 8))["properties"]) == ["reasoning", "action", "hold"]


def test_the_schema_of_a_plan_is_flat_and_all_required():
    schema = reply_schema(advisor_reply(MOVES, 8, 2, 3))
    fields = schema["properties"]
    assert list(fields) == ["reasoning", "action", "hold", "action_2", "hold_2", "action_3", "hold_3"]
    assert schema["required"] == list(fields)
    assert fields["action"]["enum"] == ["UP", "DOWN", "STAY", "LEAVE IT"]
    assert fields["action_3"]["enum"] == ["UP", "DOWN", "STAY", "END"]
    assert (fields["hold_3"]["minimum"], fields["hold_3"]["maximum"]) == (2, 8)


def test_a_plan_ends_at_the_first_end():
    reply = advisor_reply(MOVES, 8, 1, 3)
    assert plan_of(reply.model_validate(PLAN), MOVES) == Plan((("UP", 5), ("STAY", 2)))
    early = {**PLAN, "action_2": "END", "action_3": "DOWN"}
    assert plan_of(reply.model_validate(early), MOVES) == Plan((("UP", 5),))
    short = {key: PLAN[key] for key in ("reasoning", "action", "hold")}
    assert plan_of(reply.model_validate(short), MOVES) == Plan((("UP", 5),))
    full = {**PLAN, "action_3": "DOWN", "hold_3": 7}
    assert plan_of(reply.model_validate(full), MOVES) == Plan((("UP", 5), ("STAY", 2), ("DOWN", 7)))


@pytest.mark.parametrize("change", [{"action": "END"}, {"action_2": "JUMP"}, {"hold_2": 9}, {"action_4": "UP"}])
def test_plans_out_of_range_cannot_pass(change):
    with pytest.raises(ValidationError):
        advisor_reply(MOVES, 8, 1, 3).model_validate({**PLAN, **change})


def test_an_action_called_end_is_an_action():
    codec = DiscreteActions(("END", "GO"))
    reply = advisor_reply(codec, 4, 1, 2)
    said = reply.model_validate({"reasoning": "x", "action": "GO", "hold": 1, "action_2": "END", "hold_2": 3})
    assert plan_of(said, codec) == Plan((("GO", 1), ("END", 3)))
    over = reply.model_validate({"reasoning": "x", "action": "GO", "hold": 1, "action_2": end_word(codec)})
    assert plan_of(over, codec) == Plan((("GO", 1),))


def test_many_actions_are_checked_in_further_moves_too():
    codec = DiscreteActions(tuple(f"A{number}" for number in range(51)))
    reply = advisor_reply(codec, 4, 1, 2)
    fine = {"reasoning": "x", "action": "A1", "hold": 1, "action_2": "A50", "hold_2": 3}
    assert plan_of(reply.model_validate(fine), codec) == Plan((("A1", 1), ("A50", 3)))
    assert plan_of(reply.model_validate({**fine, "action_2": "END"}), codec) == Plan((("A1", 1),))
    with pytest.raises(ValidationError, match="no action is called 'JUMP'"):
        reply.model_validate({**fine, "action_2": "JUMP"})


def test_moves_of_one_action_in_a_row_are_one():
    plan = Plan.of([("UP", 2), ("UP", 3), ("STAY", 1), ("UP", 1)])
    assert plan == Plan((("UP", 5), ("STAY", 1), ("UP", 1)))
    assert (plan.steps, plan.actions) == (7, "UP then STAY then UP")
    reply = advisor_reply(MOVES, 8, 1, 3)
    said = {**PLAN, "action_2": "UP", "hold_2": 2, "action_3": "STAY", "hold_3": 1}
    assert plan_of(reply.model_validate(said), MOVES) == Plan.of([("UP", 7), ("STAY", 1)])


def plan(hold=2, then="LEFT", then_hold=3):
    return {"reasoning": "first right", "action": "RIGHT", "hold": hold, "action_2": then, "hold_2": then_hold}


def test_a_plan_reaches_the_tester_the_critic_and_the_table(bench, item, says):
    tester = says.tester([0.5])
    story = says.story(identifier=says.cases(3), advisor=plan(), critic=says.verdict())
    made = bench.proposer(story, tester, "simulate", max_moves=2).explain([item()])[0]
    moves = (("RIGHT", 2), ("LEFT", 3))
    assert tester.tested[0].plan.moves == moves
    assert made.advice[0].plan.moves == moves
    assert [(attempt.plan.moves, attempt.test.gain) for attempt in made.attempts] == [(moves, 0.5)]
    assert "RIGHT for 2 steps, then LEFT for 3 steps, from step 3" in bench.gateway.said_to("critic")
    (event,) = bench.events_of("AdviceDecided")
    assert (event.action, event.hold) == ("RIGHT then LEFT", 5)
    assert json.loads(EXPLANATION.dump_json(made))["states"][0]["attempts"][0]["plan"] == {
        "moves": [["RIGHT", 2], ["LEFT", 3]]
    }


def test_the_advisor_is_told_about_plans_only_where_it_may_make_some(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    bench.proposer(story, max_moves=3).explain([item()])
    assert "go on in action_2/hold_2 and action_3/hold_3; otherwise answer END" in bench.gateway.said_to("advisor")
    bench.proposer(story, max_moves=1).explain([item(episode=1)])
    assert "action_2" not in bench.gateway.said_to("advisor")


def test_another_continuation_is_another_suggestion_and_the_same_is_not(bench, item, says):
    story = says.story(
        identifier=says.cases(3), advisor=[plan(), plan(then_hold=4), plan(hold=2, then="LEFT", then_hold=4)],
        critic=says.verdict(),
    )  # fmt: skip
    made = bench.proposer(story, says.tester([-0.5]), "simulate", max_moves=2, max_revisions=3).explain([item()])[0]
    assert [attempt.plan.moves for attempt in made.attempts if attempt.test] == [
        (("RIGHT", 2), ("LEFT", 3)), (("RIGHT", 2), ("LEFT", 4)),
    ]  # fmt: skip
    assert [drop.reason for drop in made.drops] == ["suggested again"]


def test_a_plan_that_begins_with_the_action_taken_is_advice(bench, item, says):
    story = says.story(
        identifier=says.cases(3), advisor={**plan(then="RIGHT"), "action": "LEFT", "hold": 1}, critic=says.verdict()
    )
    (row,) = bench.proposer(story, max_moves=2).explain([item()])[0].advice
    assert row.plan.moves == (("LEFT", 1), ("RIGHT", 3))


def test_plans_survive_the_checkpoint(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=plan(), critic=says.verdict())
    first = bench.proposer(story, says.tester([0.5]), "simulate", max_moves=2).explain([item()])[0]
    again = bench.proposer(says.story(), says.tester([0.5]), "simulate", max_moves=2).explain([item()])[0]
    assert again == first
    assert bench.gateway.asked == []


LIST = {"reasoning": "x", "moves": [{"action": "UP", "hold": 30}, {"action": "STAY", "hold": 10}]}


def test_a_plan_may_be_a_list_that_names_the_actions_once():
    reply = advisor_reply(MOVES, 40, 2, 8, plan_steps=40, as_list=True)
    schema = reply_schema(reply)
    assert list(schema["properties"]) == ["reasoning", "moves"]
    assert json.dumps(schema).count('"STAY"') == 1
    moves = schema["properties"]["moves"]
    assert moves["maxItems"] == 8
    assert moves["items"]["properties"]["hold"] == {"type": "integer", "minimum": 2, "maximum": 40}
    assert plan_of(reply.model_validate(LIST), MOVES) == Plan((("UP", 30), ("STAY", 10)))


@pytest.mark.parametrize("as_list", [True, False])
def test_a_plan_has_a_limit_for_all_its_moves(as_list):
    reply = advisor_reply(MOVES, 40, 1, 8, plan_steps=39, as_list=as_list)
    said = LIST if as_list else {**PLAN, "hold": 30, "hold_2": 10}
    with pytest.raises(ValidationError, match="the plan takes 40 steps, and may take 39"):
        reply.model_validate(said)
    said = json.loads(json.dumps(said).replace("30", "29"))
    assert plan_of(reply.model_validate(said), MOVES).steps == 39


@pytest.mark.parametrize(
    "moves",
    [[{"action": "JUMP", "hold": 1}], [{"action": "UP", "hold": 41}], [{"action": "UP"}], LIST["moves"] * 5],
)
def test_lists_out_of_range_cannot_pass(moves):
    with pytest.raises(ValidationError):
        advisor_reply(MOVES, 40, 1, 8, as_list=True).model_validate({**LIST, "moves": moves})


@pytest.mark.parametrize(("as_list", "said"), [(True, {"moves": []}), (False, {"action": "LEAVE IT", "hold": 3})])
def test_nothing_to_be_changed_is_an_answer(as_list, said):
    reply = advisor_reply(MOVES, 8, 1, 3, as_list=as_list)
    assert plan_of(reply.model_validate({"reasoning": "fine as it is", **said}), MOVES) is None


def test_an_action_called_leave_it_is_an_action():
    codec = DiscreteActions(("LEAVE IT", "GO"))
    reply = advisor_reply(codec, 4)
    said = reply.model_validate({"reasoning": "x", "action": "LEAVE IT", "hold": 1})
    assert plan_of(said, codec) == Plan((("LEAVE IT", 1),))
    assert plan_of(said.model_copy(update={"action": leave_word(codec)}), codec) is None


def test_a_capable_model_is_asked_for_a_list_and_told_the_limits(bench, item, says):
    asked = {"prompts": "full", "max_moves": 8, "max_hold": 40, "plan_steps": 40, "reasoning": 1500}
    moves = [{"action": "RIGHT", "hold": 9}, {"action": "LEFT", "hold": 1}]
    story = says.story(identifier=says.cases(3), advisor={"reasoning": "x", "moves": moves}, critic=says.verdict())
    (row,) = bench.proposer(story, **asked).explain([item()])[0].advice
    assert row.plan.moves == (("RIGHT", 9), ("LEFT", 1))
    told = bench.gateway.said_to("advisor")
    assert (
        "at most 8, each an action and for how many steps (1 to 40) it is held, all together at most 40 steps" in told
    )
    assert "in at most 1,500 characters about this very state" in told
    assert "leave the list of moves empty" in told
