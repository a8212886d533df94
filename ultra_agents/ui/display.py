"""What a display is, and which one fits the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from ultra_agents.events import Event

if TYPE_CHECKING:
    from rich.console import Console

Mode: TypeAlias = Literal["plain", "json", "auto"]

SMALLEST = (60, 16)
"""Columns and rows below which the live screen is of no use."""


class Display(Protocol):
    """Shows a run. `handle` is called for one event at a time, from any thread, and should return at once."""

    def start(self) -> None:
        """Take the terminal."""
        ...

    def handle(self, event: Event) -> None:
        """Take note of an event."""
        ...

    def stop(self) -> None:
        """Give the terminal back; called once, whatever happened."""
        ...


def choose_display(
    mode: Mode,
    console: Console,
    past: Iterable[Event] = (),
    environment: Mapping[str, str] | None = None,
) -> Display:
    """The display for `mode` on `console`.

    `auto` is the live screen on a terminal that can move its cursor, speaks UTF-8 and is large enough, else plain
    lines. `NO_COLOR` takes the colours, not the screen (Rich sees to that).

    Args:
        mode: `plain`, `json` or `auto`.
        console: Where the display writes.
        past: Events of earlier parts of a resumed run, for curves that begin at the beginning.
        environment: Environment variables; the process' by default.
    """
    variables = os.environ if environment is None else environment
    if mode == "json":
        from ultra_agents.ui.json_lines import JsonLines

        return JsonLines(console.file)
    large = console.width >= SMALLEST[0] and console.height >= SMALLEST[1]
    able = console.is_terminal and variables.get("TERM", "") not in ("dumb", "unknown", "")
    if mode == "auto" and able and large and console.encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        from ultra_agents.ui.live import LiveDisplay

        return LiveDisplay(console, past=past)
    from ultra_agents.ui.plain import PlainDisplay

    return PlainDisplay(console.file)
