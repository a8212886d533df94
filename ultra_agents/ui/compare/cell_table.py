"""The cells of a comparison without the live screen: a table, lines, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import IO, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table as RichTable
from rich.text import Text

from ultra_agents.events import CellChanged, Event
from ultra_agents.text import clean, counted
from ultra_agents.ui.json_lines import JsonLines
from ultra_agents.ui.theme import BAD, DIM, GOOD, WARM

STATUS_COLOURS = {"waiting": DIM, "running": "cyan", "finished": GOOD, "stopped": WARM, "failed": BAD}


@dataclass(frozen=True)
class CellStatus:
    """What the driver reports of a cell.

    Attributes:
        task: Name of the task.
        method: Name of the method.
        seed: Training seed.
        status: `waiting`, `running`, `finished`, `stopped` or `failed`.
        note: Its stage while it runs, the return of what acts at its end, or its error.
        colour: The method's place in the palette; None: any.
        seconds: Wall time of a finished cell; None where its log does not say.
    """

    task: str
    method: str
    seed: int
    status: str
    note: str = ""
    colour: int | None = None
    seconds: float | None = None


class CellTable:
    """Shows the cells of a comparison while they run.

    Args:
        console: Where.
        plain: One line per change instead of a table that is redrawn.
    """

    def __init__(self, console: Console, plain: bool) -> None:
        self._console = console
        self._live = (
            None if plain or not console.is_terminal or console.is_dumb_terminal
            else Live(console=console, refresh_per_second=2, transient=False)
        )  # fmt: skip
        self._changes = StatusChanges()

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def update(self, cells: Sequence[CellStatus]) -> None:
        """Show all cells; as plain lines, those whose status changed."""
        if self._live is not None:
            self._live.update(cell_grid(cells))
            return
        for cell in self._changes.of(cells):
            line = f"{cell.status:9} {cell.task} {cell.method} seed {cell.seed} {clean(cell.note)}"
            self._console.print(line.rstrip(), soft_wrap=True, highlight=False, markup=False)


class CellEventLines:
    """Writes every change of a cell's status as a `CellChanged` event, one JSON object a line."""

    def __init__(self, stream: IO[str]) -> None:
        self._lines, self._changes = JsonLines(stream), StatusChanges()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Does nothing."""

    def update(self, cells: Sequence[CellStatus]) -> None:
        """Write the changes."""
        for cell in self._changes.of(cells):
            self.handle(CellChanged(cell.task, cell.method, cell.seed, cell.status, cell.note))

    def handle(self, event: Event) -> None:
        """Write an event of the comparison itself."""
        self._lines.handle(event)


class StatusChanges:
    """Finds the cells whose status changed since the call before."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str, int], str] = {}

    def of(self, cells: Sequence[CellStatus]) -> list[CellStatus]:
        """Those cells; the notes of cells that have not ended are left out."""
        found = []
        for cell in cells:
            place = (cell.task, cell.method, cell.seed)
            if self._known.get(place, "waiting") != cell.status:
                self._known[place] = cell.status
                found.append(cell if cell.status in ("finished", "failed") else replace(cell, note=""))
        return found


def cell_grid(cells: Sequence[CellStatus]) -> RichTable:
    """The cells as a table."""
    seeds = list(dict.fromkeys(cell.seed for cell in cells))
    done = sum(cell.status == "finished" for cell in cells)
    lost = sum(cell.status == "failed" for cell in cells)
    caption = f"{done} of {counted(len(cells), 'cell')} finished" + (f", {lost} failed" if lost else "")
    table = RichTable(box=None, pad_edge=False, caption=caption, caption_justify="left", header_style=DIM)
    table.add_column("task")
    table.add_column("method")
    for seed in seeds:
        table.add_column(f"seed {seed}", justify="right", no_wrap=True)
    rows: dict[tuple[str, str], dict[int, CellStatus]] = {}
    for cell in cells:
        rows.setdefault((cell.task, cell.method), {})[cell.seed] = cell
    before = ""
    for (task, method), row in rows.items():
        table.add_row(
            task if task != before else "", method, *(_cell(row[seed]) if seed in row else "" for seed in seeds)
        )
        before = task
    return table


def _cell(cell: CellStatus) -> Text:
    words = {"waiting": "·", "failed": "failed", "stopped": "stopped"}.get(cell.status, clean(cell.note, 16) or "...")
    return Text(words, STATUS_COLOURS.get(cell.status, ""))
