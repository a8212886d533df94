"""`ultra watch` in lines, and what is no run; `ultra events`; pausing."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.cli.run_control import RunControl
from ultra_agents.cli.watch import is_locked
from ultra_agents.config import Config
from ultra_agents.events import Emit, Event, RunContinued, RunFinished, RunPaused, RunStarted, Warned, schema
from ultra_agents.runs import RunFolder


def good(folder: RunFolder, config: Config, emit: Emit, stop: Callable[[], bool]) -> None:
    emit(RunStarted(folder.name, str(folder.path), config.hash(), False, (("evaluate", 1.0),)))
    emit(Warned(f"hello from {folder.name}"))
    emit(RunFinished("finished", 1.0, "it helped", "report.html"))


@pytest.fixture
def finished(ultra: Any, config: Path, pipeline: Any) -> Any:
    """Two finished runs, `one` and `two`."""
    pipeline(good)
    for name in ("one", "two"):
        assert ultra("run", str(config), "--plain", "--name", name).code == 0
    return ultra


def test_a_finished_run_is_told_again(finished: Any) -> None:
    done = finished("watch", "one", "--plain")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[0].startswith("[0:00] run     one started in runs/one")
    assert done.out.splitlines()[1:] == [
        "[0:00] warning hello from one",
        "[0:00] run     finished after 1.0 s: it helped (report report.html)",
    ]


def test_several_runs_are_told_apart(finished: Any) -> None:
    lines = finished("watch", "runs/one", "two").out.splitlines()
    assert [line.split(" ", 1)[0] for line in lines] == ["one"] * 3 + ["two"] * 3
    rows = [json.loads(line) for line in finished("watch", "one", "two", "--json").out.splitlines()]
    assert [row["run"] for row in rows] == ["one"] * 3 + ["two"] * 3
    assert all(row["time"] > 1e9 for row in rows)


def test_a_killed_run_is_said_to_be_one(finished: Any) -> None:
    path = Path("runs/one/events.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    done = finished("watch", "one", "--plain")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "one: no process is running it; go on with it: ultra resume runs/one"
    assert not [row for row in finished("watch", "one", "--json").out.splitlines() if not json.loads(row)]


def test_what_is_no_run_is_refused_with_a_word(finished: Any) -> None:
    Path("runs/three").mkdir()
    shutil.copytree("runs/one", "runs/newer")
    state = json.loads(Path("runs/newer/state.json").read_text())
    Path("runs/newer/state.json").write_text(json.dumps({**state, "format": 99}))
    for name, words in (
        ("three", "is not a run folder"),
        ("nowhere", "there is no run folder"),
        ("newer", "was made by a newer ultra-agents"),
    ):
        for others in ([], ["one"]):
            done = finished("watch", *others, name, "--plain")
            assert (done.code, done.out) == (2, "")
            assert words in done.err
    assert finished("watch", "one", "--plain", "--json").code == 2


def test_a_folder_is_held_by_who_locked_it(finished: Any) -> None:
    folder = RunFolder.open(Path("runs/one"))
    assert not is_locked(folder.path), "this process lives, but let go of it"
    with folder.lock():
        assert is_locked(folder.path)
    Path("runs/one/.lock").write_text("not a number")
    assert not is_locked(folder.path)


def test_the_schema_is_printed(ultra: Any) -> None:
    done = ultra("events")
    assert done.code == 0
    assert json.loads(done.out) == schema()


def test_whoever_asks_waits_while_paused() -> None:
    seen: list[Event] = []
    stop = RunControl(emit=seen.append)
    passed = threading.Event()

    def work() -> None:
        assert not stop()
        passed.set()

    stop.toggle_pause()
    assert stop.paused
    thread = threading.Thread(target=work)
    thread.start()
    assert not passed.wait(0.3), "it was not made to wait"
    stop.toggle_pause()
    assert passed.wait(30)
    thread.join()
    assert seen == [RunPaused(), RunContinued()]


def test_a_wish_to_stop_ends_a_pause() -> None:
    told = threading.Event()
    stop = RunControl(notice=lambda text: told.set())
    stop.toggle_pause()
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(stop()))
    thread.start()
    stop.ask_to_stop()
    thread.join(30)
    assert answers == [True]
    assert told.wait(30)
    stop.toggle_pause()
    assert stop(), "nothing to pause any more"
