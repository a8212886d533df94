"""What the screen of a comparison shows, as an immutable value: its cells, the selected one, and that one's run."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import TypeAlias

from ultra_agents.ui.compare.cell_table import CellStatus
from ultra_agents.ui.compare.time_left import TimeLeft, time_left
from ultra_agents.ui.intervals import half_width
from ultra_agents.ui.run_state import RunState

MeanCurve: TypeAlias = tuple[tuple[int, float, float], ...]
"""Steps, mean over seeds, half the width of its 95 % interval (NaN below `MIN_SEEDS` seeds)."""
SeedCurve: TypeAlias = Sequence[tuple[int, float]]
"""Steps, in order, and mean return of one seed."""
EMPTY = RunState()
MAX_SCROLL = 1_000_000
MIN_SEEDS = 3
"""Fewest seeds for an interval: Student's t for two values is wider than any chart."""
ENDED = ("finished", "failed", "stopped")


@dataclass(frozen=True)
class CellProgress:
    """A cell with the state of its run.

    Attributes:
        reported: Task, method, seed, status and note, as the driver of the comparison reports them.
        state: Stages, training and returns from its event log; empty until that is read.
    """

    reported: CellStatus
    state: RunState = EMPTY

    @property
    def fraction(self) -> float:
        """The finished share, in [0, 1]; 1 also for a failed cell."""
        if self.reported.status in ("finished", "failed"):
            return 1.0
        return self.state.fraction

    def left(self, now: float) -> float | None:
        """Expected seconds to its end; None while there is no estimate, or for a cell that does not run."""
        return self.state.left(self.state.moment(now)) if self.reported.status == "running" else None


@dataclass(frozen=True)
class ComparisonState:
    """Everything the screen shows.

    Attributes:
        name: Name of the comparison.
        folder: Its folder.
        cells: All cells, in order.
        selected: Index of the selected cell.
        follow: A running cell is selected automatically when the selected one has ended.
        opened: The selected cell fills the screen.
        run: The full state of the selected cell's run.
        started: When the display began, on the caller's clock in seconds.
        ended: When the last cell ended; None before.
        paused: When the user paused the cells; None while they run.
        warnings: Warnings about the comparison itself.
    """

    name: str = ""
    folder: str = ""
    cells: tuple[CellProgress, ...] = ()
    selected: int = 0
    follow: bool = True
    opened: bool = False
    run: RunState = EMPTY
    started: float = 0.0
    ended: float | None = None
    paused: float | None = None
    warnings: tuple[str, ...] = field(default=())

    @property
    def cell(self) -> CellProgress | None:
        """The selected cell; None without cells."""
        return self.cells[self.selected] if self.cells else None

    @property
    def task(self) -> str:
        """The task of the selected cell, whose curves are shown."""
        return self.cell.reported.task if self.cell is not None else ""

    @property
    def work_done(self) -> float:
        """Finished work in cells: the sum of their finished shares."""
        return sum(cell.fraction for cell in self.cells)

    def moment(self, now: float) -> float:
        """`now`, or when the comparison ended or was paused: the time that clocks show."""
        return self.ended if self.ended is not None else now if self.paused is None else self.paused

    def elapsed(self, now: float) -> float:
        """Seconds since the display began, without pauses."""
        return max(self.moment(now) - self.started, 0.0)

    def left(self, now: float) -> TimeLeft | None:
        """What is left, from the times of finished cells; None once all have ended."""
        if self.ended is not None:
            return None
        moment = self.moment(now)
        running = {
            (one.reported.task, one.reported.method, one.reported.seed): (one.state.elapsed(moment), one.left(moment))
            for one in self.cells
            if one.reported.status == "running"
        }
        return time_left([one.reported for one in self.cells], max(len(running), 1), running)

    def count(self, status: str) -> int:
        """Number of cells of that status."""
        return sum(cell.reported.status == status for cell in self.cells)


def rows_of(cells: Sequence[CellProgress]) -> dict[tuple[str, str], dict[int, int]]:
    """`(task, method) -> {seed: index of the cell}`, in order."""
    rows: dict[tuple[str, str], dict[int, int]] = {}
    for index, cell in enumerate(cells):
        rows.setdefault((cell.reported.task, cell.reported.method), {})[cell.reported.seed] = index
    return dict(sorted(rows.items(), key=lambda row: _tasks(cells).index(row[0][0])))


def _tasks(cells: Sequence[CellProgress]) -> list[str]:
    return list(dict.fromkeys(cell.reported.task for cell in cells))


def moved(comparison: ComparisonState, rows: int = 0, seeds: int = 0) -> ComparisonState:
    """Select the cell `rows` further down and `seeds` further right, within the table."""
    if not comparison.cells:
        return comparison
    table = list(rows_of(comparison.cells).values())
    here = next(index for index, row in enumerate(table) if comparison.selected in row.values())
    seed = comparison.cells[comparison.selected].reported.seed
    row = table[min(max(here + rows, 0), len(table) - 1)]
    order = sorted(row)
    at = order.index(seed) if seed in row else 0
    return replace(comparison, selected=row[order[min(max(at + seeds, 0), len(order) - 1)]], follow=False)


def other_task(comparison: ComparisonState, step: int) -> ComparisonState:
    """Select the same method and seed, or else the first cell, of the task `step` further."""
    tasks = _tasks(comparison.cells)
    if len(tasks) < 2 or comparison.cell is None:
        return comparison
    task = tasks[(tasks.index(comparison.task) + step) % len(tasks)]
    there = [index for index, cell in enumerate(comparison.cells) if cell.reported.task == task]
    what = comparison.cell.reported
    like = [
        i
        for i in there
        if (comparison.cells[i].reported.method, comparison.cells[i].reported.seed) == (what.method, what.seed)
    ]
    return replace(comparison, selected=(like or there)[0], follow=False)


def next_running(comparison: ComparisonState) -> ComparisonState:
    """Select the next running cell, after the last the first."""
    running = [index for index, cell in enumerate(comparison.cells) if cell.reported.status == "running"]
    if not running:
        return comparison
    return replace(
        comparison, selected=next((i for i in running if i > comparison.selected), running[0]), follow=False
    )


def followed(comparison: ComparisonState) -> ComparisonState:
    """With `follow`, select the first running cell once the selected one does not run."""
    cell = comparison.cell
    if not comparison.follow or cell is None or cell.reported.status == "running":
        return comparison
    running = [index for index, one in enumerate(comparison.cells) if one.reported.status == "running"]
    return replace(comparison, selected=running[0]) if running else comparison


@dataclass(frozen=True)
class MethodCurve:
    """The learning curve of a method on a task.

    Attributes:
        complete: Mean over all seeds in training, up to the last step that all of them have reached.
        partial: Mean over the seeds that have got further, beyond that step.
        seeds: Number of seeds in training.
        score: The last value of `complete`, else the mean of the finished cells' last returns; NaN for none.
        half: Half the width of its 95 % interval.
    """

    complete: MeanCurve
    partial: MeanCurve
    seeds: int
    score: float
    half: float


def method_curves(cells: Sequence[CellProgress], task: str) -> dict[str, MethodCurve]:
    """Every method's curve on `task`, in order; methods without any return are left out."""
    found: dict[str, MethodCurve] = {}
    for method in dict.fromkeys(cell.reported.method for cell in cells if cell.reported.task == task):
        states = [cell.state for cell in cells if (cell.reported.task, cell.reported.method) == (task, method)]
        curves = [[point[:2] for point in curve] for state in states for curve in state.curves.values() if curve]
        complete, partial = _mean_curves([curve for curve in curves if len(curve) > 1])
        lasts = [one.mean for state in states for one in state.ends]
        if not (curves or lasts):
            continue
        score, half = complete[-1][1:] if complete else mean_of(lasts or [curve[-1][1] for curve in curves])
        found[method] = MethodCurve(complete, partial, len(curves) or len(lasts), score, half)
    return found


def _mean_curves(curves: Sequence[SeedCurve]) -> tuple[MeanCurve, MeanCurve]:
    """The mean over all curves where all are defined, and over those that continue beyond.

    Their steps may differ (tests of advice cost steps), so values between two points are interpolated linearly.
    """
    if not curves:
        return (), ()
    first, last = max(curve[0][0] for curve in curves), min(curve[-1][0] for curve in curves)
    steps = sorted({step for curve in curves for step, _ in curve})
    complete = tuple((step, *mean_of([_at(one, step) for one in curves])) for step in steps if first <= step <= last)
    partial = tuple(
        (step, fmean([_at(curve, step) for curve in curves if curve[-1][0] >= step]), math.nan)
        for step in steps
        if step > last
    )
    return complete, partial


def _at(curve: SeedCurve, step: int) -> float:
    """The value of a curve at a step within its range."""
    after = bisect_left(curve, step, key=lambda point: point[0])
    (x1, y1), (x0, y0) = curve[after], curve[max(after - 1, 0)]
    return y1 if x1 <= step or x1 == x0 else y0 + (y1 - y0) * (step - x0) / (x1 - x0)


def start_of(cells: Sequence[CellProgress], task: str) -> float | None:
    """Mean return of the starting policies on `task`; None before any was scored."""
    scores = [cell.state.before.mean for cell in cells if cell.reported.task == task and cell.state.before is not None]
    return fmean(scores) if scores else None


def mean_of(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of its 95 % interval; NaN where there are too few values for one."""
    if len(values) < MIN_SEEDS:
        return fmean(values), math.nan
    return fmean(values), half_width(stdev(values) / math.sqrt(len(values)), len(values))
