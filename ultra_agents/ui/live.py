"""The live screen of a run, drawn by a thread of its own from a state that events update: it never holds up the run.

A panel is drawn again only when what it depends on changed, a line is sent only when it differs from the one there,
and the more drawing costs the rarer it becomes: `SHARE` of one processor at the most, keys excepted. Rich's `Live`
draws everything at every refresh, which on a large terminal costs several times that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console

from ultra_agents.events import Event, ReplyGrowing
from ultra_agents.ui.model import ViewState, reduce
from ultra_agents.ui.screen import Screen, depends, panes, regions, renderable
from ultra_agents.ui.surface import LATE_S, SHARE, SOON_S, Controls, MakeKeys, Surface, terminal_keys
from ultra_agents.ui.view import press

__all__ = ["LATE_S", "SHARE", "SOON_S", "Controls", "LiveDisplay", "Screen", "terminal_keys"]


class LiveDisplay(Surface):
    """Shows one run.

    Args:
        console: The terminal.
        past: Events of earlier parts of a resumed run.
        now: A clock in seconds, the one of the states' times.
        controls: What keys may do to the run; None where it cannot be steered.
        keys: Makes the keyboard; by default the terminal's, where there is one.
    """

    def __init__(
        self,
        console: Console,
        past: Iterable[Event] = (),
        now: Callable[[], float] = time.monotonic,
        controls: Controls | None = None,
        keys: MakeKeys | None = None,
    ) -> None:
        super().__init__(console, now, keys, controls)
        self.state = ViewState()
        for event in past:
            self.state = reduce(self.state, event, now())

    def handle(self, event: Event) -> None:
        """Update the state; drawing happens elsewhere.

        Raises:
            Exception: What drawing raised since the last call, so that the caller can change to another display.
        """
        self.check()
        self.state = reduce(self.state, event, self.now())

    def grow(self, event: ReplyGrowing) -> None:
        """As `handle`, for a reply that is being written."""
        self.handle(event)

    def browse(self, key: str) -> None:
        """Change the view."""
        width, height = self.console.size
        there = panes(width, height, self.state, self.view)
        self.view = press(self.view, key, there, self.state, page=max(height // 3, 3))

    def scene(self) -> tuple[Any, ...]:
        """The state, the view, and the second while its clocks run."""
        state = self.state
        return state, self.view, int(self.now()) if state.ended is None and state.paused is None else 0

    def draw(self) -> None:
        """Draw what changed since the last time."""
        self._fill(self.state, regions, depends, renderable)
