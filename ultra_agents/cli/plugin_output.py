"""What plugins print, in Python or below it, in this process or in workers, goes to a log instead of the screen.

Plugins share the file descriptors of standard output and error. While a run is going on these point at its log; what
is shown is written to a copy of what they were before. Worker processes inherit the log.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from ultra_agents.errors import RunError
from ultra_agents.files import no_link

_screens: list[TextIO] = []


def screen() -> TextIO:
    """Where a person looks: standard output, or the copy of it while that goes to a log."""
    return _screens[-1] if _screens else sys.stdout


@contextmanager
def plugins_print_to(log: Path | None) -> Iterator[tuple[TextIO, TextIO]]:
    """Send standard output and error to a file; yields streams to what they were.

    Args:
        log: Appended to; None sends standard output to standard error, for commands without a folder of their own.

    Raises:
        RunError: The log cannot be written, or is a symbolic link.
    """
    before = sys.stdout, sys.stderr
    opened = None if log is None else _opened(log)
    for stream in before:
        stream.flush()
    shown = _copy(before[0], 1), _copy(before[1], 2)
    file = before[1] if opened is None else opened
    saved = _point(file, (1, 2) if log is not None else (1,))
    sys.stdout = file
    if log is not None:
        sys.stderr = file
    _screens.append(shown[0])
    try:
        yield shown
    finally:
        _screens.pop()
        sys.stdout, sys.stderr = before
        for stream in (file, *shown):
            with suppress(OSError, ValueError):
                stream.flush()
        for number, kept in saved.items():
            os.dup2(kept, number)
            os.close(kept)
        if log is not None:
            with suppress(OSError):  # a full disk: what plugins said is lost, what the run raises is told
                file.close()
            with suppress(OSError):
                if log.is_file() and not log.stat().st_size:
                    log.unlink()


def _opened(log: Path) -> TextIO:
    try:
        return open(log, "a", encoding="utf-8", errors="replace", buffering=1, opener=no_link)
    except OSError as error:
        raise RunError(
            f"cannot write {log}",
            found=str(error),
            expected="a file of the run's own, in a folder that can be written",
            hint="make room, make the folder writable, or remove a link of this name; then run the same command again",
        ) from error


def _copy(stream: TextIO, number: int) -> TextIO:
    """A stream to where `stream` goes now, wherever its descriptor points later; itself where it has none."""
    try:
        if stream.fileno() != number:
            return stream
    except (OSError, ValueError, AttributeError):
        return stream
    return os.fdopen(os.dup(number), "w", encoding=stream.encoding, errors=stream.errors, buffering=1)


def _point(file: TextIO, numbers: tuple[int, ...]) -> dict[int, int]:
    """Point descriptors at a file; copies of what they were, by number."""
    saved: dict[int, int] = {}
    with suppress(OSError, ValueError, AttributeError):
        target = file.fileno()
        for number in numbers:
            kept = os.dup(number)
            os.dup2(target, number)
            saved[number] = kept
    return saved
