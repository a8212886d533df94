"""Reads a run's event log, also while another process appends to it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ultra_agents.events import Event, from_json
from ultra_agents.text import json_row

CHUNK_BYTES = 1 << 20
"""Read at once."""
_NAME_WITHIN = 40
"""Bytes at the beginning of a line within which the name of its event stands."""
MAX_LINE_BYTES = 16 << 20
"""An unfinished line longer than this is taken for damaged and dropped."""


LAST_TIME = 1e11
"""Seconds since the epoch, some 3,000 years: a later time is a damaged one."""


class EventLogReader:
    """Each `poll` yields the events appended since the one before.

    A line without its newline is kept until the rest is written. Damaged lines and events that this version does not
    know are skipped. A file that was replaced or truncated is read again from its beginning. A missing file has no
    events.

    Args:
        path: The log, JSON Lines.
        without: Names of events that are skipped before their line is parsed.
    """

    def __init__(self, path: Path, without: Iterable[str] = ()) -> None:
        self.path = path
        self._without = tuple(f'"{name}"'.encode() for name in without)
        self._at = 0
        self._inode = 0
        self._rest = b""

    def poll(self) -> Iterator[tuple[float | None, Event] | None]:
        """`(time, event)` of every new line, in seconds since the epoch; None where reading starts again."""
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
            while data := file.read(CHUNK_BYTES):
                self._at += len(data)
                *lines, self._rest = (self._rest + data).split(b"\n")
                if len(self._rest) > MAX_LINE_BYTES:
                    self._rest = b""
                for line in lines:
                    if (found := self._read(line)) is not None:
                        yield found

    def _read(self, line: bytes) -> tuple[float | None, Event] | None:
        if not line.strip() or any(name in line[:_NAME_WITHIN] for name in self._without):
            return None
        row = json_row(line)
        event = None if row is None else from_json(row)
        if row is None or event is None:
            return None
        when = row.get("time")
        return (float(when) if isinstance(when, int | float) and abs(when) < LAST_TIME else None), event
