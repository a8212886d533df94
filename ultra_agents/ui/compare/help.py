"""The keys of a comparison's screen."""

from __future__ import annotations

from rich.text import Text

from ultra_agents.ui.panels.frame import Framed, framed
from ultra_agents.ui.theme import DIM, FOCUS

KEYS = (
    ("p  space", "pause, go on: every cell holds at its next safe point"),
    ("q", "stop cleanly and keep everything (the same command goes on)"),
    ("↑ ↓ ← →", "choose a cell: rows are methods, columns seeds"),
    ("[  ]", "choose the task before, the next one"),
    ("n  f", "the next cell at work; follow the work by itself again"),
    ("Enter", "the chosen cell alone, as ultra watch shows it; Esc: back"),
    ("Tab", "the next pane gets the keys (Shift-Tab: the one before)"),
    ("↑ ↓ PgUp PgDn", "scroll that pane; Home the oldest, End follows again"),
    ("z", "that pane alone, large; again, or Esc: back"),
    ("Ctrl-L", "draw everything anew"),
    ("?", "this help; any key leaves it"),
    ("Ctrl-C", "stop cleanly, twice: at once"),
)


def compare_help(width: int, height: int) -> Framed:
    """The panel "Keys"."""
    lines = [Text()] if height >= len(KEYS) + 7 else []
    lines += [Text.assemble((f"  {keys:<15}", f"bold {FOCUS}"), (what, "")) for keys, what in KEYS]
    lines += [
        Text(),
        Text("  Cells: work done and time left; the refined policy's return once finished.", DIM),
        Text("  Return: unmodulated episodes, mean over seeds; 95 % interval from three on.", DIM),
        Text("  A line goes as far as every training seed has come; dots: seeds ahead.", DIM),
    ]
    return framed("Keys", lines, width, height, focused=True)
