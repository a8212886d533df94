"""`ultra compare`: from an experiment file to a report, again, and bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents.events import CellChanged, RunFinished, Warned, from_json
from ultra_agents.experiments.engines import LocalEngine

TINY: dict[str, Any] = {
    "name": "tiny",
    "seeds": 1,
    "methods": ["none", "continue"],
    "engine": {"workers": 1},
    "common": {
        "collect": {"episodes": 1},
        "refine": {"steps": 512, "num_envs": 2, "workers": 0, "evaluate_every": 256, "curve_episodes": 2},
        "evaluate": {"episodes": 2},
    },
    "tasks": {
        "corridor": {"environment": {"name": "corridor", "options": {"length": 9}}, "policy": {"train_steps": 256}}
    },
}


@pytest.fixture
def tiny(config: Path) -> Callable[..., str]:
    """Writes a small experiment, with changes."""

    def write(**changes: Any) -> str:
        config.write_text(yaml.safe_dump({**TINY, **changes}, sort_keys=False))
        return str(config)

    return write


def test_from_file_to_report_and_again(ultra: Any, tiny: Any) -> None:
    done = ultra("compare", tiny(), "--plain")
    assert done.code == 0, done.err
    assert "running   corridor none seed 0" in done.out
    assert "finished  corridor continue seed 0" in done.out
    report = json.loads(Path("runs/tiny/report.json").read_text())
    assert [cell["status"] for cell in report["cells"]] == ["finished", "finished"]
    assert "| corridor | none | 1 |" in Path("runs/tiny/tables.md").read_text()
    again = ultra("compare", tiny(), "--plain")
    assert again.code == 0
    assert "running" not in again.out
    assert "ultra compare" in Path("runs/tiny/report.html").read_text()


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells run in a thread: a worker loads everything anew, which takes longer than the cells."""
    monkeypatch.setattr(LocalEngine, "_pool", lambda self: ThreadPoolExecutor(self.workers))


@pytest.mark.usefixtures("in_this_process")
def test_json_is_json_and_nothing_else(ultra: Any, tiny: Any) -> None:
    done = ultra("compare", tiny(), "--json")
    assert (done.code, done.err) == (0, "")
    events = [from_json(json.loads(line)) for line in done.out.splitlines()]
    *cells, end = events
    assert [(one.method, one.status) for one in cells if isinstance(one, CellChanged)] == [
        ("none", "running"), ("none", "finished"), ("continue", "running"), ("continue", "finished"),
    ]  # fmt: skip
    assert len(cells) == 4
    assert isinstance(end, RunFinished)
    assert (end.status, end.report) == ("finished", str(Path("runs/tiny/report.html")))
    assert ultra("compare", tiny(), "--json", "--plain").code == 2


def test_reporting_only_runs_nothing(ultra: Any, tiny: Any) -> None:
    done = ultra("compare", tiny(), "--plain", "--report")
    assert done.code == 0, done.err
    assert not Path("runs/tiny/cells").exists()
    assert "2 of 2 cells are not in these numbers" in Path("runs/tiny/report.html").read_text()


@pytest.mark.usefixtures("in_this_process")
def test_a_comparison_in_pieces(ultra: Any, tiny: Any) -> None:
    file = tiny(seeds=2)
    first = ultra("compare", file, "--plain", "--method", "none", "--seed", "1")
    assert first.code == 0, first.err
    assert "1 cell to do (corridor 1), nothing of corridor (1 cell) being timed yet" in first.out
    assert "not finished, and needed to hold these against: corridor-continue-1" in first.out
    assert first.out.count("running") == 1
    assert "3 of 4 cells are not in these numbers: corridor 3 of 4." in first.out
    second = ultra("compare", file, "--plain", "--task", "corridor", "--seed", "1")
    assert second.code == 0, second.err
    assert "1 cell to do (corridor 1), about 5 s" in second.out
    assert "needed to hold" not in second.out
    report = json.loads(Path("runs/tiny/report.json").read_text())
    assert {cell["name"]: cell["status"] for cell in report["cells"]} == {
        "corridor-none-0": "missing", "corridor-continue-0": "missing",
        "corridor-none-1": "finished", "corridor-continue-1": "finished",
    }  # fmt: skip
    assert "2 of 4 cells are not in these numbers: corridor 2 of 4." in Path("runs/tiny/report.html").read_text()


@pytest.mark.usefixtures("in_this_process")
def test_json_names_the_missing_control_as_a_warning(ultra: Any, tiny: Any) -> None:
    done = ultra("compare", tiny(), "--json", "--method", "none")
    assert (done.code, done.err) == (0, "")
    (warned,) = [one for line in done.out.splitlines() if isinstance(one := from_json(json.loads(line)), Warned)]
    assert warned.text == "not finished, and needed to hold these against: corridor-continue-0"


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        (
            ("--task", "coridor"),
            "the experiment tiny has no task 'coridor' expected: some of: corridor do: did you mean",
        ),
        (("--method", "rice"), "has no method 'rice' expected: some of: none, continue"),
        (("--seed", "4"), "has no seed '4' expected: some of: 0"),
        (("--report", "--seed", "0"), "--report runs nothing, so there is nothing to choose"),
    ],
)
def test_a_choice_the_file_does_not_have_stops_at_once(ultra: Any, tiny: Any, chosen: Any, says: str) -> None:
    done = ultra("compare", tiny(), "--plain", *chosen)
    assert done.code == 2
    assert says in " ".join(done.err.split())
    assert not Path("runs/tiny").exists()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"methods": ["rise"]}, "did you mean 'rice'"),
        ({"common": {"refine": {"algorithm": {"name": "pqo"}}}}, "pqo"),
        ({"tasks": {"a": {"environment": {"name": "pogn"}, "policy": {"train_steps": 9}}}}, "did you mean 'pong'"),
    ],
)
def test_bad_input_stops_before_anything_is_spent(ultra: Any, tiny: Any, changes: Any, says: str) -> None:
    done = ultra("compare", tiny(**changes), "--plain")
    assert done.code == 2
    assert says in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not Path("runs/tiny").exists()


@pytest.mark.usefixtures("in_this_process")
def test_a_failed_cell_is_an_error_and_the_others_are_reported(ultra: Any, tiny: Any) -> None:
    script = {"provider": "scripted", "options": {"callable": "ultra_agents.testing.nowhere:good"}}
    mute = {"name": "mute", "method": "ultra-ra", "settings": {"llms": {"default": script}}}
    done = ultra("compare", tiny(methods=["continue", mute]), "--plain")
    assert done.code == 2
    assert not Path("runs/tiny/cells/corridor-mute-0/report.html").exists()


def test_ray_that_is_not_there_is_one_message(ultra: Any, tiny: Any) -> None:
    done = ultra("compare", tiny(), "--plain", "--engine", "ray", "--address", "127.0.0.1:9")
    assert done.code == 2
    assert "no Ray cluster answers at 127.0.0.1:9" in " ".join(done.err.split())
