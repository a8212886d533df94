"""Where an answer cache keeps its rows: an SQLite file in WAL mode, or a Postgres database that machines share.

Statements are written once, with `?` for values. Each is whole or not done, and may be sent twice.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ultra_agents import postgres
from ultra_agents.errors import LLMError, UltraError

if TYPE_CHECKING:
    from psycopg import Connection, Cursor

_TABLES = {
    "replies": "(key text primary key, reply text not null)",
    "asked": "(key text primary key, about text not null)",
    "claims": "(key text primary key, owner text not null, ends {number} not null)",
}


Insert: TypeAlias = Callable[[str, Sequence[tuple[str, ...]]], int]
"""Executes a statement once for each row of values; the number of rows that changed."""
_IMPORT_LOCK = 0x756C747262
"""Key of the advisory lock under which many rows are stored at once."""


class Database(Protocol):
    """Executes statements; safe to use from many threads.

    Attributes:
        NOW: Expression for the Unix time in seconds by the database's clock.
    """

    NOW: str

    def rows(self, statement: str, *values: object) -> list[Any]:
        """What a query finds."""

    def changed(self, statement: str, *values: object) -> int:
        """Execute a statement; the number of rows it changed."""

    def together(self) -> AbstractContextManager[Insert]:
        """Takes many rows at once, in batches; all of them are stored when the block ends, none when it raises."""

    def close(self) -> None:
        """Close the connection."""

    def unusable(self, error: Exception) -> UltraError:
        """What to tell when `error` came of what is stored."""


class SQLiteDatabase:
    """An SQLite file, or, in memory, a copy of a cassette."""

    NOW = "((julianday('now') - 2440587.5) * 86400.0)"

    def __init__(self, path: Path, *, in_memory: bool = False) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            where = ":memory:" if in_memory else path
            self._db = sqlite3.connect(where, timeout=30, check_same_thread=False, isolation_level=None)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=normal")
            for name, columns in _TABLES.items():
                self._db.execute(f"create table if not exists {name} {columns.format(number='real')} strict")
        except (sqlite3.Error, OSError) as error:
            raise self.unusable(error) from error

    def rows(self, statement: str, *values: object) -> list[Any]:
        """What a query finds."""
        try:
            with self._lock:
                return self._db.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self.unusable(error) from error

    def changed(self, statement: str, *values: object) -> int:
        """Execute a statement; the number of rows it changed."""
        try:
            with self._lock:
                return self._db.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise self.unusable(error) from error

    @contextmanager
    def together(self) -> Iterator[Insert]:
        """One transaction."""
        with self._lock:
            try:
                self._db.execute("begin immediate")
                try:
                    yield lambda statement, rows: self._db.executemany(statement, rows).rowcount
                except BaseException:
                    self._db.execute("rollback")
                    raise
                self._db.execute("commit")
            except sqlite3.Error as error:
                raise self.unusable(error) from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._db.close()

    def unusable(self, error: Exception) -> LLMError:
        """What to tell when `error` came of what is stored, or of storing."""
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


class PostgresDatabase:
    """A Postgres database; a connection that broke is made once more before anybody hears of it.

    Args:
        address: `postgresql://...`.
        what: What is kept there, for messages.
    """

    NOW = "extract(epoch from clock_timestamp())::float8"

    def __init__(self, address: str, what: str) -> None:
        self._address, self._what = address, what
        self._lock = threading.Lock()
        self._connection = self._connected()

    def rows(self, statement: str, *values: object) -> list[Any]:
        """What a query finds."""
        return self._execute(statement, values)[0]

    def changed(self, statement: str, *values: object) -> int:
        """Execute a statement; the number of rows it changed."""
        return self._execute(statement, values)[1]

    @contextmanager
    def together(self) -> Iterator[Insert]:
        """One transaction, after those of others: two that met each other's rows would wait for each other."""
        import psycopg

        with self._lock:
            try:
                with self._connection.transaction(), self._connection.cursor() as cursor:
                    cursor.execute("select pg_advisory_xact_lock(%s)", (_IMPORT_LOCK,))

                    def insert(statement: str, rows: Sequence[tuple[str, ...]]) -> int:
                        cursor.executemany(statement.replace("?", "%s"), rows)
                        return cursor.rowcount

                    yield insert
            except psycopg.DataError as error:
                raise ValueError(str(error).splitlines()[0]) from error  # a text that no database takes: NUL
            except psycopg.Error as error:
                raise self.unusable(error) from error

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def unusable(self, error: Exception) -> UltraError:
        """What to tell when `error` came of what is stored, or of storing."""
        return postgres.unusable(self._address, self._what, error)

    def _connected(self) -> Connection[Any]:
        import psycopg

        connection = postgres.connect(self._address, self._what)
        try:
            if not postgres.has(connection, "claims"):
                with postgres.set_up(connection):
                    for name, columns in _TABLES.items():
                        connection.execute(f"create table if not exists {name} {columns.format(number='float8')}")
        except psycopg.Error as error:
            connection.close()
            raise self.unusable(error) from error
        return connection

    def _execute(self, statement: str, values: tuple[object, ...]) -> tuple[list[Any], int]:
        import psycopg

        def once() -> tuple[list[Any], int]:
            cursor: Cursor[Any] = self._connection.execute(statement.replace("?", "%s"), values)
            return cursor.fetchall() if cursor.description else [], cursor.rowcount

        with self._lock:
            try:
                try:
                    return once()
                except psycopg.OperationalError:
                    if not self._connection.broken:
                        raise
                self._connection = self._connected()
                return once()
            except psycopg.Error as error:
                raise self.unusable(error) from error
