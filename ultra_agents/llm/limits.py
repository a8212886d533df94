"""How fast and how many at once: a provider's rate limits, kept on our side; and one thread a question."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ultra_agents.llm.retry import check_stop, pause

WINDOW_S = 60.0


class Limits:
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
    def turn(self, tokens: int, stop: Callable[[], bool] | None = None) -> Iterator[None]:
        """Wait for a turn, and hold a place for one call of `tokens`.

        Raises:
            ultra_agents.errors.Interrupted: `stop` said so.
        """
        while self._slots is not None and not self._slots.acquire(timeout=0.1):
            check_stop(stop)
        try:
            while (wait := self.wait_s(tokens)) > 0:
                pause(wait, stop)
            yield
        finally:
            if self._slots is not None:
                self._slots.release()

    def wait_s(self, tokens: int) -> float:
        """Seconds until a call of `tokens` may begin; 0 takes the turn."""
        with self._lock:
            now = self._clock()
            while self._begun and self._begun[0][0] <= now - WINDOW_S:
                self._begun.popleft()
            crowded = self._requests is not None and len(self._begun) >= self._requests
            heavy = self._tokens is not None and sum(size for _, size in self._begun) + tokens > self._tokens
            if self._begun and (crowded or heavy):
                return max(self._begun[0][0] + WINDOW_S - now, 1e-3)
            self._begun.append((now, tokens))
            return 0.0


class OneAtATime:
    """Lets one thread at a time do the same thing; safe to use from many threads."""

    def __init__(self) -> None:
        self._under_way: dict[str, tuple[threading.Lock, int]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, key: str, stop: Callable[[], bool] | None = None) -> Iterator[None]:
        """Wait until nobody else has a turn with this `key`, and hold it.

        Raises:
            ultra_agents.errors.Interrupted: `stop` said so.
        """
        with self._lock:
            lock, waiting = self._under_way.get(key, (threading.Lock(), 0))
            self._under_way[key] = (lock, waiting + 1)
        try:
            while not lock.acquire(timeout=0.1):
                check_stop(stop)
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                lock, waiting = self._under_way.pop(key)
                if waiting > 1:
                    self._under_way[key] = (lock, waiting - 1)
