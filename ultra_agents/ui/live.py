"""The live screen of a run. Events update a state; a thread of its own draws it and never blocks the run.

A panel is drawn again only when a value it depends on changed, and only changed lines are sent to the terminal. The
interval between drawings is chosen so that drawing takes at most `CPU_SHARE` of one processor, keys excepted
(`full_screen`). Rich's `Live` draws everything at every refresh, which costs several times that on a large terminal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console

from ultra_agents.events import Event, ReplyStreaming
from ultra_agents.ui.full_screen import Controls, FullScreenDisplay, MakeKeyboard
from ultra_agents.ui.run_state import RunState, reduce
from ultra_agents.ui.screen import dependencies, panes, regions, renderable
from ultra_agents.ui.view import press


class LiveDisplay(FullScreenDisplay):
    """Shows one run.

    Args:
        console: The terminal.
        past: Events from before the run was resumed.
        now: A clock in seconds, the one of the times in the state.
        controls: Pauses and stops the run; None where keys must not.
        keys: Makes the keyboard; by default that of the terminal, where there is one.
    """

    def __init__(
        self,
        console: Console,
        past: Iterable[Event] = (),
        now: Callable[[], float] = time.monotonic,
        controls: Controls | None = None,
        keys: MakeKeyboard | None = None,
    ) -> None:
        super().__init__(console, now, keys, controls)
        self.state = RunState()
        for event in past:
            self.state = reduce(self.state, event, now())

    def handle(self, event: Event) -> None:
        """Update the state; the thread draws it.

        Raises:
            Exception: What the drawing thread raised, so that the caller can change to another display.
        """
        self.check()
        self.state = reduce(self.state, event, self.now())

    def stream_reply(self, event: ReplyStreaming) -> None:
        """As `handle`, for a reply that is being generated."""
        self.handle(event)

    def navigate(self, key: str) -> None:
        """Change the view."""
        width, height = self.console.size
        there = panes(width, height, self.state, self.view)
        self.view = press(self.view, key, there, self.state, page=max(height // 3, 3))

    def shown_values(self) -> tuple[Any, ...]:
        """The state, the view, and the current second while clocks run."""
        state = self.state
        return state, self.view, int(self.now()) if state.ended is None and state.paused is None else 0

    def draw(self) -> None:
        """Draw the regions that changed since the last drawing."""
        self._fill(self.state, regions, dependencies, renderable)
