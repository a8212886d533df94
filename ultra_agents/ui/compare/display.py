"""The live screen of a comparison, drawn by a thread of its own; what fails here never reaches the cells."""

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
from ultra_agents.ui.compare.board import EMPTY, FAR, Board, followed, moved, next_at_work, other_task
from ultra_agents.ui.compare.logs import CellLogs
from ultra_agents.ui.compare.screen import depends, panes, regions, renderable
from ultra_agents.ui.experiment import CellState
from ultra_agents.ui.surface import Controls, MakeKeys, Surface, crowd
from ultra_agents.ui.view import press

READ_SHARE, READ_S = 0.005, 3.0
"""Of one processor's time, what reading the cells' logs may take, and the longest time that may stretch to."""


class CompareDisplay(Surface):
    """Shows a comparison.

    Args:
        console: The terminal.
        name: The comparison's.
        folder: Where it is kept.
        logs: The event log of every cell, in the order of the states.
        controls: What keys may do to the cells; None where they cannot be steered.
        now: Seconds since the epoch, the clock of the logs.
        keys: Makes the keyboard; by default the terminal's, where there is one.

    Attributes:
        read: Processor seconds spent on reading the logs.
    """

    def __init__(
        self,
        console: Console,
        name: str,
        folder: str,
        logs: Sequence[Path],
        controls: Controls | None = None,
        now: Callable[[], float] = time.time,
        keys: MakeKeys | None = None,
    ) -> None:
        super().__init__(console, now, keys, controls)
        self.read = 0.0
        self.board = Board(name, folder, started=now())
        self.view = replace(self.view, focus="cells")
        self._logs = CellLogs(logs)
        self._changing = threading.RLock()
        self._cost, self._last = 0.0, -math.inf
        self._asked: tuple[object, ...] = ()

    def update(self, states: Sequence[CellState]) -> None:
        """Take note of the cells' states, and read their logs where the share of time allows it.

        Raises:
            Exception: What drawing raised since the last call, so that the caller can change to another display.
        """
        self.check()
        board = self.board
        asked = (tuple(one.status for one in states), board.chosen, board.task)
        pause = min(max(self._cost / READ_SHARE * crowd(), 0.0), READ_S)
        if asked == self._asked and self.now() - self._last < pause:
            return
        began = time.thread_time()
        self._read(states)
        spent = time.thread_time() - began
        self._cost += 0.3 * (spent - self._cost)
        self.read += spent
        self._last, self._asked = self.now(), asked

    def _read(self, states: Sequence[CellState]) -> None:
        with self._changing:
            cells = self._logs.cells(states, self.board.task or (states[0].task if states else ""))
            old = self.board.cells
            if len(old) == len(cells) and all(one is other for one, other in zip(old, cells, strict=True)):
                cells = old
            board = followed(replace(self.board, cells=cells))
            live = self._logs.live(board.chosen, states[board.chosen].status) if states else EMPTY
            if not old:
                board = replace(board, earlier=board.worth)
            if board.chosen != self.board.chosen:
                self.view = replace(self.view, scroll={}, held={})
            changed = board.cells is not old or live is not board.live or board.chosen != self.board.chosen
            self.board = replace(board, live=live) if changed else self.board
        if self._asked[1:2] != (self.board.chosen,):  # somebody waits for it
            self._wake.set()

    def handle(self, event: Event) -> None:
        """Take note of a pause, its end, or a warning."""
        with self._changing:
            board, now = self.board, self.now()
            match event:
                case RunPaused():
                    self.board = replace(board, paused=now if board.paused is None else board.paused)
                case RunContinued():
                    gap = now - board.paused if board.paused is not None else 0.0
                    self.board = replace(board, paused=None, started=board.started + gap)
                case Warned():
                    self.board = replace(board, warnings=(*board.warnings, event.text)[-20:])
        self._wake.set()

    def browse(self, key: str) -> None:
        """Choose another cell, or change the view."""
        width, height = self.console.size
        with self._changing:
            before, view = self.board, self.view
            page = max(height // 3, 3)
            there = panes(width, height, before, view)
            choosing = view.focus in ("", "cells") or view.focus not in there
            arrows = {"UP": (-1, 0), "DOWN": (1, 0), "k": (-1, 0), "j": (1, 0), "PAGEUP": (-page, 0),
                      "PAGEDOWN": (page, 0), "HOME": (-FAR, 0), "END": (FAR, 0)}  # fmt: skip
            if key in ("[", "]"):
                self.board = other_task(before, 1 if key == "]" else -1)
            elif key == "n":
                self.board = next_at_work(before)
            elif key == "f":
                self.board = followed(replace(before, follow=True))
            elif key in ("LEFT", "RIGHT"):
                self.board = moved(before, seeds=1 if key == "RIGHT" else -1)
            elif key in ("ESC", "BACKSPACE") and not view.zoom:
                self.board = replace(before, opened=False)
                self.view = replace(view, focus="cells", scroll={}, held={})
            elif key == "ENTER" and choosing and not before.opened and before.cells:
                self.board = replace(before, opened=True)
                self.view = replace(view, focus="conversation", zoom=False)
            elif key in arrows and choosing and not before.opened:
                self.board = moved(before, rows=arrows[key][0])
            elif key in ("TAB", "SHIFT_TAB") and there:
                at = there.index(view.focus) if view.focus in there else -1
                after = there[(at + (1 if key == "TAB" else -1)) % len(there)]
                self.view = replace(view, focus=after, zoom=False)
            else:
                self.view = press(view, key, there, before.live, page)
            if self.board.chosen != before.chosen:  # its log is read at the next call of `update`
                self.board = replace(self.board, live=self.board.cells[self.board.chosen].state)
                self.view = replace(self.view, scroll={}, held={})

    def scene(self) -> tuple[Any, ...]:
        """The board, the view, and the second while clocks run."""
        board = self.board
        return board, self.view, int(board.moment(self.now()))

    def draw(self) -> None:
        """Draw what changed since the last time."""
        self._fill(self.board, regions, depends, renderable)
