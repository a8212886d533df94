"""What the screen of a comparison shows, as a value: its cells, which of them is looked at, and what that one does."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import TypeAlias

from ultra_agents.ui.experiment import CellState
from ultra_agents.ui.model import ViewState, half_width

Curve: TypeAlias = tuple[tuple[int, float, float], ...]
"""Steps, mean over seeds, half the width of its 95 % interval (NaN below `ENOUGH` seeds)."""
Line: TypeAlias = Sequence[tuple[int, float]]
"""Steps, in order, and the mean return there."""
EMPTY = ViewState()
FAR = 1_000_000
ENOUGH = 3
"""Seeds from which an interval says something: Student's t of two values is wider than any chart."""
ENDED = ("finished", "failed", "stopped")


@dataclass(frozen=True)
class CellView:
    """One cell.

    Attributes:
        what: Task, method, seed, status and note, as the one who runs the cells tells them.
        state: What its event log says of stages, training and scores; empty until it is read.
    """

    what: CellState
    state: ViewState = EMPTY

    @property
    def fraction(self) -> float:
        """How much of it is finished, in [0, 1]; 1 as well for one that failed."""
        if self.what.status in ("finished", "failed"):
            return 1.0
        return self.state.fraction

    def left(self, now: float) -> float | None:
        """Expected seconds to its end; None while nothing can be said, or nothing is to come."""
        return self.state.left(self.state.moment(now)) if self.what.status == "running" else None


@dataclass(frozen=True)
class Board:
    """All that the screen can show.

    Attributes:
        name: The comparison's.
        folder: Where it is kept.
        cells: Every cell, in order.
        chosen: Index of the one looked at.
        follow: It changes to one at work by itself.
        opened: It has the whole screen.
        live: What the chosen cell does, in full.
        started: When the display began, on the caller's clock in seconds.
        ended: When the last cell ended; None while there is work.
        paused: Since when a person lets the cells wait; None while they go on.
        earlier: Cells' worth of work that was finished before `started`.
        warnings: What was told about the comparison itself.
    """

    name: str = ""
    folder: str = ""
    cells: tuple[CellView, ...] = ()
    chosen: int = 0
    follow: bool = True
    opened: bool = False
    live: ViewState = EMPTY
    started: float = 0.0
    ended: float | None = None
    paused: float | None = None
    earlier: float = 0.0
    warnings: tuple[str, ...] = field(default=())

    @property
    def cell(self) -> CellView | None:
        """The chosen cell."""
        return self.cells[self.chosen] if self.cells else None

    @property
    def task(self) -> str:
        """The task of the chosen cell, which the curves are of."""
        return self.cell.what.task if self.cell is not None else ""

    @property
    def worth(self) -> float:
        """Cells' worth of work that is finished."""
        return sum(cell.fraction for cell in self.cells)

    def moment(self, now: float) -> float:
        """`now`, or the moment from which clocks stand still."""
        return self.ended if self.ended is not None else now if self.paused is None else self.paused

    def elapsed(self, now: float) -> float:
        """Seconds since the display began, without pauses."""
        return max(self.moment(now) - self.started, 0.0)

    def left(self, now: float) -> float | None:
        """Expected seconds to the end of all cells, as if the rest were like what was done; None when too early."""
        done, elapsed = self.worth - self.earlier, self.elapsed(now)
        rest = len(self.cells) - self.worth
        if self.ended is not None or elapsed < 3 or done < 0.02 * max(rest, 1.0):
            return None
        return elapsed * rest / done

    def count(self, status: str) -> int:
        """Cells of that status."""
        return sum(cell.what.status == status for cell in self.cells)


def rows_of(cells: Sequence[CellView]) -> dict[tuple[str, str], dict[int, int]]:
    """`(task, method) -> {seed: index of the cell}`, in order."""
    rows: dict[tuple[str, str], dict[int, int]] = {}
    for index, cell in enumerate(cells):
        rows.setdefault((cell.what.task, cell.what.method), {})[cell.what.seed] = index
    return dict(sorted(rows.items(), key=lambda row: _tasks(cells).index(row[0][0])))


def _tasks(cells: Sequence[CellView]) -> list[str]:
    return list(dict.fromkeys(cell.what.task for cell in cells))


def moved(board: Board, rows: int = 0, seeds: int = 0) -> Board:
    """Choose the cell `rows` further down and `seeds` further right, as far as there are any."""
    if not board.cells:
        return board
    table = list(rows_of(board.cells).values())
    here = next(index for index, row in enumerate(table) if board.chosen in row.values())
    seed = board.cells[board.chosen].what.seed
    row = table[min(max(here + rows, 0), len(table) - 1)]
    order = sorted(row)
    at = order.index(seed) if seed in row else 0
    return replace(board, chosen=row[order[min(max(at + seeds, 0), len(order) - 1)]], follow=False)


def other_task(board: Board, step: int) -> Board:
    """Choose the same method and seed, or the first cell, of the task `step` further."""
    tasks = _tasks(board.cells)
    if len(tasks) < 2 or board.cell is None:
        return board
    task = tasks[(tasks.index(board.task) + step) % len(tasks)]
    there = [index for index, cell in enumerate(board.cells) if cell.what.task == task]
    what = board.cell.what
    like = [i for i in there if (board.cells[i].what.method, board.cells[i].what.seed) == (what.method, what.seed)]
    return replace(board, chosen=(like or there)[0], follow=False)


def next_at_work(board: Board) -> Board:
    """Choose the next cell that runs, round and round."""
    running = [index for index, cell in enumerate(board.cells) if cell.what.status == "running"]
    if not running:
        return board
    return replace(board, chosen=next((i for i in running if i > board.chosen), running[0]), follow=False)


def followed(board: Board) -> Board:
    """Where nobody chose: the chosen cell, or the first at work once it has ended."""
    cell = board.cell
    if not board.follow or cell is None or cell.what.status == "running":
        return board
    running = [index for index, one in enumerate(board.cells) if one.what.status == "running"]
    return replace(board, chosen=running[0]) if running else board


@dataclass(frozen=True)
class MethodCurve:
    """The learning curve of a method on a task.

    Attributes:
        whole: Mean over all seeds that have begun to train, as far as every one of them has come.
        ahead: Means over those that are further.
        seeds: How many have begun to train.
        score: The newest of `whole`, else the mean of the finished cells' last scores; NaN for none.
        half: Half the width of its 95 % interval.
    """

    whole: Curve
    ahead: Curve
    seeds: int
    score: float
    half: float


def method_curves(cells: Sequence[CellView], task: str) -> dict[str, MethodCurve]:
    """Every method's curve on `task`, in order; without those that have nothing to show."""
    found: dict[str, MethodCurve] = {}
    for method in dict.fromkeys(cell.what.method for cell in cells if cell.what.task == task):
        states = [cell.state for cell in cells if (cell.what.task, cell.what.method) == (task, method)]
        lines = [[point[:2] for point in line] for state in states for line in state.curves.values() if line]
        whole, ahead = _together([line for line in lines if len(line) > 1])
        lasts = [one["last"].mean for state in states for one in state.scores.values() if "last" in one]
        if not (lines or lasts):
            continue
        score, half = whole[-1][1:] if whole else mean_of(lasts or [line[-1][1] for line in lines])
        found[method] = MethodCurve(whole, ahead, len(lines) or len(lasts), score, half)
    return found


def _together(lines: Sequence[Line]) -> tuple[Curve, Curve]:
    """The mean of lines as far as all of them go, and of those that go further.

    Their points need not be at the same steps (tests of advice cost steps): between two of its points a line is
    straight.
    """
    if not lines:
        return (), ()
    first, last = max(line[0][0] for line in lines), min(line[-1][0] for line in lines)
    steps = sorted({step for line in lines for step, _ in line})
    whole = tuple((step, *mean_of([_at(line, step) for line in lines])) for step in steps if first <= step <= last)
    ahead = tuple(
        (step, fmean([_at(line, step) for line in lines if line[-1][0] >= step]), math.nan)
        for step in steps
        if step > last
    )
    return whole, ahead


def _at(line: Line, step: int) -> float:
    """The value of a line at a step it covers."""
    after = bisect_left(line, step, key=lambda point: point[0])
    (x1, y1), (x0, y0) = line[after], line[max(after - 1, 0)]
    return y1 if x1 <= step or x1 == x0 else y0 + (y1 - y0) * (step - x0) / (x1 - x0)


def start_of(cells: Sequence[CellView], task: str) -> float | None:
    """Mean return of the starting policies on `task`; None before any was scored."""
    scores = [cell.state.before.mean for cell in cells if cell.what.task == task and cell.state.before is not None]
    return fmean(scores) if scores else None


def mean_of(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval; NaN where there are too few values for one."""
    if len(values) < ENOUGH:
        return fmean(values), math.nan
    return fmean(values), half_width(stdev(values) / math.sqrt(len(values)), len(values))
