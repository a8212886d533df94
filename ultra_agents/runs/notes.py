"""Notes of a person for the agents of a run: written while it runs or before it goes on, read with every question.

`notes.jsonl` has a line for each note (`id`, `time`, `text`), and one more (`of`, `before`) when the run first saw it:
the questions that had been asked by then. These never see it, also when they are asked again after a stop; every other
question does. So the file alone says which question saw which notes, and a copy of it in another run folder gives the
same questions the same notes.
"""

from __future__ import annotations

import threading
import time
import unicodedata
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultra_agents.errors import RunError
from ultra_agents.runs.files import LineLog, read_lines
from ultra_agents.text import printable

NOTES = "notes.jsonl"
LONGEST, MOST = 2_000, 8_000
"""Characters of one note, and of all notes of a run: they go into every prompt."""
_REFUSED = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories of characters that no note may hold."""


@dataclass(frozen=True)
class PersonNote:
    """What a person wrote for the agents.

    Attributes:
        id: Tells it from every other.
        time: UTC, ISO 8601.
        text: As written; lines may break.
        before: Digests of the questions that had been asked when the run first saw it; None: not seen yet.
    """

    id: str
    time: str
    text: str
    before: frozenset[str] | None = None


def read_notes(folder: Path) -> list[PersonNote]:
    """The notes of a run, oldest first; damaged lines, and what goes beyond the limits, are passed over."""
    rows = list(read_lines(folder / NOTES))
    before: dict[str, frozenset[str]] = {}
    for row in rows:
        if isinstance(row.get("of"), str) and isinstance(row.get("before"), list):
            before.setdefault(row["of"], frozenset(map(str, row["before"])))
    found, total = list[PersonNote](), 0
    for row in rows:
        name, text = row.get("id"), row.get("text")
        if isinstance(name, str) and isinstance(text, str) and (text := printable(text)[:LONGEST].strip()):
            total += len(text)
            if total <= MOST and all(one.id != name for one in found):
                found.append(PersonNote(name, str(row.get("time", "")), text, before.get(name)))
    return found


def add_note(folder: Path, text: str) -> PersonNote:
    """Write a note for the agents of the run in `folder`; a process that runs it may be going on.

    Raises:
        RunError: There is nothing in it, it is too long, holds what no terminal or prompt may get, or cannot be
            written.
    """
    text = text.replace("\r\n", "\n").replace("\t", " ").strip()
    if not text:
        raise RunError("the note is empty", found="nothing", expected="a text for the agents")
    if len(text) > LONGEST:
        raise RunError(
            "the note is too long",
            found=f"{len(text):,} characters",
            expected=f"at most {LONGEST:,}: it goes into every prompt",
            hint="say it in fewer words",
        )
    for place, char in enumerate(text, 1):
        if char != "\n" and unicodedata.category(char) in _REFUSED:
            raise RunError(
                "the note holds a character that is not text",
                found=f"U+{ord(char):04X} as character {place:,}",
                expected="printable text, line breaks allowed",
                hint="leave it out",
            )
    taken = sum(len(one.text) for one in read_notes(folder))
    if taken + len(text) > MOST:
        raise RunError(
            "the notes of this run would be too long together",
            found=f"{taken:,} characters, and {len(text):,} more",
            expected=f"at most {MOST:,}: they go into every prompt",
        )
    note = PersonNote(uuid.uuid4().hex[:12], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text)
    _append(folder, {"id": note.id, "time": note.time, "text": note.text})
    return note


def readers(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many questions saw each note, by its id.

    Args:
        rows: Lines of the transcript.
    """
    seen: dict[str, set[str]] = {}
    for row in rows:
        for name in row.get("notes") or ():
            seen.setdefault(str(name), set()).add(str(row.get("question")))
    return {name: len(questions) for name, questions in seen.items()}


def note_rows(folder: Path) -> list[dict[str, Any]]:
    """The notes of a run in JSON types, with how many questions saw each (`questions`)."""
    notes = read_notes(folder)
    seen = readers(read_lines(folder / "transcript.jsonl")) if notes else {}
    return [{"id": one.id, "time": one.time, "text": one.text, "questions": seen.get(one.id, 0)} for one in notes]


class Notebook:
    """What a running run knows of the notes; safe from any thread. The file is looked at with every question.

    Args:
        folder: The run's.
        asked: Digests of the questions that were asked before, by earlier processes.
    """

    def __init__(self, folder: Path, asked: Iterable[str]) -> None:
        self._folder = folder
        self._asked = set(asked)
        self._stat: tuple[int, int] | None = None
        self._notes: list[PersonNote] = []
        self._lock = threading.Lock()

    def read_with(self, question: str) -> tuple[PersonNote, ...]:
        """The notes that a question sees, given its digest; it counts as asked from now on.

        Raises:
            RunError: That a note was seen cannot be written down.
        """
        with self._lock:
            self._look()
            self._asked.add(question)
            return tuple(one for one in self._notes if one.before is None or question not in one.before)

    def _look(self) -> None:
        try:
            status = (self._folder / NOTES).stat()
        except OSError:
            return
        if (status.st_size, status.st_mtime_ns) == self._stat:
            return
        self._notes = read_notes(self._folder)
        for index, note in enumerate(self._notes):
            if note.before is None:
                before = frozenset(self._asked)
                _append(self._folder, {"of": note.id, "before": sorted(before)})
                self._notes[index] = PersonNote(note.id, note.time, note.text, before)
        self._stat = status.st_size, status.st_mtime_ns


def _append(folder: Path, row: dict[str, Any]) -> None:
    log = LineLog(folder / NOTES)
    try:
        log.append(row)
    except OSError as error:
        raise RunError(
            f"cannot write {folder / NOTES}",
            found=str(error),
            expected="a file of the run's own, in a folder that can be written",
            hint="make room, or make the folder writable, and run the same command again",
        ) from error
    finally:
        log.close()


def quoted(notes: Sequence[PersonNote]) -> str:
    """Notes as agents read them: every line quoted, so that none can pass for a part of the prompt."""
    lines = [f"> {line}".rstrip() for note in notes for line in note.text.split("\n")]
    return "\n".join(lines)
