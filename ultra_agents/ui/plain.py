"""One line per event, stable for grep: `  12.3s explain    3/12 ...`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TextIO

from ultra_agents.events import (
    AdviceDecided,
    AgentSpoke,
    Dropped,
    Evaluated,
    Event,
    RunFinished,
    RunStarted,
    StageFinished,
    StageProgress,
    StageStarted,
    TrainingProgress,
    Warned,
)
from ultra_agents.ui.text import clean, count, score

QUIET_SECONDS = 5.0
"""Progress of one stage is told at most this often, and at its end."""


class Plain:
    """Implements `Display` on a text stream.

    Args:
        out: Where lines go.
        clock: Seconds, monotonic.
    """

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._began = clock()
        self._told: dict[str, float] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Nothing to prepare."""

    def handle(self, event: Event) -> None:
        """Print the event's line, if it has one now."""
        with self._lock:
            line = self._line(event)
            if line is not None:
                self._out.write(f"{self._clock() - self._began:8.1f}s {line}\n")
                self._out.flush()

    def stop(self) -> None:
        """Nothing to clean up."""

    def _due(self, key: str, last: bool) -> bool:
        now = self._clock()
        if not last and now - self._told.get(key, -QUIET_SECONDS) < QUIET_SECONDS:
            return False
        self._told[key] = now
        return True

    def _line(self, event: Event) -> str | None:
        match event:
            case RunStarted():
                what = "resumed" if event.resumed else "started"
                return f"run        {what} {clean(event.name)} in {clean(event.folder)} (config {event.config_hash})"
            case StageStarted():
                return f"{event.stage:<10} started: {clean(event.title)}"
            case StageProgress():
                if self._due(event.stage, event.done == event.total):
                    return f"{event.stage:<10} {event.done}/{event.total} {clean(event.note, 80)}".rstrip()
                return None
            case StageFinished():
                return f"{event.stage:<10} done in {event.seconds:.1f} s: {clean(event.summary, 160)}"
            case AgentSpoke():
                cost = "cached" if event.cached else f"{event.prompt_tokens}+{event.completion_tokens} tokens"
                return f"{event.agent:<10} {event.segment} {event.verdict} ({cost}, {event.seconds:.1f} s)"
            case AdviceDecided():
                gain = "" if event.gain is None else f" gain {event.gain:+.2f}"
                what = f"step {event.step}: {clean(event.action, 30)} for {event.hold} steps"
                return f"{event.decision:<10} {event.segment} {what}{gain} - {clean(event.reason, 80)}"
            case Dropped():
                return f"dropped    {event.segment} {event.stage}: {clean(event.reason, 80)}"
            case TrainingProgress():
                if not self._due(event.method, event.steps >= event.total):
                    return None
                now = event.metrics.get("return_mean")
                told = "" if now is None else f", return {score(now)}"
                return f"train      {event.method} {count(event.steps)}/{count(event.total)} steps{told}"
            case Evaluated():
                mean = sum(event.returns) / max(len(event.returns), 1)
                told = f"{score(mean)} ({len(event.returns)} episodes)"
                return f"score      {event.method} {event.purpose} at {count(event.steps)} steps: {told}"
            case Warned():
                return f"warning    {clean(event.text)}"
            case RunFinished():
                where = f" Report: {clean(event.report)}" if event.report else ""
                return f"run        {event.status} in {event.seconds:.1f} s. {clean(event.summary)}{where}"
        return None
