"""The live screen at one moment as an SVG image, for notebooks and documents."""

from __future__ import annotations

import io

from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from ultra_agents.ui.run_state import RunState
from ultra_agents.ui.screen import Screen
from ultra_agents.ui.view import View

THEME = TerminalTheme(
    (22, 24, 29),
    (214, 217, 224),
    [(40, 43, 51), (230, 98, 98), (110, 190, 110), (222, 184, 85), (97, 160, 235), (190, 130, 220), (80, 190, 200),
     (200, 204, 212)],
    [(120, 126, 138), (255, 130, 130), (130, 220, 130), (245, 210, 110), (130, 185, 255), (215, 160, 245),
     (110, 220, 230), (255, 255, 255)],
)  # fmt: skip
"""Colours that can be told apart on a dark ground."""


def screen_svg(state: RunState, now: float, width: int, height: int, title: str, view: View | None = None) -> str:
    """The screen at one moment as SVG."""
    return to_svg(Screen(state, now, view or View(keys=True)), width, height, title)


def to_svg(what: RenderableType, width: int, height: int, title: str) -> str:
    """A terminal of that size with `what` on it, as SVG."""
    console = Console(
        width=width, height=height, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor",
        legacy_windows=False, _environ={},
    )  # fmt: skip
    console.print(what, height=height, end="")
    return console.export_svg(title=title, theme=THEME, unique_id=title.replace(" ", "-"))
