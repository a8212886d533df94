"""The environment state of the newest decision: its picture, the suggestion, and the measured gain.

A picture in half-block characters (two pixels to a cell) where the environment draws one, else the matching features
around the step as sparklines, with a mark at the step.
"""

from __future__ import annotations

from functools import lru_cache

from rich.style import Style
from rich.text import Text

from ultra_agents.events import AdviceDecided, StateShown
from ultra_agents.records import Array
from ultra_agents.text import clean, counted
from ultra_agents.ui.panels import DEFAULT_VIEW, PanelView
from ultra_agents.ui.panels.advice import gain_colour, gain_words, interval_words
from ultra_agents.ui.panels.frame import Framed, framed, hint
from ultra_agents.ui.picture import Depth, picture, sparkline, unpack
from ultra_agents.ui.run_state import RunState
from ultra_agents.ui.text import score, wrap
from ultra_agents.ui.theme import DIM, WARM, decision_sign

ARROWS = {"UP": "↑", "DOWN": "↓", "LEFT": "←", "RIGHT": "→"}
WORDS = {"accept": "accepted", "leave": "left", "revise": "sent back", "reject": "rejected"}
SIDE = 26
"""Columns that are left to the text beside the picture, at least."""


def environment(state: RunState, now: float, width: int, height: int, view: PanelView = DEFAULT_VIEW) -> Framed:
    """The panel "Environment"; scrolling goes back to earlier decisions."""
    inner, rows = max(width - 4, 10), max(height - 2, 1)
    back = min(view.scroll, max(len(state.shown) - 1, 0))
    if not state.shown:
        lines = hint("The states that advice is about appear here.", width, height)
        return framed("Environment", lines, width, height, focused=view.focused)
    shown = state.shown[len(state.shown) - 1 - back]
    moves = [row for row in state.advice if isinstance(row, AdviceDecided)]
    decided = next((row for row in reversed(moves) if (row.segment, row.step) == (shown.segment, shown.step)), None)
    told = f"{back} back, End follows" if back else ""
    return framed(
        "Environment", _lines(shown, decided, inner, rows, view.depth), width, height, told, focused=view.focused
    )


def _lines(shown: StateShown, decided: AdviceDecided | None, inner: int, rows: int, depth: Depth) -> list[Text]:
    frame = unpack(shown)
    beside = frame is not None and _larger_beside(frame, inner, rows)
    if not beside:
        words = _words(shown, decided, inner, 3 if rows < 12 else 4)
        if frame is None:
            return [*words, *_numbers(shown, inner, rows - len(words))]
        height = rows - len(words)
        drawn = _drawn(shown, inner, height, depth) if height >= 2 else ()
        return [*(Text(" " * ((inner - line.cell_len) // 2)) + line for line in drawn), *words]
    drawn = _drawn(shown, inner - SIDE, rows, depth)
    wide = drawn[0].cell_len if drawn else 0
    words = _words(shown, decided, inner - wide - 2, rows)
    blank = Text(" " * wide)
    lines = []
    for index in range(max(len(drawn), len(words))):
        left = drawn[index] if index < len(drawn) else blank
        lines.append(left + Text("  ") + (words[index] if index < len(words) else Text()))
    return lines


@lru_cache(maxsize=16)
def _drawn(shown: StateShown, columns: int, rows: int, depth: Depth) -> tuple[Text, ...]:
    """The picture's lines; cached, since a further decision about the same state changes the text alone."""
    frame = unpack(shown)
    assert frame is not None, "called for states with a picture"
    return tuple(line for line in picture(frame, columns, rows, depth).split("\n") if line.cell_len)


def _larger_beside(frame: Array, inner: int, rows: int) -> bool:
    """Whether the picture is larger with the text beside it than with the text below."""
    tall, wide = frame.shape[:2]
    beside, below = (min(room / wide, 2 * height / tall) for room, height in ((inner - SIDE, rows), (inner, rows - 4)))
    return bool(beside > 0 and beside >= below)


def _words(shown: StateShown, decided: AdviceDecided | None, width: int, rows: int) -> list[Text]:
    """The text about the state, on at most `rows` lines."""
    where = Text.assemble(("episode ", DIM), clean(shown.segment.partition(":")[0], 6), ("  step ", DIM),
                          (str(shown.step), "bold"))  # fmt: skip
    took = Text.assemble(("took ", DIM), _action(shown.taken, 24))
    if decided is None:
        return [where, took][:rows]
    sign, colour = decision_sign(decided.decision)
    tried = Text.assemble(("try  ", DIM), (_tried(decided), f"bold {colour}"))
    fits = took.cell_len + tried.cell_len + 2 <= width
    both = [Text.assemble(took, "  ", tried)] if fits else [took, tried]
    verdict = Text.assemble((f"{sign} {WORDS.get(decided.decision, clean(decided.decision, 12))}", f"bold {colour}"))
    gain, interval = gain_words(decided), interval_words(decided)
    if gain:
        verdict.append(f"  {gain}", f"bold {gain_colour(decided)}")
    lines = [where, *both, verdict]
    if interval:
        many = f" {counted(decided.pairs, 'pair')}" if decided.pairs else ""
        line = Text(f"{interval}{many}", DIM)
        if verdict.cell_len + 1 + line.cell_len <= width:
            verdict.append(" ").append_text(line)
        else:
            lines.append(line)
    if rows > len(lines):
        lines += [Text(line, DIM) for line in wrap(clean(decided.reason, 400), width, rows - len(lines))]
    if len(lines) > rows and where.cell_len + took.cell_len + 2 <= width:
        lines = [Text.assemble(where, "  ", took), tried, *lines[1 + len(both) :]]
    if len(lines) > rows:  # the place and the verdict matter most
        lines = [Text.assemble(where, "  ", tried), verdict, took][:rows]
    return lines


def _tried(decided: AdviceDecided) -> str:
    """The suggestion, or that there is none."""
    return f"{_action(decided.action, 40)} ×{decided.hold}" if decided.hold else "nothing else"


def _action(name: str, most: int) -> str:
    arrow = ARROWS.get(name.upper().strip(), "")
    return f"{arrow} {clean(name, most)}".strip()


def _numbers(shown: StateShown, inner: int, rows: int) -> list[Text]:
    """One sparkline per feature, the step marked."""
    if not shown.series:
        return [Text("This environment draws no picture.", DIM)][: max(rows, 0)]
    length = max(map(len, shown.series))
    at = min(max(shown.step - shown.first, 0), max(length - 1, 0))
    names = len(str(len(shown.series) - 1))
    room = max(inner - names - 10, 4)
    lines = []
    for index, values in enumerate(shown.series[: max(rows - 1, 0)]):
        bars = Text(sparkline(values, room), "cyan")
        spot = at * len(bars) // max(length, 1)
        bars.stylize(Style.parse(f"bold reverse {WARM}"), spot, spot + 1)
        value = values[at] if at < len(values) else float("nan")
        lines.append(Text.assemble((f"{index:>{names}} ", DIM), bars, (f" {score(value):>8}", "")))
    if lines:
        last = shown.first + length - 1
        lines.append(Text(f"features of steps {shown.first} to {last}", DIM))
    return lines
