"""One JSON object per event, for machines: `event` names the class, `seconds` is the time since the start."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import TextIO

from ultra_agents.events import Event


class JsonLines:
    """Implements `Display` on a text stream."""

    def __init__(self, out: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._clock = clock
        self._began = clock()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Nothing to prepare."""

    def handle(self, event: Event) -> None:
        """Write the event's line."""
        row = {"seconds": round(self._clock() - self._began, 3), **event.to_json()}
        with self._lock:
            self._out.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._out.flush()

    def stop(self) -> None:
        """Nothing to clean up."""
