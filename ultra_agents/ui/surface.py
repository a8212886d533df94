"""A screen that is drawn by a thread of its own and listens to the keys: what the live screens have in common.

The thread draws at once when a key asks for it, else when what is shown changed and its share of the processor's time
allows it. A screen that cannot be drawn says so to the caller the next time it is told something.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, TypeVar

from rich.console import Console, RenderableType

from ultra_agents.ui.keys import KeyReader, Keys, keyboard
from ultra_agents.ui.painter import Painter, Part
from ultra_agents.ui.prints import Prints
from ultra_agents.ui.screen import Region, depth_of, scrolled_of
from ultra_agents.ui.view import View, settled

Shown = TypeVar("Shown")
SHARE = 0.01
"""Of one processor's time, what drawing may take."""
SOON_S, LATE_S = 0.25, 3.0
"""The shortest time between two drawings, and the longest that `SHARE` may stretch it to."""
MakeKeys: TypeAlias = Callable[["Surface"], Keys | None]
"""Makes the keyboard, given who hears it; None where there is none."""


class Controls(Protocol):
    """What a person at the keyboard can do to the work."""

    def toggle_pause(self) -> None:
        """Let it wait, or go on."""
        ...

    def ask_to_stop(self) -> None:
        """Stop after the work in hand, keeping everything."""
        ...


class Surface:
    """Fills the terminal's second screen; the first one comes back unharmed at the end.

    Args:
        console: The terminal.
        now: A clock in seconds, the one of what is shown.
        keys: Makes the keyboard; by default the terminal's, where there is one.
        controls: What keys may do to the work; None where it cannot be steered.

    Attributes:
        drawn: Processor seconds spent on drawing.
        view: What a person did with the screen.
    """

    def __init__(
        self,
        console: Console,
        now: Callable[[], float] = time.monotonic,
        keys: MakeKeys | None = None,
        controls: Controls | None = None,
    ) -> None:
        self.console = console
        self.now = now
        self.controls = controls
        self.drawn = 0.0
        self.view = View(depth=depth_of(console))
        self._make_keys = keys or terminal_keys
        self._keys: Keys | None = None
        self._prints = Prints()
        self._painter = Painter(console)
        self._failure: Exception | None = None
        self._wake, self._ended, self._hidden = threading.Event(), threading.Event(), threading.Event()
        self._drawing = threading.Lock()
        self._thread: threading.Thread | None = None

    def press(self, key: str) -> None:
        """Take a key: what it does to the work goes to the controls, the rest changes what is seen."""
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
            self.browse(key)
        self._wake.set()

    def browse(self, key: str) -> None:
        """Take a key that changes what is seen."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw what changed since the last time."""
        raise NotImplementedError

    def scene(self) -> tuple[Any, ...]:
        """What the screen shows: while these are the same objects, or equal numbers, there is nothing to draw."""
        raise NotImplementedError

    def check(self) -> None:
        """Raises what drawing raised since the last call, so that the caller can change to another display."""
        if self._failure is not None:
            raise self._failure

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

    def _fill(
        self,
        shown: Shown,
        regions: Callable[[int, int, Shown, View], Sequence[Region]],
        depends: Callable[[Region, Shown, float, View], tuple[Any, ...]],
        renderable: Callable[[Region, Shown, float, View], RenderableType],
    ) -> None:
        """Draw the regions of `shown` that changed, and take over how far their panels really are scrolled."""
        view, now = self.view, self.now()
        width, height = self.console.size
        scrolled: dict[str, int] = {}
        parts: list[Part] = []
        for region in regions(width, height, shown, view):

            def made(region: Region = region) -> RenderableType:
                what = renderable(region, shown, now, view)
                if region.name in view.scroll:
                    scrolled[region.name] = scrolled_of(what)
                return what

            parts.append((region, depends(region, shown, now, view), made))
        self._painter.paint(parts, width, height)
        if self.view is view:
            self.view = settled(view, scrolled)

    def _loop(self) -> None:
        shown: tuple[Any, ...] | None = None
        while not self._ended.is_set():
            urgent = self._wake.wait(min(max(SOON_S, self._painter.cost / SHARE * crowd()), LATE_S))
            self._wake.clear()
            if self._ended.is_set():
                break
            scene = (*self.scene(), self.console.size)
            if urgent or shown is None or not _alike(scene, shown):
                self._draw_once()
                shown = scene
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


def _alike(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two scenes look the same, without comparing at length."""
    return all(a is b or (isinstance(a, int | tuple) and a == b) for a, b in zip(one, other, strict=True))


def terminal_keys(display: Surface) -> Keys | None:
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
