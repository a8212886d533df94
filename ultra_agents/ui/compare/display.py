"""The live screen of a comparison, drawn by a thread of its own; its failures never reach the cells."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from ultra_agents.events import Event, RunContinued, RunPaused, Warned
from ultra_agents.ui.compare.cell_table import CellStatus
from ultra_agents.ui.compare.logs import CellLogs
from ultra_agents.ui.compare.screen import dependencies, panes, regions, renderable
from ultra_agents.ui.compare.state import EMPTY, MAX_SCROLL, ComparisonState, followed, moved, next_running, other_task
from ultra_agents.ui.full_screen import Controls, FullScreenDisplay, MakeKeyboard, load_per_core
from ultra_agents.ui.view import press

READ_CPU_SHARE, MAX_READ_INTERVAL_S = 0.005, 3.0
"""Share of one processor's time for reading the cells' logs, and the longest interval this may lead to."""


class CompareDisplay(FullScreenDisplay):
    """Shows a comparison.

    Args:
        console: The terminal.
        name: Name of the comparison.
        folder: Its folder.
        logs: The event log of every cell, in the order of the states.
        controls: Pauses and stops the cells; None where keys must not.
        now: Seconds since the epoch, the clock of the logs.
        keys: Makes the keyboard; by default that of the terminal, where there is one.

    Attributes:
        reading_s: Processor seconds spent on reading the logs.
    """

    def __init__(
        self,
        console: Console,
        name: str,
        folder: str,
        logs: Sequence[Path],
        controls: Controls | None = None,
        now: Callable[[], float] = time.time,
        keys: MakeKeyboard | None = None,
    ) -> None:
        super().__init__(console, now, keys, controls)
        self.reading_s = 0.0
        self.comparison = ComparisonState(name, folder, started=now())
        self.view = replace(self.view, focus="cells")
        self._logs = CellLogs(logs)
        self._changing = threading.RLock()
        self._cost, self._last = 0.0, -math.inf
        self._key: tuple[object, ...] = ()  # statuses, selected cell and its task at the last reading

    def update(self, states: Sequence[CellStatus]) -> None:
        """Show the cells' statuses; read their logs at intervals that keep reading below `READ_CPU_SHARE`.

        Raises:
            Exception: What the drawing thread raised, so that the caller can change to another display.
        """
        self.check()
        comparison = self.comparison
        key = (tuple(one.status for one in states), comparison.selected, comparison.task)
        pause = min(max(self._cost / READ_CPU_SHARE * load_per_core(), 0.0), MAX_READ_INTERVAL_S)
        if key == self._key and self.now() - self._last < pause:
            return
        began = time.thread_time()
        self._read(states)
        spent = time.thread_time() - began
        self._cost += 0.3 * (spent - self._cost)
        self.reading_s += spent
        self._last, self._key = self.now(), key

    def _read(self, states: Sequence[CellStatus]) -> None:
        with self._changing:
            cells = self._logs.cells(states, self.comparison.task or (states[0].task if states else ""))
            old = self.comparison.cells
            if len(old) == len(cells) and all(one is other for one, other in zip(old, cells, strict=True)):
                cells = old
            comparison = followed(replace(self.comparison, cells=cells))
            live = self._logs.run_state(comparison.selected, states[comparison.selected].status) if states else EMPTY
            if comparison.selected != self.comparison.selected:
                self.view = replace(self.view, scroll={}, held={})
            changed = (
                comparison.cells is not old
                or live is not comparison.run
                or comparison.selected != self.comparison.selected
            )
            self.comparison = replace(comparison, run=live) if changed else self.comparison
        if self._key[1:2] != (self.comparison.selected,):  # the user has selected another cell
            self._wake.set()

    def handle(self, event: Event) -> None:
        """Show a pause, its end, or a warning."""
        with self._changing:
            comparison, now = self.comparison, self.now()
            match event:
                case RunPaused():
                    self.comparison = replace(
                        comparison, paused=now if comparison.paused is None else comparison.paused
                    )
                case RunContinued():
                    gap = now - comparison.paused if comparison.paused is not None else 0.0
                    self.comparison = replace(comparison, paused=None, started=comparison.started + gap)
                case Warned():
                    self.comparison = replace(comparison, warnings=(*comparison.warnings, event.text)[-20:])
        self._wake.set()

    def navigate(self, key: str) -> None:
        """Select another cell, or change the view."""
        width, height = self.console.size
        with self._changing:
            before, view = self.comparison, self.view
            page = max(height // 3, 3)
            there = panes(width, height, before, view)
            choosing = view.focus in ("", "cells") or view.focus not in there
            arrows = {"UP": (-1, 0), "DOWN": (1, 0), "k": (-1, 0), "j": (1, 0), "PAGEUP": (-page, 0),
                      "PAGEDOWN": (page, 0), "HOME": (-MAX_SCROLL, 0), "END": (MAX_SCROLL, 0)}  # fmt: skip
            if key in ("[", "]"):
                self.comparison = other_task(before, 1 if key == "]" else -1)
            elif key == "n":
                self.comparison = next_running(before)
            elif key == "f":
                self.comparison = followed(replace(before, follow=True))
            elif key in ("LEFT", "RIGHT"):
                self.comparison = moved(before, seeds=1 if key == "RIGHT" else -1)
            elif key in ("ESC", "BACKSPACE") and not view.zoom:
                self.comparison = replace(before, opened=False)
                self.view = replace(view, focus="cells", scroll={}, held={})
            elif key == "ENTER" and choosing and not before.opened and before.cells:
                self.comparison = replace(before, opened=True)
                self.view = replace(view, focus="conversation", zoom=False)
            elif key in arrows and choosing and not before.opened:
                self.comparison = moved(before, rows=arrows[key][0])
            elif key in ("TAB", "SHIFT_TAB") and there:
                at = there.index(view.focus) if view.focus in there else -1
                after = there[(at + (1 if key == "TAB" else -1)) % len(there)]
                self.view = replace(view, focus=after, zoom=False)
            else:
                self.view = press(view, key, there, before.run, page)
            if self.comparison.selected != before.selected:  # its log is read at the next call of `update`
                self.comparison = replace(self.comparison, run=self.comparison.cells[self.comparison.selected].state)
                self.view = replace(self.view, scroll={}, held={})

    def shown_values(self) -> tuple[Any, ...]:
        """The comparison, the view, and the current second while clocks run."""
        comparison = self.comparison
        return comparison, self.view, int(comparison.moment(self.now()))

    def draw(self) -> None:
        """Draw the regions that changed since the last drawing."""
        self._fill(self.comparison, regions, dependencies, renderable)
