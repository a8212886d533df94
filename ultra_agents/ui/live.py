"""The live screen: events change a value, a thread of Rich's draws it a few times a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live as RichLive
from rich.table import Table
from rich.text import Text

from ultra_agents.events import Event
from ultra_agents.ui.model import ViewState, reduce
from ultra_agents.ui.screen import Screen
from ultra_agents.ui.text import clean, count, score

REDRAWS_PER_SECOND = 4


class Live:
    """Implements `Display` on a terminal; `handle` only updates the state and never waits for the screen."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._state = ViewState()
        self._lock = threading.Lock()
        self._live = RichLive(
            self, console=console, refresh_per_second=REDRAWS_PER_SECOND, screen=True, redirect_stderr=False
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Screen(self._state, self._clock())

    def start(self) -> None:
        """Take the terminal's alternate screen."""
        self._live.start()

    def handle(self, event: Event) -> None:
        """Note the event; the next redraw shows it."""
        with self._lock:
            self._state = reduce(self._state, event, self._clock())

    def stop(self) -> None:
        """Give the terminal back and leave the outcome on it."""
        self._live.stop()
        self._console.print(outcome(self._state))


class _Lines:
    def __init__(self, *parts: Table | Text) -> None:
        self.parts = parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self.parts


def outcome(state: ViewState) -> _Lines:
    """What stays on the terminal: the scores of every method, the run's one sentence, and where the report is."""
    table = Table("method", "before", "last", "best", "steps", box=None, pad_edge=False)
    before = state.before
    for method, purposes in state.scores.items():
        if method == "none" or "last" not in purposes:
            continue
        best = purposes.get("best")
        table.add_row(
            Text(method, "bold"),
            score(before.mean) if before else "-",
            score(purposes["last"].mean),
            score(best.mean) if best else "-",
            count(purposes["last"].steps),
        )
    words = Text(clean(state.summary) if state.summary else f"run {state.status}")
    if state.report:
        words.append(f"\nReport: {clean(state.report)}", "bold")
    return _Lines(table, words) if table.row_count else _Lines(words)
