"""`ultra fork`: finished stages are shared, the rest runs anew, and the parent stays as it is."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.made_run import SETTINGS
from ultra_agents.cli.main import invoke
from ultra_agents.config import parse_config
from ultra_agents.errors import Interrupted
from ultra_agents.events import Event, StageFinished
from ultra_agents.forks import fork_config, make_fork
from ultra_agents.llm.transcript import Transcript
from ultra_agents.pipeline import run_pipeline
from ultra_agents.records import Usage
from ultra_agents.runs import RunFolder, read_lines
from ultra_agents.runs.lineage import read_parent

SHARED_BEFORE_REFINING = ("collect", "probe", "narrate", "explain", "tabulate", "measure", "imitate", "table")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one finished run, `walk`."""
    folder = tmp_path_factory.mktemp("parent")
    (folder / "config.yaml").write_text(yaml.safe_dump(SETTINGS))
    assert invoke(["run", str(folder / "config.yaml"), "--runs", str(folder / "runs"), "--plain"]) == 0
    return folder / "runs"


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    """The same, to do with as a test likes; `ultra` runs beside it."""
    shutil.copytree(made, tmp_path / "runs")
    return tmp_path / "runs"


def finish(folder: RunFolder, stop: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    run_pipeline(folder, folder.config, lambda event: folder.append_event(event.to_json()), stop)
    folder.close()
    report: dict[str, Any] = json.loads(folder.report_json.read_text())
    return report


def forked(parent: RunFolder, stage: str, *settings: str, name: str = "fork") -> RunFolder:
    return make_fork(parent, fork_config(parent, settings, name), stage, parent.path.parent)[0]


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def numbers(report: dict[str, Any]) -> dict[str, Any]:
    rows = {name: {key: row[key] for key in row if key != "seconds"} for name, row in report["methods"].items()}
    return {"methods": rows, "advice": report["advice"], "llm": {**report["llm"], "by_agent": 0}}


def test_a_fork_shares_files_changes_nothing_of_its_parent_and_says_whose_it_is(runs: Path, ultra: Any) -> None:
    before = contents(runs / "walk")
    done = ultra("fork", "walk", "--from", "explain", "--set", "agents.max_critical=1", "--name", "one", "--plain")
    assert done.code == 0, done.err
    assert "fork of walk from explain on; agents.max_critical: null -> 1" in done.out
    assert "shared: collect, probe, narrate (paid there: " in done.out
    assert "6 files linked" in done.err
    assert contents(runs / "walk") == before, "the whole fork ran, and not a byte of the parent changed"
    same = ["trajectories/episode-000000.npz", "checkpoints/start.safetensors"]
    assert all((runs / "walk" / name).samefile(runs / "one" / name) for name in same)
    grown = ["transcript.jsonl", "events.jsonl", "metrics.jsonl", "llm-cache.sqlite", "played.json", "explain.sqlite"]
    assert not any((runs / "walk" / name).samefile(runs / "one" / name) for name in grown)
    page, report = (runs / "one/report.html").read_text(), json.loads((runs / "one/report.json").read_text())
    assert '<a href="../walk/report.html">walk</a>' in page
    assert "agents.max_critical: 1 (there null)" in page
    assert report["parent"]["shared"] == ["collect", "probe", "narrate"]
    assert report["methods"]["ultra-ra"]["env_steps"]["collect"] > 0, "charged as if this run had played them"
    assert "note forked as one from explain on" in ultra("inspect", "walk", "--plain").out
    assert "note fork of walk from explain on" in ultra("inspect", "one", "--plain").out


def test_a_persons_notes_go_along_and_what_is_asked_anew_is_asked_with_them(runs: Path, ultra: Any) -> None:
    assert ultra("note", "walk", "mind the lure").code == 0
    child = forked(RunFolder.open(runs / "walk"), "explain", name="noted")
    assert "mind the lure" in ultra("note", "noted").out
    finish(child)
    asked = [json.loads(line) for line in child.transcript.read_text().splitlines()]
    assert asked
    assert all("mind the lure" in str(row["messages"]) for row in asked)


def test_a_fork_under_the_same_settings_ends_with_the_same_numbers(runs: Path) -> None:
    parent = RunFolder.open(runs / "walk")
    report = json.loads(parent.report_json.read_text())
    for stage in ("refine", "collect"):
        again = finish(forked(parent, stage, name=f"from-{stage}"))
        assert numbers(again)["methods"] == numbers(report)["methods"]
        assert again["advice"] == report["advice"]
        assert again["env_steps"] == report["env_steps"]


def test_what_the_parent_paid_is_the_parents_and_counts_against_no_cap(runs: Path, ultra: Any) -> None:
    parent = RunFolder.open(runs / "walk")
    paid = sum(Transcript(parent.transcript).usage().values(), Usage())
    fork = forked(parent, "tabulate", "gateway.budget.calls=0")
    report = finish(fork)
    used = Transcript(fork.transcript)
    assert sum(used.usage().values(), Usage()).calls == 0
    assert sum(used.usage(inherited=True).values(), Usage()).calls == paid.calls > 0
    assert report["llm"]["calls"] == paid.calls, "the price of its advice, whoever paid it"
    before = json.loads((parent.path / "measures.json").read_text())
    assert {**report["measures"]["cost"], "seconds": 0} == {**before["cost"], "seconds": 0}
    assert (report["parent"]["paid"]["calls"], report["parent"]["paid"]["tokens"]) == (
        paid.calls, paid.prompt_tokens + paid.completion_tokens,
    )  # fmt: skip
    assert {row["paid_by"] for row in read_lines(fork.transcript)} == {"walk"}
    grandchild = forked(RunFolder.open(fork.path), "refine", name="grandchild")
    about = grandchild.parent
    assert about is not None
    assert (about.paid.calls, about.paid.env_steps > 0) == (paid.calls, True)
    assert {row["paid_by"] for row in read_lines(grandchild.transcript)} == {"walk"}, "not the one between"
    shown = ultra("llm", "log", "fork").out
    assert "paid by walk" in shown


def test_questions_asked_before_are_answered_from_a_copy_of_the_parents_cache(runs: Path) -> None:
    parent = RunFolder.open(runs / "walk")
    fork = forked(parent, "explain")
    assert not list(runs.glob("walk/*-wal")), "reading it left nothing there"
    finish(fork)
    used = sum(Transcript(fork.transcript).usage().values(), Usage())
    assert (used.calls, used.cached > 0) == (0, True)


def test_the_answers_of_a_cache_in_use_are_copied_whole(runs: Path) -> None:
    parent = RunFolder.open(runs / "walk")
    with sqlite3.connect(parent.cache) as writer:
        writer.execute("pragma journal_mode=wal")
        (rows,) = writer.execute("select count(*) from replies").fetchone()
        fork = forked(parent, "explain")
        with sqlite3.connect(fork.cache) as copy:
            assert copy.execute("select count(*) from replies").fetchone() == (rows,)
            assert rows > 0


def test_a_fork_outlives_its_parent_and_can_be_forked(runs: Path, ultra: Any) -> None:
    first = forked(RunFolder.open(runs / "walk"), "refine", "refine.evaluate_every=500")
    shutil.rmtree(runs / "walk")
    assert ultra("resume", "fork", "--plain").code == 0
    assert ", which is gone" in ultra("inspect", "fork", "--plain").out
    assert "parent: walk, which is gone" in ultra("fork", "fork").out
    report = finish(forked(RunFolder.open(first.path), "explain", "agents.max_critical=1", name="third"))
    assert report["parent"]["name"] == "fork"
    assert "there is no run folder walk" in ultra("fork", "walk", "--from", "refine", "--name", "x").err


def test_finished_stages_of_a_run_that_is_running_are_shared(tmp_path: Path, ultra: Any) -> None:
    parent = RunFolder.create(tmp_path / "runs", parse_config(SETTINGS, "test"))
    seen: list[str] = []

    def emit(event: Event) -> None:
        parent.append_event(event.to_json())
        seen.extend([event.stage] if isinstance(event, StageFinished) else [])

    with parent.lock():
        with pytest.raises(Interrupted):
            run_pipeline(parent, parent.config, emit, lambda: "narrate" in seen)
        refused = ultra("fork", "walk", "--from", "tabulate", "--name", "early")
        assert refused.code == 2
        assert "the stage 'explain', which comes before 'tabulate', is not finished in runs/walk" in refused.err
        assert "fork from there: --from explain, or finish it: ultra resume runs/walk" in refused.err
        done = ultra("fork", "walk", "--from", "explain", "--name", "early", "--plain")
    assert done.code == 0, done.err
    assert "report" in RunFolder.open(tmp_path / "runs/early").done
    assert not (tmp_path / "runs/walk/report.json").exists()


def test_where_files_cannot_be_linked_they_are_copied_and_said_to_be(
    runs: Path, ultra: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("links are not possible here")

    monkeypatch.setattr(os, "link", refuse)
    done = ultra("fork", "walk", "--from", "refine", "--name", "one", "--plain")
    assert done.code == 0
    assert "0 files linked, " in done.err
    assert "copied (neither hard links nor clones are possible here)" in done.err or "cloned (hard links" in done.err
    assert not (runs / "walk/advice.jsonl").samefile(runs / "one/advice.jsonl")
    assert (runs / "walk/advice.jsonl").read_bytes() == (runs / "one/advice.jsonl").read_bytes()


def test_methods_can_be_added_and_only_the_new_one_is_trained(runs: Path) -> None:
    parent = RunFolder.open(runs / "walk")
    fork = forked(parent, "refine continue", "methods=[ultra-ra, continue]")
    trained: list[str] = []

    def emit(event: Event) -> None:
        trained.extend([event.stage] if isinstance(event, StageFinished) and event.summary != "already done" else [])
        fork.append_event(event.to_json())

    run_pipeline(fork, fork.config, emit, lambda: False)
    fork.close()
    assert trained == ["policy", "refine continue", "evaluate", "report"]
    rows = [row["method"] for row in read_lines(fork.metrics)]
    assert rows.count("ultra-ra") == len(list(read_lines(parent.metrics))) > 0, "the parent's curve came along"
    before = (parent.checkpoints / "ultra-ra-last.safetensors").stat()
    assert (fork.checkpoints / "ultra-ra-last.safetensors").stat().st_ino == before.st_ino


def test_lines_of_the_shared_stages_only_are_taken_over(runs: Path) -> None:
    parent = RunFolder.open(runs / "walk")
    early, late = forked(parent, "explain", name="early"), forked(parent, "refine", name="late")
    kinds = [{row["event"] for row in read_lines(one.events)} for one in (early, late)]
    assert kinds[0] == {"StepsSpent"}, "of the episodes"
    assert kinds[1] >= {"StepsSpent", "AgentSpoke", "AdviceDecided"}
    assert not any(row["charged"] for row in read_lines(late.events) if row["event"] == "AgentSpoke")
    assert list(read_lines(early.transcript)) == list(read_lines(early.metrics)) == []
    about = read_parent(late.path)
    assert about is not None
    assert about.shared == SHARED_BEFORE_REFINING
    assert (about.place, about.versions["ultra-agents"]) == ("../walk", parent_versions(parent)["ultra-agents"])


def parent_versions(parent: RunFolder) -> dict[str, str]:
    found: dict[str, str] = json.loads(parent.versions_path.read_text())
    return found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--from", "explain", "--name", "x"], "there is no run folder nowhere"),
        (["walk", "--from", "explian", "--name", "x"], "did you mean 'explain'?"),
        (["walk", "--from", "", "--name", "x"], "the fork has no stage ''"),
        (["walk", "--from", "policy", "--name", "x"], "a fork from policy would share nothing"),
        (["walk", "--from", "explain"], "a fork needs a name"),
        (["walk", "--name", "x"], "a fork needs the stage to begin with"),
        (["walk", "--from", "explain", "--name", "walk"], "the run runs/walk exists already"),
        (["walk", "--from", "explain", "--name", "../x"], "name is not usable"),
        (
            ["walk", "--from", "explain", "--set", "agents.max_critcal=1", "--name", "x"],
            "did you mean 'max_critical'?",
        ),
        (["walk", "--from", "explain", "--set", "agents.max_critical=-1", "--name", "x"], "agents.max_critical"),
        (
            ["walk", "--from", "explain", "--set", "seed=2", "--name", "x"],
            "it concerns every stage; start another run",
        ),
        (["runs/walk", "--runs", "runs/walk", "--from", "explain", "--name", "x"], "cannot be made within its parent"),
        (
            ["walk", "--from", "refine", "--set", "narration.stride=1", "--name", "x"],
            "the setting narration.stride belongs to the stage 'narrate', which a fork from 'refine ultra-ra' shares",
        ),
        (
            ["walk", "--from", "table", "--set", "narration.stride=1", "--set", "agents.max_hold=2", "--name", "x"],
            "narration.stride: null -> 1 (stage narrate); agents.max_hold: 16 -> 2 (stage explain)",
        ),
        (
            ["walk", "--from", "explain", "--set", "narration.effects=true", "--name", "x"],
            "the stage 'effects', which comes before 'explain', is not finished in runs/walk, nor planned there",
        ),
        (["walk", "--from", "evaluate", "--set", "methods=[ultra-ra, continue]", "--name", "x"], '"refine continue"'),
    ],
)
def test_what_cannot_be_is_refused_in_one_message(runs: Path, ultra: Any, arguments: list[str], message: str) -> None:
    before = contents(runs)
    done = ultra("fork", *arguments)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("error: ") == 1
    assert done.out == ""
    assert contents(runs) == before, "nothing was left behind"


def test_a_parent_that_is_not_what_it_says_is_refused(runs: Path, ultra: Any) -> None:
    walk, settings = runs / "walk", ["walk", "--from", "refine", "--name", "x"]
    config = (walk / "config.yaml").read_text()
    (walk / "config.yaml").write_text(config.replace("max_repairs: 2", "max_repairs: 3"))
    assert "config.yaml was changed after the run began" in ultra("fork", *settings).err
    (walk / "config.yaml").write_text(config)
    advice = (walk / "advice.jsonl").read_bytes()
    (walk / "advice.jsonl").unlink()
    assert "gone: advice.jsonl" in ultra("fork", *settings).err
    (walk / "advice.jsonl").write_bytes(advice)
    (walk / "llm-cache.sqlite").write_bytes(b"no database, and long enough to be taken for one" * 40)
    damaged = ultra("fork", "walk", "--from", "explain", "--name", "x")
    assert (damaged.code, "the answer cache runs/walk/llm-cache.sqlite cannot be copied" in damaged.err) == (2, True)
    assert ultra("fork", *settings, "--plain").code == 0, "no question is asked from there on"
    (runs / "x/parent.json").write_text("{}")
    assert "parent.json is damaged" in ultra("inspect", "x", "--plain").err


def test_a_run_lists_its_stages_its_parent_and_its_forks(runs: Path, ultra: Any) -> None:
    forked(RunFolder.open(runs / "walk"), "refine", "refine.evaluate_every=500")
    listed = ultra("fork", "walk")
    assert listed.code == 0
    first, *rest = listed.out.splitlines()
    assert first.startswith("runs/walk: finished: ULTRA-RA went from ")
    assert rest[0].startswith("  finished stages: collect, probe, narrate, explain, tabulate")
    assert rest[1] == "  fork: stopped; fork of walk from refine ultra-ra on; refine.evaluate_every: 1000 -> 500"
    child = ultra("fork", "fork").out.splitlines()
    assert child[2].startswith("  parent: runs/walk; paid there: ")
    assert "collect (shared)" in child[3]
