"""Shows a comparison: the live screen where the terminal allows it, else a table, lines or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console

from ultra_agents.cli.error_output import write_crash
from ultra_agents.cli.run_control import RunControl
from ultra_agents.events import Event, Warned
from ultra_agents.experiments.cells import cells_folder
from ultra_agents.experiments.spec import Cell
from ultra_agents.ui.compare.cell_table import CellEventLines, CellStatus, CellTable, cell_grid
from ultra_agents.ui.compare.display import CompareDisplay
from ultra_agents.ui.display import Mode, live_fits
from ultra_agents.ui.keys import has_keyboard

if TYPE_CHECKING:
    from ultra_agents.ui.full_screen import Controls


class ComparisonDisplay:
    """Shows the cells while they run. A display that fails is replaced by lines; when those fail, nothing is shown.

    Args:
        console: Where.
        name: Name of the comparison.
        root: Its folder.
        cells: All cells.
        stop: Controlled by keys; its notices and pauses are shown.
        mode: A screen where there is a terminal, or lines, or JSON.
    """

    def __init__(
        self, console: Console, name: str, root: Path, cells: Sequence[Cell], stop: RunControl, mode: Mode
    ) -> None:
        self._console, self._root = console, root
        self._states: list[CellStatus] = []
        self._screen = _screen(console, name, root, cells, stop) if mode == "auto" else None
        self._rows = CellEventLines(console.file) if mode == "json" else None
        self._table = self._rows or self._lines(mode == "plain")
        self._mute = False
        self.screen = self._screen is not None
        stop.notice, stop.emit = self.notice, self.handle

    def __enter__(self) -> Self:
        if self._screen is not None:
            try:
                self._screen.start()
            except Exception as error:
                self._fall_back(error)
        else:
            self._table.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._screen is None:
            self._table.__exit__(kind, error, trace)
            return
        self._screen.stop()
        if self._states:
            self._console.print(cell_grid(self._states))

    def update(self, states: Sequence[CellStatus]) -> None:
        """Show the status of all cells."""
        self._states = list(states)
        try:
            if self._screen is not None:
                self._screen.update(states)
            elif not self._mute:
                self._table.update(states)
        except BrokenPipeError:  # nobody reads standard output any more
            self._mute = True
        except Exception as error:
            if self._screen is None:
                self._mute = True
            else:
                self._fall_back(error)

    def handle(self, event: Event) -> None:
        """Show an event of the comparison itself: a pause, its end, a warning."""
        screen = self._screen
        if screen is not None:
            screen.handle(event)
        elif self._rows is not None:
            self._rows.handle(event)

    def notice(self, text: str) -> None:
        """Show the user a message."""
        if self._screen is not None or self._rows is not None:
            self.handle(Warned(text))
        else:
            self._console.print(text)

    def _lines(self, plain: bool) -> CellTable:
        return CellTable(self._console, plain)

    def _fall_back(self, error: Exception) -> None:
        broken, self._screen = self._screen, None
        self._table = self._lines(plain=True)
        try:
            if broken is not None:
                broken.stop()
            where = write_crash(error, self._root)
            self._console.print(f"the display failed ({where}); plain lines from here on", markup=False)
            self._table.update(self._states)
        except Exception:
            self._mute = True


def _screen(
    console: Console, name: str, root: Path, cells: Sequence[Cell], controls: Controls
) -> CompareDisplay | None:
    """The live screen; None where the terminal is too small or keys cannot be read."""
    if not live_fits(console) or not has_keyboard(console.is_terminal):
        return None
    logs = [cells_folder(root) / cell.name / "events.jsonl" for cell in cells]
    return CompareDisplay(console, name, str(root), logs, controls)
