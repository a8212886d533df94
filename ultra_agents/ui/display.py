"""The display protocol, and the choice of a display for the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, runtime_checkable

from ultra_agents.events import Event, ReplyStreaming

if TYPE_CHECKING:
    from rich.console import Console

    from ultra_agents.ui.full_screen import Controls

Mode: TypeAlias = Literal["plain", "json", "auto"]

MIN_SIZE = (60, 16)
"""Fewest columns and rows of a full screen."""


class Display(Protocol):
    """Shows a run. `handle` is called with one event at a time, from any thread, and must return at once."""

    def start(self) -> None:
        """Begin to show."""
        ...

    def handle(self, event: Event) -> None:
        """Show an event."""
        ...

    def stop(self) -> None:
        """Restore the terminal; called once, also after an error."""
        ...


@runtime_checkable
class StreamingDisplay(Display, Protocol):
    """A display that shows replies while they are streamed."""

    def stream_reply(self, event: ReplyStreaming) -> None:
        """Show the text of a reply so far."""
        ...


def choose_display(
    mode: Mode,
    console: Console,
    past: Iterable[Event] = (),
    environment: Mapping[str, str] | None = None,
    controls: Controls | None = None,
) -> Display:
    """The display for `mode` on `console`.

    `auto` is the live screen on a terminal that can move its cursor, speaks UTF-8 and is large enough, else plain
    lines. `NO_COLOR` takes the colours, not the screen (Rich sees to that). In a notebook it is a
    picture of the screen that changes in place.

    Args:
        mode: `plain`, `json` or `auto`.
        console: Where the display writes.
        past: Events from before the run was resumed, for complete curves.
        environment: Environment variables; the process' by default.
        controls: Pauses and stops the run; None where keys must not.
    """
    variables = os.environ if environment is None else environment
    if mode == "json":
        from ultra_agents.ui.json_lines import JsonLines

        return JsonLines(console.file)
    if mode == "auto" and console.is_jupyter and find_spec("IPython") is not None:
        from ultra_agents.ui.notebook import NotebookDisplay

        return NotebookDisplay(console, past=past)
    large = _large(console)
    able = _able(console, variables)
    if mode == "auto" and able and large:
        from ultra_agents.ui.live import LiveDisplay

        return LiveDisplay(console, past=past, controls=controls)
    from ultra_agents.ui.plain import PlainDisplay

    small = mode == "auto" and able and not large
    note = f"this terminal is {console.width}x{console.height}, the live screen wants {MIN_SIZE[0]}x{MIN_SIZE[1]}"
    return PlainDisplay(console.file, note=note if small else "")


def live_fits(console: Console, environment: Mapping[str, str] | None = None) -> bool:
    """Whether the live screen can be shown on `console`."""
    return _large(console) and _able(console, os.environ if environment is None else environment)


def _large(console: Console) -> bool:
    return console.width >= MIN_SIZE[0] and console.height >= MIN_SIZE[1]


def _able(console: Console, variables: Mapping[str, str]) -> bool:
    """Whether the terminal can move its cursor and shows UTF-8."""
    moves = variables.get("TERM", "") not in ("dumb", "unknown", "")
    utf8 = console.encoding.lower().replace("_", "-") in ("utf-8", "utf8")
    return console.is_terminal and not console.is_jupyter and moves and utf8
