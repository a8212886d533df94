"""Events as JSON: read back, described, and what another version wrote."""

from __future__ import annotations

import io
import json
import math
from dataclasses import fields
from typing import Any

import pytest

from tests.ui import sample_run
from ultra_agents.events import (
    KINDS,
    AdviceDecided,
    CellChanged,
    Evaluated,
    Event,
    RefiningSettled,
    RulesDecided,
    RulesShown,
    RunContinued,
    RunFinished,
    RunForked,
    RunPaused,
    StateShown,
    StepsSpent,
    from_json,
    schema,
)
from ultra_agents.ui.json_lines import JsonLines

EXTRA: list[Event] = [
    RunForked("one", "explain", ("collect",), "fork of one from explain on", "9 environment steps"),
    RunPaused(),
    RunContinued(),
    RefiningSettled("ppo", {"gamma": 0.99, "hidden": [8]}, {"gamma": "file", "hidden": "default"}, "a", "", "ppo"),
    Evaluated("x", 1, "last", (1.0, math.nan)),
    StateShown("0:0-9", 3, "UP", first=1, series=((1.0, 2.0), (3.0, math.inf))),
    AdviceDecided("0:0-9", 1, "UP", 2, "reject", "why"),
    RulesDecided("2:rules", 1, 3, "revise", "why", 4.5, 1.0, 8.0, 4),
    RulesShown("file", 1, ("when x > 1: UP",)),
    RulesShown("file", 2, ("when x > 1: UP",), "accepted", 1.5, 0.5, 2.5, 4),
    RunFinished("finished", math.nan, "x"),
    CellChanged("pong", "ultra-ra", 0, "finished", "-5.2"),
]


def every() -> list[Event]:
    return [event for _, event in sample_run.events()] + EXTRA


def written(event: Event) -> dict[str, Any]:

    out = io.StringIO()
    JsonLines(out).handle(event)
    row: dict[str, Any] = json.loads(out.getvalue())
    return row


def problems(value: Any, rule: dict[str, Any], whole: dict[str, Any], where: str = "") -> list[str]:
    """What of `rule`, in the part of JSON schema used here, `value` breaks."""
    if "$ref" in rule:
        return problems(value, whole["$defs"][rule["$ref"].rpartition("/")[2]], whole, where)
    for word in ("oneOf", "anyOf"):
        if word in rule:
            fitting = [one for one in rule[word] if not problems(value, one, whole, where)]
            return [] if len(fitting) == 1 or (word == "anyOf" and fitting) else [f"{where}: fits {len(fitting)}"]
    if "const" in rule:
        return [] if value == rule["const"] else [f"{where}: not {rule['const']!r}"]
    kinds = rule.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    have = {
        "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None),
        "boolean": bool,
    }  # fmt: skip
    if kinds and not any(
        isinstance(value, have[kind]) and (kind == "boolean" or not isinstance(value, bool)) for kind in kinds
    ):
        return [f"{where}: {value!r} is no {kinds}"]
    found: list[str] = []
    if isinstance(value, dict) and "properties" in rule:
        found += [f"{where}: no {name}" for name in rule.get("required", []) if name not in value]
        for name, part in value.items():
            if name in rule["properties"]:
                found += problems(part, rule["properties"][name], whole, f"{where}.{name}")
            elif rule.get("additionalProperties") is False:
                found.append(f"{where}: {name} is not described")
    elif isinstance(value, dict) and isinstance(rule.get("additionalProperties"), dict):
        for name, part in value.items():
            found += problems(part, rule["additionalProperties"], whole, f"{where}.{name}")
    elif isinstance(value, list):
        first = rule.get("prefixItems")
        rules = first or [rule.get("items", {})] * len(value)
        found += [f"{where}: {len(value)} items"] if first and len(first) != len(value) else []
        for part, each in zip(value, rules, strict=False):
            found += problems(part, each, whole, f"{where}[]")
    return found


def test_every_event_follows_the_schema() -> None:
    whole = schema()
    events = every()
    assert {type(event).__name__ for event in events} == set(KINDS), "an event without an example"
    for event in events:
        assert problems(written(event), whole, whole) == []
        assert problems({**written(event), "time": 1.5, "run": "one"}, whole, whole) == []


@pytest.mark.parametrize(
    "row",
    [
        {"event": "StepsSpent", "purpose": "test"},
        {"event": "StepsSpent", "purpose": "test", "steps": "many"},
        {"event": "StepsSpent", "purpose": "test", "steps": 1, "colour": "red"},
        {"event": "Nonsense"},
        {"event": "Evaluated", "method": "x", "steps": 1, "purpose": "last", "returns": ["a"]},
    ],
)
def test_what_is_no_event_breaks_the_schema(row: dict[str, Any]) -> None:
    whole = schema()
    assert problems(row, whole, whole)


def test_every_kind_and_field_is_described() -> None:
    described = schema()["$defs"]
    for name, kind in KINDS.items():
        assert {one.name for one in fields(kind)} | {"event", "time", "run"} == set(described[name]["properties"])
        assert len(described[name]["description"]) > 20


def test_events_come_back_as_they_were() -> None:
    for event in every():
        assert repr(from_json({**written(event), "time": 1.0})) == repr(event).replace("inf", "nan")


def test_what_other_versions_wrote_is_read_as_far_as_it_goes() -> None:
    old = {"event": "AdviceDecided", "segment": "0:0-9", "step": 1, "action": "UP", "hold": 1, "decision": "accept",
           "reason": "why"}  # fmt: skip
    assert from_json(old) == AdviceDecided("0:0-9", 1, "UP", 1, "accept", "why")
    assert from_json({**old, "colour": "red", "gain": 0.5}) == AdviceDecided("0:0-9", 1, "UP", 1, "accept", "why", 0.5)
    assert from_json({"event": "FromTheFuture"}) is None
    assert from_json({"event": "StepsSpent", "purpose": 7, "steps": 3}) is None
    assert from_json({"event": "StepsSpent", "steps": 3}) is None
    assert from_json({"event": "StepsSpent", "purpose": "test", "steps": 3}) == StepsSpent("test", 3)
