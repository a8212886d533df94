"""Every text of every event is hostile: no screen passes it on to the terminal, and every row keeps its width."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.text import Text
from textual.app import ComposeResult
from textual.color import Color
from textual.widgets import Input, OptionList, Static

from tests.ui import sample_run
from tests.ui.compare.sample_comparison import comparison
from ultra_agents.events import Event, RulesDecided, RulesShown, RunFinished
from ultra_agents.text import printable
from ultra_agents.ui.compare import screen as compare_screen
from ultra_agents.ui.run_state import RunState, reduce
from ultra_agents.ui.screen import PANELS, Region, regions, renderable
from ultra_agents.ui.summary import summary
from ultra_agents.ui.terminal_renderer import TerminalRenderer
from ultra_agents.ui.textual_app import PrintableLines, SafeApp
from ultra_agents.ui.view import View

ATTACKS = {
    "escapes": "\x1b]0;OWNED\x07\x1b[2J\x1b[31m\x1b[5;5H\x1bc\x9b2J\x90q\x9c\x85",
    "bidi": "\u202e\u202d\u2066\u2067\u2069\u200f\u061c",
    "line breaks": "a\nb\r\nc\td\x0b\x0ce\u2028f\u2029g\x1cg\x1dh\x1ei",
    "zero width": "\u200b\u200d\ufeff\u00ad\u2060" * 30 + "x",
    "long word": "x" * 500,
    "wide": "\u6f22\u5b57" * 90 + "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "halves of emojis": "\ud83d \udc00 \ud83d\ud83d",
    "not characters": "\ufffe\uffff\U000e0041\ue000\U0010ffff\x00\x7f",
    "combining": "e" + "\u0301" * 400,
    "markup": "[red][/red][link=file:///etc/passwd]x[/link][/]",
}
SEQUENCE = re.compile(r"\x1b\[[0-9;]*[mHJ]")
"""What the screens themselves send: styles, positions, clearing."""
TYPED = {"pixels", "width", "height", "event"}
SIZES = [(60, 16), (160, 48)]


def hostile(value: Any, attack: str) -> Any:
    """`value` with the attack in every text of it, field names and pictures left out."""
    if isinstance(value, str):
        return f"{value[:3]}{attack}{value[3:]}"
    if isinstance(value, tuple):
        return tuple(hostile(part, attack) for part in value)
    if isinstance(value, dict):
        return {hostile(key, attack): part for key, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        changed = {one.name: hostile(getattr(value, one.name), attack) for one in fields(value) if one.init}
        return replace(value, **{name: part for name, part in changed.items() if name not in TYPED})
    return value


def events(attack: str) -> Iterator[tuple[float, Event]]:
    """A run in which every text is attacked; and one whose words of control are not, so that more of it is shown."""
    rules = RulesShown("file", 2, ("when x: UP", "when y: DOWN"), "accepted", 0.5, 0.1, 0.9, 8)
    more = [RulesDecided("2:rules", 1, 3, "revise", "no gain", 0.1, -0.2, 0.3, 4), rules, replace(rules, verdict="")]
    for now, event in [*sample_run.events(), *((200.0, one) for one in more)]:
        yield now, hostile(event, attack)
        words = {"stage", "stages", "decision", "purpose", "method", "colours", "status", "segment", "pixels"}
        kept = {one.name: getattr(event, one.name) for one in fields(event) if one.name in words}
        yield now, replace(hostile(event, attack), **kept)
    yield 300.0, RunFinished(attack, 3.0, attack, attack)


def state(attack: str) -> RunState:
    made = RunState()
    for now, event in events(attack):
        made = reduce(made, event, now)
    return made


def shown(parts: list[tuple[Region, Any]], width: int, height: int) -> str:
    """What the terminal is sent, by a console that checks nothing itself."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="truecolor", width=width, height=height,
                      legacy_windows=False, _environ={})  # fmt: skip
    renderer = TerminalRenderer(console)
    renderer.render([(region, (1,), lambda what=what: what) for region, what in parts], width, height)
    return file.getvalue()


def check(sent: str, width: int) -> None:
    sent.encode()
    rows = SEQUENCE.split(sent)
    bad = {char for row in rows for char in row if not char.isprintable()}
    assert not bad, sorted(map(ascii, bad))
    assert max(map(cell_len, re.split(r"\x1b\[[0-9;]*H", SEQUENCE.sub(_positions, sent)))) <= width


def _positions(found: re.Match[str]) -> str:
    return found[0] if found[0].endswith("H") else ""


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_live_screen(attack: str, size: tuple[int, int]) -> None:
    width, height = size
    now, run = 400.0, state(attack)
    tabs = ((f"one{attack}", True), (f"two{attack}", False))
    views = [View(keys=True), View(keys=True, tabs=tabs, watching=True), View(help=True)]
    views += [View(keys=True, zoom=True, focus=name) for name in PANELS]
    for view in views:
        parts = [(one, renderable(one, run, now, view)) for one in regions(width, height, run, view)]
        check(shown(parts, width, height), width)
    check(shown([(Region("summary", 0, 0, width, height), summary(run, now))], width, height), width)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_screen_of_a_comparison(attack: str, size: tuple[int, int]) -> None:
    width, height = size
    what, now = comparison()
    cells = tuple(
        replace(cell, reported=replace(hostile(cell.reported, attack), status=cell.reported.status))
        for cell in what.cells
    )
    what = replace(what, name=f"name{attack}", folder=f"f{attack}", cells=cells, run=state(attack), warnings=(attack,))
    for selected in (0, 10, len(cells) - 1):
        for opened in (False, True):
            one = replace(what, selected=selected, opened=opened)
            view = View(keys=True, focus="cells")
            parts = [(place, compare_screen.renderable(place, one, now, view))
                     for place in compare_screen.regions(width, height, one, view)]  # fmt: skip
            check(shown(parts, width, height), width)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_lines_of_textual_applications(attack: str) -> None:
    segments = [Segment("before "), Segment(attack.replace("\n", " ")), Segment(" after")]
    made = PrintableLines().apply(segments, Color(0, 0, 0))
    text = "".join(one.text for one in made)
    assert text.isprintable()
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert cell_len(text) == sum(cell_len(one.text) for one in segments)


class Hostile(SafeApp[None]):
    """Foreign text wherever an application can put it, none of it cleaned by who put it there."""

    def __init__(self, attack: str) -> None:
        super().__init__()
        self.attack = attack

    def compose(self) -> ComposeResult:
        block = Static(Text(self.attack))
        block.styles.border = ("round", "white")
        block.border_title = Text(self.attack)  # type: ignore[assignment]
        yield block
        yield OptionList(Text(self.attack), markup=False)
        yield Input(value=self.attack)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_application_draws_printable_lines_only(attack: str) -> None:
    async def play() -> list[str]:
        app = Hostile(attack)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.pause()
            return ["".join(one.text for one in strip) for strip in app.screen._compositor.render_strips()]

    drawn = asyncio.run(play())
    assert len(drawn) == 24
    for line in drawn:
        assert line.isprintable(), ascii(line)
        line.encode()


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_printable_is_printable(attack: str) -> None:
    assert printable(attack).replace("\n", "").isprintable()
    printable(attack).encode()
