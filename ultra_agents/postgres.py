"""A Postgres database in the place of a file: its address in configurations, its connections, its errors.

An address is a `postgresql://` URI without a password. libpq takes that from `PGPASSWORD` or `~/.pgpass`, so that no
configuration, run folder or message ever holds it. Everything is kept in the schema `ultra_agents`, made if missing.
"""

from __future__ import annotations

import re
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ultra_agents.contracts.secrets import Redactor, environment_secrets
from ultra_agents.errors import ConfigError, RunError

if TYPE_CHECKING:  # an extra, and too slow for `ultra --help`
    from psycopg import Connection

SCHEMA = "ultra_agents"
CONNECTION = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "application_name": "ultra-agents",
}
"""Parameters of a connection that an address may change; a server that vanished is noticed within a minute."""
_SET_UP_LOCK = 0x756C747261
"""Key of the advisory lock under which tables are made: processes that begin together would make them twice."""
_HINTS = {
    r"password|authentication|role .* does not exist":
        "export PGPASSWORD=... (or a line in ~/.pgpass), and check the user in the address",
    r"database .* does not exist": "make it (createdb NAME), or correct the address",
    r"permission denied|must be owner": f"grant create on database ... to ... (the schema {SCHEMA} is made there)",
    r"no space|disk full|too many (connections|clients)|remaining connection slots": "make room on the server",
}  # fmt: skip


def is_address(value: object) -> bool:
    """Whether a setting names a Postgres database rather than a file."""
    return isinstance(value, str) and re.match(r"postgres(ql)?://", value) is not None


def checked_address(value: str) -> str:
    """`value`, if nothing secret is in it; for validators.

    Raises:
        ConfigError: It holds a password; the message does not repeat it.
    """
    parts = urllib.parse.urlsplit(value)
    user = parts.netloc.rpartition("@")[0]
    if ":" in user or re.search(r"passw[^=&]*=", urllib.parse.unquote(parts.query), re.IGNORECASE):
        raise ConfigError(
            "the address of the database holds a password",
            expected="postgresql://USER@HOST:PORT/DATABASE; the password in the environment only",
            hint="leave it out of the address and export PGPASSWORD=... (or write a line into ~/.pgpass); a password "
            "that was pasted into a file should be changed",
        )
    return value


def connect(address: str, what: str, *, read_only: bool = False, **options: Any) -> Connection[Any]:
    """A connection in autocommit mode whose tables are those of the schema `ultra_agents`.

    Args:
        address: `postgresql://...`.
        what: What is kept there, for messages.
        read_only: Refuse to write.
        options: Further arguments of `psycopg.connect`.

    Raises:
        ConfigError: psycopg is not installed, or this is no address.
        RunError: The database cannot be reached, or lets nobody in.
    """
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError as error:
        raise ConfigError(
            f"{what} is kept in Postgres, which needs psycopg",
            found=str(error).splitlines()[0],
            hint="pip install 'ultra-agents[postgres]'",
        ) from error
    try:
        given: dict[str, Any] = conninfo_to_dict(address)
    except psycopg.Error as error:
        raise ConfigError(
            f"{what} has no usable address", found=_said(error), expected="postgresql://USER@HOST:PORT/DATABASE"
        ) from None
    settings = f"-c search_path={SCHEMA}" + (" -c default_transaction_read_only=on" if read_only else "")
    given = {**CONNECTION, **given, "options": f"{given.get('options') or ''} {settings}".strip()}
    try:
        # pgbouncer knows no prepared statements
        return psycopg.connect("", autocommit=True, prepare_threshold=None, **options, **given)
    except psycopg.Error as error:
        raise unusable(address, what, error) from error


def unusable(address: str, what: str, error: Exception) -> RunError:
    """What to tell where the database failed.

    Args:
        address: Of the database.
        what: What is kept there.
        error: psycopg's.
    """
    said = _said(error)
    gone = "is the server running and reachable from here? Then the same command goes on; what was paid for is kept"
    hint = next((hint for pattern, hint in _HINTS.items() if re.search(pattern, said, re.IGNORECASE)), gone)
    return RunError(f"{what} in the database {address} cannot be used", found=said, hint=hint)


@contextmanager
def set_up(connection: Connection[Any]) -> Iterator[None]:
    """Make tables within: the schema is there, and no other process makes tables meanwhile.

    The lock is polled: a session that waited for it would hold a snapshot, for which `create index concurrently` of
    the one that has it would wait in turn.
    """
    while not _first(connection, "select pg_try_advisory_lock(%s)", _SET_UP_LOCK):
        time.sleep(0.05)
    try:
        if not has(connection):
            connection.execute(f"create schema {SCHEMA}")
        yield
    finally:
        with suppress(Exception):  # of a connection that is gone; its locks are then, too
            _first(connection, "select pg_advisory_unlock(%s)", _SET_UP_LOCK)


def has(connection: Connection[Any], table: str | None = None) -> bool:
    """Whether the schema is there, or a table in it."""
    look = "select to_regnamespace(%s)" if table is None else "select to_regclass(%s)"
    name = SCHEMA if table is None else f"{SCHEMA}.{table}"
    return _first(connection, look, name) is not None


def check(address: str, what: str) -> None:
    """Raise where the database cannot be used now, or the user may not make the schema there."""
    with connect(address, what) as connection:
        try:
            if not has(connection):
                with set_up(connection):
                    pass
        except connection.Error as error:
            raise unusable(address, what, error) from error


def _first(connection: Connection[Any], query: str, value: object) -> Any:
    """The first value of what a query finds, whatever kind of rows the connection makes."""
    from psycopg.rows import scalar_row

    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(query, (value,)).fetchone()


def _said(error: Exception) -> str:
    """What the server or libpq said, in one line and without any key."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return Redactor(environment_secrets())(" ".join(lines[:2]) or type(error).__name__)[:400]
