"""Replies shown while they are written: in the state, in the panel, on the live screen, and in no log."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ultra_agents.cli.event_dispatcher import EventDispatcher
from ultra_agents.config import parse_config
from ultra_agents.events import KINDS, AgentAsked, AgentSpoke, Event, ReplyStreaming, RunFinished, from_json, schema
from ultra_agents.runs import RunFolder
from ultra_agents.ui.display import Display, StreamingDisplay, choose_display
from ultra_agents.ui.json_lines import JsonLines
from ultra_agents.ui.live import LiveDisplay
from ultra_agents.ui.panels import PanelView
from ultra_agents.ui.panels.conversation import CURSOR, conversation
from ultra_agents.ui.plain import PlainDisplay
from ultra_agents.ui.run_state import PENDING, TEXT, RunState, reduce
from ultra_agents.ui.screen import Screen
from ultra_agents.ui.text import unfinished

QUESTION = AgentAsked("critic", "0:0-9", "m")
REPLY = '{"reasoning": "a \\"far\\" wall", "reward": 1.5, "verdict": "accept"}'


def streaming(text: str, model: str = "m", segment: str = "0:0-9") -> ReplyStreaming:
    return ReplyStreaming("critic", segment, model, text)


def spoke(text: str, verdict: str = "ok", model: str = "m") -> AgentSpoke:
    return AgentSpoke("critic", "0:0-9", model, text, False, 100, 10, 2.0, verdict)


def after(*events: Event) -> RunState:
    state = RunState()
    for second, event in enumerate(events):
        state = reduce(state, event, float(second))
    return state


def panel(state: RunState, width: int = 60, height: int = 12, view: PanelView | None = None, now: float = 5.0) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, _environ={})
    console.print(conversation(state, now, width, height, view or PanelView(depth="none")), height=height)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_reply_streams_where_its_question_stands_and_leaves_with_it() -> None:
    other = AgentAsked("critic", "0:0-9", "n")
    state = after(other, QUESTION, streaming("a"), streaming("a wall"))
    assert [(one.model, one.text, one.since) for one in state.pending] == [("n", "", 0.0), ("m", "a wall", 1.0)]
    state = reduce(state, spoke("a wall is far"), 9.0)
    assert [one.model for one in state.pending] == ["n"]
    assert [message.text for message in state.messages] == ["a wall is far"]


@pytest.mark.parametrize("last", [spoke("", "failed: HTTP 500"), RunFinished("interrupted", 3.0, "")])
def test_nothing_stays_of_one_that_failed(last: Event) -> None:
    state = after(QUESTION, streaming("half of"), last)
    assert state.pending == ()
    assert "half of" not in panel(state)


def test_one_that_is_asked_for_again_streams_though_nobody_asked() -> None:
    state = after(QUESTION, streaming("half of"), spoke("", "failed: HTTP 500"), streaming("a"), streaming("a wall"))
    assert [(one.text, one.since) for one in state.pending] == [("a wall", 3.0)]
    assert reduce(state, spoke("a wall"), 9.0).pending == ()


def test_one_that_comes_after_the_end_is_not_shown() -> None:
    assert after(QUESTION, RunFinished("interrupted", 3.0, ""), streaming("late")).pending == ()


def test_what_is_kept_is_bounded_and_nobody_is_pushed_out() -> None:
    questions = [AgentAsked("critic", f"{index}:0-9", "m") for index in range(PENDING + 3)]
    state = after(*questions, streaming("x" * 3 * TEXT, segment=f"{PENDING}:0-9"), streaming("y", segment="0:0-9"))
    assert [one.segment for one in state.pending] == [f"{index}:0-9" for index in range(3, PENDING + 3)]
    assert sorted({len(one.text) for one in state.pending}) == [0, TEXT]


def test_the_panel_shows_its_end_with_a_cursor_until_the_whole_takes_its_place() -> None:
    assert "thinking … 5 s" in panel(after(QUESTION))
    text = panel(after(QUESTION, streaming(REPLY[:45])))
    assert "critic m  0:0-9  writing … 5 s" in text
    assert f'▌ reasoning: a "far" wall; reward: 1.5{CURSOR}' in text
    assert "thinking" not in text
    text = panel(after(QUESTION, streaming(REPLY[:45]), spoke(REPLY)))
    assert CURSOR not in text
    assert "writing" not in text
    assert "accept" in text


@pytest.mark.parametrize("height", range(3, 40))
def test_a_long_one_leaves_room_for_what_was_said(height: int) -> None:
    words = " ".join(f"word{index}" for index in range(200))
    many = [AgentAsked("critic", f"{index}:0-9", "m") for index in range(4)]
    streamed = [streaming(words, segment=f"{index}:0-9") for index in range(4)]
    text = panel(after(spoke("it was said before"), *many, *streamed), height=height)
    assert len(text.splitlines()) == height
    assert "critic m  0:0-9  ✔" in text
    if height >= 5:
        assert "writing" in text
    if height >= 8:
        assert f"word199{CURSOR}" in text, "the end of it, not its beginning"


def test_who_reads_what_was_said_is_not_disturbed() -> None:
    text = panel(
        after(spoke("it was said before"), QUESTION, streaming("new")), view=PanelView(depth="none", scroll=1)
    )
    assert CURSOR not in text


@pytest.mark.parametrize("evil", ["\x1b]0;title\x07\x1b[2J", "\x9b31m", "[bold][/nonsense]", "\u202eabc\x00\r\n"])
def test_it_cannot_steer_the_terminal(evil: str) -> None:
    state = after(QUESTION, streaming(evil), ReplyStreaming(evil, evil, evil, evil))
    console = Console(file=io.StringIO(), width=120, height=40, color_system=None, _environ={})
    console.print(Screen(state, 2.0), height=40)
    assert isinstance(console.file, io.StringIO)
    assert not set("\x1b\x07\x9b\x00\x08\r\u202e") & set(console.file.getvalue())


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", ""),
        ('{"cases": [{"case_analysis": "the ba', "cases: case_analysis: the ba"),
        ('lysis": "x", "step": 3, "importance": 0.', "lysis: x; step: 3; importance: 0."),
        ('"said \\"no\\", \\n then', 'said "no",   then'),
        ("plain, words", "plain, words"),
    ],
)
def test_half_a_reply_is_readable(text: str, seen: str) -> None:
    assert unfinished(text) == seen


class Recorder:
    """A display that keeps what it was told, and breaks when it should."""

    def __init__(self) -> None:
        self.told: list[Event] = []
        self.error: Exception | None = None

    def start(self) -> None:
        pass

    def handle(self, event: Event) -> None:
        self.told.append(event)

    def stream_reply(self, event: ReplyStreaming) -> None:
        if self.error is not None:
            raise self.error
        self.told.append(event)

    def stop(self) -> None:
        pass


def folder(path: Path) -> RunFolder:
    settings: dict[str, Any] = {
        "name": "one", "environment": {"name": "corridor"}, "policy": {"train_steps": 10}
    }  # fmt: skip
    return RunFolder.create(path, parse_config(settings, "test"))


def test_it_is_told_to_the_display_and_to_no_log(tmp_path: Path) -> None:
    run, display = folder(tmp_path), Recorder()
    with EventDispatcher(run, display) as emit:
        stream = emit.emit_streaming
        assert stream is not None
        emit(QUESTION)
        stream(streaming("a"))
        stream(streaming("a wall"))
        emit(spoke("a wall"))
        assert emit.state.usage.calls == 1
    assert [type(event) for event in display.told] == [AgentAsked, ReplyStreaming, ReplyStreaming, AgentSpoke]
    rows = [json.loads(line) for line in run.events.read_text().splitlines()]
    assert [row["event"] for row in rows] == ["AgentAsked", "AgentSpoke"]


def test_it_is_no_kind_of_line() -> None:
    assert "ReplyStreaming" not in KINDS
    assert "ReplyStreaming" not in json.dumps(schema())
    assert from_json(streaming("x").to_json()) is None


@pytest.mark.parametrize("mode", ["json", "plain", "auto"])
def test_lines_are_told_of_whole_replies_only(tmp_path: Path, mode: Any) -> None:
    display = choose_display(mode, Console(file=io.StringIO()), [], None, None)
    assert isinstance(display, JsonLines if mode == "json" else PlainDisplay)
    with EventDispatcher(folder(tmp_path), display) as emit:
        assert emit.emit_streaming is None


def test_a_screen_that_breaks_meanwhile_never_ends_the_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, display = folder(tmp_path), Recorder()
    with EventDispatcher(run, display) as emit:
        stream = emit.emit_streaming
        assert stream is not None
        display.error = KeyError("screen")
        stream(streaming("a"))
        stream(streaming("a wall"))
        assert emit.emit_streaming is None
        emit(spoke("a wall"))
    stream(streaming("too late"))
    out = capsys.readouterr().out
    assert out.count("the display failed") == 1
    assert "agent   critic [m] 0:0-9 ok (2.0 s): a wall" in out
    assert "too late" not in out
    assert "ReplyStreaming" not in run.events.read_text()


def test_the_live_screen_is_one_that_shows_them() -> None:
    display: Display = LiveDisplay(Console(file=io.StringIO(), width=80, height=24), now=lambda: 0.0)
    assert isinstance(display, StreamingDisplay)
    assert isinstance(display, LiveDisplay)
    display.handle(QUESTION)
    before = display.shown_values()
    display.stream_reply(streaming("a wall"))
    assert display.state.pending[0].text == "a wall"
    assert display.shown_values() != before, "there is something to draw"
