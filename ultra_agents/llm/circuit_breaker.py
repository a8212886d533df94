"""The circuit breaker of one provider: after failures in a row it is left alone for a while, then tried once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal, TypeAlias

State: TypeAlias = Literal["closed", "open", "half-open"]


class Breaker:
    """Closed while calls succeed; open after `failures` failed ones in a row; half-open after `rest_s` more seconds.

    Half-open lets a single call through, the probe: its success closes the breaker, its failure opens it again. The
    probe belongs to the thread that took it: what a call begun earlier has to tell meanwhile, however late, is counted
    but neither ends the probe nor gives out a second one; only its success does: the provider is back.

    Args:
        failures: Failed calls in a row that open it.
        rest_s: Seconds it stays open.
        clock: Seconds, monotonic.
    """

    def __init__(self, failures: int, rest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = failures
        self._rest_s = rest_s
        self._clock = clock
        self._failed = 0
        self._opened: float | None = None
        self._prober: int | None = None
        self._lock = threading.Lock()

    @property
    def state(self) -> State:
        """What it would say now."""
        with self._lock:
            return self._state()

    def _state(self) -> State:
        if self._opened is None:
            return "closed"
        return "half-open" if self._clock() >= self._opened + self._rest_s and self._prober is None else "open"

    def admits(self) -> bool:
        """May a call be made? Taking the probe of a half-open breaker; settle it with one of the methods below."""
        with self._lock:
            state = self._state()
            if state == "half-open":
                self._prober = threading.get_ident()
            return state != "open"

    def succeeded(self) -> None:
        """A call was answered."""
        with self._lock:
            self._failed, self._opened, self._prober = 0, None, None

    def failed(self) -> None:
        """A call failed in a way that passes."""
        with self._lock:
            self._failed += 1
            if self._prober == threading.get_ident() or (self._prober is None and self._failed >= self._most):
                self._open()

    def trip(self) -> None:
        """Open it now: the provider was given up."""
        with self._lock:
            self._open()

    def settle(self) -> None:
        """A call ended without telling anything about the provider: a probe may be made again."""
        with self._lock:
            self._end_probe()

    def _open(self) -> None:
        self._opened = self._clock()
        self._end_probe()

    def _end_probe(self) -> None:
        if self._prober == threading.get_ident():
            self._prober = None
