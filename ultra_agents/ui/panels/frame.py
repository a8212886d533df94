"""The frame of a panel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.panel import Panel
from rich.text import Text

from ultra_agents.text import counted
from ultra_agents.ui.text import wrap
from ultra_agents.ui.theme import BORDER, DIM, FOCUS


class Framed(Panel):
    """A Rich panel with the scroll offset at which it was drawn, in lines (`scrolled`)."""

    def __init__(self, *arguments: Any, scrolled: int = 0, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.scrolled = scrolled


def framed(
    title: str,
    lines: Sequence[Text],
    width: int,
    height: int,
    extra: str = "",
    *,
    focused: bool = False,
    scrolled: int = 0,
) -> Framed:
    """At most `height - 2` lines, each cut to the frame's inner width, in a rounded frame of the given size."""
    inner = max(width - 4, 1)
    extra = f"{counted(scrolled, 'line')} on, End follows" if scrolled else extra
    extra = extra if len(extra) <= inner - 2 else ""
    shown = [line.copy() for line in lines[: max(height - 2, 0)]]
    for line in shown:
        line.truncate(inner, overflow="ellipsis")
        line.no_wrap = True
    return Framed(
        Group(*shown),
        title=Text.assemble((title, f"bold {FOCUS}" if focused else "bold")),
        title_align="left",
        subtitle=Text(extra, "bright_black") if extra else None,
        subtitle_align="right",
        box=box.ROUNDED,
        border_style=FOCUS if focused else BORDER,
        width=width,
        height=height,
        scrolled=scrolled,
    )


def hint(words: str, width: int, height: int) -> list[Text]:
    """What an empty panel of the given size says, wrapped to its frame."""
    return [Text(line, DIM) for line in wrap(words, max(width - 4, 1), max(height - 2, 1))]


def newest(lines: Sequence[Text], rows: int, scroll: int) -> tuple[list[Text], int]:
    """The last `rows` of `lines`, moved back by `scroll` as far as there are lines; and by how many."""
    used = min(max(scroll, 0), max(len(lines) - rows, 0))
    stop = len(lines) - used
    return list(lines[max(stop - rows, 0) : stop]), used
