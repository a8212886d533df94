"""Where each segment's state is kept after every node: an SQLite file, one thread per segment.

It holds JSON values only, packed as msgpack; nothing in it is ever unpickled.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ultra_agents.errors import RunError

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite import SqliteSaver


@contextmanager
def open_checkpoint(path: Path) -> Iterator[SqliteSaver]:
    """The checkpoint file at `path`, made where missing.

    Raises:
        RunError: It is damaged, or cannot be written.
    """
    with closing(_connect(path)) as connection:
        yield saver_of(connection)


def saver_of(connection: sqlite3.Connection) -> SqliteSaver:
    """A saver that rebuilds no class from the file: `allowed_msgpack_modules=None` leaves plain values only."""
    from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
    from langgraph.checkpoint.sqlite import SqliteSaver

    return SqliteSaver(connection, serde=JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=None))


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
    raise RunError(
        "the checkpoint of the agents cannot be used",
        found=f"{path}: {problems}",
        expected="a writable SQLite file",
        hint="move the file away to explain these episodes again; answered questions come from the answer cache",
    )
