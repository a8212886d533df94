"""What a run prints while a screen is up: kept, and printed when the screen is gone."""

from __future__ import annotations

import io
import sys
import threading
from collections import deque
from contextlib import suppress
from typing import TextIO

MOST = 200
"""Lines kept, of each stream; a run that prints more loses the oldest."""


class Prints:
    """Takes the place of standard output and error."""

    def __init__(self) -> None:
        self._before: tuple[TextIO, TextIO] | None = None
        self._kept: tuple[_Kept, _Kept] | None = None

    def start(self) -> None:
        """Begin to keep."""
        self._before = sys.stdout, sys.stderr
        self._kept = _Kept(sys.stdout), _Kept(sys.stderr)
        sys.stdout, sys.stderr = self._kept

    def stop(self) -> None:
        """Print what was kept, to the streams it was meant for; safe to call twice."""
        if self._before is None or self._kept is None:
            return
        for stream, kept, name in zip(self._before, self._kept, ("stdout", "stderr"), strict=True):
            if getattr(sys, name) is kept:
                setattr(sys, name, stream)
            with suppress(OSError, ValueError):
                stream.write(kept.text())
                stream.flush()
        self._before = self._kept = None


class _Kept(io.TextIOBase):
    """The last lines written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: deque[str] = deque([""], maxlen=MOST)
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            first, *others = str(text).split("\n")
            self._lines[-1] += first[:10_000]
            self._lines.extend(other[:10_000] for other in others)
        return len(text)

    def flush(self) -> None:
        """Nothing is held back but on purpose."""

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
