"""Runs of other processes, at work or finished, shown from their event logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from ultra_agents.events import Event, RunFinished, RunStarted
from ultra_agents.ui.event_log import EventLogReader
from ultra_agents.ui.full_screen import terminal_keys
from ultra_agents.ui.live import LiveDisplay
from ultra_agents.ui.run_state import RunState, reduce
from ultra_agents.ui.text import about

POLL_S = 0.25
GONE = "no process is running it"


@dataclass
class WatchedRun:
    """A run that is watched.

    Args:
        name: Its name on the screen.
        log: Reads its event log.
        alive: Whether a process is working on it.

    Attributes:
        state: The state after the events read so far; its clock is the log's, seconds since the epoch.
        ended: `RunFinished` was read, or its process is gone.
    """

    name: str
    log: EventLogReader
    alive: Callable[[], bool]
    state: RunState = field(default_factory=RunState)
    ended: bool = False

    def poll(self) -> list[tuple[float, Event]]:
        """Read the new events into the state; those events with their times."""
        alive = self.alive()  # before reading: events written before the process ended are then read below
        new: list[tuple[float, Event]] = []
        for found in self.log.poll():
            if found is None:
                self.state = RunState()
                continue
            when, event = found
            when = time.time() if when is None else when
            self.state = reduce(self.state, event, when)
            new.append((when, event))
            if isinstance(event, RunStarted):
                self.ended = False
            if isinstance(event, RunFinished):
                self.ended = True
        if not alive and not self.ended:
            self.ended = True
            self.state = replace(self.state, status=f"stopped: {GONE}", ended=self.last)
        if alive and self.state.status.endswith(GONE):  # resumed
            self.ended = False
            self.state = replace(self.state, status="running", ended=None)
        return new

    @property
    def last(self) -> float:
        """When the log last changed, as the end of a run whose process is gone; seconds since the epoch."""
        try:
            return max(self.log.path.stat().st_mtime, self.state.started)
        except OSError:
            return self.state.started

    def label(self, now: float) -> str:
        """Name and progress, as the label of a tab."""
        state = self.state
        if state.paused is not None:
            return f"{self.name} paused"
        if self.ended:
            return f"{self.name} {state.status.partition(':')[0]}"
        left = state.left(now)
        current = state.current.name if state.current else state.status
        return f"{self.name} {current}" + (f" {about(left)}" if left else "")


class WatchDisplay(LiveDisplay):
    """The live screen for runs of other processes; the keys 1-9 and n select one of them, q leaves.

    Args:
        console: The terminal.
        runs: The watched runs.
    """

    def __init__(self, console: Console, runs: Sequence[WatchedRun]) -> None:
        super().__init__(console, now=time.time, keys=terminal_keys)
        self.runs = list(runs)
        self.chosen = 0
        self.left = False
        self.view = replace(self.view, watching=True)
        self.refresh()

    def press(self, key: str) -> None:
        """Handle a key."""
        if not self.view.help and key == "q":
            self.left = True
        elif not self.view.help and len(self.runs) > 1 and (key == "n" or key in "123456789"):
            index = (self.chosen + 1) % len(self.runs) if key == "n" else int(key) - 1
            if index < len(self.runs):
                self.chosen = index
                self.view = replace(self.view, scroll={}, held={})
                self.refresh()
        super().press("" if key == "q" and not self.view.help else key)

    def refresh(self) -> None:
        """Show the current state of the selected run, and the progress of all."""
        now = time.time()
        if len(self.runs) > 1:
            tabs = tuple((run.label(now), index == self.chosen) for index, run in enumerate(self.runs))
            self.view = replace(self.view, tabs=tabs)
        self.state = self.runs[self.chosen].state
        self.check()


def watch_folder(name: str, folder: Path, alive: Callable[[], bool]) -> WatchedRun:
    """The run in `folder`."""
    return WatchedRun(name, EventLogReader(folder / "events.jsonl"), alive)
