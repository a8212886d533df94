"""Runs cells in processes of this machine. `ray_engine` does the same on a cluster, with the same results."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Protocol

from ultra_agents.contracts.vector import share_cores
from ultra_agents.experiments.cells import CellOutcome, run_cell
from ultra_agents.experiments.spec import Cell
from ultra_agents.files import no_link
from ultra_agents.worker_signals import leave_to_parent

POLL_S = 0.25
GRACE_S = 30.0
"""Seconds after SIGTERM in which a worker must have stopped its cell; schedulers kill after about as long."""


class Engine(Protocol):
    """Runs cells, retrying those whose worker died, and yields their outcomes as they end."""

    def run(
        self, cells: Sequence[Cell], root: Path, done: frozenset[str], tick: Callable[[frozenset[str]], bool]
    ) -> Iterator[CellOutcome]:
        """Run `cells` whose predecessors are in `done` or among them.

        Args:
            cells: The cells to run.
            root: Folder of the comparison.
            done: Names of cells that are finished already.
            tick: Called a few times a second with the names of the running cells; no cell begins while it is true.

        Yields:
            One outcome per cell that was begun, and a failure for each cell whose predecessor failed.
        """
        ...


class CellQueue:
    """Cells that wait for others to end."""

    def __init__(self, cells: Sequence[Cell], done: frozenset[str]) -> None:
        self._waiting = list(cells)
        self._done = set(done)
        self._lost: set[str] = set()

    def ready(self, room: int | None = None) -> list[Cell]:
        """Cells to begin now, at most `room` of them, in order."""
        chosen = [cell for cell in self._waiting if all(name in self._done for name in cell.waits_for)]
        chosen = chosen if room is None else chosen[: max(room, 0)]
        self._waiting = [cell for cell in self._waiting if cell not in chosen]
        return chosen

    def ended(self, outcome: CellOutcome) -> None:
        """Record an outcome; cells that wait for a stopped cell go on waiting."""
        if outcome.status != "stopped":
            (self._done if outcome.status == "finished" else self._lost).add(outcome.cell)

    def blocked(self) -> list[CellOutcome]:
        """Remove the cells that wait for a failed one from the queue; a failure for each."""
        found: list[CellOutcome] = []
        while lost := [cell for cell in self._waiting if self._lost.intersection(cell.waits_for)]:
            for cell in lost:
                self._waiting.remove(cell)
                self._lost.add(cell.name)
                whose = ", ".join(sorted(self._lost.intersection(cell.waits_for)))
                found.append(CellOutcome(cell.name, "failed", 0.0, f"not begun: it needs {whose}, which failed"))
        return found

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._waiting


class LocalEngine:
    """Worker processes of this machine, one compute thread each.

    Args:
        workers: Cells run at once.
        attempts: Times a cell is begun before its worker's death (killed, out of memory) counts as its failure.
        work: Runs a cell; replaced in tests.
        output: File for the workers' standard output and error while a full screen is shown; None: inherited.
    """

    def __init__(
        self,
        workers: int,
        attempts: int = 3,
        work: Callable[[Cell, Path], CellOutcome] = run_cell,
        output: Path | None = None,
    ) -> None:
        self.workers, self.attempts, self._work, self._output = workers, attempts, work, output

    def run(
        self, cells: Sequence[Cell], root: Path, done: frozenset[str], tick: Callable[[frozenset[str]], bool]
    ) -> Iterator[CellOutcome]:
        """See `Engine.run`."""
        queue, tries = CellQueue(cells, done), dict.fromkeys((cell.name for cell in cells), 0)
        running: dict[Future[CellOutcome], Cell] = {}
        again: list[Cell] = []
        pool, broken = self._pool(), False
        try:
            while True:
                stop = tick(frozenset(cell.name for cell in running.values()))
                if not stop:
                    room = self.workers - len(running)
                    begin, again = again[:room], again[room:]
                    for cell in [*begin, *queue.ready(room - len(begin))]:
                        try:
                            running[pool.submit(self._work, cell, root)] = cell
                            tries[cell.name] += 1
                        except BrokenProcessPool:  # a worker died since the last result
                            broken = True
                            again.append(cell)
                if not (running or broken):
                    return
                ended, _ = wait(running, POLL_S, FIRST_COMPLETED)
                for future in ended:
                    cell = running.pop(future)
                    try:
                        outcome = future.result()
                    except BrokenProcessPool:
                        broken = True
                        if tries[cell.name] < self.attempts:
                            again.append(cell)
                            continue
                        outcome = CellOutcome(cell.name, "failed", 0.0, f"its worker died {tries[cell.name]} times")
                    queue.ended(outcome)
                    yield outcome
                    yield from queue.blocked()
                if broken:  # one dead worker breaks the whole pool; the other cells resume from their folders
                    again += [cell for cell in running.values() if tries[cell.name] < self.attempts]
                    for cell in running.values():
                        if tries[cell.name] >= self.attempts:
                            outcome = CellOutcome(
                                cell.name, "failed", 0.0, f"its worker died {tries[cell.name]} times"
                            )
                            queue.ended(outcome)
                            yield outcome
                            yield from queue.blocked()
                    running.clear()
                    pool.shutdown(wait=True, cancel_futures=True)
                    pool, broken = self._pool(), False
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _pool(self) -> ProcessPoolExecutor:
        os.environ.setdefault(
            "OMP_NUM_THREADS", "1"
        )  # inherited by the workers: small networks are slower with more threads
        return ProcessPoolExecutor(
            self.workers, multiprocessing.get_context("spawn"), _init_worker, (self._output, self.workers)
        )


def _init_worker(output: Path | None, processes: int) -> None:
    """In a worker: Ctrl-C and SIGTERM are the driver's, which asks for a clean stop through the stop file."""
    leave_to_parent(GRACE_S)
    share_cores(processes)
    if output is not None:
        with open(output, "ab", opener=no_link) as file:
            for stream in (1, 2):
                os.dup2(file.fileno(), stream)
