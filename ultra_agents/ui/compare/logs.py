"""Reads the event logs of a comparison's cells: summary events of all cells, all events of the selected one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ultra_agents.events import RunFinished
from ultra_agents.ui.compare.cell_table import CellStatus
from ultra_agents.ui.compare.state import ENDED, CellProgress
from ultra_agents.ui.event_log import EventLogReader
from ultra_agents.ui.run_state import RunState, reduce

DETAIL_EVENTS = (
    "AgentAsked", "AgentSpoke", "AdviceDecided", "RulesDecided", "StateShown", "StepsSpent", "Dropped", "Warned",
)  # fmt: skip
"""Events that only the panels of the selected cell show."""


@dataclass
class CellLog:
    """The state of one cell, from its log.

    Args:
        log: Reads the event log.

    Attributes:
        logged: The state after the events read so far.
        at: The time of the last event, seconds since the epoch.
        read_with: The cell's status when the log was last read; an ended cell is not read again with the same one.
    """

    log: EventLogReader
    logged: RunState = field(default_factory=RunState)
    at: float = 0.0
    read_with: str = ""
    _shown_for: tuple[RunState, str] | None = None
    _shown: RunState = field(default_factory=RunState)

    def read(self, until: float | None = None) -> None:
        """Read the new events.

        Args:
            until: Ignore later events, seconds since the epoch.
        """
        for found in self.log.poll():
            if found is None:
                self.logged = RunState()
                continue
            when, event = found
            if until is not None and when is not None and when > until:
                continue
            self.at = time.time() if when is None else when
            self.logged = reduce(self.logged, event, self.at)

    def state(self, status: str) -> RunState:
        """The state for a cell of `status`; one that stopped without `RunFinished` is shown as interrupted."""
        if self._shown_for is None or self._shown_for[0] is not self.logged or self._shown_for[1] != status:
            self._shown_for = (self.logged, status)
            over = status != "running" and self.logged.ended is None and self.logged.status != "starting"
            self._shown = reduce(self.logged, RunFinished("interrupted", 0.0, ""), self.at) if over else self.logged
        return self._shown


class CellLogs:
    """The logs of all cells of a comparison.

    Args:
        logs: Path of each log, in the order of the cells.
    """

    def __init__(self, logs: Sequence[Path]) -> None:
        self._paths = list(logs)
        self._summaries = [CellLog(EventLogReader(path, DETAIL_EVENTS)) for path in self._paths]
        self._cells: list[CellProgress] = []
        self._details: tuple[int, CellLog] | None = None

    def cells(self, states: Sequence[CellStatus], task: str, until: float | None = None) -> tuple[CellProgress, ...]:
        """All cells with their states; the logs of running cells and of the cells of `task` are read."""
        made = []
        for index, (what, log) in enumerate(zip(states, self._summaries, strict=True)):
            wanted = what.status == "running" or what.task == task
            if wanted and not (log.read_with == what.status and what.status != "running"):
                log.read(until)
                log.read_with = what.status
            state = log.state(what.status)
            before = self._cells[index] if index < len(self._cells) else None
            same = before is not None and before.reported == what and before.state is state
            made.append(before if same and before is not None else CellProgress(what, state))
        self._cells = made
        return tuple(made)

    def run_state(self, index: int, status: str, until: float | None = None) -> RunState:
        """The full state of the cell `index`; after a change of cell its log is read from the beginning."""
        if self._details is None or self._details[0] != index:
            self._details = index, CellLog(EventLogReader(self._paths[index]))
        log = self._details[1]
        if log.read_with != status or status not in ENDED:
            log.read(until)
            log.read_with = status
        return log.state(status)
