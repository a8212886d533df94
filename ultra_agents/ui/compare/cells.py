"""The cells of a comparison: a row per task and method, a column per seed; state, progress and time left in each."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rich.text import Text

from ultra_agents.text import clean
from ultra_agents.ui.compare.cell_table import STATUS_COLOURS
from ultra_agents.ui.compare.state import CellProgress, ComparisonState, mean_of, rows_of
from ultra_agents.ui.panels import DEFAULT_VIEW, PanelView
from ultra_agents.ui.panels.flow import bar
from ultra_agents.ui.panels.frame import Framed, framed
from ultra_agents.ui.text import about, score
from ultra_agents.ui.theme import DIM

LEAST, TIMED, BARRED, MOST = 5, 12, 20, 24
"""Widths of a cell: the least, with its time left, with a progress bar as well, the most."""
MEAN = 16


@dataclass(frozen=True)
class Columns:
    """The table's layout: widths of task, method and a cell, the visible seeds, and whether their mean is shown."""

    task: int
    method: int
    cell: int
    seeds: tuple[int, ...]
    mean: bool


def cells_panel(
    comparison: ComparisonState, now: float, width: int, height: int, view: PanelView = DEFAULT_VIEW
) -> Framed:
    """The panel "Cells"; the selected cell is highlighted and always visible."""
    inner, room = max(width - 4, 10), max(height - 3, 1)
    table = rows_of(comparison.cells)
    names = list(table)
    here = next((at for at, row in enumerate(table.values()) if comparison.selected in row.values()), 0)
    first = min(max(here - room // 2, 0), max(len(names) - room, 0))
    columns = columns_of(comparison, inner)
    lines = [_heading(comparison, columns)]
    before = ""
    for task, method in names[first : first + room]:
        row = table[task, method]
        line = Text.assemble(
            (f"{clean(task, columns.task) if task != before else '':<{columns.task}} ", "bold"),
            f"{clean(method, columns.method):<{columns.method}}",
        )
        before = task
        for seed in columns.seeds:
            line.append(" ")
            if seed in row:
                cell = comparison.cells[row[seed]]
                selected = row[seed] == comparison.selected
                line.append_text(_cell(cell, comparison, now, columns.cell, selected, view.focused))
            else:
                line.append(" " * columns.cell)
        if columns.mean:
            line.append(_mean([comparison.cells[index] for index in row.values()]).rjust(MEAN), "bold")
        lines.append(line)
    return framed(
        "Cells", lines, width, height, _told(comparison, len(names), first, room, inner), focused=view.focused
    )


def columns_of(comparison: ComparisonState, inner: int) -> Columns:
    """The columns on a line of `inner` characters; of too many seeds those around the selected one."""
    whats = [cell.reported for cell in comparison.cells]
    seeds = list(dict.fromkeys(what.seed for what in whats))
    task = min(max((len(clean(what.task)) for what in whats), default=4), max(inner // 4, 5))
    method = min(max((len(clean(what.method)) for what in whats), default=6), max(inner * 3 // 10, 8))
    rest = inner - task - method - 1
    wide = rest // max(len(seeds), 1) - 1
    mean = len(seeds) > 1 and (rest - MEAN) // len(seeds) - 1 >= TIMED
    if mean:
        wide = (rest - MEAN) // len(seeds) - 1
    fit = max(rest // (LEAST + 1), 1)
    if wide < LEAST:
        wide = rest // min(fit, max(len(seeds), 1)) - 1
        at = seeds.index(comparison.cell.reported.seed) if comparison.cell is not None else 0
        start = min(max(at - fit // 2, 0), max(len(seeds) - fit, 0))
        seeds = seeds[start : start + fit]
    return Columns(task, method, max(min(wide, MOST), 1), tuple(seeds), mean)


def _heading(comparison: ComparisonState, columns: Columns) -> Text:
    line = Text(f"{'task':<{columns.task}} {'method':<{columns.method}}"[: columns.task + columns.method + 1], DIM)
    for seed in columns.seeds:
        line.append(f" {f'seed {seed}' if columns.cell >= 7 else f's{seed}':>{columns.cell}}"[: columns.cell + 1], DIM)
    if columns.mean:
        line.append("mean".rjust(MEAN), DIM)
    return line


def _cell(
    cell: CellProgress, comparison: ComparisonState, now: float, width: int, selected: bool, focused: bool
) -> Text:
    text = _words(cell, comparison, now, width)
    text.truncate(width)
    text = Text(" " * (width - text.cell_len)) + text
    if selected:
        text.stylize("bold reverse" if focused else "bold underline")
    return text


def _words(cell: CellProgress, comparison: ComparisonState, now: float, width: int) -> Text:
    """Status, progress and time left, as much of it as fits."""
    what = cell.reported
    colour = STATUS_COLOURS.get(what.status, "")
    if what.status == "running":
        part = f"{cell.fraction:.0%}"
        left = about(cell.left(comparison.moment(now))) if width >= TIMED else ""
        words = Text(f"{part:>4}{left:>9}" if width >= TIMED else part, colour)
        return bar(cell.fraction, min(width - 14, 9)) + Text(" ") + words if width >= BARRED else words
    if what.status == "finished":
        return Text(_score(what.note, width), colour)
    if what.status in ("failed", "stopped"):
        sign = {"failed": "✘", "stopped": "■"}[what.status]
        return Text(f"{sign} {what.status}" if width >= 9 else what.status if width >= 7 else sign, colour)
    return Text("waiting" if width >= TIMED else "·", colour)


def _score(note: str, width: int) -> str:
    """The return in a finished cell's note, formatted as everywhere."""
    try:
        return score(float(note))
    except ValueError:
        return clean(note, width) or "✔"


def _mean(cells: list[CellProgress]) -> str:
    """Mean of what the finished cells ended with, with its 95 % interval over seeds."""
    found = [one.mean for cell in cells if cell.reported.status == "finished" for one in cell.state.ends]
    if not found:
        return ""
    mean, half = mean_of(found)
    return score(mean) + (f" ±{score(half)}" if math.isfinite(half) else "")


def _told(comparison: ComparisonState, rows: int, first: int, room: int, inner: int) -> str:
    """The visible rows, and how many cells have which status, as much of it as fits."""
    seen = f"rows {first + 1}-{min(first + room, rows)} of {rows}" if rows > room else ""
    told = " · ".join(part for part in (seen, counts(comparison)) if part)
    return told if len(told) <= inner - 2 else seen or counts(comparison).partition(",")[0]


def counts(comparison: ComparisonState) -> str:
    """How many cells have which status, in words."""
    parts = [f"{comparison.count('finished')} of {len(comparison.cells)} finished"]
    for status, word in (("running", "at work"), ("stopped", "stopped"), ("failed", "failed")):
        if number := comparison.count(status):
            parts.append(f"{number} {word}")
    return ", ".join(parts)
