"""What the cells of a comparison do, from their event logs: little of every cell, everything of one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ultra_agents.events import RunFinished
from ultra_agents.ui.compare.board import ENDED, CellView
from ultra_agents.ui.experiment import CellState
from ultra_agents.ui.model import ViewState, reduce
from ultra_agents.ui.tail import Tail

HEAVY = ("AgentAsked", "AgentSpoke", "AdviceDecided", "StateShown", "StepsSpent", "Dropped", "Warned")
"""Events of which only the cell looked at needs to know."""


@dataclass
class CellLog:
    """One cell's log, read as it grows.

    Args:
        tail: The log.

    Attributes:
        raw: What it says.
        at: The time of its last event, seconds since the epoch.
        settled: The status it was last read to the end with; no more comes in that status.
    """

    tail: Tail
    raw: ViewState = field(default_factory=ViewState)
    at: float = 0.0
    settled: str = ""
    _told: tuple[ViewState, str] | None = None
    _shown: ViewState = field(default_factory=ViewState)

    def read(self, until: float | None = None) -> None:
        """Take in what was written since the last time.

        Args:
            until: Leave out what happened later, seconds since the epoch.
        """
        for found in self.tail.poll():
            if found is None:
                self.raw = ViewState()
                continue
            when, event = found
            if until is not None and when is not None and when > until:
                continue
            self.at = time.time() if when is None else when
            self.raw = reduce(self.raw, event, self.at)

    def state(self, status: str) -> ViewState:
        """What it says, for a cell of `status`: one that is not at work any more is not shown at work."""
        if self._told is None or self._told[0] is not self.raw or self._told[1] != status:
            self._told = (self.raw, status)
            over = status != "running" and self.raw.ended is None and self.raw.status != "starting"
            self._shown = reduce(self.raw, RunFinished("interrupted", 0.0, ""), self.at) if over else self.raw
        return self._shown


class CellLogs:
    """The logs of all cells of a comparison.

    Args:
        logs: Where each is, in the order of the cells.
    """

    def __init__(self, logs: Sequence[Path]) -> None:
        self._paths = list(logs)
        self._light = [CellLog(Tail(path, HEAVY)) for path in self._paths]
        self._cells: list[CellView] = []
        self._full: tuple[int, CellLog] | None = None

    def cells(self, states: Sequence[CellState], task: str, until: float | None = None) -> tuple[CellView, ...]:
        """Every cell with what is known of it; the logs of those at work and of those of `task` are read."""
        made = []
        for index, (what, log) in enumerate(zip(states, self._light, strict=True)):
            wanted = what.status == "running" or what.task == task
            if wanted and not (log.settled == what.status and what.status != "running"):
                log.read(until)
                log.settled = what.status
            state = log.state(what.status)
            before = self._cells[index] if index < len(self._cells) else None
            same = before is not None and before.what == what and before.state is state
            made.append(before if same and before is not None else CellView(what, state))
        self._cells = made
        return tuple(made)

    def live(self, index: int, status: str, until: float | None = None) -> ViewState:
        """Everything that the cell `index` does; another one's log is read from its beginning."""
        if self._full is None or self._full[0] != index:
            self._full = index, CellLog(Tail(self._paths[index]))
        log = self._full[1]
        if log.settled != status or status not in ENDED:
            log.read(until)
            log.settled = status
        return log.state(status)
