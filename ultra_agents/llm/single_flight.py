"""One call per question: among the threads of this process, and among processes that share an answer cache."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ultra_agents.errors import UltraError
from ultra_agents.llm.cache import AnswerCache
from ultra_agents.llm.retry import check_stop, sleep

LEASE_S = 30.0
"""Seconds after which a claim that its process does not renew is another's to take: the process was killed."""


class SingleFlight:
    """Lets one thread of one process at a time ask the same question.

    Args:
        cache: Holds the claims of all processes that share it.
        lease_s: Seconds a claim lasts unless renewed.
    """

    def __init__(self, cache: AnswerCache, lease_s: float = LEASE_S) -> None:
        self._cache = cache
        self._lease_s = lease_s
        self._owner = f"{uuid.uuid4().hex}:{os.getpid()}:{this_machine()}"
        self._threads: dict[str, tuple[threading.Lock, int]] = {}
        self._claims: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._renewing: threading.Thread | None = None

    @contextmanager
    def turn(self, key: str, stop: Callable[[], bool] | None = None) -> Iterator[None]:
        """Wait until no other thread has a turn with this `key`, and hold it.

        Raises:
            ultra_agents.errors.Interrupted: `stop` said so.
        """
        with self._lock:
            lock, waiting = self._threads.get(key, (threading.Lock(), 0))
            self._threads[key] = (lock, waiting + 1)
        try:
            while not lock.acquire(timeout=0.1):
                check_stop(stop)
            try:
                yield
            finally:
                lock.release()
        finally:
            with self._lock:
                lock, waiting = self._threads.pop(key)
                if waiting > 1:
                    self._threads[key] = (lock, waiting - 1)

    @contextmanager
    def claim(self, key: str, stop: Callable[[], bool] | None = None) -> Iterator[None]:
        """Wait until no other process asks the question `key`, and claim it; look into the cache once more then.

        Raises:
            ultra_agents.errors.Interrupted: `stop` said so.
        """
        while not self._cache.claim(key, self._owner, self._lease_s):
            owner = self._cache.claimant(key)
            if owner is not None and _was_killed(owner):
                self._cache.release(key, owner)
            else:
                sleep(0.1, stop)
        with self._lock:
            self._claims.add(key)
            if self._renewing is None:
                self._renewing = threading.Thread(target=self._renew, daemon=True, name="llm-claims")
                self._renewing.start()
        try:
            yield
        finally:
            self._release(key)

    def close(self) -> None:
        """Stop renewing claims."""
        self._closed.set()
        if self._renewing is not None:
            self._renewing.join()

    def _release(self, key: str) -> None:
        with self._lock:
            self._claims.discard(key)
        self._cache.release(key, self._owner)

    def _renew(self) -> None:
        while not self._closed.wait(self._lease_s / 4):
            with self._lock:
                claims = tuple(self._claims)
            for key in claims:
                with suppress(UltraError):  # the call itself will say so
                    self._cache.claim(key, self._owner, self._lease_s)


def this_machine() -> str:
    """Tells apart machines, and containers with process numbers of their own, that share an answer cache."""
    with suppress(OSError):  # Linux: names of hosts repeat
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    return socket.gethostname()


def _was_killed(owner: str) -> bool:
    """Whether a claim's process ran on this machine and is gone; of other machines only the lease tells."""
    _, pid, machine = owner.split(":", 2)
    if machine != this_machine():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's
        return False
    return False
