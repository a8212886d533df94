"""`ultra llm export` and `import`: a run's answers as a file, replayed without a call; and the log by episode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest


def llms(address: str) -> dict[str, Any]:
    return {"default": {"provider": "openai", "options": {"model": "any", "base_url": f"{address}/v1"}}}


def advice(name: str) -> str:
    return (Path("runs") / name / "advice.jsonl").read_text()


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path("runs") / name / "transcript.jsonl").read_text().splitlines()]


@pytest.fixture
def recorded(ultra: Any, settings: Any, any_model: Any) -> str:
    """A finished run, whose model has gone; the path of its configuration."""
    path = str(settings(llms=llms(any_model.address)))
    assert ultra("run", path, "--plain").code == 0
    any_model.close()
    return path


def test_a_run_is_replayed_from_its_cassette_without_a_call(ultra: Any, recorded: str) -> None:
    done = ultra("llm", "export", "one", "answers.jsonl")
    assert done.code == 0, done.err
    asked = len(rows("one"))
    assert f"{asked} answers in answers.jsonl" in done.out
    replay = ["--set", "gateway.mode=replay", "--set", "gateway.cache=answers.jsonl"]
    assert ultra("run", recorded, "--plain", "--name", "two", *replay).code == 0
    assert advice("two") == advice("one")
    assert {row["cached"] for row in rows("two")} == {True}
    assert len(rows("two")) == asked


def test_the_cassette_as_a_provider(ultra: Any, recorded: str, settings: Any) -> None:
    assert ultra("llm", "export", "runs/one", "answers.jsonl").code == 0
    path = settings(llms={"default": {"provider": "replay", "options": {"cassette": "answers.jsonl"}}})
    done = ultra("run", str(path), "--plain", "--name", "two")
    assert done.code == 0, done.err
    assert [json.loads(line)["plan"] for line in advice("two").splitlines()] == [
        json.loads(line)["plan"] for line in advice("one").splitlines()
    ]
    assert {row["cached"] for row in rows("two")} == {True}


def test_an_imported_cassette_answers_a_live_run_whose_server_is_gone(ultra: Any, recorded: str) -> None:
    assert ultra("llm", "export", "one", "answers.jsonl").code == 0
    done = ultra("llm", "import", "answers.jsonl", "cache/all.sqlite")
    assert done.code == 0, done.err
    asked = len(rows("one"))
    assert f"{asked} of {asked} answers added to cache/all.sqlite" in done.out
    assert "0 of " in ultra("llm", "import", "answers.jsonl", "cache/all.sqlite").out
    done = ultra("run", recorded, "--plain", "--name", "two", "--set", "gateway.cache=cache/all.sqlite")
    assert done.code == 0, done.err
    assert {row["cached"] for row in rows("two")} == {True}
    whole = ultra("llm", "export", "cache/all.sqlite", "again.jsonl")
    assert whole.code == 0
    assert Path("again.jsonl").read_text() == Path("answers.jsonl").read_text()


def test_a_question_that_is_not_there_is_named(ultra: Any, recorded: str) -> None:
    assert ultra("llm", "export", "one", "answers.jsonl").code == 0
    Path("answers.jsonl").write_text(
        '{"key": "k", "text": "t", "prompt_tokens": 1, "completion_tokens": 1, "seconds": 1}\n'
    )
    replay = ["--set", "gateway.mode=replay", "--set", "gateway.cache=answers.jsonl"]
    done = ultra("run", recorded, "--plain", "--name", "two", *replay)
    assert done.code == 2
    assert "replay: this question is not in the answer cache" in done.err
    assert "no key " in done.err
    assert "identifier on 0:" in done.err


@pytest.mark.parametrize("way", ["gateway", "provider"])
def test_questions_that_are_not_there_may_be_dropped_and_the_run_goes_on(
    ultra: Any, recorded: str, settings: Any, way: str
) -> None:
    assert ultra("llm", "export", "one", "answers.jsonl").code == 0
    kept = [line for line in Path("answers.jsonl").read_text().splitlines() if _asked_of(line) != "advisor"]
    lost = sum(row["agent"] == "advisor" for row in rows("one"))
    assert kept
    assert lost
    Path("answers.jsonl").write_text("\n".join(kept) + "\n")
    if way == "gateway":
        more, path = ["--set", "gateway.mode=replay", "--set", "gateway.cache=answers.jsonl"], recorded
    else:
        more, path = (
            [],
            str(settings(llms={"default": {"provider": "replay", "options": {"cassette": "answers.jsonl"}}})),
        )
    stopped = ultra("run", path, "--plain", "--name", "stopped", *more)
    assert stopped.code == 2
    assert "gateway.missing: drop" in stopped.err

    done = ultra("run", path, "--plain", "--name", "two", "--set", "gateway.missing=drop", *more)
    assert done.code == 0, done.err
    report = json.loads((Path("runs") / "two" / "report.json").read_text())
    count = report["advice"]["dropped"]["by_reason"]["not recorded"]
    assert 0 < count <= lost
    assert report["measures"]["not_recorded"] == count
    assert report["advice"]["proposed"] == 0
    assert any("had no answer in the recording" in one for one in report["caveats"])
    assert "not recorded" in (Path("runs") / "two" / "report.html").read_text()
    assert "drop    advise" in done.out
    told = ultra("explain", path, "--name", "three", "--set", "gateway.missing=drop", *more)
    assert told.code == 0, told.err
    assert "no recorded answer" in told.out


def _asked_of(line: str) -> str:
    """Which agent's question a line of the cassette answers."""
    key = json.loads(line)["key"]
    return next(row["agent"] for row in rows("one") if row["key"] == key)


def test_the_cache_of_a_configuration_is_beside_it(ultra: Any, settings: Any, any_model: Any, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    path = settings(llms=llms(any_model.address), gateway={"cache": "shared.sqlite"})
    path = path.rename(folder / "config.yaml")
    assert ultra("run", str(path), "--plain").code == 0
    assert (folder / "shared.sqlite").is_file()
    assert not Path("shared.sqlite").exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["export", "nothing", "a.jsonl"], "nothing"),
        (["export", "nothing", "a.txt"], "a.txt is no name of a cassette"),
        (["import", "missing.jsonl", "c.sqlite"], "there is no cassette missing.jsonl"),
        (["import", "bad.jsonl", "c.sqlite"], "cannot read the cassette bad.jsonl"),
        (["import", "bad.jsonl", "other.jsonl"], "other.jsonl is no answer cache"),
        (["export", "broken.sqlite", "a.jsonl"], "cannot be used"),
    ],
)
def test_what_cannot_be_exported_or_imported(ultra: Any, command: list[str], said: str) -> None:
    Path("bad.jsonl").write_text("{\n")
    Path("broken.sqlite").write_bytes(b"no database" * 500)
    done = ultra("llm", *command)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert not Path("a.jsonl").exists()


def test_the_log_by_episode_and_agent(ultra: Any, recorded: str) -> None:
    done = ultra("llm", "log", "one", "--episode", "0", "--agent", "advisor", "--replies")
    assert done.code == 0, done.err
    assert "advisor" in done.out
    assert "identifier" not in done.out
    assert ultra("llm", "log", "one", "--episode", "7").code == 2
