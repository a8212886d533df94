"""Work that was cut off and done again is counted once; what other versions wrote is counted as it is."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from ultra_agents.events import (
    KINDS,
    AdviceDecided,
    AgentAsked,
    AgentSpoke,
    Dropped,
    Event,
    RulesDecided,
    RunStarted,
    StepsSpent,
)
from ultra_agents.records import Usage
from ultra_agents.runs import read_lines
from ultra_agents.ui import counting
from ultra_agents.ui.history import past_events
from ultra_agents.ui.run_state import RunState, reduce

SPOKE = AgentSpoke("critic", "0:0-9", "m", "hello", False, 100, 10, 2.0, "ok", 0.5, True, "abc", 1)
ONCE: list[Event] = [
    SPOKE,
    StepsSpent("test", 7, "0:0-9 3/1"),
    AdviceDecided("0:0-9", 3, "UP", 2, "accept", "gain", 0.5, work="3/1"),
    RulesDecided("2:rules", 1, 3, "revise", "why", work="1"),
    Dropped("identify", "step named twice", "0:0-9", "step 3", "0"),
]


def folded(events: Iterable[Event], state: RunState | None = None) -> RunState:
    state = state or RunState()
    for event in events:
        state = reduce(state, event, 0.0)
    return state


def totals(state: RunState) -> object:
    return state.usage, state.spent, state.decisions, state.drops, state.messages, state.advice


def test_every_event_that_is_added_up_names_its_work() -> None:
    kinds = {type(event) for event in ONCE}
    assert kinds == set(counting.Counted.__args__)  # type: ignore[attr-defined]
    assert kinds == {kind for kind in KINDS.values() if "work" in {one.name for one in fields(kind)}}
    for event in ONCE:
        once, twice = folded([event]), folded([event, event])
        assert totals(once) == totals(twice) != totals(RunState())
        unnamed = replace(event, work="")  # type: ignore[call-arg]
        assert totals(folded([unnamed, unnamed])) != totals(folded([unnamed]))


@pytest.mark.parametrize(
    ("event", "other"),
    [
        (ONCE[1], replace(ONCE[1], work="0:0-9 3/2")),
        (ONCE[1], replace(ONCE[1], purpose="joint")),
        (ONCE[2], replace(ONCE[2], work="3/2")),
        (ONCE[2], replace(ONCE[2], segment="1:0-9")),
        (ONCE[2], replace(ONCE[2], decision="revise")),
        (ONCE[4], replace(ONCE[4], work="1")),
        (ONCE[4], replace(ONCE[4], reason="malformed reply")),
        (SPOKE, replace(SPOKE, request=2)),
        (SPOKE, replace(SPOKE, work="def", cached=True, request=0)),
        (SPOKE, replace(SPOKE, agent="advisor", cached=True, request=0)),
    ],
)  # fmt: skip
def test_another_piece_of_work_counts(event: Event, other: Event) -> None:
    one, both = folded([event]), folded([event, other])
    assert totals(both) != totals(one)
    assert totals(folded([event, other, event, other])) == totals(both)


def test_a_question_asked_again_after_a_kill_comes_from_the_cache_and_is_no_more_work() -> None:
    again = replace(SPOKE, cached=True, request=0)
    assert folded([SPOKE, again]).usage == Usage(1, 0, 100, 10, 2.0, 0.5)
    assert folded([again, again]).usage == Usage(cached=1)
    waiting = folded([SPOKE, AgentAsked("critic", "0:0-9", "m"), again])
    assert waiting.pending == ()


def test_a_request_that_was_refused_is_no_call() -> None:
    assert folded([replace(SPOKE, charged=False)]).usage == Usage()


@pytest.mark.parametrize("cut", range(len(ONCE) + 1))
def test_a_log_of_a_run_cut_anywhere_gives_the_totals_of_the_run_left_alone(tmp_path: Path, cut: int) -> None:
    """The second process tells again what the first one told since the last step that was kept: here, everything."""
    log = tmp_path / "events.jsonl"
    started = RunStarted("demo", "runs/demo", "abc", True, (("explain", 1.0),))
    rows = [event.to_json() for event in (*ONCE[:cut], started, *ONCE)]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert totals(folded(past_events(read_lines(log)))) == totals(folded(ONCE))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "BUCKET", 10)
    state = folded(StepsSpent("test", 1, str(number)) for number in range(20_000))
    assert state.spent == {"test": 20_000}
    assert sum(map(len, state.counted.values())) <= counting.BUCKETS * 10
