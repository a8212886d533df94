"""The frame every panel stands in."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from ultra_agents.ui.theme import BORDER


def framed(title: str, lines: Sequence[Text], width: int, height: int, extra: str = "") -> RenderableType:
    """At most `height - 2` lines, each cut to the frame's inner width, in a rounded frame of the given size."""
    inner = max(width - 4, 1)
    extra = extra if len(extra) <= inner - 2 else ""
    shown = [line.copy() for line in lines[: max(height - 2, 0)]]
    for line in shown:
        line.truncate(inner, overflow="ellipsis")
        line.no_wrap = True
    return Panel(
        Group(*shown),
        title=Text.assemble((title, "bold")),
        title_align="left",
        subtitle=Text(extra, "bright_black") if extra else None,
        subtitle_align="right",
        box=box.ROUNDED,
        border_style=BORDER,
        width=width,
        height=height,
    )
