"""The list of keys and the legend of the screen."""

from __future__ import annotations

from rich.text import Text

from ultra_agents.ui.panels import DEFAULT_VIEW, PanelView
from ultra_agents.ui.panels.frame import Framed, framed
from ultra_agents.ui.run_state import RunState
from ultra_agents.ui.theme import AGENTS, DIM, FOCUS, SIGNS

KEYS = (
    ("p  space", "pause, go on: nothing new is begun while paused"),
    ("q", "stop cleanly and keep everything (ultra resume goes on)"),
    ("Tab", "the next pane gets the keys below (Shift-Tab: the one before)"),
    ("↑ ↓ PgUp PgDn", "scroll it; Home the oldest, End follows again"),
    ("z  Enter", "the pane alone, large; again, or Esc: back"),
    ("Ctrl-L", "draw everything anew"),
    ("?", "this help; any key leaves it"),
    ("Ctrl-C", "stop cleanly, twice: at once"),
)
WATCHING = (("1-9  n", "another run"), ("q", "leave; the run goes on"))


def help_panel(
    state: RunState, now: float, width: int, height: int, view: PanelView = DEFAULT_VIEW, watching: bool = False
) -> Framed:
    """The panel "Keys"."""
    rows = [row for row in KEYS if not watching or row[0] not in ("q", "p  space", "Ctrl-C")]
    lines = [Text()]
    for keys, what in (*(WATCHING if watching else ()), *rows):
        lines.append(Text.assemble((f"  {keys:<15}", f"bold {FOCUS}"), (what, "")))
    lines += [Text(), _legend()]
    lines += [
        Text("  Advice: gain measured by paired rollouts from the stored state, with its interval.", DIM),
        Text("  Return: unmodulated episodes, with the 95 % interval of their mean; dots: training.", DIM),
    ]
    return framed("Keys", lines, width, height, focused=True)


def _legend() -> Text:
    text = Text("  ")
    for name, (sign, colour) in SIGNS.items():
        text.append(f"{sign} ", colour).append(f"{name}  ", DIM)
    for agent, colour in AGENTS.items():
        text.append("▌", colour).append(f"{agent}  ", DIM)
    return text
