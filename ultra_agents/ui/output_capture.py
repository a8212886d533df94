"""Captures standard output and error while a full screen is shown; prints the lines when it is closed."""

from __future__ import annotations

import io
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TextIO

MAX_LINES, MAX_COLUMNS = 200, 10_000
"""Kept of each stream, and of each line; older lines are lost."""


class OutputCapture:
    """Replaces `sys.stdout` and `sys.stderr` between `start` and `stop`."""

    def __init__(self) -> None:
        self._before: tuple[TextIO, TextIO] | None = None
        self._captured: tuple[_LineBuffer, _LineBuffer] | None = None

    def start(self) -> None:
        """Begin to capture."""
        self._before = sys.stdout, sys.stderr
        self._captured = _LineBuffer(sys.stdout), _LineBuffer(sys.stderr)
        sys.stdout, sys.stderr = self._captured

    def stop(self) -> None:
        """Restore both streams and print to each what was captured; may be called twice."""
        if self._before is None or self._captured is None:
            return
        for stream, kept, name in zip(self._before, self._captured, ("stdout", "stderr"), strict=True):
            if getattr(sys, name) is kept:
                setattr(sys, name, stream)
            with suppress(OSError, ValueError):
                stream.write(kept.text())
                stream.flush()
        self._before = self._captured = None


class _LineBuffer(io.TextIOBase):
    """Keeps the last lines written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque([""], maxlen=MAX_LINES)
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            first, *others = str(text).split("\n")
            self._lines[-1] += first[:MAX_COLUMNS]
            self._lines.extend(other[:MAX_COLUMNS] for other in others)
        return len(text)

    def flush(self) -> None:
        """Does nothing: what is kept is printed by `stop`."""

    def isatty(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    def text(self) -> str:
        return "\n".join(self._lines)
