"""Where rollouts are played, and the simplest such place: a thread of this process."""

from __future__ import annotations

import contextlib
import gc
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Hashable
from concurrent.futures import Future, InvalidStateError
from typing import Any, Generic, TypeVar

from ultra_agents.contracts import Environment, Policy
from ultra_agents.errors import EnvironmentFault, UltraError
from ultra_agents.plugin_calls import plugin_name
from ultra_agents.verification.host import Host, Task
from ultra_agents.verification.jobs import Terms

J = TypeVar("J")
R = TypeVar("R")


class Pool(ABC, Generic[J, R]):
    """Plays jobs handed over from any thread."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[R]] = {}
        self._count = 0
        self._broken: UltraError | None = None
        self._closed = False

    def submit(self, job: J, home: Hashable = None) -> Future[R]:
        """Queue a job; those with the same `home` other than None go to the same worker while that one lives.

        Raises:
            EnvironmentFault: The pool is closed, or what it plays on is gone.
        """
        future: Future[R] = Future()
        with self._lock:
            if self._closed:
                raise EnvironmentFault(f"the rollouts of the environment {plugin_name(self._environment)} are closed")
            if self._broken is not None:
                raise self._broken
            number, self._count = self._count, self._count + 1
            self._waiting[number] = future
        self._send(number, job, home)
        return future

    def close(self) -> None:
        """End everything and wait for it; jobs under way fail."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._end()
        self._fail(EnvironmentFault(f"the rollouts of the environment {plugin_name(self._environment)} were closed"))

    def play(self, job: J) -> R:
        """What comes of a job; as `submit`."""
        return self.submit(job).result()

    @abstractmethod
    def _send(self, number: int, job: J, home: Hashable) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...

    def _settle(self, number: int, outcome: R | UltraError) -> None:
        with self._lock:
            future = self._waiting.pop(number, None)
        if future is not None:
            _set_outcome(future, outcome)

    def _fail(self, error: UltraError) -> None:
        """Fail whatever is under way."""
        with self._lock:
            futures, self._waiting = list(self._waiting.values()), {}
        for future in futures:
            _set_outcome(future, error)

    def _break(self, error: UltraError) -> None:
        """Fail whatever is under way or comes later."""
        with self._lock:
            self._broken = self._broken or error
        self._fail(error)


class LocalPool(Pool[Task, Any]):
    """One thread of this process plays.

    Until it is closed, garbage collections leave out the objects there were when it was made: PyTorch brings half a
    million, through which a full collection goes for a tenth of a second, 7 % of testing an episode's suggestions.
    """

    def __init__(self, environment: Environment, policy: Policy, terms: Terms, slots: int) -> None:
        super().__init__(environment)
        self._host = Host(environment, policy, terms, slots)
        gc.freeze()
        self._tasks: queue.SimpleQueue[tuple[int, Task] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._play, name="rollouts", daemon=True)
        self._thread.start()

    def _send(self, number: int, job: Task, home: Hashable) -> None:
        self._tasks.put((number, job))

    def _end(self) -> None:
        self._tasks.put(None)
        self._thread.join()
        self._host.close()
        gc.unfreeze()

    def _play(self) -> None:
        host = self._host
        while True:
            while not (host.busy and self._tasks.empty()):
                message = self._tasks.get()
                if message is None:
                    return
                host.add(*message)
            for number, outcome in host.tick():
                self._settle(number, outcome)


def _set_outcome(future: Future[Any], outcome: object) -> None:
    with contextlib.suppress(InvalidStateError):
        if isinstance(outcome, UltraError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
