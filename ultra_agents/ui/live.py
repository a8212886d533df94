"""The live screen: drawn by a thread of its own from a state that events update, so that it never holds up the run.

A panel is drawn again only when what it depends on changed, a line is sent only when it differs from the one there,
and the more drawing costs the rarer it becomes: `SHARE` of one processor at the most, keys excepted. Rich's `Live`
draws everything at every refresh, which on a large terminal costs several times that.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Protocol

from rich.console import Console, RenderableType

from ultra_agents.events import Event
from ultra_agents.ui.keys import KeyReader, Keys, keyboard
from ultra_agents.ui.model import ViewState, reduce
from ultra_agents.ui.painter import Painter
from ultra_agents.ui.prints import Prints
from ultra_agents.ui.screen import Screen, depends, depth_of, panes, regions, renderable, scrolled_of
from ultra_agents.ui.view import View, press, settled

SHARE = 0.01
"""Of one processor's time, what drawing may take."""
SOON_S, LATE_S = 0.25, 3.0
"""The shortest time between two drawings, and the longest that `SHARE` may stretch it to."""
__all__ = ["Controls", "LiveDisplay", "Screen"]


class Controls(Protocol):
    """What a person at the keyboard can do to the run."""

    def toggle_pause(self) -> None:
        """Let the run wait, or go on."""
        ...

    def ask_to_stop(self) -> None:
        """Stop after the work in hand, keeping everything."""
        ...


class LiveDisplay:
    """Fills the terminal's second screen; the first one comes back unharmed at the end.

    Args:
        console: The terminal.
        past: Events of earlier parts of a resumed run.
        now: A clock in seconds, the one of the states' times.
        controls: What keys may do to the run; None where it cannot be steered.
        keys: Makes the keyboard, given who hears it; by default the terminal's, where there is one.

    Attributes:
        drawn: Processor seconds spent on drawing.
    """

    def __init__(
        self,
        console: Console,
        past: Iterable[Event] = (),
        now: Callable[[], float] = time.monotonic,
        controls: Controls | None = None,
        keys: Callable[[LiveDisplay], Keys | None] | None = None,
    ) -> None:
        self.console = console
        self.now = now
        self.drawn = 0.0
        self.controls = controls
        self.state = ViewState()
        for event in past:
            self.state = reduce(self.state, event, now())
        self.view = View(depth=depth_of(console))
        self._make_keys = keys or terminal_keys
        self._keys: Keys | None = None
        self._prints = Prints()
        self._painter = Painter(console)
        self._failure: Exception | None = None
        self._wake, self._ended, self._hidden = threading.Event(), threading.Event(), threading.Event()
        self._drawing = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Switch to the second screen, listen to the keys and begin to draw."""
        self._painter.open()
        try:
            self._keys = self._make_keys(self)
            if self._keys is not None:
                self._keys.start()
        except Exception:  # a terminal that cannot be read is still one to draw on
            self._keys = None
        self.view = replace(self.view, keys=self._keys is not None)
        self._prints.start()
        self._thread = threading.Thread(target=self._loop, name="display", daemon=True)
        self._thread.start()

    def handle(self, event: Event) -> None:
        """Update the state; drawing happens elsewhere.

        Raises:
            Exception: What drawing raised since the last call, so that the caller can change to another display.
        """
        if self._failure is not None:
            raise self._failure
        self.state = reduce(self.state, event, self.now())

    def stop(self) -> None:
        """Switch back; what the run printed meanwhile is printed now."""
        self._ended.set()
        self._wake.set()
        if self._keys is not None:
            self._keys.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5.0)
        self._painter.close()
        self._prints.stop()

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

    def suspend(self) -> None:
        """Give the terminal back for a while."""
        self._hidden.set()
        with self._drawing:
            self._painter.close()

    def resume(self) -> None:
        """Take the terminal again."""
        with self._drawing:
            self._painter.open()
        self._hidden.clear()
        self._wake.set()

    def _loop(self) -> None:
        """Draw at once when a key asks for it, else when something changed and the share of time allows it."""
        shown: tuple[object, ...] = ()
        while not self._ended.is_set():
            urgent = self._wake.wait(min(max(SOON_S, self._painter.cost / SHARE * crowd()), LATE_S))
            self._wake.clear()
            if self._ended.is_set():
                break
            state, size = self.state, self.console.size
            ticks = state.ended is None and state.paused is None
            now = (state, self.view, size, int(self.now()) if ticks else 0)
            if (
                urgent
                or any(a is not b and a != b for a, b in zip(now[2:], shown[2:], strict=False))
                or not (shown and now[0] is shown[0] and now[1] is shown[1])
            ):
                self._draw_once()
                shown = now
        if not self._failure:
            self._draw_once()

    def _draw_once(self) -> None:
        if self._hidden.is_set():
            return
        began = time.thread_time()
        try:
            with self._drawing:
                if not self._hidden.is_set():
                    self.draw()
        except Exception as failure:
            self._failure = failure
            self._ended.set()
        self.drawn += time.thread_time() - began

    def draw(self) -> None:
        """Draw what changed since the last time."""
        state, view, now = self.state, self.view, self.now()
        width, height = self.console.size
        scrolled: dict[str, int] = {}
        parts: list[tuple[Any, tuple[Any, ...], Callable[[], RenderableType]]] = []
        for region in regions(width, height, state, view):

            def made(region: Any = region) -> RenderableType:
                what = renderable(region, state, now, view)
                if region.name in view.scroll:
                    scrolled[region.name] = scrolled_of(what)
                return what

            parts.append((region, depends(region, state, now, view), made))
        self._painter.paint(parts, width, height)
        if self.view is view:
            self.view = settled(view, scrolled)


def terminal_keys(display: LiveDisplay) -> Keys | None:
    """The keyboard of the terminal the display is on; None where there is none."""
    if not keyboard(display.console.is_terminal):
        return None
    return KeyReader(display.press, display.suspend, display.resume)


def crowd() -> float:
    """Processes that want each processor, 1 at least: a run that gets half of one is drawn half as often."""
    try:
        return max(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0)
    except OSError:
        return 1.0
