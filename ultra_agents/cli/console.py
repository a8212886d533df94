"""The consoles commands write to."""

from __future__ import annotations

import os
import sys

from rich.console import Console


class _PipeConsole(Console):
    """A console that raises on a closed pipe; `main.invoke` turns that into an exit status."""

    def on_broken_pipe(self) -> None:
        """Re-raise, where Rich would exit with status 1."""
        raise BrokenPipeError


def out() -> Console:
    """Standard output; wide enough for tables when it is no terminal."""
    return _PipeConsole(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)


def err() -> Console:
    """Standard error."""
    return _PipeConsole(stderr=True)
