"""Runs the unfinished cells of a comparison, shows their progress, and writes its report."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ultra_agents.config import colours_of
from ultra_agents.errors import RunError
from ultra_agents.events import StageProgress, StageStarted, TrainingProgress, from_json
from ultra_agents.experiments import tables
from ultra_agents.experiments.answers import Answer, answers, gaps, mixed, sentences
from ultra_agents.experiments.cells import PAUSE_FILE, STOP_FILE, CellOutcome, CellResult, cells_folder, result_of
from ultra_agents.experiments.engines import POLL_S, Engine
from ultra_agents.experiments.page import render
from ultra_agents.experiments.spec import Cell, Experiment
from ultra_agents.experiments.summary import summarise
from ultra_agents.files import write_whole
from ultra_agents.runs.files import plain
from ultra_agents.text import json_row
from ultra_agents.ui.compare.cell_table import CellStatus

_TAIL_BYTES = 4096
"""Read from the end of an event log."""


def finished_cells(cells: Sequence[Cell], root: Path) -> dict[str, CellResult]:
    """Results of the finished ones of `cells`, by name.

    Raises:
        RunError: A cell's folder is of another configuration, or damaged.
    """
    return {cell.name: found for cell in cells if (found := result_of(cell, root)) is not None}


def drive(
    cells: Sequence[Cell],
    root: Path,
    engine: Engine | None,
    stop: Callable[[], bool],
    show: Callable[[Sequence[CellStatus]], None],
    paused: Callable[[], bool] = lambda: False,
    finished: Mapping[str, CellResult] | None = None,
) -> tuple[dict[str, CellResult], dict[str, CellOutcome]]:
    """Run every cell that is not finished.

    Args:
        cells: What is to be finished: all cells of a comparison, or some (`choice.by_themselves`).
        root: Its folder.
        engine: Where they run; None runs nothing.
        stop: True once the user requested a stop; running cells stop cleanly.
        show: Called with the status of all cells, a few times a second.
        paused: True while the user pauses the cells; running ones wait at their next safe point.
        finished: What `finished_cells` found in the folder, of other cells too; None: it is read here.

    Returns:
        Results of the finished cells, those of `finished` among them, and how the others ended, both by name.

    Raises:
        RunError: A cell's folder is of another configuration, or damaged.
    """
    by_name = {cell.name: cell for cell in cells}
    results = finished_cells(cells, root) if finished is None else dict(finished)
    outcomes: dict[str, CellOutcome] = {}
    colours = colours_of(dict.fromkeys(cell.method for cell in cells))
    stop_file, pause_file = root / STOP_FILE, root / PAUSE_FILE
    if engine is None:
        return results, outcomes
    try:
        root.mkdir(parents=True, exist_ok=True)
        stop_file.unlink(missing_ok=True)
        pause_file.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(
            f"the folder of the comparison {root} cannot be written",
            found=str(error),
            expected="a place that can be written",
            hint="make room, or choose another place with --runs DIR",
        ) from error

    def states(running: frozenset[str]) -> list[CellStatus]:
        return [_state(cell, colours[cell.method], root, running, results, outcomes) for cell in cells]

    def tick(running: frozenset[str]) -> bool:
        while True:
            wanted, held = stop(), paused()
            if wanted and not stop_file.exists():
                stop_file.touch()
            if held and not wanted:
                pause_file.touch()  # touched every time: cells ignore a pause file that becomes stale
            else:
                pause_file.unlink(missing_ok=True)
            show(states(running))
            if wanted or running or not held:
                return wanted or held
            time.sleep(POLL_S)  # keep the engine from returning: it ends when nothing runs and nothing may begin

    try:
        missing = [cell for cell in cells if cell.name not in results]
        for outcome in engine.run(missing, root, frozenset(results), tick):
            found = result_of(by_name[outcome.cell], root) if outcome.status == "finished" else None
            if found is not None:
                results[outcome.cell] = found
            else:
                outcomes[outcome.cell] = outcome
        show(states(frozenset()))
    finally:
        stop_file.unlink(missing_ok=True)
        pause_file.unlink(missing_ok=True)
    return results, outcomes


def write_report(
    experiment: Experiment,
    cells: Sequence[Cell],
    results: Mapping[str, CellResult],
    outcomes: Mapping[str, CellOutcome],
    references: Mapping[str, float | None],
    root: Path,
    command: str,
) -> tuple[list[str], list[Answer]]:
    """Write `report.json`, `report.html`, `tables.md`, `tables.tex` and `cells.csv`.

    Returns:
        The sentence that answers the question for each task, one about cells of the file that are not finished, one
        about cells that were made with something else than those they are held against; and the answer for each
        method of each task.

    Raises:
        RunError: They cannot be written.
    """
    summary = summarise(experiment, cells, results, outcomes, references)
    found = answers(summary)
    made = [tables.side_by_side(summary, found), tables.performance(summary), tables.overall(summary)]
    made += [tables.ablation(summary), tables.advice(summary), tables.rules(summary), tables.refining(summary)]
    try:
        root.mkdir(parents=True, exist_ok=True)
        write_whole(root / "report.json", json.dumps(plain(summary), indent=1, ensure_ascii=False) + "\n")
        write_whole(root / "report.html", render(summary, command))
        write_whole(root / "tables.md", "\n".join(tables.markdown(table) for table in made if table is not None))
        write_whole(root / "tables.tex", "\n".join(tables.latex(table) for table in made if table is not None))
        write_whole(root / "cells.csv", tables.comma_separated(tables.cells(summary)))
    except OSError as error:
        raise RunError(f"the report of {root} cannot be written", found=str(error)) from error
    return [*sentences(summary), *filter(None, (gaps(summary), mixed(summary)))], found


def _state(
    cell: Cell,
    colour: int,
    root: Path,
    running: frozenset[str],
    results: Mapping[str, CellResult],
    outcomes: Mapping[str, CellOutcome],
) -> CellStatus:
    def shown(status: str, note: str) -> CellStatus:
        return CellStatus(cell.task, cell.method, cell.seed, status, note, colour)

    if cell.name in results:
        ended = results[cell.name].method.acting.values
        return replace(shown("finished", f"{sum(ended) / len(ended):.4g}"), seconds=results[cell.name].seconds)
    if cell.name in outcomes:
        return shown(outcomes[cell.name].status, outcomes[cell.name].error)
    if cell.name in running:
        return shown("running", _progress(cells_folder(root) / cell.name))
    return shown("waiting", "")


def _progress(folder: Path) -> str:
    """The current stage of a cell, or its training progress, from the end of its event log."""
    try:
        with (folder / "events.jsonl").open("rb") as file:
            file.seek(max(file.seek(0, 2) - _TAIL_BYTES, 0))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        event = from_json(json_row(line) or {})
        if isinstance(event, TrainingProgress) and event.total:
            return f"{event.steps / event.total:.0%}"
        if isinstance(event, StageStarted):
            return event.stage
        if isinstance(event, StageProgress):
            return f"{event.stage} {event.done}/{event.total}"
    return ""
