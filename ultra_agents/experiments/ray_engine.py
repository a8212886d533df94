"""Cells on a Ray cluster (extra `ray`): the same function as on one machine, so the same numbers for the same seeds.

The comparison's folder must be on storage that every node mounts at the same path; each cell checks for a token file
there first. A cell whose worker or node dies is retried by Ray and resumes from its last checkpoint.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ultra_agents.cluster import connected
from ultra_agents.errors import RunError
from ultra_agents.experiments.cells import CellOutcome, run_cell
from ultra_agents.experiments.engines import POLL_S, CellQueue
from ultra_agents.experiments.spec import Cell


class RayEngine:
    """Runs cells as Ray tasks; see `engines.Engine`.

    Args:
        address: Of a running cluster (`auto`, `ray://head:10001`, `head:6379`); None starts one on this machine.
        cpus: Cores a cell takes, whole or in part.
        attempts: Times a cell is begun before its worker's death counts as its failure.
        work: Runs a cell; replaced in tests.
    """

    def __init__(
        self,
        address: str | None,
        cpus: float = 1.0,
        attempts: int = 3,
        work: Callable[[Cell, Path], CellOutcome] = run_cell,
    ) -> None:
        self.address, self.cpus, self.attempts, self._work = address, cpus, attempts, work

    def run(
        self, cells: Sequence[Cell], root: Path, done: frozenset[str], tick: Callable[[frozenset[str]], bool]
    ) -> Iterator[CellOutcome]:
        """See `Engine.run`."""
        root = root.absolute()
        token = root / f".shared-{secrets.token_hex(6)}"
        token.touch()
        try:
            with connected(self.address) as ray:
                begin = ray.remote(num_cpus=self.cpus, max_retries=self.attempts - 1)(_run_on_node)
                yield from self._run(ray, begin, CellQueue(cells, done), root, token, tick)
        finally:
            token.unlink(missing_ok=True)

    def _run(
        self, ray: Any, begin: Any, queue: CellQueue, root: Path, token: Path, tick: Callable[[frozenset[str]], bool]
    ) -> Iterator[CellOutcome]:
        running: dict[Any, Cell] = {}
        while True:
            stop = tick(frozenset(cell.name for cell in running.values()))
            if not stop:
                for cell in queue.ready():
                    running[begin.remote(self._work, cell, root, token)] = cell
            if not running:
                return
            ended, _ = ray.wait(list(running), num_returns=1, timeout=POLL_S)
            for reference in ended:
                cell = running.pop(reference)
                try:
                    outcome: CellOutcome = ray.get(reference)
                except ray.exceptions.RayTaskError as error:
                    if isinstance(error.cause, RunError):
                        raise error.cause from None
                    outcome = CellOutcome(cell.name, "failed", 0.0, f"{type(error.cause).__name__}: {error.cause}")
                except ray.exceptions.RayError as error:
                    why = " ".join(str(error).split())[:200]
                    outcome = CellOutcome(cell.name, "failed", 0.0, f"its worker died {self.attempts} times: {why}")
                queue.ended(outcome)
                yield outcome
                yield from queue.blocked()


def _run_on_node(work: Callable[[Cell, Path], CellOutcome], cell: Cell, root: Path, token: Path) -> CellOutcome:
    """Run a cell on the node that Ray chose."""
    if not token.exists():
        import socket

        raise RunError(
            f"the node {socket.gethostname()} does not see {root}",
            expected="a folder on storage that all nodes of the cluster share, at the same path",
            hint="give another with --runs DIR",
        )
    return work(cell, root)
