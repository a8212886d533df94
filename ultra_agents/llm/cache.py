"""Answers already paid for: SQLite in WAL mode, shared by threads and processes; a cassette is its JSONL form.

A cassette line holds `key` (who was asked, how, and what), `question` (what alone: `contracts.llm.question_key`),
`provider`, `model` and the reply's fields. It holds no prompts; they are in the run's transcript.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from ultra_agents.errors import ConfigError, LLMError
from ultra_agents.files import write_whole
from ultra_agents.llm.replies import RawReply


def cache_key(request: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the request as canonical JSON."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class AnswerCache:
    """Replies by request key.

    Args:
        path: The database file; made with its folder where missing. A cassette (`.jsonl`) is read into memory.
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
        cassette = path.suffix == ".jsonl"
        if cassette and not must_exist:
            raise ConfigError(
                "gateway.cache is a cassette, which can only be replayed",
                found=str(path),
                expected="gateway.mode: replay, or another gateway.cache",
                hint=f"ultra llm import {path} answers.sqlite   makes a cache of it that grows",
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            where = ":memory:" if cassette else path
            self._db = sqlite3.connect(where, timeout=30, check_same_thread=False, isolation_level=None)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=normal")
            self._db.execute("create table if not exists replies (key text primary key, reply text not null) strict")
            self._db.execute("create table if not exists asked (key text primary key, about text not null) strict")
            self._db.execute(
                "create table if not exists claims "
                "(key text primary key, owner text not null, ends real not null) strict"
            )
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        if cassette:
            self.load(path)

    def __len__(self) -> int:
        with self._lock:
            return int(self._db.execute("select count(*) from replies").fetchone()[0])

    def get(self, key: str) -> RawReply | None:
        """The reply stored under `key`, if any."""
        try:
            with self._lock:
                row = self._db.execute("select reply from replies where key = ?", (key,)).fetchone()
            return None if row is None else RawReply(**json.loads(row[0]))
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise self._unusable(error) from error

    def put(self, key: str, reply: RawReply, about: Mapping[str, str] | None = None) -> RawReply:
        """Store `reply`; what is already there stays, so that every reader agrees.

        Args:
            key: Of the request.
            reply: What was said.
            about: `question`, `provider` and `model`, for a cassette.

        Returns:
            What is stored under `key` now: the reply to use.
        """
        try:
            with self._lock:
                self._db.execute("insert or ignore into replies values (?, ?)", (key, json.dumps(reply.to_json())))
                if about is not None:
                    self._db.execute("insert or ignore into asked values (?, ?)", (key, json.dumps(dict(about))))
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return self.get(key) or reply

    def claim(self, key: str, owner: str, ends: float) -> bool:
        """Claim the question `key`, or renew the claim; whether `owner` has it now.

        Args:
            key: Of the request.
            owner: Names the claiming process.
            ends: Until when (Unix time in seconds); an ended claim of another process is taken over.
        """
        try:
            with self._lock:
                taken = self._db.execute(
                    "insert into claims values (?, ?, ?) on conflict (key) do update set owner = excluded.owner, "
                    "ends = excluded.ends where owner = excluded.owner or ends < ?",
                    (key, owner, ends, time.time()),
                )
            return taken.rowcount == 1
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def claimant(self, key: str) -> str | None:
        """Who claims the question `key` now."""
        try:
            with self._lock:
                row = self._db.execute("select owner from claims where key = ?", (key,)).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return None if row is None else str(row[0])

    def release(self, key: str, owner: str) -> None:
        """Give up a claim of `owner`."""
        try:
            with self._lock:
                self._db.execute("delete from claims where key = ? and owner = ?", (key, owner))
        except sqlite3.Error:
            pass  # it ends by itself; what the call has told matters more

    def export(self, path: Path, keys: Collection[str] | None = None) -> int:
        """Write replies to a JSONL cassette, sorted by key; the number written.

        Args:
            path: The cassette; written whole or not at all.
            keys: Only these; default: every one.
        """
        query = "select key, reply, about from replies left join asked using (key) order by key"
        try:
            with self._lock:
                rows = self._db.execute(query).fetchall()
            lines = [
                json.dumps({"key": key, **json.loads(about or "{}"), **json.loads(reply)}) + "\n"
                for key, reply, about in rows
                if keys is None or key in keys
            ]
        except (sqlite3.Error, ValueError) as error:
            raise self._unusable(error) from error
        try:
            write_whole(path, "".join(lines))
        except OSError as error:
            raise LLMError(f"cannot write the cassette {path}", found=str(error)) from error
        return len(lines)

    def load(self, path: Path) -> int:
        """Take in a cassette written by `export`, all of it or nothing; the number of lines read.

        Raises:
            LLMError: The file is missing or a line of it is no reply.
        """
        taken = 0
        rows: list[tuple[str, RawReply, dict[str, str]]] = []
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                row = json.loads(line)
                about = {name: str(row.pop(name)) for name in ("question", "provider", "model") if name in row}
                rows.append((str(row.pop("key")), RawReply(**row), about))
                taken += 1
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise LLMError(
                f"cannot read the cassette {path}",
                found=f"after {taken} good lines: {type(error).__name__}: {error}",
                expected="one JSON object a line, as written by: ultra llm export",
            ) from error
        for key, reply, about in rows:
            self.put(key, reply, about)
        return taken

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    def _unusable(self, error: Exception) -> LLMError:
        said = str(error).lower()
        aside = f"mv {self.path} {self.path}.aside"
        if "full" in said or "disk i/o" in said:
            hint = "make room on the disk and run the same command again: answers paid for so far are kept"
        elif "readonly" in said or "read-only" in said or "permission" in said or "unable to open" in said:
            hint = "make its folder writable, or set gateway.cache to a file elsewhere; keep this one: it was paid for"
        elif "locked" in said or "busy" in said:
            hint = "another process holds it: wait for that one, or end it, and run the same command again"
        else:
            hint = f"move it aside (its answers were paid for, and may be read from a copy again): {aside}"
        return LLMError(f"the answer cache {self.path} cannot be used", found=str(error), hint=hint)
