"""Pause, continue and stop of a run, from the keyboard and from signals."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from ultra_agents.events import Emit, RunContinued, RunPaused, ignore


class RunControl:
    """The `stop` callable of a pipeline, which calls it at every safe point.

    The first Ctrl-C or SIGTERM requests a stop, a second Ctrl-C raises KeyboardInterrupt. While the run is paused, the
    call blocks, so that nothing new is begun. Requesting a stop ends a pause.

    Args:
        notice: Called from another thread with the message that a stop was requested.
        emit: Receives `RunPaused` and `RunContinued`; may be set after construction.
    """

    def __init__(self, notice: Callable[[str], None] = lambda text: None, emit: Emit = ignore) -> None:
        self.notice = notice
        self.emit = emit
        self._stop = threading.Event()
        self._unpaused = threading.Event()
        self._unpaused.set()
        self._toggling = threading.Lock()
        self._handlers: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether the run should stop; blocks while it is paused."""
        while not self._unpaused.is_set() and not self._stop.is_set():
            self._unpaused.wait(0.1)
        return self._stop.is_set()

    @property
    def paused(self) -> bool:
        """Whether the run is paused."""
        return not self._unpaused.is_set()

    @property
    def stop_requested(self) -> bool:
        """Whether a stop was requested; never blocks."""
        return self._stop.is_set()

    def toggle_pause(self) -> None:
        """Pause the run at its next safe point, or continue it."""
        with self._toggling:
            if self._stop.is_set():
                return
            if self.paused:
                self.emit(RunContinued())
                self._unpaused.set()
            else:
                self._unpaused.clear()
                self.emit(RunPaused())

    def ask_to_stop(self) -> None:
        """Request a stop at the next safe point, as the first Ctrl-C does."""
        if self._stop.is_set():
            return
        self._stop.set()
        text = "stopping cleanly after the work in hand ... (Ctrl-C again stops at once)"
        # A signal handler interrupts the main thread, which may hold a lock that the display needs.
        threading.Thread(target=self.notice, args=(text,), daemon=True).start()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.ask_to_stop()
