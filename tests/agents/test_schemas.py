from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from ultra_agents.agents.rules.schemas import CriticReply
from ultra_agents.agents.schemas import advisor_reply, critic_reply, identifier_reply
from ultra_agents.contracts import DiscreteActions
from ultra_agents.llm.structured import parse_reply, reply_schema

MOVES = DiscreteActions(("LEFT", "RIGHT"))
MANY = DiscreteActions(tuple(f"A{number}" for number in range(51)))


def test_the_schema_allows_only_what_was_shown_and_reasons_come_first():
    cases = reply_schema(identifier_reply((4, 7, 9), 2))["properties"]["cases"]
    assert ("minItems" not in cases, cases["maxItems"]) == (True, 2)
    fields = cases["items"]["properties"]
    assert list(fields) == ["case_analysis", "step", "importance"]
    assert fields["step"]["enum"] == [4, 7, 9]
    assert fields["case_analysis"]["maxLength"] == 240
    assert fields["importance"]["enum"] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1])
    advice = reply_schema(advisor_reply(MOVES, 8))["properties"]
    assert list(advice) == ["reasoning", "action", "hold"]
    assert advice["action"]["enum"] == ["LEFT", "RIGHT", "LEAVE IT"]
    assert (advice["hold"]["minimum"], advice["hold"]["maximum"]) == (1, 8)
    critique = reply_schema(critic_reply())["properties"]
    assert list(critique) == ["reasoning", "reward", "taken_reward", "verdict"]
    assert critique["reward"]["enum"] == critique["taken_reward"]["enum"]
    assert (critique["reward"]["enum"][0], len(critique["reward"]["enum"]), critique["reward"]["enum"][-1]) == (
        -1,
        21,
        1,
    )
    assert critique["verdict"]["enum"] == ["accept", "revise", "reject"]


def test_a_single_step_and_a_single_action_are_enums_too():
    one = reply_schema(identifier_reply((4,), 1))["properties"]["cases"]["items"]["properties"]["step"]
    assert one["enum"] == [4]
    assert reply_schema(advisor_reply(DiscreteActions(("GO",)), 1))["properties"]["action"]["enum"] == [
        "GO",
        "LEAVE IT",
    ]


@pytest.mark.parametrize("step", [4, "4", " 4 ", 4.0])
def test_a_step_may_come_as_text(step):
    reply = identifier_reply((4,), 1)
    said = reply.model_validate({"cases": [{"case_analysis": "x", "step": step, "importance": 1}]})
    assert said.cases[0].step == 4
    assert type(said.cases[0].step) is int


@pytest.mark.parametrize(
    "case",
    [
        {"step": 5}, {"step": True}, {"step": "four"}, {"step": 4.5}, {"step": None}, {"step": "9" * 5000},
        {"importance": 1.01}, {"importance": -0.1}, {"importance": float("nan")}, {"more": 1}, {"case_analysis": 3},
    ],
)  # fmt: skip
def test_cases_out_of_range_cannot_pass(case):
    fine = {"case_analysis": "x", "step": 4, "importance": 0.5}
    with pytest.raises(ValidationError):
        identifier_reply((4,), 1).model_validate({"cases": [{**fine, **case}]})


def test_the_number_of_cases_is_bounded_and_none_is_an_answer():
    case = {"case_analysis": "x", "step": 4, "importance": 0.5}
    reply = identifier_reply((4,), 2)
    assert [len(reply.model_validate({"cases": [case] * count}).cases) for count in range(3)] == [0, 1, 2]
    for wrong in ({"cases": [case] * 3}, {"cases": None}, {}):
        with pytest.raises(ValidationError):
            reply.model_validate(wrong)


@pytest.mark.parametrize("codec", [MOVES, MANY])
@pytest.mark.parametrize("change", [{"action": "JUMP"}, {"hold": 0}, {"hold": 9}, {"hold": 1.5}, {"action": 1}])
def test_advice_out_of_range_cannot_pass(codec, change):
    fine = {"reasoning": "x", "action": codec.names[0], "hold": 8}
    reply = advisor_reply(codec, 8)
    assert reply.model_validate(fine).hold == 8
    with pytest.raises(ValidationError):
        reply.model_validate({**fine, **change})


def test_many_actions_are_not_listed_but_explained():
    assert "enum" not in reply_schema(advisor_reply(MANY, 8))["properties"]["action"]
    with pytest.raises(ValidationError, match="no action is called 'JUMP'; for example A0, A1"):
        advisor_reply(MANY, 8).model_validate({"reasoning": "x", "action": "JUMP", "hold": 1})


@pytest.mark.parametrize("change", [{"reward": 1.1}, {"taken_reward": -2}, {"verdict": "maybe"}, {"reward": "inf"}])
def test_a_critique_out_of_range_cannot_pass(change):
    fine = {"reasoning": "x", "reward": 1, "taken_reward": -1, "verdict": "accept"}
    critic_reply().model_validate(fine)
    with pytest.raises(ValidationError):
        critic_reply().model_validate({**fine, **change})


def test_what_the_schema_does_not_offer_is_accepted_in_range():
    said = critic_reply().model_validate(
        {"reasoning": "short", "reward": 0.333, "taken_reward": -1, "verdict": "accept"}
    )
    assert (said.reasoning, said.reward) == ("short", 0.333)


SENTENCES = "The ball flies up. It is 30.5 px away! Is there time? Hardly any (see above). Now"


@pytest.mark.parametrize(
    ("limit", "kept"),
    [
        (len(SENTENCES), SENTENCES),
        (len(SENTENCES) - 1, SENTENCES.removesuffix(" Now")),
        (40, "The ball flies up. It is 30.5 px away!"),
        (25, "The ball flies up."),
        (12, "The ball flies up."),  # a sentence that is too long is not cut in two
    ],
)
def test_reasons_are_cut_after_a_sentence(limit, kept):
    text = json.dumps({"reasoning": SENTENCES, "reward": 0, "taken_reward": 0, "verdict": "accept"})
    assert parse_reply(text, critic_reply(limit)).reasoning == kept
    case = {"case_analysis": SENTENCES, "step": 4, "importance": 1}
    assert identifier_reply((4,), 1, limit).model_validate({"cases": [case]}).cases[0].case_analysis == kept
    moves = {"reasoning": SENTENCES, "moves": []}
    assert advisor_reply(MOVES, 4, 1, 2, reasoning=limit, as_list=True).model_validate(moves).reasoning == kept


def test_a_text_without_any_sentence_is_cut_between_words_and_marked():
    text = '{"reasoning": "' + "far too much " * 90 + '", "reward": 0, "taken_reward": 0, "verdict": "accept"}'
    reasoning = parse_reply(text, critic_reply()).reasoning
    assert 230 < len(reasoning) <= 240
    assert reasoning.endswith((" far ...", " too ...", " much ..."))


def test_the_length_of_reasons_is_in_the_schema():
    assert reply_schema(critic_reply(1500))["properties"]["reasoning"]["maxLength"] == 1500
    assert reply_schema(advisor_reply(MOVES, 8, reasoning=77))["properties"]["reasoning"]["maxLength"] == 77


def test_rewards_alone_have_no_verdict():
    assert list(reply_schema(critic_reply(verdict=False))["properties"]) == ["reasoning", "reward", "taken_reward"]


@pytest.mark.parametrize("written", ["Accept", " ACCEPT ", "accept"])
def test_a_verdict_may_be_written_as_a_model_likes(written: str) -> None:
    fine = {"reasoning": "x", "reward": 1, "taken_reward": -1, "verdict": written}
    assert critic_reply(240)(**fine).verdict == "accept"
    said = {"reasoning": "x", "implicit": "none", "expression": "", "verdict": written}
    assert CriticReply(**said).verdict == "accept"
