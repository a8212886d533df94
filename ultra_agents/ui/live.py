"""The live screen of a run, drawn by a thread of its own from a state that events update: it never holds up the run.

A panel is drawn again only when what it depends on changed, a line is sent only when it differs from the one there,
and the more drawing costs the rarer it becomes: `SHARE` of one processor at the most, keys excepted. Rich's `Live`
draws everything at every refresh, which on a large terminal costs several times that.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol

from rich.console import Console, RenderableType

from ultra_agents.events import Event, ReplyGrowing
from ultra_agents.ui.model import ViewState, reduce
from ultra_agents.ui.screen import Region, Screen, depends, panes, regions, renderable, scrolled_of
from ultra_agents.ui.surface import LATE_S, SHARE, SOON_S, MakeKeys, Surface, terminal_keys
from ultra_agents.ui.view import press, settled

__all__ = ["LATE_S", "SHARE", "SOON_S", "Controls", "LiveDisplay", "Screen", "terminal_keys"]


class Controls(Protocol):
    """What a person at the keyboard can do to the run."""

    def toggle_pause(self) -> None:
        """Let the run wait, or go on."""
        ...

    def ask_to_stop(self) -> None:
        """Stop after the work in hand, keeping everything."""
        ...


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
        super().__init__(console, now, keys)
        self.controls = controls
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

    def press(self, key: str) -> None:
        """Take a key: what it does to the run goes to the controls, the rest changes the view."""
        if self.view.help:
            self.view = replace(self.view, help=False)
        elif key == "CTRL_L":
            self._painter.forget()
        elif key in ("p", "SPACE") and self.controls is not None:
            self.controls.toggle_pause()
        elif key == "q" and self.controls is not None:
            self.view = replace(self.view, stopping=True)
            self.controls.ask_to_stop()
        else:
            width, height = self.console.size
            there = panes(width, height, self.state, self.view)
            self.view = press(self.view, key, there, self.state, page=max(height // 3, 3))
        self._wake.set()

    def scene(self) -> tuple[Any, ...]:
        """The state, the view, and the second while its clocks run."""
        state = self.state
        return state, self.view, int(self.now()) if state.ended is None and state.paused is None else 0

    def draw(self) -> None:
        """Draw what changed since the last time."""
        state, view, now = self.state, self.view, self.now()
        width, height = self.console.size
        scrolled: dict[str, int] = {}
        parts: list[tuple[Region, tuple[Any, ...], Callable[[], RenderableType]]] = []
        for region in regions(width, height, state, view):

            def made(region: Region = region) -> RenderableType:
                what = renderable(region, state, now, view)
                if region.name in view.scroll:
                    scrolled[region.name] = scrolled_of(what)
                return what

            parts.append((region, depends(region, state, now, view), made))
        self._painter.paint(parts, width, height)
        if self.view is view:
            self.view = settled(view, scrolled)
