"""A provider's rate limits, kept on our side: concurrency, requests and tokens per minute."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ultra_agents.llm.retry import check_stop, sleep

WINDOW_S = 60.0


class RateLimits:
    """Concurrency and per-minute limits of one model.

    Args:
        concurrency: Calls under way at once.
        requests: Calls begun in any window of 60 s.
        tokens: Tokens asked for in any window of 60 s; one larger call is let through alone.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        concurrency: int | None = None,
        requests: int | None = None,
        tokens: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._slots = None if concurrency is None else threading.BoundedSemaphore(concurrency)
        self._requests = requests
        self._tokens = tokens
        self._clock = clock
        self._begun: deque[tuple[float, int]] = deque()
        self._lock = threading.Lock()

    @contextmanager
    def slot(self, tokens: int, stop: Callable[[], bool] | None = None) -> Iterator[None]:
        """Wait until one call of `tokens` may begin, and hold its slot.

        Raises:
            ultra_agents.errors.Interrupted: `stop` said so.
        """
        while self._slots is not None and not self._slots.acquire(timeout=0.1):
            check_stop(stop)
        try:
            while (wait := self.wait_s(tokens)) > 0:
                sleep(wait, stop)
            yield
        finally:
            if self._slots is not None:
                self._slots.release()

    def wait_s(self, tokens: int) -> float:
        """Seconds until a call of `tokens` may begin; where 0, the call is counted as begun."""
        with self._lock:
            now = self._clock()
            while self._begun and self._begun[0][0] <= now - WINDOW_S:
                self._begun.popleft()
            too_many = self._requests is not None and len(self._begun) >= self._requests
            too_much = self._tokens is not None and sum(size for _, size in self._begun) + tokens > self._tokens
            if self._begun and (too_many or too_much):
                return max(self._begun[0][0] + WINDOW_S - now, 1e-3)
            self._begun.append((now, tokens))
            return 0.0
