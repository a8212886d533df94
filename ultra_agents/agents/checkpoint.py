"""Where each segment's state is kept after every node: an SQLite file or a Postgres database, one thread per segment.

It holds JSON values only, packed as msgpack; nothing in it is ever unpickled.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from ultra_agents import postgres
from ultra_agents.errors import RunError
from ultra_agents.runs import RunFolder

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.checkpoint.postgres import PostgresSaver
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
    from langgraph.checkpoint.sqlite import SqliteSaver
    from psycopg import Connection

WHAT = "the checkpoint of the agents"


@dataclass(frozen=True)
class SharedCheckpoints:
    """One run's part of a Postgres database.

    Attributes:
        address: `postgresql://...`.
        run: Begins the name of each of its threads.
    """

    address: str
    run: str


CheckpointPlace: TypeAlias = Path | SharedCheckpoints


def checkpoint_of(folder: RunFolder, number: int = 1) -> CheckpointPlace:
    """Where the agents of a run keep their progress; each round of expert iteration has a place of its own."""
    address, file = folder.config.agents.checkpoints, folder.explain
    if number == 1:
        return file if address is None else SharedCheckpoints(address, folder.id)
    if address is None:
        return file.with_name(f"{file.stem}-{number}{file.suffix}")
    return SharedCheckpoints(address, f"{folder.id}/round-{number}")


def thread_of(place: CheckpointPlace | None, segment: str) -> str:
    """Name of a segment's thread."""
    return f"{place.run}/{segment}" if isinstance(place, SharedCheckpoints) else segment


@contextmanager
def open_checkpoint(place: CheckpointPlace) -> Iterator[BaseCheckpointSaver[Any]]:
    """The checkpoint at `place`, made where missing.

    Raises:
        RunError: It is damaged, or cannot be written or reached, now or while it is used.
    """
    if isinstance(place, SharedCheckpoints):
        with _shared(place.address) as saver:
            yield saver
        return
    path = place
    try:
        with closing(_connect(path)) as connection:
            yield saver_of(connection)
    except sqlite3.Error as error:
        raise _no_room(path, str(error)) from error


def saver_of(connection: sqlite3.Connection) -> SqliteSaver:
    """A saver over an open SQLite file."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    return SqliteSaver(connection, serde=plain_values())


def plain_values() -> JsonPlusSerializer:
    """Rebuilds no class from what is stored: `allowed_msgpack_modules=None` leaves plain values only."""
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

    return JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None)


@contextmanager
def _shared(address: str) -> Iterator[PostgresSaver]:
    with shared_saver(address) as (saver, connection):
        if not _is_set_up(saver, connection):
            with postgres.set_up(connection):
                saver.setup()
        yield saver


def _is_set_up(saver: PostgresSaver, connection: Connection[Any]) -> bool:
    """Whether the tables are all as this version makes them, not half made by a process that is just at it."""
    if not postgres.has(connection, "checkpoint_migrations"):
        return False
    last = connection.execute("select v from checkpoint_migrations order by v desc limit 1").fetchone()
    return last is not None and last["v"] >= len(saver.MIGRATIONS) - 1


@contextmanager
def shared_saver(address: str, *, read_only: bool = False) -> Iterator[tuple[PostgresSaver, Connection[Any]]]:
    """A saver over a connection to a Postgres database, closed at the end; its tables may be missing.

    Raises:
        RunError: The database cannot be used, now or within.
    """
    from psycopg import Error
    from psycopg.rows import dict_row

    with postgres.connect(address, WHAT, read_only=read_only, row_factory=dict_row) as connection:
        try:
            from langgraph.checkpoint.postgres import PostgresSaver

            yield PostgresSaver(connection, serde=plain_values()), connection
        except Error as error:
            raise postgres.unusable(address, WHAT, error) from error


def _connect(path: Path) -> sqlite3.Connection:
    connection: sqlite3.Connection | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL").fetchone()
        problems = connection.execute("PRAGMA quick_check").fetchone()[0]
        if problems == "ok":
            return connection
    except (sqlite3.Error, OSError) as error:
        problems = str(error)
    if connection is not None:
        connection.close()
    if any(word in problems.lower() for word in ("full", "no space", "disk i/o")):
        raise _no_room(path, problems)
    raise RunError(
        "the checkpoint of the agents cannot be used",
        found=f"{path}: {problems}",
        expected="a writable SQLite file",
        hint="move the file away to explain these episodes again; answered questions come from the answer cache",
    )


def _no_room(path: Path, said: str) -> RunError:
    return RunError(
        "the checkpoint of the agents cannot be written",
        found=f"{path}: {said}",
        expected="room on the disk, in a folder that can be written",
        hint=f"make room, then: ultra resume {path.parent}; what is paid for is kept",
    )
