"""Where a run's events go: logs, display, and a state for the closing table; and what the keyboard says."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import Any, Self

from ultra_agents.cli.failure import write_crash
from ultra_agents.events import Event, RunFinished, Warned
from ultra_agents.runs import RunFolder
from ultra_agents.ui.display import Display
from ultra_agents.ui.model import ViewState, reduce
from ultra_agents.ui.plain import PlainDisplay
from ultra_agents.ui.training_log import TrainingLog


class Broadcast:
    """An `Emit`: safe from any thread; no failure of a display or of the log ever reaches the run.

    A display that fails is replaced by plain lines once, then by nothing.

    Args:
        folder: Its `events.jsonl` gets every event, with its time (seconds since the epoch); its `metrics.jsonl` and
            `tensorboard/` get what training measured.
        display: Shows them.
        past: Events of earlier parts of a resumed run, for the closing table.
    """

    def __init__(self, folder: RunFolder, display: Display, past: Iterable[Event] = ()) -> None:
        self.folder = folder
        self.state = ViewState()
        self.finished = False
        self._display: Display | None = display
        self._fell_back = False
        self._training = TrainingLog(folder.metrics, folder.tensorboard)
        self._failed: set[str] = set()
        self._lock = threading.RLock()
        for event in past:
            self.state = reduce(self.state, event, time.monotonic())

    def __enter__(self) -> Self:
        self._guard(lambda display: display.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._guard(lambda display: display.stop())
            self._display = None
            self.folder.close()
            self._keep("training metrics are", self._training.close)

    def __call__(self, event: Event) -> None:
        """Log and show one event."""
        with self._lock:
            self.finished = self.finished or isinstance(event, RunFinished)
            self.state = reduce(self.state, event, time.monotonic())
            row = {**event.to_json(), "time": round(time.time(), 3)}
            self._keep("events are", lambda: self.folder.append_event(row))
            self._keep("training metrics are", lambda: self._training.handle(event))
            self._guard(lambda display: display.handle(event))

    def notice(self, text: str) -> None:
        """Tell the person at the keyboard something that is no part of the run's record."""
        with self._lock:
            self._guard(lambda display: display.handle(Warned(text)))

    def _keep(self, what: str, write: Callable[[], None]) -> None:
        """Write a log; the first failure of each kind is told, and nothing is written to it any more."""
        if what in self._failed:
            return
        try:
            write()
        except Exception as error:
            self._failed.add(what)
            warning = Warned(f"{what} not logged any more: {error}")
            self._guard(lambda display: display.handle(warning))

    def _guard(self, action: Callable[[Display], None]) -> None:
        if self._display is None:
            return
        try:
            action(self._display)
        except BrokenPipeError:  # the reader went away: the run goes on unseen
            self._display = None
        except Exception as error:
            self._replace(error)

    def _replace(self, error: Exception) -> None:
        path = write_crash(error, self.folder.path)
        broken, self._display = self._display, None
        try:
            if broken is not None:
                broken.stop()
        except Exception:
            pass
        if self._fell_back:
            return
        self._fell_back = True
        self._display = PlainDisplay(sys.stdout, state=self.state)
        self._guard(lambda display: display.handle(Warned(f"the display failed ({path}); plain lines from here on")))


class StopSignal:
    """Turns Ctrl-C and SIGTERM into a wish to stop: the first sets it, a second Ctrl-C raises KeyboardInterrupt.

    Args:
        notice: Told, from another thread, that the wish was heard.
    """

    def __init__(self, notice: Callable[[str], None]) -> None:
        self._notice = notice
        self._event = threading.Event()
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether the run should stop."""
        return self._event.is_set()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self._event.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._event.set()
        text = "stopping cleanly after the work in hand ... (Ctrl-C again stops at once)"
        # The handler runs between two instructions of the main thread, which may hold a lock the display needs.
        threading.Thread(target=self._notice, args=(text,), daemon=True).start()
