"""Runs whose answers and progress are in a Postgres database: what is shared, and what people read when it fails."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents.llm import cache
from ultra_agents.llm.replies import RawReply
from ultra_agents.runs import RunFolder, read_lines

PASSWORD = "correct-horse-7-battery-staple"
SETTINGS: dict[str, Any] = {
    "environment": {"name": "corridor"},
    "policy": {"train_steps": 200},
    "methods": ["ultra-ra"],
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
    "collect": {"episodes": 2, "max_steps": 60},
    "verification": {"mode": "none"},
    "imitation": {"mode": "never"},
    "refine": {"steps": 200, "num_envs": 2, "workers": 0, "evaluate_every": 200, "curve_episodes": 2},
    "evaluate": {"episodes": 2, "video": False},
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    """Writes a configuration whose answers and progress are at an address; its name."""

    def write(address: str, name: str = "one", **gateway: Any) -> str:
        settings = {
            **SETTINGS, "name": name, "gateway": {"cache": address, **gateway}, "agents": {"checkpoints": address},
        }  # fmt: skip
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(settings))
        return f"{name}.yaml"

    return write


def test_runs_share_answers_and_keep_their_progress_apart(
    ultra: Any, write: Any, postgres: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    database = postgres.empty(owner="guest")
    address = postgres.address(database, "guest")
    done = ultra("run", write(address, budget={"calls": 2}), "--plain")
    assert done.code == 3, done.err
    runs = tmp_path / "runs"
    assert not list((runs / "one").glob("*.sqlite*"))
    assert "note the agents are not finished" in ultra("inspect", "runs/one", "--plain").out
    done = ultra("resume", "runs/one", "--plain", "--set", "gateway.budget.calls=100")
    assert done.code == 0, done.err
    first = list(read_lines(runs / "one" / "transcript.jsonl"))
    assert first
    assert not any(row["cached"] for row in first)
    assert ultra("run", write(address, "two", mode="replay"), "--plain").code == 0
    assert all(row["cached"] for row in read_lines(runs / "two" / "transcript.jsonl"))
    assert (runs / "one" / "advice.jsonl").read_bytes() == (runs / "two" / "advice.jsonl").read_bytes()
    threads = postgres.execute("select distinct thread_id from ultra_agents.checkpoints", database=database)
    names = {RunFolder.open(runs / name).id for name in ("one", "two")}
    assert len(names) == 2
    assert {thread.partition("/")[0] for (thread,) in threads} == names
    kept = [path for path in runs.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert kept == []

    done = ultra("llm", "export", "runs/two", "answers.jsonl")
    assert done.code == 0, done.err
    there = len({row["key"] for row in first})
    assert done.out.startswith(f"{there} answers in answers.jsonl")
    other = postgres.address(postgres.empty())
    assert ultra("llm", "import", "answers.jsonl", other).out.startswith(f"{there} of {there} answers added")
    assert ultra("llm", "export", other, "again.jsonl").out.startswith(f"{there} answers")
    assert (tmp_path / "again.jsonl").read_text() == (tmp_path / "answers.jsonl").read_text()


@pytest.mark.parametrize(
    ("user", "password", "database", "found", "hint"),
    [
        ("guest", "a-wrong-password-39f1", None, "password authentication failed", "PGPASSWORD"),
        ("guest", None, None, "no password supplied", "PGPASSWORD"),
        ("nobody", None, None, 'role "nobody" does not exist', "PGPASSWORD"),
        ("postgres", None, "nowhere", 'database "nowhere" does not exist', "createdb"),
        ("guest", PASSWORD, None, "permission denied for database", "grant create"),
    ],
)
def test_a_database_that_lets_nobody_in_is_one_message_before_anything_is_done(
    ultra: Any, write: Any, postgres: Any, tmp_path: Path, monkeypatch: Any, user: str, password: str | None,
    database: str | None, found: str, hint: str,
) -> None:  # fmt: skip
    if password is not None:
        monkeypatch.setenv("PGPASSWORD", password)
    done = ultra("run", write(postgres.address(database or postgres.empty(), user)), "--plain")
    assert done.code == 2
    assert "the answer cache in the database postgresql://" in done.err
    assert found in done.err
    assert hint in done.err.partition("do:")[2]
    assert done.err.count("error:") == 1
    assert password is None or password not in done.out + done.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://guest:{PASSWORD}@db.example.org/answers",
        f"postgres://guest@db.example.org/answers?password={PASSWORD}",
        f"postgresql://guest@db.example.org/answers?sslmode=require&sslp%61ssword={PASSWORD}",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_repeated(ultra: Any, write: Any, address: str) -> None:
    for given in (("run", write(address)), ("llm", "export", address, "a.jsonl")):
        done = ultra(*given)
        assert done.code == 2
        assert "holds a password" in done.err
        assert "PGPASSWORD" in done.err
        assert PASSWORD not in done.out + done.err


def test_nobody_there_and_no_address_are_one_message(ultra: Any, write: Any, tmp_path: Path) -> None:
    done = ultra("run", write(f"postgresql://postgres@/answers?host={tmp_path}"), "--plain")
    assert done.code == 2
    assert "is the server running" in done.err
    done = ultra("run", write("postgresql://postgres@/answers?hots=here"), "--plain")
    assert done.code == 2
    assert 'invalid URI query parameter: "hots"' in done.err
    assert not (tmp_path / "runs").exists()


def test_without_the_extra_the_command_that_installs_it_is_told(ultra: Any, write: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "psycopg", None)
    done = ultra("run", write("postgresql://postgres@/answers"), "--plain")
    assert done.code == 2
    assert "pip install 'ultra-agents[postgres]'" in done.err


def test_an_answer_paid_for_while_the_server_goes_away_is_kept_and_taken_back(
    ultra: Any, write: Any, postgres: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    address = postgres.address(postgres.empty())
    real, count = cache.AnswerCache.put, iter(range(1000))

    def put(self: cache.AnswerCache, *given: Any) -> RawReply:
        if isinstance(self.place, str) and next(count) == 1:
            postgres.stop()
        return real(self, *given)

    monkeypatch.setattr(cache.AnswerCache, "put", put)
    path = write(address)
    settings = yaml.safe_load((tmp_path / path).read_text())
    settings["agents"] = {"concurrency": 1}
    (tmp_path / path).write_text(yaml.safe_dump(settings))
    done = ultra("run", path, "--plain")
    assert done.code == 2
    assert "the answer cache in the database postgresql://" in done.err
    assert "internal error" not in done.err
    spare = tmp_path / "runs" / "one" / "llm-cache.sqlite"
    with sqlite3.connect(spare) as connection:
        assert connection.execute("select count(*) from replies").fetchone() == (1,)
    postgres.start()
    assert ultra("resume", "runs/one", "--plain").code == 0
    rows = list(read_lines(tmp_path / "runs" / "one" / "transcript.jsonl"))
    assert rows
    asked = [row["key"] for row in rows if not row["cached"]]
    assert len(asked) == len(set(asked))


def test_a_connection_that_broke_is_made_again(postgres: Any) -> None:
    made = cache.AnswerCache(postgres.address(postgres.empty()))
    made.put("k", RawReply("said", 1, 1, 0.0))
    postgres.stop()
    postgres.start()
    assert made.get("k") == RawReply("said", 1, 1, 0.0)
    postgres.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ultra-agents'")
    assert made.put("k", RawReply("another", 1, 1, 0.0)).text == "said"
    made.close()
