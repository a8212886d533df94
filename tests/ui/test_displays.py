"""Plain lines, JSON lines, the live screen, and which of them is chosen."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from tests.ui import sample_run
from ultra_agents.events import (
    AdviceDecided,
    AgentSpoke,
    Dropped,
    Evaluated,
    Event,
    RefiningSettled,
    RulesDecided,
    RulesShown,
    RunFinished,
    RunForked,
    RunStarted,
    StageFinished,
    StageProgress,
    StageStarted,
    TrainingProgress,
    Warned,
)
from ultra_agents.ui import screen
from ultra_agents.ui.display import choose_display
from ultra_agents.ui.history import past_events
from ultra_agents.ui.json_lines import JsonLines
from ultra_agents.ui.live import LiveDisplay
from ultra_agents.ui.notebook import NotebookDisplay
from ultra_agents.ui.panels.advice import advice
from ultra_agents.ui.panels.budget import budget
from ultra_agents.ui.plain import PlainDisplay
from ultra_agents.ui.run_state import RunState, reduce
from ultra_agents.ui.summary import summary


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def plain(*events: tuple[float, Event]) -> list[str]:
    out, clock = io.StringIO(), Clock()
    display = PlainDisplay(out, clock)
    display.start()
    for seconds, event in events:
        clock.seconds = seconds
        display.handle(event)
    display.stop()
    return out.getvalue().splitlines()


def test_a_run_that_fails_before_it_started_took_no_time() -> None:
    lines = plain(
        (15_793.0, Warned("careful")), (15_793.5, RunFinished("failed", 0.5, "the environment has no expert"))
    )
    assert lines == ["[0:00] warning careful", "[0:00] run     failed after 0.5 s: the environment has no expert"]


def test_the_stage_of_imitation_is_told_like_the_others() -> None:
    told = [event for _, event in sample_run.events() if getattr(event, "stage", "") == "imitate"]
    assert plain(*((index, event) for index, event in enumerate(told))) == [
        "[0:00] stage   imitate started: Replay the advice, learn to do the same, test that",
        "[0:00] stage   imitate finished in 3.1 s: used: +0.42 [+0.1, +0.74] in 16 pairs, 6 plans, 18 demonstrated "
        "steps",
    ]


def test_plain_lines_are_stable() -> None:
    lines = plain(
        (0, RunStarted("demo", "runs/demo", "abc123", False, (("explain", 1.0),))),
        (0, StageStarted("explain", "Ask where the episodes were decided", 12, "segments")),
        (5, AgentSpoke("critic", "0:0-60", "SmolLM2", "two\nlines", False, 10, 5, 1.5, "ok")),
        (5, AgentSpoke("critic", "0:0-60", "SmolLM2", '{"a": 1}', True, 10, 5, 0.0, "malformed reply")),
        (6, AdviceDecided("0:0-60", 41, "UP", 3, "accept", "it holds", 0.42)),
        (6, AdviceDecided("0:0-60", 41, "UP", 3, "reject", "no gain")),
        (6, Dropped("identify", "step not shown", "0:0-60", "step 99")),
        (7, StageFinished("explain", 7.0, "12 segments")),
        (8, Evaluated("ultra-ra", 25000, "curve", (1.0, 3.0))),
        (8, Evaluated("ultra-ra", 25000, "last", (1.0,))),
        (9, Warned("careful")),
        (3723, RunFinished("finished", 3723.0, "it helped", "runs/demo/report.html")),
    )
    assert lines == [
        "[0:00] run     demo started in runs/demo (config abc123)",
        "[0:00] stage   explain started: Ask where the episodes were decided",
        "[0:05] agent   critic [SmolLM2] 0:0-60 ok (1.5 s): two lines",
        "[0:05] agent   critic [SmolLM2] 0:0-60 malformed reply (cache): a: 1",
        "[0:06] advice  accept 0:0-60 step 41 UP x3 gain +0.42: it holds",
        "[0:06] advice  reject 0:0-60 step 41 UP x3: no gain",
        "[0:06] drop    identify 0:0-60 step not shown: step 99",
        "[0:07] stage   explain finished in 7.0 s: 12 segments",
        "[0:08] eval    ultra-ra curve at 25,000: 2.00 +- 1.00 (2 episodes)",
        "[0:08] eval    ultra-ra last at 25,000: 1.00 (1 episode)",
        "[0:09] warning careful",
        "[1:02:03] run     finished after 1:02:03 h: it helped (report runs/demo/report.html)",
    ]


def test_what_became_of_a_set_of_rules_is_a_line_and_a_row_of_the_panel() -> None:
    sent_back = RulesDecided("2:rules", 1, 3, "revise", "it loses", -4.5, -9.0, -0.25, 4)
    accepted = RulesDecided("2:rules", 2, 1, "accept", "it holds")
    assert plain((0, sent_back), (0, accepted)) == [
        "[0:00] rules   revise 2:rules attempt 1 3 rules gain -4.50 [-9.00, -0.25]: it loses",
        "[0:00] rules   forward 2:rules attempt 2 1 rule: it holds",
    ]
    state = reduce(reduce(RunState(), sent_back, 0.0), accepted, 0.0)
    assert state.decisions == {"revise": 1, "forward": 1}
    out = io.StringIO()
    Console(file=out, width=80, color_system=None).print(advice(state, 0.0, 80, 6))
    drawn = out.getvalue()
    assert re.search(r"2:#1  3 rules\s+-4\.50 \[-9\.00, -0\.25\]\s+it loses", drawn)
    assert re.search(r"2:#2  1 rule\s+it holds", drawn)


def test_rules_are_told_before_and_after_their_test() -> None:
    rules = ("when velocity > turn: PUSH_RIGHT", "when velocity <= turn: PUSH_LEFT")
    lines = plain(
        (0, RulesShown("random", 24)),
        (3, RulesShown("file", 1, rules[:1], "undecided")),
        (9, RulesShown("file", 1, rules, "accepted", 60.0, 10.6, 109.0, 4)),
        (9, Evaluated("ultra-ra", 25000, "with rules", (1.0,))),
    )
    assert lines == [
        "[0:00] rules   24 sets of rules by random under test",
        "[0:00] rules   undecided, 1 rule by file; when velocity > turn: PUSH_RIGHT",
        "[0:00] rules   accepted: +60.0 [+10.6, +109] per episode in 4 pairs, 2 rules by file; "
        "when velocity > turn: PUSH_RIGHT; when velocity <= turn: PUSH_LEFT",
        "[0:00] eval    ultra-ra with rules at 25,000: 1.00 (1 episode)",
    ]


def test_plain_lines_can_take_over_in_the_middle() -> None:
    out, clock = io.StringIO(), Clock()
    state = reduce(RunState(), RunStarted("demo", "runs/demo", "abc", False, ()), 0.0)
    clock.seconds = 75
    PlainDisplay(out, clock, state).handle(Warned("from here on"))
    assert out.getvalue() == "[1:15] warning from here on\n"


def test_fast_progress_is_one_line_per_tenth_and_two_seconds() -> None:
    events: list[tuple[float, Event]] = [(0, StageStarted("explain", "", 1000))]
    events += [(done / 100, StageProgress("explain", done, 1000)) for done in range(1001)]  # ten seconds in all
    shares = [int(found[1]) for line in plain(*events) if (found := re.search(r" (\d+)%", line))]
    assert shares == [20, 40, 60, 80]


def test_slow_progress_gives_a_sign_of_life() -> None:
    events: list[tuple[float, Event]] = [(0, StageStarted("explain", "", 1000))]
    events += [(float(done), StageProgress("explain", done, 1000, "note")) for done in range(40)]
    lines = [line for line in plain(*events) if "%" in line]
    assert [line.split("]")[1] for line in lines] == [
        " stage   explain 15/1,000 2%, note",
        " stage   explain 30/1,000 3%, note",
    ]


def test_training_lines_are_throttled_alike() -> None:
    events: list[tuple[float, Event]] = [
        (step / 10, TrainingProgress("x", step * 100, 10_000, {"return_mean": -2.5})) for step in range(101)
    ]
    lines = [line for line in plain(*events) if " train " in line]
    assert lines[1].startswith("[0:00] train   x 2,000/10,000 20%, return -2.50")
    assert len(lines) <= 6


def test_one_event_is_one_line_whatever_is_in_it() -> None:
    evil = "a\n[0:00] run     fake\x1b[2J\r"
    for event in (
        RunStarted(evil, evil, evil, True, ()),
        RefiningSettled(evil, {}, {}, evil, evil, evil),
        StageStarted(evil, evil),
        AgentSpoke(evil, evil, evil, evil, False, 1, 1, 1.0, evil),
        AdviceDecided(evil, 1, evil, 1, evil, evil),
        Dropped(evil, evil, evil, evil),
        Warned(evil),
        RunFinished(evil, 1.0, evil, evil),
        Evaluated(evil, 1, "last", (1.0,)),
    ):
        lines = plain((0.0, event))
        assert len(lines) == 1
        assert "\x1b" not in lines[0]


def test_json_lines_are_strict_json() -> None:
    out = io.StringIO()
    display = JsonLines(out)
    display.handle(Evaluated("ultra-ra", 5, "last", (1.0, float("nan"))))
    display.handle(Warned("ü\n"))
    refuse: Any = pytest.fail
    rows = [json.loads(line, parse_constant=refuse) for line in out.getvalue().splitlines()]
    assert rows == [
        {"event": "Evaluated", "method": "ultra-ra", "steps": 5, "purpose": "last", "returns": [1.0, None]},
        {"event": "Warned", "text": "ü\n"},
    ]
    assert out.getvalue().isascii()


def terminal(width: int = 80, height: int = 24, **how: Any) -> Console:
    class Utf8(io.StringIO):
        encoding = how.pop("encoding", "utf-8")

    settings = {"force_terminal": True, "file": Utf8(), "_environ": {}, **how}
    return Console(width=width, height=height, **settings)


@pytest.mark.parametrize(
    ("console", "mode", "variables", "kind"),
    [
        (terminal(), "auto", {"TERM": "xterm"}, LiveDisplay),
        (terminal(), "auto", {"TERM": "xterm", "NO_COLOR": "1"}, LiveDisplay),
        (terminal(), "auto", {"TERM": "dumb"}, PlainDisplay),
        (terminal(), "auto", {}, PlainDisplay),
        (terminal(), "plain", {"TERM": "xterm"}, PlainDisplay),
        (terminal(), "json", {"TERM": "xterm"}, JsonLines),
        (terminal(width=50), "auto", {"TERM": "xterm"}, PlainDisplay),
        (terminal(height=10), "auto", {"TERM": "xterm"}, PlainDisplay),
        (terminal(force_terminal=False), "auto", {"TERM": "xterm"}, PlainDisplay),
        (terminal(encoding="ascii"), "auto", {"TERM": "xterm"}, PlainDisplay),
    ],
)
def test_the_display_fits_the_terminal(console: Console, mode: Any, variables: dict[str, str], kind: type) -> None:
    assert type(choose_display(mode, console, environment=variables)) is kind


def test_no_colour_means_a_screen_without_colours() -> None:
    view, now = sample_run.state()
    for variables, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        out = io.StringIO()
        console = Console(
            file=out, width=80, height=24, force_terminal=True, _environ={"TERM": "xterm-256color", **variables}
        )
        console.print(screen.Screen(view, now), height=24)
        assert bool(re.search(r"\x1b\[[0-9;]*3[0-7]m", out.getvalue())) is coloured


def test_the_live_screen_shows_the_state_and_gives_the_terminal_back() -> None:
    console = terminal()
    display = LiveDisplay(console, now=Clock())
    display.start()
    try:
        for _, event in sample_run.events():
            display.handle(event)
        display.draw()
    finally:
        display.stop()
    assert isinstance(console.file, io.StringIO)
    written = console.file.getvalue()
    assert "\x1b[?1049h" in written
    assert written.rindex("\x1b[?1049l") > written.rindex("demo-pong") > written.index("\x1b[?1049h")


def test_a_screen_that_cannot_be_drawn_is_reported_to_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("panel")

    monkeypatch.setitem(screen.PANELS, "flow", broken)  # type: ignore[arg-type]
    display = LiveDisplay(terminal(), now=Clock())
    display.start()
    assert display._thread is not None
    display._thread.join(30)
    with pytest.raises(ZeroDivisionError, match="panel"):
        display.handle(Warned("x"))
    display.stop()
    written = display.console.file
    assert isinstance(written, io.StringIO)
    assert written.getvalue().endswith("\x1b[?1049l"), "the terminal came back"


def test_only_what_changed_is_drawn_again_and_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    console, clock, calls = terminal(), Clock(), list[str]()
    display = LiveDisplay(console, now=clock)
    for _, event in sample_run.events():
        display.handle(event)
    for name, panel in list(screen.PANELS.items()):

        def counted(*given: Any, name: str = name, panel: Any = panel) -> Any:
            calls.append(name)
            return panel(*given)

        monkeypatch.setitem(screen.PANELS, name, counted)
    out = console.file
    assert isinstance(out, io.StringIO)
    display.draw()
    assert sorted(calls) == ["advice", "budget", "conversation", "flow", "learning_curve"]
    calls.clear()
    at = out.tell()
    display.draw()
    assert (calls, out.tell()) == ([], at), "nothing changed"
    display.handle(AdviceDecided("0:0-9", 7, "SIDEWAYS", 1, "accept", "why", 0.1))
    display.draw()
    assert calls == ["advice"]
    assert "SIDEWAYS" in out.getvalue()[at:]
    assert "refine" not in out.getvalue()[at:]


def test_prints_of_a_run_are_kept_until_the_screen_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    display = LiveDisplay(terminal(), now=Clock())
    display.start()
    try:
        print("from the run")
        print("a complaint", file=sys.stderr)
        assert capsys.readouterr() == ("", "")
    finally:
        display.stop()
    assert capsys.readouterr() == ("from the run\n", "a complaint\n")


def test_a_notebook_gets_a_screen_where_it_can_change_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_jupyter=True, file=io.StringIO(), _environ={})
    monkeypatch.setattr("ultra_agents.ui.display.find_spec", lambda name: None)
    assert type(choose_display("auto", console, environment={"TERM": "xterm"})) is PlainDisplay
    monkeypatch.setattr("ultra_agents.ui.display.find_spec", lambda name: object())
    display = choose_display("auto", console, environment={"TERM": "xterm"})
    assert type(display) is NotebookDisplay


def test_a_notebook_shows_a_picture_that_changes_in_place_and_the_end() -> None:
    pictures: list[list[str]] = []

    def show(svg: str) -> Callable[[str], None]:
        pictures.append([svg])
        return pictures[-1].append

    display = NotebookDisplay(Console(force_jupyter=True, file=io.StringIO(), _environ={}), show=show)
    display.start()
    for _, event in sample_run.events():
        display.handle(event)
    display.stop()
    (first, *_, last) = pictures[0]
    assert len(pictures) == 1
    assert "starting" in first
    assert "demo-pong" in last
    assert last.startswith("<svg")


def test_a_notebook_that_cannot_be_drawn_on_is_reported_to_the_caller() -> None:
    def show(svg: str) -> Callable[[str], None]:
        def broken(svg: str) -> None:
            raise ValueError("the kernel is gone")

        return broken

    display = NotebookDisplay(Console(force_jupyter=True, file=io.StringIO(), _environ={}), show=show)
    display.start()
    display.handle(Warned("careful"))
    display.stop()
    with pytest.raises(ValueError, match="the kernel is gone"):
        display.handle(Warned("again"))


def test_the_log_of_earlier_parts_gives_its_events_back() -> None:
    events = [
        Evaluated("x", 5, "curve", (1.0, 2.0)),
        AdviceDecided("0:0-9", 1, "UP", 2, "accept", "why", 0.5),
        AgentSpoke("critic", "0:0-9", "m", "t", True, 1, 2, 0.5, "ok"),
        Dropped("a", "b", "c"),
        TrainingProgress("x", 5, 10, {"return_mean": 1.0}),
    ]
    rows = [{**json.loads(json.dumps(event.to_json())), "time": 1.0} for event in events]
    rows += [{"event": "RunFinished", "status": "failed"}, {"event": "Evaluated", "other": "fields"}, {}]
    assert list(past_events(rows)) == events
    (unknown,) = past_events([{**rows[0], "returns": [None]}])
    assert isinstance(unknown, Evaluated)
    assert str(unknown.returns) == "(nan,)"


def test_a_fork_is_told_from_its_parent() -> None:
    started = RunStarted("two", "runs/two", "abc", False, ())
    told = RunForked("one", "explain", ("collect", "probe"), "fork of one from explain on; seed: 1 -> 2", "9 steps")
    assert plain((0, started), (0, told))[1] == (
        "[0:00] run     fork of one from explain on; seed: 1 -> 2; shared: collect, probe (paid there: 9 steps)"
    )
    state, out = reduce(reduce(RunState(), started, 0.0), told, 0.0), io.StringIO()
    console = Console(file=out, width=100)
    for shown in (screen.header(state, 1.0, 100), budget(state, 1.0, 60, 12), summary(state, 1.0)):
        console.print(shown)
    assert "(fork of one)" in out.getvalue()
    assert "in parent  9 steps" in out.getvalue()
    assert "the shared stages cost there 9 steps" in out.getvalue()
