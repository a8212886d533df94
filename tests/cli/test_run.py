"""`ultra run` and `ultra resume` around a stand-in pipeline, and once around the real one."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents.config import Config
from ultra_agents.errors import BudgetReached, Interrupted, LLMError
from ultra_agents.events import Emit, Evaluated, Event, RunFinished, RunStarted, StageStarted
from ultra_agents.runs import RunFolder, read_lines

Stop = Callable[[], bool]


def good(folder: RunFolder, config: Config, emit: Emit, stop: Stop) -> None:
    """A pipeline that finishes."""
    emit(RunStarted(folder.name, str(folder.path), config.hash(), bool(folder.done), (("evaluate", 1.0),)))
    emit(StageStarted("evaluate", "Play"))
    if folder.stage_done("evaluate") is None:
        emit(Evaluated("none", 0, "before", (1.0, 2.0)))
        emit(Evaluated("ultra-ra", 500, "last", (3.0, 4.0)))
        folder.mark_done("evaluate")
    emit(RunFinished("finished", 1.0, "it helped", "report.html"))


def logged(path: Path) -> list[dict[str, Any]]:
    return list(read_lines(path / "events.jsonl"))


def test_plain_lines_a_table_and_a_log(ultra: Any, config: Path, pipeline: Any) -> None:
    pipeline(good)
    done = ultra("run", str(config), "--plain", "--name", "7", "--set", "refine.steps=77")
    assert done.code == 0
    assert done.err == ""
    assert "[0:00] run     7 started in runs/7" in done.out
    row = next(line.split() for line in done.out.splitlines() if line.startswith(" ultra-ra"))
    assert row == ["ultra-ra", "1.50", "±", "0.50", "3.50", "±", "0.50", "+2.00", "-", "500"]
    assert "report: report.html" in done.out
    assert RunFolder.open(Path("runs/7")).config.refine.steps == 77
    events = logged(Path("runs/7"))
    assert [row["event"] for row in events] == ["RunStarted", "StageStarted", "Evaluated", "Evaluated", "RunFinished"]
    assert all(row["time"] > 1e9 for row in events)


def test_json_is_json_and_nothing_else(ultra: Any, config: Path, pipeline: Any) -> None:
    pipeline(good)
    rows = [json.loads(line) for line in ultra("run", str(config), "--json").out.splitlines()]
    assert rows[-1] == {
        "event": "RunFinished", "status": "finished", "seconds": 1.0, "summary": "it helped", "report": "report.html",
    }  # fmt: skip


def test_a_stopped_run_says_how_to_go_on_and_does(ultra: Any, config: Path, pipeline: Any) -> None:
    def stopped(folder: RunFolder, config: Config, emit: Emit, stop: Stop) -> None:
        emit(RunStarted("one", str(folder.path), "", False, ()))
        raise Interrupted("stopped in the middle", hint="something else")

    pipeline(stopped)
    done = ultra("run", str(config), "--plain")
    assert done.code == 130
    assert done.err == "stopped: stopped in the middle\n  do:       ultra resume runs/one\n"
    assert logged(Path("runs/one"))[-1]["status"] == "interrupted"
    pipeline(good)
    done = ultra("resume", "runs/one", "--plain")
    assert done.code == 0
    assert "ultra-ra" in done.out


def test_a_resumed_run_finds_its_earlier_results_for_the_table(ultra: Any, config: Path, pipeline: Any) -> None:
    pipeline(good)
    ultra("run", str(config), "--plain")
    done = ultra("resume", "one", "--plain")
    assert done.code == 0
    assert "] eval " not in done.out, "nothing was evaluated again"
    assert any(line.startswith(" ultra-ra   1.50 ± 0.50") for line in done.out.splitlines())


def test_a_spending_cap_says_how_to_raise_it(ultra: Any, config: Path, pipeline: Any) -> None:
    def spent(folder: RunFolder, config: Config, emit: Emit, stop: Stop) -> None:
        if config.gateway.budget.calls == 3:
            hint = "go on: ultra resume RUN --set gateway.budget.agents.critic.calls=MORE"
            raise BudgetReached("3 calls were made", expected="at most 3", hint=hint)
        good(folder, config, emit, stop)

    pipeline(spent)
    done = ultra("run", str(config), "--plain", "--set", "gateway.budget.calls=3")
    assert done.code == 3
    assert "do:       go on: ultra resume runs/one --set gateway.budget.agents.critic.calls=MORE\n" in done.err
    assert logged(Path("runs/one"))[-1]["status"] == "budget"
    assert ultra("resume", "one", "--plain").code == 3
    assert ultra("resume", "one", "--plain", "--set", "gateway.budget.calls=30").code == 0
    refused = ultra("resume", "one", "--set", "seed=3")
    assert refused.code == 2
    assert "cannot change a run that has begun" in refused.err


def test_a_failure_keeps_its_own_words(ultra: Any, config: Path, pipeline: Any) -> None:
    def failing(folder: RunFolder, config: Config, emit: Emit, stop: Stop) -> None:
        raise LLMError("no server", found="refused", hint="start it")

    pipeline(failing)
    done = ultra("run", str(config), "--plain")
    assert (done.code, done.err) == (2, "error: no server\n  found:    refused\n  do:       start it\n")
    assert logged(Path("runs/one"))[-1]["status"] == "failed"


def test_a_defect_in_a_run_leaves_its_traceback_in_the_folder(ultra: Any, config: Path, pipeline: Any) -> None:
    def broken(folder: RunFolder, config: Config, emit: Emit, stop: Stop) -> None:
        raise ZeroDivisionError("deep inside")

    pipeline(broken)
    done = ultra("run", str(config), "--plain")
    assert done.code == 1
    (crash,) = Path("runs/one").glob("crash-*.txt")
    assert str(crash) in done.err
    assert "Traceback" not in done.err
    assert "deep inside" in crash.read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_signal_stops_cleanly(ultra: Any, config: Path, pipeline: Any, number: int) -> None:
    def patient(folder: RunFolder, config: Config, emit: Emit, stop: Stop) -> None:
        assert not stop()
        os.kill(os.getpid(), number)
        assert stop()
        raise Interrupted("stopped at a good place")

    pipeline(patient)
    before = signal.getsignal(number)
    done = ultra("run", str(config), "--plain")
    assert (done.code, done.err) == (130, "stopped: stopped at a good place\n  do:       ultra resume runs/one\n")
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_stops_at_once(ultra: Any, config: Path, pipeline: Any) -> None:
    def deaf(folder: RunFolder, config: Config, emit: Emit, stop: Stop) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second one was not heard")

    pipeline(deaf)
    done = ultra("run", str(config), "--plain")
    assert done.code == 130
    assert "stopped at once" in done.err
    assert "ultra resume runs/one" in done.err
    assert logged(Path("runs/one"))[-1]["status"] == "interrupted"


def test_a_folder_in_use_is_left_alone(ultra: Any, config: Path, pipeline: Any) -> None:
    pipeline(good)
    ultra("run", str(config), "--plain")
    with RunFolder.open(Path("runs/one")).lock():
        done = ultra("resume", "one", "--plain")
    assert done.code == 2
    assert f"is being run by process {os.getpid()}" in done.err


def test_an_edited_configuration_is_pointed_out(ultra: Any, config: Path, pipeline: Any) -> None:
    pipeline(good)
    ultra("run", str(config), "--plain")
    path = Path("runs/one/config.yaml")
    path.write_text(path.read_text().replace("seed: 0", "seed: 1"))
    assert "warning runs/one/config.yaml was changed" in ultra("resume", "one", "--plain").out


class Broken:
    """A display that breaks where it is told to."""

    def __init__(self, where: str, error: Exception) -> None:
        self.where, self.error = where, error
        self.stopped = 0

    def start(self) -> None:
        if self.where == "start":
            raise self.error

    def handle(self, event: Event) -> None:
        if self.where == "handle":
            raise self.error

    def stop(self) -> None:
        self.stopped += 1
        if self.where == "stop":
            raise self.error


@pytest.mark.parametrize("where", ["start", "handle", "stop"])
def test_a_display_that_breaks_never_ends_the_run(
    ultra: Any, config: Path, pipeline: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    pipeline(good)
    monkeypatch.setattr("ultra_agents.ui.display.choose_display", lambda *_: Broken(where, KeyError("screen")))
    done = ultra("run", str(config))
    assert done.code == 0
    assert [row["event"] for row in logged(Path("runs/one"))][-1] == "RunFinished"
    assert done.out.count("the display failed") == 1
    (crash,) = Path("runs/one").glob("crash-*.txt")
    assert "KeyError" in crash.read_text()
    if where != "stop":
        assert "run     finished" in done.out, "plain lines took over"


def test_a_reader_that_leaves_does_not_end_the_run(
    ultra: Any, config: Path, pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(good)
    monkeypatch.setattr("ultra_agents.ui.display.choose_display", lambda *_: Broken("handle", BrokenPipeError()))
    assert ultra("run", str(config)).code == 0
    assert [row["event"] for row in logged(Path("runs/one"))][-1] == "RunFinished"
    assert not list(Path("runs/one").glob("crash-*"))


def test_a_log_that_cannot_be_written_does_not_end_the_run(
    ultra: Any, config: Path, pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(folder: RunFolder, row: dict[str, Any]) -> None:
        raise OSError(28, "No space left on device")

    pipeline(good)
    monkeypatch.setattr(RunFolder, "append_event", full)
    done = ultra("run", str(config), "--plain")
    assert done.code == 0
    assert done.out.count("events are not logged any more: [Errno 28] No space left") == 1


def test_events_may_come_from_many_threads(ultra: Any, config: Path, pipeline: Any) -> None:
    def busy(folder: RunFolder, config: Config, emit: Emit, stop: Stop) -> None:
        def work(index: int) -> None:
            for step in range(50):
                emit(Evaluated(f"m{index}", step, "curve", (1.0,)))

        threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        good(folder, config, emit, stop)

    pipeline(busy)
    done = ultra("run", str(config), "--json")
    rows = [json.loads(line) for line in done.out.splitlines()]
    assert len(rows) == len(logged(Path("runs/one"))) == 405


def test_the_real_pipeline_runs_through(ultra: Any, config: Path) -> None:
    small = {
        "refine": {"steps": 600, "num_envs": 2, "workers": 0, "evaluate_every": 300, "curve_episodes": 2},
        "collect": {"episodes": 1}, "evaluate": {"episodes": 2}, "policy": {"train_steps": 500},
        "methods": ["continue"],
    }  # fmt: skip
    config.write_text(yaml.safe_dump({**yaml.safe_load(config.read_text()), **small}))
    done = ultra("run", str(config), "--plain")
    assert done.code == 0, done.err
    assert Path("runs/one/report.html").is_file()
    assert not Path("runs/one/runs").exists()
    assert any(line.startswith(" continue ") for line in done.out.splitlines())
    assert "ultra_agents.pipeline" in sys.modules
