"""How long a comparison still takes: what its cells took so far, by task and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypeAlias

from ultra_agents.text import clean, counted
from ultra_agents.ui.compare.cell_table import CellStatus
from ultra_agents.ui.text import about

TO_DO = ("waiting", "running", "stopped")
Place: TypeAlias = tuple[str, str, int]
"""Task, method and seed of a cell."""


@dataclass(frozen=True)
class TimeLeft:
    """What is left of a comparison.

    Attributes:
        seconds: Expected, for the cells that are not `untimed`; None where there is no such cell.
        untimed: Cells left by task, of tasks without a finished cell; not in `seconds`.
    """

    seconds: float | None
    untimed: Mapping[str, int]

    def __str__(self) -> str:
        """`about 12 min`; `at least 12 min` where some cells are untimed; empty where nothing is known."""
        if self.seconds is None:
            return ""
        return f"{'at least' if self.untimed else 'about'} {about(self.seconds)}"

    @property
    def told(self) -> str:
        """In full: `about 12 min`; `at least 12 min, nothing of pong (8 cells) being timed yet`; empty."""
        names = [f"{clean(task, 40)} ({counted(left, 'cell')})" for task, left in self.untimed.items()]
        untold = f"nothing of {', '.join(names)} being timed yet" if names else ""
        return ", ".join(part for part in (str(self), untold) if part)


def time_left(
    cells: Sequence[CellStatus], workers: int = 1, running: Mapping[Place, tuple[float, float | None]] | None = None
) -> TimeLeft:
    """The expected wall time of the cells that have not ended.

    A cell takes what finished cells of its task and method took in the mean, else what those of its task took.

    Args:
        cells: All cells, finished ones with `seconds`.
        workers: Cells that run side by side.
        running: Of running cells, the seconds so far and what they expect themselves to take from here, if anything.
    """
    times: dict[tuple[str, str | None], list[float]] = {}
    for cell in cells:
        if cell.status == "finished" and cell.seconds is not None:
            for key in ((cell.task, cell.method), (cell.task, None)):
                times.setdefault(key, []).append(cell.seconds)
    untimed: dict[str, int] = {}
    rests: list[float] = []
    for cell in cells:
        if cell.status not in TO_DO:
            continue
        found = times.get((cell.task, cell.method)) or times.get((cell.task, None))
        passed, rest = (running or {}).get((cell.task, cell.method, cell.seed), (0.0, None))
        if found is not None:
            rests.append(max(fmean(found) - passed, 0.0))
        elif rest is not None:
            rests.append(rest)
        else:
            untimed[cell.task] = untimed.get(cell.task, 0) + 1
    if not rests:
        return TimeLeft(None, untimed)
    return TimeLeft(max(sum(rests) / max(workers, 1), *rests), untimed)
