"""The screen in a notebook's cell: Rich's `Live` puts it into an output widget that changes in place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from rich.console import Console, RenderableType
from rich.live import Live

from ultra_agents.events import Event
from ultra_agents.ui.model import ViewState, reduce
from ultra_agents.ui.screen import Screen

WIDTH, HEIGHT, REFRESH_HZ = 110, 40, 1.0
"""Cells have no height of their own, and a kernel has other things to do."""


class NotebookDisplay:
    """Shows a run in a notebook.

    Args:
        console: The notebook's console.
        past: Events of earlier parts of a resumed run.
        now: A steady clock in seconds.
    """

    def __init__(
        self, console: Console, past: Iterable[Event] = (), now: Callable[[], float] = time.monotonic
    ) -> None:
        self.now = now
        self.state = ViewState()
        for event in past:
            self.state = reduce(self.state, event, now())
        console.width, console.height = WIDTH, HEIGHT
        self._live = Live(
            get_renderable=self._screen, console=console, refresh_per_second=REFRESH_HZ, vertical_overflow="crop"
        )

    def start(self) -> None:
        """Make the output and begin to draw."""
        self._live.start()

    def handle(self, event: Event) -> None:
        """Update the state; drawing happens elsewhere."""
        self.state = reduce(self.state, event, self.now())

    def stop(self) -> None:
        """Draw for the last time."""
        self._live.stop()

    def _screen(self) -> RenderableType:
        return Screen(self.state, self.now())
