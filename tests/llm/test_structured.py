"""Schemas for servers, and arbitrary text to a reply or a counted drop."""

from __future__ import annotations

import json
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from ultra_agents.llm.replies import MAX_REPLY_CHARS
from ultra_agents.llm.structured import ReplyDropped, parse_reply, repair_messages, reply_schema


class Case(BaseModel):
    why: str = Field(max_length=40)
    step: Literal[3, 6, 9]
    weight: int = Field(gt=0, lt=10)


class Cases(BaseModel):
    title: str = "none"
    kind: Literal["only"]
    cases: list[Case] = Field(min_length=1, max_length=2)


class Node(BaseModel):
    child: Node | None = None


GOOD = {"title": "t", "kind": "only", "cases": [{"why": "x", "step": 3, "weight": 1}]}


def test_schema_is_flat_bounded_and_closed():
    schema = reply_schema(Cases)
    assert "$ref" not in json.dumps(schema)
    assert "$defs" not in schema
    assert schema["required"] == ["title", "kind", "cases"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["title"] == {"type": "string"}
    assert schema["properties"]["kind"]["enum"] == ["only"]
    cases = schema["properties"]["cases"]
    assert (cases["minItems"], cases["maxItems"]) == (1, 2)
    item = cases["items"]["properties"]
    assert item["why"] == {"type": "string", "maxLength": 40}
    assert item["step"]["enum"] == [3, 6, 9]
    assert (item["weight"]["minimum"], item["weight"]["maximum"]) == (1, 9)


def test_a_reply_model_that_contains_itself_is_refused():
    with pytest.raises(ValueError, match="refers to itself"):
        reply_schema(Node)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        f"Sure!\n```json\n{json.dumps(GOOD, indent=2)}\n```\nAnything else?",
        f'<think>Maybe {{"kind": "other"}}?</think>{json.dumps(GOOD)}',
        f"half a thought </think> {json.dumps(GOOD)}",
        f'I was shown {{"type": "object"}} so: {json.dumps(GOOD)}',
        f"[{json.dumps(GOOD)}]",
    ],
)
def test_finds_the_reply(text):
    assert parse_reply(text, Cases).cases[0].step == 3


DRAFT, FINAL = json.dumps({**GOOD, "title": "draft"}), json.dumps({**GOOD, "title": "final"})


@pytest.mark.parametrize(
    "text",
    [
        f"<thinking>{DRAFT} no</thinking>{FINAL}",
        f"<Thought>{DRAFT}</Thought><answer>{FINAL}</answer>",
        f'<reasoning effort="high">{DRAFT}</reasoning>{FINAL}',
        f"<scratchpad>{DRAFT}</scratchpad>\n{FINAL}",
        f"[THINK]{DRAFT}[/THINK]{FINAL}",
        f"\u25c1think\u25b7{DRAFT}\u25c1/think\u25b7{FINAL}",
        f"<|begin_of_thought|>{DRAFT}<|end_of_thought|>{FINAL}",
        f"<|START_THINKING|>{DRAFT}<|END_THINKING|>{FINAL}",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{FINAL}",
        f"<|channel>thought\n{DRAFT}<channel|>{FINAL}",
        f"{FINAL}<|end|>",
        f"<|channel|>final<|message|>{FINAL}<|end|>",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{FINAL}<|end|>",
        f"{DRAFT} half a thought </think> {FINAL}",
        f"{FINAL}<think>or rather {DRAFT}?</think>",
        f"{FINAL} <think>or rather {DRAFT}",
        f"```json\n{DRAFT}\n```\nOn second thought:\n```json\n{FINAL}\n```",
        f'First {DRAFT}, then {FINAL}. An object of another kind: {{"a": 1}}',
        f"{'{ ' * 500} {FINAL}",
    ],
)
def test_the_final_answer_counts(text):
    assert parse_reply(text, Cases).title == "final"


def test_a_tag_within_a_text_of_the_answer_is_a_text():
    said = {**GOOD, "title": "I <think> so </think>"}
    assert parse_reply(f"Sure: {json.dumps(said)}", Cases).title == said["title"]


def test_half_an_emoji_is_made_valid():
    text = json.dumps({**GOOD, "title": "half \ud83d, whole \ud83d\ude00"})
    assert "\\ud83d" in text
    assert parse_reply(text, Cases).title == "half \ufffd, whole \U0001f600"


@pytest.mark.parametrize("text", ['{"' * 100_000, '{"a":' * 150_000, '{"a": "' * 50_000, "<think>" * 90_000])
def test_hostile_text_is_given_up(text):
    with pytest.raises(ReplyDropped):
        parse_reply(text, Cases)


@pytest.mark.parametrize(
    ("text", "cut", "reason"),
    [
        ("", False, "empty reply"),
        (" \n", True, "cut at max_tokens"),
        ("<think>I wonder", False, "empty reply"),
        ("no idea", False, "malformed reply"),
        ('{"kind": "only", "cases": [', False, "malformed reply"),
        ('{"kind": "only", "cases": [', True, "cut at max_tokens"),
        ('{"kind": "only", "cases": []}', False, "wrong fields"),
        (json.dumps({**GOOD, "cases": [{"why": "x", "step": 4, "weight": 1}]}), False, "wrong fields"),
        ("3", False, "malformed reply"),
        ("x" * (MAX_REPLY_CHARS + 1), False, "too long"),
        ('{"a":' * 50_000, False, "malformed reply"),
        ('{"a": NaN}', False, "malformed reply"),
        ('{"a": ' + "9" * 5000 + "}", False, "malformed reply"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else None,
)
def test_drops_with_a_countable_reason(text, cut, reason):
    with pytest.raises(ReplyDropped) as caught:
        parse_reply(text, Cases, cut)
    assert caught.value.reason == reason


def valid(value):
    assert isinstance(value, Cases)
    assert 1 <= len(value.cases) <= 2
    assert all(case.step in (3, 6, 9) and 0 < case.weight < 10 and len(case.why) <= 40 for case in value.cases)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "title": json_values,
        "kind": st.just("only") | json_values,
        "cases": st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "why": st.text(max_size=60) | json_values,
                    "step": st.integers(0, 10) | json_values,
                    "weight": st.integers(-2, 12) | json_values,
                },
            ),
            max_size=3,
        ),
    },
).map(json.dumps)
fragments = st.sampled_from(
    ['{"', "}", "<think>", "</think>", "```json", '"cases": [', "{", "[", "\\u", json.dumps(GOOD)]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(), near_misses, st.lists(fragments | st.text(max_size=5)).map("".join)), st.booleans())
def test_any_text_is_a_valid_reply_or_a_drop(text, cut):
    try:
        made = parse_reply(text, Cases, cut)
    except ReplyDropped as problem:
        made = problem
    if isinstance(made, ReplyDropped):
        reason = made.reason
        assert reason in {"empty reply", "malformed reply", "wrong fields", "cut at max_tokens"}
    else:
        valid(made)


def test_repair_carries_the_error_and_the_schema():
    schema = reply_schema(Cases)
    made = repair_messages([("user", "?")], "bad", ReplyDropped("wrong fields", "cases: too short"), schema)
    assert made[:2] == [("user", "?"), ("assistant", "bad")]
    assert "cases: too short" in made[2][1]
    assert json.dumps(schema) in made[2][1]
    assert [role for role, _ in repair_messages([], " ", ReplyDropped("empty reply"), schema)] == ["user"]
