"""Answers already paid for: SQLite in WAL mode, shared by threads and processes; a cassette is its JSONL form."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ultra_agents.errors import LLMError


@dataclass(frozen=True)
class RawReply:
    """What a model said, before anybody understood it.

    Attributes:
        text: The reply's text.
        prompt_tokens: Tokens sent.
        completion_tokens: Tokens received.
        seconds: Wall time of the call.
        cut: The server stopped it at `max_tokens`.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    cut: bool = False


def cache_key(request: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the request as canonical JSON."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class AnswerCache:
    """Replies by request key.

    Args:
        path: The database file; made with its folder where missing.
        must_exist: A missing file is an error (replay).
    """

    def __init__(self, path: Path, must_exist: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        if must_exist and not path.is_file():
            raise LLMError(
                "nothing to replay: the answer cache is missing",
                found=f"no file {path}",
                hint="run once with gateway.mode=live, or set gateway.cache to the right file",
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=normal")
            self._db.execute("create table if not exists replies (key text primary key, reply text not null) strict")
        except (sqlite3.Error, OSError) as error:
            raise self._broken(error) from error

    def get(self, key: str) -> RawReply | None:
        """The reply stored under `key`, if any."""
        try:
            with self._lock:
                row = self._db.execute("select reply from replies where key = ?", (key,)).fetchone()
            return None if row is None else RawReply(**json.loads(row[0]))
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise self._broken(error) from error

    def put(self, key: str, reply: RawReply) -> None:
        """Store `reply`; what is already there stays, so that every reader agrees."""
        try:
            with self._lock:
                self._db.execute("insert or ignore into replies values (?, ?)", (key, json.dumps(asdict(reply))))
        except sqlite3.Error as error:
            raise self._broken(error) from error

    def export(self, path: Path) -> int:
        """Write every reply to a JSONL cassette, sorted by key; the number written."""
        with self._lock:
            rows = self._db.execute("select key, reply from replies order by key").fetchall()
        part = path.with_name(path.name + ".part")
        part.write_text(
            "".join(json.dumps({"key": key, **json.loads(reply)}) + "\n" for key, reply in rows), encoding="utf-8"
        )
        os.replace(part, path)
        return len(rows)

    def load(self, path: Path) -> int:
        """Take in a cassette written by `export`; the number of lines read.

        Raises:
            LLMError: The file is missing or a line of it is no reply.
        """
        taken = 0
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                self.put(str(row.pop("key")), RawReply(**row))
                taken += 1
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise LLMError(
                f"cannot read the cassette {path}",
                found=f"after {taken} good lines: {type(error).__name__}: {error}",
                expected="one JSON object a line, as written by an export",
            ) from error
        return taken

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _broken(self, error: Exception) -> LLMError:
        return LLMError(
            f"the answer cache {self.path} cannot be used",
            found=str(error),
            hint="delete the file (its answers will be asked for again), or set gateway.cache to another one",
        )
