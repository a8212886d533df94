"""The consoles commands write to."""

from __future__ import annotations

import os
import sys

from rich.console import Console


class _Out(Console):
    """A console that lets the command's end deal with a closed pipe."""

    def on_broken_pipe(self) -> None:
        """Raise what the stream raised; the caller exits quietly."""
        raise BrokenPipeError


def out() -> Console:
    """Standard output; wide enough for tables when it is no terminal."""
    return _Out(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120)


def err() -> Console:
    """Standard error."""
    return _Out(stderr=True)
