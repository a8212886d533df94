"""Cells hold while the pause file is there, and drivers begin nothing."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.events import Event, RunContinued, RunPaused
from ultra_agents.experiments import Cell
from ultra_agents.experiments.cells import PAUSE_FILE, STOP_FILE, CellOutcome, ControlFiles
from ultra_agents.experiments.drive import drive


def holding(signs: ControlFiles, heard: list[Event]) -> threading.Thread:
    """Asks in a thread, which waits by now."""
    thread = threading.Thread(target=lambda: results.append(signs()), daemon=True)
    results: list[bool] = []
    thread.results = results  # type: ignore[attr-defined]
    thread.start()
    while not heard and thread.is_alive():
        thread.join(0.01)
    return thread


@pytest.mark.parametrize("ends_by", ["continue", "stop"])
def test_a_cell_waits_until_the_file_is_gone_or_it_has_to_stop(tmp_path: Path, ends_by: str) -> None:
    heard: list[Event] = []
    signs = ControlFiles(tmp_path, heard.append, poll_s=0.0)
    assert not signs()
    (tmp_path / PAUSE_FILE).touch()
    thread = holding(signs, heard)
    assert heard == [RunPaused()]
    assert thread.is_alive()
    if ends_by == "stop":
        (tmp_path / STOP_FILE).touch()
    else:
        (tmp_path / PAUSE_FILE).unlink()
    thread.join(20)
    assert not thread.is_alive()
    assert heard == [RunPaused(), RunContinued()]
    assert thread.results == [ends_by == "stop"]  # type: ignore[attr-defined]


def test_a_pause_whose_driver_is_gone_ends_by_itself_and_stays_ended(tmp_path: Path) -> None:
    heard: list[Event] = []
    (tmp_path / PAUSE_FILE).touch()
    signs = ControlFiles(tmp_path, heard.append, poll_s=0.0, stale_s=0.05)
    assert not signs()
    assert heard == [RunPaused(), RunContinued()]
    assert not signs()
    assert len(heard) == 2, "the same old file holds nobody twice"
    os.utime(tmp_path / PAUSE_FILE, (1, 1))
    assert not signs()
    assert len(heard) == 4, "one that is touched again counts again"


class Engine:
    """Ends the first cell while the user pauses, and begins the second only when it may."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def run(
        self, cells: Sequence[Cell], root: Path, done: frozenset[str], tick: Callable[[frozenset[str]], bool]
    ) -> Iterator[CellOutcome]:
        running: frozenset[str] = frozenset()
        for cell in cells:
            held = tick(running)
            assert not held, "with nothing at work, being asked ends with the pause"
            self.begun.append(cell.name)
            running = frozenset([cell.name])
            assert tick(running) == (len(self.begun) == 1), "while a cell is at work nothing else is begun"
            yield CellOutcome(cell.name, "failed", 0.0, "made up")
            running = frozenset()


def test_a_paused_driver_with_nothing_at_work_waits_instead_of_ending(small: Any) -> None:
    _, cells, root = small(seeds=1, methods=["continue", "random"])
    engine, asked = Engine(), 0

    def paused() -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:
            assert (root / PAUSE_FILE).exists(), "cells are told"
        return 2 <= asked <= 4

    drive(cells, root, engine, lambda: False, lambda states: None, paused)
    assert len(engine.begun) == 2
    assert asked == 6
    assert not (root / PAUSE_FILE).exists()
