"""The live screen in a notebook: an SVG image that is replaced in place and stays in the notebook at the end.

SVG and not Rich's HTML: there the browser's fonts would draw braille characters in another width than letters.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any, TypeAlias

from rich.console import Console

from ultra_agents.events import Event
from ultra_agents.ui.run_state import RunState, reduce
from ultra_agents.ui.svg import screen_svg

WIDTH, HEIGHT, REFRESH_S = 120, 40, 2.0
"""Size of the screen in cells, and seconds between two images."""
Update: TypeAlias = Callable[[str], None]
Show: TypeAlias = Callable[[str], Update]
"""Displays an image below the cell; the function returned replaces it by another."""


class NotebookDisplay:
    """Shows a run in a notebook.

    Args:
        console: The notebook's console.
        past: Events from before the run was resumed.
        now: A steady clock in seconds.
        show: Displays the images; below the cell by default.
    """

    def __init__(
        self,
        console: Console,
        past: Iterable[Event] = (),
        now: Callable[[], float] = time.monotonic,
        show: Show | None = None,
    ) -> None:
        self.console, self.now = console, now
        self.state = RunState()
        for event in past:
            self.state = reduce(self.state, event, now())
        self._show = show or below_the_cell
        self._update: Update | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None

    def start(self) -> None:
        """Show the first image and begin to draw."""
        self._update = self._show(self.picture())
        self._thread = threading.Thread(target=self._loop, name="display", daemon=True)
        self._thread.start()

    def handle(self, event: Event) -> None:
        """Update the state; the thread draws it.

        Raises:
            Exception: What the drawing thread raised, so that the caller can change to another display.
        """
        if self._failure is not None:
            raise self._failure
        self.state = reduce(self.state, event, self.now())

    def stop(self) -> None:
        """Draw a last time and end the thread."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(10.0)

    def picture(self) -> str:
        """The current screen as SVG."""
        return screen_svg(self.state, self.now(), WIDTH, HEIGHT, "ultra")

    def _loop(self) -> None:
        shown: RunState | None = None
        try:
            while not self._ended.wait(REFRESH_S):
                shown = self._draw(shown)
            self._draw(shown)
        except Exception as failure:
            self._failure = failure

    def _draw(self, shown: RunState | None) -> RunState:
        state = self.state
        if state is not shown and self._update is not None:
            self._update(self.picture())
        return state


def below_the_cell(svg: str) -> Update:
    """Display an image below the cell being run."""
    shown: Any = import_module("IPython.display")
    handle = shown.display(shown.SVG(svg), display_id=True)

    def update(other: str) -> None:
        handle.update(shown.SVG(other))

    return update
