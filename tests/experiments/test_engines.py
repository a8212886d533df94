"""Engines: order, failures, from a comparison to its report; the same numbers whoever runs a cell."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ultra_agents.experiments.cells import CellOutcome, cells_folder, result_of, run_cell
from ultra_agents.experiments.drive import drive, write_report
from ultra_agents.experiments.engines import CellQueue, LocalEngine
from ultra_agents.experiments.ray_engine import RayEngine
from ultra_agents.experiments.spec import references
from ultra_agents.runs import RunFolder, read_lines
from ultra_agents.runs.files import SCORED


def never(*_: Any) -> bool:
    return False


def scores(cells: Any, root: Path) -> dict[str, tuple[float, ...]]:
    found = {cell.name: result_of(cell, root) for cell in cells}
    return {name: one.method.last.values for name, one in found.items() if one is not None}


def test_a_cell_begins_when_those_it_needs_are_finished(small: Any) -> None:
    _, cells, _ = small(seeds=1, methods=["continue", "ultra-ra", "ultra-a"])
    queue = CellQueue(cells, frozenset())
    (first,) = queue.ready(8)
    assert first.method == "continue"
    assert queue.ready(8) == []
    queue.ended(CellOutcome(first.name, "finished", 1.0))
    (second,) = queue.ready(8)
    assert second.method == "ultra-ra"
    queue.ended(CellOutcome(second.name, "failed", 1.0, "out of luck"))
    (lost,) = queue.blocked()
    assert lost.cell == "corridor-ultra-a-0"
    assert "corridor-ultra-ra-0" in lost.error
    assert queue.empty


def test_a_cell_that_was_stopped_fails_nobody(small: Any) -> None:
    _, cells, _ = small(seeds=1, methods=["continue", "ultra-ra"])
    queue = CellQueue(cells, frozenset())
    (first,) = queue.ready(8)
    queue.ended(CellOutcome(first.name, "stopped", 1.0))
    assert (queue.blocked(), queue.ready(8), queue.empty) == ([], [], False)


def test_a_comparison_from_start_to_report_and_read_back(small: Any) -> None:
    experiment, cells, root = small(methods=["none", "continue", "ultra-ra", "ultra-a"])
    shown: list[Any] = []
    results, outcomes = drive(cells, root, LocalEngine(2), lambda: False, shown.append)
    assert len(results) == 8, outcomes
    assert not outcomes
    assert {state.status for state in shown[-1]} == {"finished"}
    for cell in cells:  # the budget is the same for all, everything charged
        spent = sum(results[cell.name].method.env_steps.values())
        assert spent == 0 if cell.method == "none" else abs(spent - 1024) <= 8, (cell.name, spent)
    for cell in cells:  # where learning curves start is played by the first cell of a seed
        first = cells_folder(root) / f"corridor-none-{cell.seed}" / SCORED
        known, scored = (
            json.loads(first.read_bytes()),
            json.loads((cells_folder(root) / cell.name / SCORED).read_bytes()),
        )
        assert len(known) == 1
        assert known.items() <= scored.items()
    copied = (cells_folder(root) / "corridor-ultra-a-0" / "advice.jsonl").read_bytes()
    assert copied == (cells_folder(root) / "corridor-ultra-ra-0" / "advice.jsonl").read_bytes()
    first = read_lines(cells_folder(root) / "corridor-none-0" / "events.jsonl")
    later = read_lines(cells_folder(root) / "corridor-continue-0" / "events.jsonl")
    (before,) = (one["steps"] for one in first if one["event"] == "StepsSpent" and one["purpose"] == "evaluate")
    played = [one["steps"] for one in later if one["event"] == "StepsSpent" and one["purpose"] == "evaluate"]
    last, best = results["corridor-continue-0"].method.last, results["corridor-continue-0"].method.best
    assert before == sum(results["corridor-continue-0"].method.before.lengths)
    assert played == [sum(one.lengths) for one in dict.fromkeys((last, best))], "the starting policy is scored once"
    (text,), answers = write_report(
        experiment, cells, results, outcomes, references(experiment), root, "ultra compare x.yaml"
    )
    assert text.startswith("corridor, against continue (from ")
    assert [one.method for one in answers] == ["ultra-ra", "ultra-a"]
    page = (root / "report.html").read_text()
    for cell in cells:
        assert f'href="cells/{cell.name}/report.html"' in page
        assert (cells_folder(root) / cell.name / "report.html").is_file()
    assert "ultra compare x.yaml" in page
    times = {path: path.stat().st_mtime_ns for path in cells_folder(root).rglob("*") if path.is_file()}
    again, _ = drive(cells, root, LocalEngine(2), lambda: False, lambda _: None)
    assert scores(cells, root) == {name: one.method.last.values for name, one in again.items()}
    assert times == {path: path.stat().st_mtime_ns for path in cells_folder(root).rglob("*") if path.is_file()}


def test_a_failed_cell_does_not_stop_the_others(small: Any) -> None:
    broken = {"default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.nowhere:good"}}}
    bad = {"name": "mute", "method": "ultra-ra", "settings": {"llms": broken}}
    experiment, cells, root = small(seeds=1, methods=["continue", bad, "random"])
    results, outcomes = drive(cells, root, LocalEngine(1), lambda: False, lambda _: None)
    assert set(results) == {"corridor-continue-0", "corridor-random-0"}
    assert outcomes["corridor-mute-0"].status == "failed"
    assert "nowhere" in outcomes["corridor-mute-0"].error
    write_report(experiment, cells, results, outcomes, references(experiment), root, "again")
    assert "corridor-mute-0 (failed" in (root / "report.html").read_text()


def test_ray_gives_the_same_numbers_as_this_machine(small: Any) -> None:
    _, cells, root = small(seeds=1)
    results, outcomes = drive(cells, root, RayEngine(None), lambda: False, lambda _: None)
    assert not outcomes
    assert len(results) == 2
    _, again, other = small(seeds=1, name="here")
    for cell in again:
        assert run_cell(cell, other).status == "finished"
    assert scores(cells, root) == scores(again, other)


def test_a_folder_of_another_configuration_is_not_overwritten(small: Any) -> None:
    _, (cell,), root = small(seeds=1, methods=["continue"])
    RunFolder.create(cells_folder(root), cell.config)
    _, (changed,), _ = small(seeds=1, methods=["continue"], common={"refine": {"steps": 2048, "workers": 0}})
    outcome = run_cell(changed, root)
    assert outcome.status == "failed"
    assert "another configuration" in outcome.error


@dataclass(frozen=True)
class Named:
    """As much of a cell as an engine looks at."""

    name: str
    waits_for: tuple[str, ...] = ()


def dies_if_told(cell: Any, root: Path) -> CellOutcome:
    if cell.name == "dies":
        while not (root / "now").exists():
            time.sleep(0.01)
        os._exit(9)
    return CellOutcome(cell.name, "finished", 0.0)


def test_a_worker_that_dies_while_a_result_is_handled_costs_its_own_cell_only(tmp_path: Path) -> None:
    cells: Any = [Named("first"), Named("dies"), Named("third"), Named("fourth"), Named("needs it", ("dies",))]
    seen = {}
    for outcome in LocalEngine(2, attempts=2, work=dies_if_told).run(cells, tmp_path, frozenset(), never):
        seen[outcome.cell] = outcome.status
        (tmp_path / "now").touch()
        time.sleep(1.0)  # what a driver does with a result: the other worker is dead when the next cell is begun
    assert seen == {
        "first": "finished", "third": "finished", "fourth": "finished", "dies": "failed", "needs it": "failed",
    }  # fmt: skip
