"""What screens look like, as text."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console, RenderableType
from textual.app import App


def drawn(what: RenderableType, width: int, height: int, colour: bool = False) -> str:
    """A renderable in a terminal of that size, without blanks at the ends of its lines."""
    console = Console(
        file=io.StringIO(), width=width, height=height, force_terminal=colour,
        color_system="truecolor" if colour else None, legacy_windows=False, _environ={},
    )  # fmt: skip
    console.print(what, height=height)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines()) + "\n"


def text(app: App[Any]) -> str:
    """The screen of a Textual application."""
    lines = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in lines)
