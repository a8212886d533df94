"""Runs that other processes make, or made: their logs turned into states and lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console

from ultra_agents.events import Event, RunFinished, RunStarted
from ultra_agents.ui.live import LiveDisplay, terminal_keys
from ultra_agents.ui.model import ViewState, reduce
from ultra_agents.ui.tail import Tail
from ultra_agents.ui.text import about

POLL_S = 0.25
GONE = "no process is running it"


@dataclass
class Watched:
    """One run.

    Args:
        name: What it is called on the screen.
        tail: Its log.
        alive: Whether a process holds the run.

    Attributes:
        state: What the log says so far; its clock is that of the log, seconds since the epoch.
        ended: The last word was `RunFinished`, or its process is gone.
    """

    name: str
    tail: Tail
    alive: Callable[[], bool]
    state: ViewState = field(default_factory=ViewState)
    ended: bool = False

    def poll(self) -> list[tuple[float, Event]]:
        """The events since the last time, with their times; the state follows them."""
        held = self.alive()  # asked first: what a process wrote before it ended is read after this
        new: list[tuple[float, Event]] = []
        for found in self.tail.poll():
            if found is None:
                self.state = ViewState()
                continue
            when, event = found
            when = time.time() if when is None else when
            self.state = reduce(self.state, event, when)
            new.append((when, event))
            if isinstance(event, RunStarted):
                self.ended = False
            if isinstance(event, RunFinished):
                self.ended = True
        if not held and not self.ended:
            self.ended = True
            self.state = replace(self.state, status=f"stopped: {GONE}", ended=self.last)
        if held and self.state.status.endswith(GONE):  # taken up again
            self.ended = False
            self.state = replace(self.state, status="running", ended=None)
        return new

    @property
    def last(self) -> float:
        """The time of the newest change, for a run that has none of its own any more."""
        try:
            return max(self.tail.path.stat().st_mtime, self.state.started)
        except OSError:
            return self.state.started

    def label(self, now: float) -> str:
        """Name and progress, for a tab."""
        state = self.state
        if state.paused is not None:
            return f"{self.name} paused"
        if self.ended:
            return f"{self.name} {state.status.partition(':')[0]}"
        left = state.left(now)
        current = state.current.name if state.current else state.status
        return f"{self.name} {current}" + (f" {about(left)}" if left else "")


class WatchDisplay(LiveDisplay):
    """The live screen on runs of other processes; the keys 1-9 and n choose among them, q leaves.

    Args:
        console: The terminal.
        runs: What is watched.
    """

    def __init__(self, console: Console, runs: Sequence[Watched]) -> None:
        super().__init__(console, now=time.time, keys=terminal_keys)
        self.runs = list(runs)
        self.chosen = 0
        self.left = False
        self.view = replace(self.view, watching=True)
        self.refresh()

    def press(self, key: str) -> None:
        """Take a key."""
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
        """Show what the runs have come to."""
        now = time.time()
        if len(self.runs) > 1:
            tabs = tuple((run.label(now), index == self.chosen) for index, run in enumerate(self.runs))
            self.view = replace(self.view, tabs=tabs)
        self.state = self.runs[self.chosen].state
        self.check()


def watched(name: str, folder: Path, alive: Callable[[], bool]) -> Watched:
    """The run in `folder`."""
    return Watched(name, Tail(folder / "events.jsonl"), alive)
