"""One cell of a comparison: a run folder, resumed where it stopped, that reuses results of other cells."""

from __future__ import annotations

import threading
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ultra_agents.errors import BudgetReached, Interrupted, UltraError
from ultra_agents.events import Emit, Event, RunContinued, RunFinished, RunPaused, from_json, ignore
from ultra_agents.experiments.sharing import found_again, share_advice, share_episodes, take_up
from ultra_agents.experiments.spec import Cell
from ultra_agents.pipeline import run_pipeline
from ultra_agents.records import MethodResult
from ultra_agents.runs import RunFolder
from ultra_agents.runs.files import read_versions, round_copies
from ultra_agents.text import json_row, parsed_json
from ultra_agents.ui.training_log import TrainingLog

STOP_FILE = ".stop"
"""While this file is in the comparison's folder every cell stops cleanly, wherever it runs."""
PAUSE_FILE = ".pause"
"""While this file is there and is touched regularly, cells wait at their next safe point."""
_POLL_S, _STALE_S = 0.5, 60.0
"""How often cells check for these files, and when a pause file that is not touched counts as left behind."""
_ANOTHER = "give the experiment another name"


@dataclass(frozen=True)
class CellOutcome:
    """How a cell ended.

    Attributes:
        cell: Its name.
        status: `finished`, `stopped` (resumable), or `failed`.
        seconds: Wall time of this attempt.
        error: What went wrong, in one line.
    """

    cell: str
    status: str
    seconds: float
    error: str = ""


def cells_folder(root: Path) -> Path:
    """Where a comparison keeps its run folders."""
    return root / "cells"


def run_cell(cell: Cell, root: Path) -> CellOutcome:
    """Run or resume a cell; errors inside it are returned, not raised.

    Args:
        cell: The cell; those it waits for are finished.
        root: Folder of the comparison.
    """
    began = time.monotonic()
    try:
        _run(cell, root)
    except Interrupted:
        return CellOutcome(cell.name, "stopped", time.monotonic() - began)
    except BudgetReached as error:
        return CellOutcome(cell.name, "failed", time.monotonic() - began, f"{error.problem}: {error.found}")
    except UltraError as error:
        found = f": {error.found}" if error.found else ""
        return CellOutcome(cell.name, "failed", time.monotonic() - began, f"{error.problem}{found}")
    except Exception as error:
        crash = cells_folder(root) / cell.name / "crash.txt"
        crash.write_text(traceback.format_exc(), encoding="utf-8")
        return CellOutcome(cell.name, "failed", time.monotonic() - began, f"{type(error).__name__}: {error} ({crash})")
    return CellOutcome(cell.name, "finished", time.monotonic() - began)


def _run(cell: Cell, root: Path) -> None:
    folder = take_up(cells_folder(root), cell.config, _ANOTHER)
    training = TrainingLog(folder.metrics, folder.tensorboard, trackers=cell.config.trackers)

    def emit(event: Event) -> None:
        folder.append_event({**event.to_json(), "time": round(time.time(), 3)})
        training.handle(event)

    try:
        with folder.lock():
            if folder.stage_done("report") is not None:
                return
            if cell.after is not None:
                share_episodes(RunFolder.open(cells_folder(root) / cell.after), folder)
            if cell.advice_of is not None:
                share_advice(RunFolder.open(cells_folder(root) / cell.advice_of), folder)
            run_pipeline(folder, folder.config, emit, ControlFiles(root, emit))
    finally:
        folder.close()
        training.close()


class ControlFiles:
    """The `stop` callable of a cell: true once the stop file exists; blocks while the pause file does.

    Args:
        root: Folder of the comparison.
        emit: Receives `RunPaused` and `RunContinued`.
        poll_s: Seconds between two checks of the files.
        stale_s: Seconds after which an untouched pause file is ignored, because its driver is gone.
    """

    def __init__(self, root: Path, emit: Emit = ignore, poll_s: float = _POLL_S, stale_s: float = _STALE_S) -> None:
        self._stop, self._pause, self._emit = root / STOP_FILE, root / PAUSE_FILE, emit
        self._poll_s, self._stale_s, self._next, self._found = poll_s, stale_s, 0.0, False
        self._ignored = 0  # modification time of a pause file that became stale
        self._waiting = threading.Lock()

    def __call__(self) -> bool:
        """Whether to stop."""
        if not self._found and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._poll_s
            self._found = self._stop.exists()
            if not self._found and self._touched() is not None:
                with self._waiting:  # other threads wait here
                    self._wait()
        return self._found

    def _touched(self) -> int | None:
        """When the pause file was touched last; None where there is none, or a stale one."""
        try:
            when = self._pause.stat().st_mtime_ns
        except OSError:
            return None
        return None if when == self._ignored else when

    def _wait(self) -> None:
        touched, since, told = self._touched(), time.monotonic(), False
        while touched is not None and not self._found:
            if not told:
                self._emit(RunPaused())
                told = True
            time.sleep(min(self._poll_s, 0.1))
            self._found, now = self._stop.exists(), self._touched()
            if now != touched:
                touched, since = now, time.monotonic()
            elif time.monotonic() - since > self._stale_s:
                self._ignored, touched = touched, None
        if told:
            self._emit(RunContinued())


@dataclass(frozen=True)
class CellResult:
    """The results of a finished cell.

    Attributes:
        cell: The cell.
        method: Returns before and after, costs and learning curve.
        measures: The measures of its advice; None without advice.
        refining: What it refined with (`events.RefiningSettled`); None where the run does not say.
        seconds: Wall time of all its parts that ended by themselves; None where its log does not say.
        made_with: Versions and processor (`versions.json`).
        moves_acted: A table of accepted moves acted in training, or a copy that learnt them was its start; None where
            no table was decided about.
    """

    cell: Cell
    method: MethodResult
    measures: dict[str, Any] | None
    refining: dict[str, Any] | None = None
    seconds: float | None = None
    made_with: dict[str, str] = field(default_factory=dict)
    moves_acted: bool | None = None


def result_of(cell: Cell, root: Path) -> CellResult | None:
    """The results of a cell; None unless it is finished.

    Raises:
        RunError: Its folder is damaged, or of another configuration.
    """
    if not (cells_folder(root) / cell.name).exists():
        return None
    folder = found_again(cells_folder(root) / cell.name, cell.config, _ANOTHER)
    evaluated = folder.stage_done("evaluate")
    if evaluated is None or folder.stage_done("report") is None:
        return None
    measured = folder.stage_done("measure")
    with folder.reading("evaluate"):
        (method,) = TypeAdapter(list[MethodResult]).validate_python(evaluated["value"])
        measures = None if measured is None else measured["value"]
        made = read_versions(folder.versions_path)
        return CellResult(cell, method, measures, _refining(folder), _seconds(folder), made, _moves_acted(folder))


def _moves_acted(folder: RunFolder) -> bool | None:
    """Whether a run's table acted, or a copy of its first or a later round of imitation was begun from."""
    if (table := folder.stage_done("table")) is None:
        return None
    rounds = [folder.stage_done(stage) for stage in ("imitate", *round_copies(folder.done))]
    return bool(table["value"]["acts"]) or any(one["value"]["copy"] for one in rounds if one is not None)


def _refining(folder: RunFolder) -> dict[str, Any] | None:
    """What a finished run's report says it refined with; None for one of a version that did not say."""
    try:
        found = parsed_json(folder.report_json.read_bytes()).get("refining")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, dict) else None


def _seconds(folder: RunFolder) -> float | None:
    """Wall time of a run: of each of its parts that its log saw the end of, together."""
    try:
        with (folder.path / "events.jsonl").open("rb") as file:
            rows = [json_row(line.decode("utf-8", "replace")) for line in file if b"RunFinished" in line]
    except OSError:
        return None
    ends = [one.seconds for row in rows if isinstance(one := from_json(row or {}), RunFinished)]
    return sum(ends) if ends else None
