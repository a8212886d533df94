"""Base of the live full-screen displays: a drawing thread, a keyboard, and the terminal's alternate screen.

The thread draws at once after a key press. Otherwise it draws when the shown values changed, at intervals that keep
drawing below `CPU_SHARE` of one processor. An exception in the thread is raised in the caller's next `check`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, TypeVar

from rich.console import Console, RenderableType

from ultra_agents.ui.keys import Keyboard, KeyReader, has_keyboard
from ultra_agents.ui.output_capture import OutputCapture
from ultra_agents.ui.screen import Region, depth_of, scrolled_of
from ultra_agents.ui.terminal_renderer import Part, TerminalRenderer
from ultra_agents.ui.view import View, with_scroll_limits

Shown = TypeVar("Shown")
CPU_SHARE = 0.01
"""The share of one processor's time that drawing may take."""
MIN_INTERVAL_S, MAX_INTERVAL_S = 0.25, 3.0
"""Bounds of the time between two drawings that no key asked for."""
MakeKeyboard: TypeAlias = Callable[["FullScreenDisplay"], Keyboard | None]
"""Makes the keyboard that calls the display's `press`; None where there is none."""


class Controls(Protocol):
    """What the keyboard can do to the run."""

    def toggle_pause(self) -> None:
        """Pause, or continue."""
        ...

    def ask_to_stop(self) -> None:
        """Stop at the next safe point; everything done is kept."""
        ...


class FullScreenDisplay:
    """Draws on the terminal's alternate screen; `stop` restores the main screen.

    Subclasses define `navigate`, `draw` and `shown_values`.

    Args:
        console: The terminal.
        now: A clock in seconds, the one of the shown state.
        keys: Makes the keyboard; by default that of the terminal, where there is one.
        controls: Pauses and stops the run; None where keys must not.

    Attributes:
        drawing_s: Processor seconds spent on drawing.
        view: Focus, scrolling and zoom, as the user left them.
    """

    def __init__(
        self,
        console: Console,
        now: Callable[[], float] = time.monotonic,
        keys: MakeKeyboard | None = None,
        controls: Controls | None = None,
    ) -> None:
        self.console = console
        self.now = now
        self.controls = controls
        self.drawing_s = 0.0
        self.view = View(depth=depth_of(console))
        self._make_keys = keys or terminal_keys
        self._keys: Keyboard | None = None
        self._output = OutputCapture()
        self._renderer = TerminalRenderer(console)
        self._failure: Exception | None = None
        self._wake, self._ended, self._hidden = threading.Event(), threading.Event(), threading.Event()
        self._drawing = threading.Lock()
        self._thread: threading.Thread | None = None

    def press(self, key: str) -> None:
        """Handle a key: pause and stop go to the controls, all others change the view."""
        if self.view.help:
            self.view = replace(self.view, help=False)
        elif key == "CTRL_L":
            self._renderer.invalidate()
        elif key in ("p", "SPACE") and self.controls is not None:
            self.controls.toggle_pause()
        elif key == "q" and self.controls is not None:
            self.view = replace(self.view, stopping=True)
            self.controls.ask_to_stop()
        else:
            self.navigate(key)
        self._wake.set()

    def navigate(self, key: str) -> None:
        """Handle a key that changes the view."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw the regions that changed since the last drawing."""
        raise NotImplementedError

    def shown_values(self) -> tuple[Any, ...]:
        """The values the screen depends on: while they are identical, or equal numbers, nothing is drawn."""
        raise NotImplementedError

    def check(self) -> None:
        """Raise what the drawing thread raised, so that the caller can change to another display."""
        if self._failure is not None:
            raise self._failure

    def start(self) -> None:
        """Switch to the alternate screen, begin to read keys and to draw."""
        self._renderer.open()
        try:
            self._keys = self._make_keys(self)
            if self._keys is not None:
                self._keys.start()
        except Exception:  # without keys the screen is still of use
            self._keys = None
        self.view = replace(self.view, keys=self._keys is not None)
        self._output.start()
        self._thread = threading.Thread(target=self._loop, name="display", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Switch back to the main screen and print what the run wrote to standard output meanwhile."""
        self._ended.set()
        self._wake.set()
        if self._keys is not None:
            self._keys.stop()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5.0)
        self._renderer.close()
        self._output.stop()

    def suspend(self) -> None:
        """Switch to the main screen while the process is suspended."""
        self._hidden.set()
        with self._drawing:
            self._renderer.close()

    def resume(self) -> None:
        """Switch to the alternate screen again."""
        with self._drawing:
            self._renderer.open()
        self._hidden.clear()
        self._wake.set()

    def _fill(
        self,
        shown: Shown,
        regions: Callable[[int, int, Shown, View], Sequence[Region]],
        depends: Callable[[Region, Shown, float, View], tuple[Any, ...]],
        renderable: Callable[[Region, Shown, float, View], RenderableType],
    ) -> None:
        """Draw the regions of `shown` that changed; limit the view's scroll offsets to what there is."""
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
        self._renderer.render(parts, width, height)
        if self.view is view:
            self.view = with_scroll_limits(view, scrolled)

    def _loop(self) -> None:
        shown: tuple[Any, ...] | None = None
        while not self._ended.is_set():
            affordable = self._renderer.cost_s / CPU_SHARE * load_per_core()
            urgent = self._wake.wait(min(max(MIN_INTERVAL_S, affordable), MAX_INTERVAL_S))
            self._wake.clear()
            if self._ended.is_set():
                break
            values = (*self.shown_values(), self.console.size)
            if urgent or shown is None or not _unchanged(values, shown):
                self._draw_once()
                shown = values
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
        self.drawing_s += time.thread_time() - began


def _unchanged(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two tuples of shown values are the same, by identity except for integers and tuples."""
    return all(a is b or (isinstance(a, int | tuple) and a == b) for a, b in zip(one, other, strict=True))


def terminal_keys(display: FullScreenDisplay) -> Keyboard | None:
    """The keyboard of the display's terminal; None where there is none."""
    if not has_keyboard(display.console.is_terminal):
        return None
    return KeyReader(display.press, display.suspend, display.resume)


def load_per_core() -> float:
    """Runnable processes per processor, at least 1: on a loaded machine drawing becomes rarer in proportion."""
    try:
        return max(os.getloadavg()[0] / (os.cpu_count() or 1), 1.0)
    except OSError:
        return 1.0
