"""A run's event log, read while another process writes it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ultra_agents.events import Event, from_json

CHUNK = 1 << 20
_HEAD = 40
"""Bytes of a line in which its event's name stands."""
LONGEST = 16 << 20
"""Bytes of a line that are waited for; a longer one is damaged."""


class Tail:
    """New events of a log, each time it is asked.

    A line whose end is not written yet waits for it, one that is damaged or of a newer version is passed over. A file
    that was replaced or cut short is read again from its beginning. No file is no events.

    Args:
        path: The log.
        without: Names of events that are passed over unread.

    Attributes:
        skipped: Lines that held no event this version knows.
    """

    def __init__(self, path: Path, without: Iterable[str] = ()) -> None:
        self.path = path
        self._without = tuple(f'"{name}"'.encode() for name in without)
        self.skipped = 0
        self._at = 0
        self._inode = 0
        self._rest = b""

    def poll(self) -> Iterator[tuple[float | None, Event] | None]:
        """`(time, event)` of every new line, seconds since the epoch; None where the log begins anew."""
        try:
            file = self.path.open("rb")
        except OSError:
            return
        with file:
            status = os.fstat(file.fileno())
            if status.st_size < self._at or (self._inode and status.st_ino != self._inode):
                self._at, self._rest = 0, b""
                yield None
            self._inode = status.st_ino
            file.seek(self._at)
            while data := file.read(CHUNK):
                self._at += len(data)
                *lines, self._rest = (self._rest + data).split(b"\n")
                if len(self._rest) > LONGEST:
                    self._rest = b""
                for line in lines:
                    if (found := self._read(line)) is not None:
                        yield found

    def _read(self, line: bytes) -> tuple[float | None, Event] | None:
        if not line.strip() or any(name in line[:_HEAD] for name in self._without):
            return None
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        event = from_json(row) if isinstance(row, dict) else None
        if event is None or row is None:
            self.skipped += 1
            return None
        when = row.get("time")
        return (float(when) if isinstance(when, int | float) else None), event
