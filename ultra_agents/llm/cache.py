"""Answers already paid for: SQLite or Postgres, shared by threads and processes; a cassette is its JSONL form.

A cassette line holds `key` (who was asked, how, and what), `question` (what alone: `contracts.llm.question_key`),
`provider`, `model` and the reply's fields. It holds no prompts; they are in the run's transcript.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ultra_agents.errors import ConfigError, LLMError, UltraError
from ultra_agents.files import write_whole
from ultra_agents.llm.cache_database import Database, PostgresDatabase, SQLiteDatabase
from ultra_agents.llm.replies import RawReply
from ultra_agents.text import parsed_json

_REPLY = TypeAdapter(RawReply)
_REPLIES = "insert into replies values (?, ?) on conflict do nothing"
_ASKED = "insert into asked values (?, ?) on conflict do nothing"
BATCH = 5000
"""Lines of a cassette that are taken in at once."""


def cache_key(request: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the request as canonical JSON."""
    return hashlib.sha256(json.dumps(request, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _batches(lines: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(lines)
    while batch := list(islice(rest, size)):
        yield batch


class AnswerCache:
    """Replies by request key, in an SQLite file or a Postgres database.

    Args:
        place: The database file, made with its folder where missing, or a `postgresql://` address. A cassette
            (`.jsonl`) is read into memory.
        must_exist: A missing file is an error (replay).
        spare: SQLite file that takes what the database at an address no longer could; the database gets it back here.
    """

    def __init__(self, place: Path | str, must_exist: bool = False, spare: Path | None = None) -> None:
        self.place = place
        self._spare = spare if isinstance(place, str) else None
        if isinstance(place, str):
            self._db: Database = PostgresDatabase(place, "the answer cache")
            if spare is not None and spare.is_file():
                self._take_back(spare)
            return
        if must_exist and not place.is_file():
            raise LLMError(
                "nothing to replay: the answer cache is missing",
                found=f"no file {place}",
                hint="run once with gateway.mode=live, or set gateway.cache to the right file",
            )
        cassette = place.suffix == ".jsonl"
        if cassette and not must_exist:
            raise ConfigError(
                "gateway.cache is a cassette, which can only be replayed",
                found=str(place),
                expected="gateway.mode: replay, or another gateway.cache",
                hint=f"ultra llm import {place} answers.sqlite   makes a cache of it that grows",
            )
        self._db = SQLiteDatabase(place, in_memory=cassette)
        if cassette:
            self.load(place)

    def __len__(self) -> int:
        return int(self._db.rows("select count(*) from replies")[0][0])

    def get(self, key: str) -> RawReply | None:
        """The reply stored under `key`, if any."""
        rows = self._db.rows("select reply from replies where key = ?", key)
        try:
            return RawReply(**parsed_json(rows[0][0])) if rows else None
        except (ValueError, TypeError) as error:
            raise self._db.unusable(error) from error

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
            self._store(key, json.dumps(reply.to_json()), None if about is None else json.dumps(dict(about)))
        except UltraError:
            if self._spare is not None:
                with closing(AnswerCache(self._spare)) as spare:  # it is paid for
                    spare.put(key, reply, about)
            raise
        return self.get(key) or reply

    def claim(self, key: str, owner: str, lease_s: float) -> bool:
        """Claim the question `key`, or renew the claim; whether `owner` has it now.

        Args:
            key: Of the request.
            owner: Names the claiming process.
            lease_s: Seconds the claim lasts, by the database's clock; an ended one of another process is taken over.
        """
        now = self._db.NOW
        return self._db.changed(
            f"insert into claims values (?, ?, {now} + ?) on conflict (key) do update set owner = excluded.owner, "
            f"ends = excluded.ends where claims.owner = excluded.owner or claims.ends < {now}",
            key, owner, lease_s,
        ) == 1  # fmt: skip

    def claimant(self, key: str) -> str | None:
        """Who claims the question `key` now."""
        rows = self._db.rows("select owner from claims where key = ?", key)
        return str(rows[0][0]) if rows else None

    def release(self, key: str, owner: str) -> None:
        """Give up a claim of `owner`."""
        with suppress(UltraError):  # it ends by itself; what the call has told matters more
            self._db.changed("delete from claims where key = ? and owner = ?", key, owner)

    def export(self, path: Path, keys: Collection[str] | None = None) -> int:
        """Write replies to a JSONL cassette, sorted by key; the number written.

        Args:
            path: The cassette; written whole or not at all.
            keys: Only these; default: every one.
        """
        try:
            lines = [
                json.dumps({"key": key, **json.loads(about or "{}"), **json.loads(reply)}) + "\n"
                for key, reply, about in sorted(self._all())
                if keys is None or key in keys
            ]
        except ValueError as error:
            raise self._db.unusable(error) from error
        try:
            write_whole(path, "".join(lines))
        except OSError as error:
            raise LLMError(f"cannot write the cassette {path}", found=str(error)) from error
        return len(lines)

    def load(self, path: Path) -> tuple[int, int]:
        """Take in a cassette written by `export`, all of it or nothing.

        Returns:
            Lines read, and answers that were not there before.

        Raises:
            LLMError: The file is missing or a line of it is no reply.
        """
        taken = added = 0
        try:
            with path.open(encoding="utf-8") as lines, self._db.together() as insert:
                for batch in _batches(lines, BATCH):
                    replies, asked = [], []
                    for line in batch:
                        row = parsed_json(line)
                        about = {name: str(row.pop(name)) for name in ("question", "provider", "model") if name in row}
                        key = str(row.pop("key"))
                        reply = _REPLY.validate_python(asdict(RawReply(**row)))
                        replies.append((key, json.dumps(reply.to_json())))
                        asked.append((key, json.dumps(about)))
                        taken += 1
                    added += insert(_REPLIES, replies)
                    insert(_ASKED, asked)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
            raise LLMError(
                f"cannot read the cassette {path}",
                found=f"after {taken} good lines: {type(error).__name__}: {error}"[:400],
                expected="one JSON object a line, as written by: ultra llm export",
            ) from error
        return taken, added

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _all(self) -> list[tuple[str, str, str | None]]:
        """`(key, reply, about)` of every reply, as JSON."""
        return self._db.rows("select key, reply, about from replies left join asked using (key)")

    def _store(self, key: str, reply: str, about: str | None) -> None:
        self._db.changed(_REPLIES, key, reply)
        if about is not None:
            self._db.changed(_ASKED, key, about)

    def _take_back(self, spare: Path) -> None:
        """Store what an earlier part of the run had to keep in a file."""
        with closing(AnswerCache(spare)) as kept:
            for row in kept._all():
                self._store(*row)
