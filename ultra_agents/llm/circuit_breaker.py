"""The circuit breaker of one provider: after failures in a row it is not called for a while, then probed once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "half-open"]


class CircuitBreaker:
    """Closed while calls succeed; open after `failures` failed ones in a row; half-open after `rest_s` more seconds.

    Half-open lets a single call through, the probe: its success closes the breaker, its failure opens it again. The
    probe belongs to the thread that took it: the failure of a call begun earlier is counted but neither ends the probe
    nor allows a second one; its success closes the breaker for all.

    Args:
        failures: Failed calls in a row that open it.
        rest_s: Seconds it stays open.
        clock: Seconds, monotonic.
    """

    def __init__(self, failures: int, rest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_failures = failures
        self._rest_s = rest_s
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._probing_thread: int | None = None
        self._lock = threading.Lock()

    @property
    def state(self) -> State:
        """Closed, open or half-open now."""
        with self._lock:
            return self._state()

    def _state(self) -> State:
        if self._opened_at is None:
            return "closed"
        rested = self._clock() >= self._opened_at + self._rest_s
        return "half-open" if rested and self._probing_thread is None else "open"

    def allows(self) -> bool:
        """May a call be made? A half-open breaker gives out its probe; end it with one of the methods below."""
        with self._lock:
            state = self._state()
            if state == "half-open":
                self._probing_thread = threading.get_ident()
            return state != "open"

    def succeeded(self) -> None:
        """A call was answered."""
        with self._lock:
            self._failures, self._opened_at, self._probing_thread = 0, None, None

    def failed(self) -> None:
        """A call failed in a transient way."""
        with self._lock:
            self._failures += 1
            probe = self._probing_thread == threading.get_ident()
            if probe or (self._probing_thread is None and self._failures >= self._max_failures):
                self._open()

    def open(self) -> None:
        """Open it now: the provider was given up."""
        with self._lock:
            self._open()

    def end_probe(self) -> None:
        """A call ended without telling anything about the provider: another probe may be made."""
        with self._lock:
            self._end_probe()

    def _open(self) -> None:
        self._opened_at = self._clock()
        self._end_probe()

    def _end_probe(self) -> None:
        if self._probing_thread == threading.get_ident():
            self._probing_thread = None
