"""Where a run's events go: logs, display, and a state for the closing table; and what the keyboard says."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType, TracebackType
from typing import Any, Self

from ultra_agents.cli.failure import write_crash
from ultra_agents.cli.plugin_output import screen
from ultra_agents.events import Emit, Event, Grow, ReplyGrowing, RunContinued, RunFinished, RunPaused, Warned, ignore
from ultra_agents.runs import RunFolder
from ultra_agents.ui.display import Display, GrowingDisplay
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
        config = folder.config
        told = config.model_dump(mode="json", include={"seed", "environment", "proposer", "modulation", "refine"})
        self._training = TrainingLog(folder.metrics, folder.tensorboard, trackers=config.trackers, settings=told)
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
            self._keep("training metrics are", self._training.close)
            for trouble in self._training.troubles():
                self.notice(trouble)
            self._guard(lambda display: display.stop())
            self._display = None
            self.folder.close()

    def __call__(self, event: Event) -> None:
        """Log and show one event."""
        with self._lock:
            self.finished = self.finished or isinstance(event, RunFinished)
            self.state = reduce(self.state, event, time.monotonic())
            row = {**event.to_json(), "time": round(time.time(), 3)}
            self._keep("events are", lambda: self.folder.append_event(row))
            self._keep("training metrics are", lambda: self._training.handle(event))
            for trouble in self._training.troubles():
                self.notice(trouble)
            self._guard(lambda display: display.handle(event))

    @property
    def growing(self) -> Grow | None:
        """Where replies go while they are written: to the display alone; None for one that does not show them."""
        return self._grow if isinstance(self._display, GrowingDisplay) else None

    def _grow(self, event: ReplyGrowing) -> None:
        with self._lock:
            display = self._display
            if isinstance(display, GrowingDisplay):
                self._guard(lambda _: display.grow(event))

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
        self._display = PlainDisplay(screen(), state=self.state)
        self._guard(lambda display: display.handle(Warned(f"the display failed ({path}); plain lines from here on")))


class StopSignal:
    """What the keyboard says to a run: stop, wait, go on. The `stop` that a pipeline asks between pieces of work.

    The first Ctrl-C or SIGTERM is a wish to stop, a second Ctrl-C raises KeyboardInterrupt. While paused, asking
    waits: whoever asks begins nothing new. A wish to stop ends the wait.

    Args:
        notice: Told, from another thread, that the wish was heard.
        emit: Told when a pause begins and ends; may be set later, by the one who makes the display.
    """

    def __init__(self, notice: Callable[[str], None] = lambda text: None, emit: Emit = ignore) -> None:
        self.notice = notice
        self.emit = emit
        self._event = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self._toggling = threading.Lock()
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether the run should stop; waits while it is paused."""
        while not self._running.is_set() and not self._event.is_set():
            self._running.wait(0.1)
        return self._event.is_set()

    @property
    def paused(self) -> bool:
        """Whoever asks is made to wait."""
        return not self._running.is_set()

    @property
    def asked(self) -> bool:
        """A wish to stop was heard; asking so never waits."""
        return self._event.is_set()

    def toggle_pause(self) -> None:
        """Let the run wait between two pieces of work, or go on."""
        with self._toggling:
            if self._event.is_set():
                return
            if self.paused:
                self.emit(RunContinued())
                self._running.set()
            else:
                self._running.clear()
                self.emit(RunPaused())

    def ask_to_stop(self) -> None:
        """Stop after the work in hand; what Ctrl-C does the first time."""
        if self._event.is_set():
            return
        self._event.set()
        text = "stopping cleanly after the work in hand ... (Ctrl-C again stops at once)"
        # The handler runs between two instructions of the main thread, which may hold a lock the display needs.
        threading.Thread(target=self.notice, args=(text,), daemon=True).start()

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
        self.ask_to_stop()
