"""Sends a run's events to its logs, its display, and the state that the closing summary is made of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from ultra_agents.cli.error_output import write_crash
from ultra_agents.cli.plugin_output import screen
from ultra_agents.events import EmitStreaming, Event, ReplyStreaming, RunFinished, Warned
from ultra_agents.runs import RunFolder
from ultra_agents.ui.display import Display, StreamingDisplay
from ultra_agents.ui.plain import PlainDisplay
from ultra_agents.ui.run_state import RunState, reduce
from ultra_agents.ui.training_log import TrainingLog


class EventDispatcher:
    """An `Emit` for any thread. Failures of the display or of a log never reach the run.

    A display that fails is replaced by plain lines; when those fail as well, nothing is shown any more.

    Args:
        folder: Its `events.jsonl` gets every event, with its time (seconds since the epoch); its `metrics.jsonl` and
            `tensorboard/` get what training measured.
        display: Shows them.
        past: Events from before the run was resumed, for the closing summary.
    """

    def __init__(self, folder: RunFolder, display: Display, past: Iterable[Event] = ()) -> None:
        self.folder = folder
        self.state = RunState()
        self.finished = False
        self._display: Display | None = display
        self._replaced = False
        config = folder.config
        told = config.model_dump(mode="json", include={"seed", "environment", "proposer", "modulation", "refine"})
        self._training = TrainingLog(folder.metrics, folder.tensorboard, trackers=config.trackers, settings=told)
        self._failed: set[str] = set()
        self._lock = threading.RLock()
        for event in past:
            self.state = reduce(self.state, event, time.monotonic())

    def __enter__(self) -> Self:
        self._display_safely(lambda display: display.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._log("training metrics are", self._training.close)
            for trouble in self._training.troubles():
                self.notice(trouble)
            self._display_safely(lambda display: display.stop())
            self._display = None
            self.folder.close()

    def __call__(self, event: Event) -> None:
        """Log and show one event."""
        with self._lock:
            self.finished = self.finished or isinstance(event, RunFinished)
            self.state = reduce(self.state, event, time.monotonic())
            row = {**event.to_json(), "time": round(time.time(), 3)}
            self._log("events are", lambda: self.folder.append_event(row))
            self._log("training metrics are", lambda: self._training.handle(event))
            for trouble in self._training.troubles():
                self.notice(trouble)
            self._display_safely(lambda display: display.handle(event))

    @property
    def emit_streaming(self) -> EmitStreaming | None:
        """Sends partial replies to the display; None where that does not show them, so that none are asked for."""
        return self._stream_reply if isinstance(self._display, StreamingDisplay) else None

    def _stream_reply(self, event: ReplyStreaming) -> None:
        with self._lock:
            display = self._display
            if isinstance(display, StreamingDisplay):
                self._display_safely(lambda _: display.stream_reply(event))

    def notice(self, text: str) -> None:
        """Show the user a message that is not logged."""
        with self._lock:
            self._display_safely(lambda display: display.handle(Warned(text)))

    def _log(self, what: str, write: Callable[[], None]) -> None:
        """Write to a log; after its first failure, which is shown, nothing more is written to it."""
        if what in self._failed:
            return
        try:
            write()
        except Exception as error:
            self._failed.add(what)
            warning = Warned(f"{what} not logged any more: {error}")
            self._display_safely(lambda display: display.handle(warning))

    def _display_safely(self, action: Callable[[Display], None]) -> None:
        if self._display is None:
            return
        try:
            action(self._display)
        except BrokenPipeError:  # nobody reads standard output any more
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
        if self._replaced:
            return
        self._replaced = True
        self._display = PlainDisplay(screen(), state=self.state)
        self._display_safely(
            lambda display: display.handle(Warned(f"the display failed ({path}); plain lines from here on"))
        )
