"""Panels and whole screens at fixed size and time, compared with the texts in `golden/`.

After a change that is meant, `ULTRA_UPDATE_GOLDEN=1 pytest tests/ui` writes them anew; look at the difference.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from rich.console import Console
from rich.markup import MarkupError

from tests.ui import sample_run
from tests.ui.drawing import drawn
from ultra_agents.events import (
    AdviceDecided,
    AgentAsked,
    AgentSpoke,
    Evaluated,
    RefiningSettled,
    RulesShown,
    RunFinished,
    RunPaused,
    RunStarted,
    StageStarted,
    StateShown,
    StepsSpent,
    Warned,
)
from ultra_agents.ui.braille_chart import BrailleCanvas, Series, chart
from ultra_agents.ui.panels import DEFAULT_VIEW, PanelFunction, PanelView
from ultra_agents.ui.panels.advice import advice
from ultra_agents.ui.panels.budget import budget
from ultra_agents.ui.panels.conversation import conversation
from ultra_agents.ui.panels.environment import environment
from ultra_agents.ui.panels.flow import bar, flow
from ultra_agents.ui.panels.help import help_panel
from ultra_agents.ui.panels.learning_curve import learning_curve
from ultra_agents.ui.run_state import RunState, reduce
from ultra_agents.ui.screen import Screen
from ultra_agents.ui.summary import summary
from ultra_agents.ui.view import View

GOLDEN = Path(__file__).parent / "golden"
PANELS: dict[str, PanelFunction] = {
    "flow": flow, "conversation": conversation, "advice": advice, "learning_curve": learning_curve, "budget": budget,
    "environment": environment, "help": help_panel,
}  # fmt: skip
NUMBERS = StateShown("2:60-90", 70, "0.3", first=46, series=(tuple(map(float, range(48))), tuple([0.0, 1.0] * 24)))
SIZES = [(60, 16), (80, 24), (120, 36), (200, 60)]


WORDS = "ppo with ent_coef 0.003, update_epochs 6 (policy file pong.safetensors); the rest as by default"


def made() -> dict[str, str]:
    """Every golden text as it is now, by file name."""
    view, now = sample_run.state()
    done = reduce(view, Evaluated("ultra-ra", 50_000, "last", (-3.0, -4.0)), now)
    done = reduce(done, Evaluated("ultra-ra", 40_000, "best", (-2.0, -3.0)), now)
    done = reduce(done, Evaluated("continue", 50_000, "last", (-7.0, -7.5)), now)
    done = reduce(done, RefiningSettled("ppo", {}, {}, "pong.safetensors", "", WORDS), now)
    done = reduce(done, RunFinished("finished", 92.0, "ULTRA-RA gained 10 points", "runs/demo/report.html"), now)
    texts = {
        f"{name}.txt": drawn(panel(view, now, 78, 12, PanelView(depth="none")), 78, 12)
        for name, panel in PANELS.items()
    }
    texts["environment_numbers.txt"] = drawn(environment(reduce(view, NUMBERS, now), now, 60, 9), 60, 9)
    paused = reduce(reduce(view, RunPaused(), now), AgentAsked("critic", "3:1-9", "big-model"), now)
    looked = View(focus="conversation", keys=True, scroll={"conversation": 3})
    texts["screen_paused.txt"] = drawn(Screen(paused, now + 60, looked), 100, 30)
    tabs = (("one refine", True), ("two finished", False))
    texts["screen_watching.txt"] = drawn(Screen(view, now, View(keys=True, watching=True, tabs=tabs)), 80, 24)
    texts |= {f"screen_{w}x{h}.txt": drawn(Screen(view, now), w, h) for w, h in SIZES}
    rules = ("when velocity > turn: PUSH_RIGHT", "when velocity <= turn: PUSH_LEFT")
    tested = reduce(RunState(), RulesShown("file", 1, rules, "accepted", 60.0, 10.6, 109.0, 4), now)
    texts["advice_rules.txt"] = drawn(advice(tested, now, 78, 6), 78, 6)
    testing = reduce(RunState(), RulesShown("random", 24), now)
    texts["advice_rules_testing.txt"] = drawn(advice(testing, now, 78, 4), 78, 4)
    ruled = reduce(done, Evaluated("ultra-ra", 50_000, "with rules", (4.0, 5.0)), now)
    texts["summary_rules.txt"] = drawn(summary(ruled, now), 100, 20)
    texts["empty.txt"] = drawn(Screen(RunState(), 0.0), 80, 24)
    texts["summary.txt"] = drawn(summary(done, now), 100, 20)
    return texts


@pytest.mark.parametrize("name", sorted(made()))
def test_screens_look_as_they_should(name: str) -> None:
    path, text = GOLDEN / name, made()[name]
    if os.environ.get("ULTRA_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("width", "height"), [*SIZES, (40, 10), (72, 16), (100, 30), (130, 34), (300, 90)])
def test_screens_fill_the_terminal_exactly(width: int, height: int) -> None:
    view, now = sample_run.state()
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, _environ={})
    lines = console.render_lines(Screen(view, now), console.options.update(height=height), pad=False)
    assert len(lines) == height
    assert {sum(segment.cell_length for segment in line) for line in lines} == {width}


@pytest.mark.parametrize("name", sorted(PANELS))
@pytest.mark.parametrize(("width", "height"), [(12, 3), (20, 4), (30, 8), (78, 5), (150, 40)])
def test_panels_keep_to_their_size(name: str, width: int, height: int) -> None:
    view, now = sample_run.state()
    lines = drawn(PANELS[name](view, now, width, height, DEFAULT_VIEW), width, height).splitlines()
    assert len(lines) == height
    assert max(map(len, lines)) <= width


def hostile(text: str) -> RunState:
    state = RunState()
    for event in (
        RunStarted(text, text, text, False, ((text, 1.0),)),
        StageStarted(text, text),
        AgentSpoke(text, text, text, text, False, 1, 1, 1.0, text),
        AdviceDecided(text, 1, text, 1, text, text, 0.1),
        AgentAsked(text, text, text),
        StateShown(text, 1, text),
        StepsSpent(text, 3),
        Evaluated(text, 5, "curve", (1.0, 2.0)),
        Evaluated(text, 5, "last", (1.0, 2.0)),
        Warned(text),
        RefiningSettled(text, {text: text}, {text: text}, text, text, text),
        RunFinished(text, 1.0, text, text),
    ):
        state = reduce(state, event, 1.0)
    return state


@pytest.mark.parametrize(
    "text", ["\x1b]0;title\x07\x1b[2J\x1b[31m", "\x9b31m", "[bold][/nonsense][link=x]", "\u202eabc\x00\x08\r\n\n"]
)
def test_what_a_model_says_cannot_steer_the_terminal(text: str) -> None:
    state = hostile(text)
    for what in (Screen(state, 2.0), summary(state, 2.0)):
        try:
            shown = drawn(what, 120, 40)
        except MarkupError:  # pragma: no cover
            pytest.fail("text was read as markup")
        assert not set("\x1b\x07\x9b\x00\x08\r\u202e") & set(shown)
        if "nonsense" in text:
            assert "[/nonsense]" in shown


def test_agents_have_colours_of_their_own() -> None:
    view, now = sample_run.state()
    shown = drawn(conversation(view, now, 100, 20), 100, 20, colour=True)
    assert "\x1b[1;36midentifier" in shown
    assert "\x1b[1;32madvisor" in shown
    assert "\x1b[1;35mcritic" in shown


def test_the_current_stage_stays_in_sight() -> None:
    started = RunStarted("x", "x", "x", False, tuple((f"stage {i}", 0.1) for i in range(20)))
    state = reduce(reduce(RunState(), started, 0.0), StageStarted("stage 17", ""), 0.0)
    shown = drawn(flow(state, 1.0, 40, 7), 40, 7)
    assert "● stage 17" in shown
    assert len(shown.splitlines()) == 7


def test_a_bar_is_exact_to_half_a_cell() -> None:
    assert [bar(f, 4).plain for f in (0, 0.125, 0.5, 1, 7)] == ["━━━━", "╸━━━", "━━━━", "━━━━", "━━━━"]
    assert [str(span.style) for span in bar(0.5, 4).spans] == ["cyan", "bright_black"]
    assert [(span.start, span.end) for span in bar(0.5, 4).spans] == [(0, 2), (2, 4)]


def test_a_canvas_sets_the_dots_asked_for() -> None:
    canvas = BrailleCanvas(2, 1)
    canvas.dot(0, 0, "red")
    canvas.dot(3, 3, "blue")
    canvas.dot(99, 99, "blue")
    row = canvas.row(0)
    assert row.plain == "\u2840\u2808"
    assert [str(span.style) for span in row.spans] == ["red", "blue"]


def test_a_chart_rises_when_its_values_rise() -> None:
    lines = chart({"x": Series([(0, 0), (10, 10)], "red")}, 30, 8)
    plain = [line.plain for line in lines]
    assert len(plain) == 8
    assert all(len(line) <= 30 for line in plain)
    filled = [next(i for i, char in enumerate(line) if 0x2800 < ord(char) < 0x2900) for line in plain[:-2]]
    assert filled == sorted(filled, reverse=True)
    assert plain[-1].endswith("10 steps")
    assert chart({}, 30, 8) == []
    assert chart({"x": Series([(0, float("nan"))], "red")}, 30, 8) == []
    assert chart({"x": Series([(0, 0)], "red")}, 8, 8) == [], "no room"
    assert len(chart({"x": Series([(0, 3.0)], "red")}, 30, 8, level=3.0)) == 8
