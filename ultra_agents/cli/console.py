"""The consoles commands write to."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from ultra_agents.text import printable


class _SafeConsole(Console):
    """A console that prints no control characters of foreign text, and raises on a closed pipe.

    `main.invoke` turns the closed pipe into an exit status.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of `renderable`; the escape sequences that styles become are added to these later."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Re-raise, where Rich would exit with status 1."""
        raise BrokenPipeError


def out() -> Console:
    """Standard output; wide enough for tables when it is no terminal."""
    return _SafeConsole(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)


def err() -> Console:
    """Standard error."""
    return _SafeConsole(stderr=True)
