"""Where rollouts are played, and the simplest such place: a thread of this process."""

from __future__ import annotations

import contextlib
import gc
import queue
import threading
import traceback
from abc import ABC, abstractmethod
from concurrent.futures import Future, InvalidStateError
from typing import Any, Generic, TypeVar

from ultra_agents.contracts import Environment, Policy
from ultra_agents.errors import EnvironmentFault, UltraError
from ultra_agents.plugin_calls import plugin_fault, plugin_name
from ultra_agents.verification.jobs import Job, JobResult, Terms
from ultra_agents.verification.rollouts import Player

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

    def submit(self, job: J) -> Future[R]:
        """Queue a job.

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
        self._send(number, job)
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
    def _send(self, number: int, job: J) -> None: ...

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


class LocalPool(Pool[Job, JobResult]):
    """One thread of this process plays.

    Until it is closed, garbage collections leave out the objects there were when it was made: PyTorch brings half a
    million, through which a full collection goes for a tenth of a second, 7 % of testing an episode's suggestions.
    """

    def __init__(self, environment: Environment, policy: Policy, terms: Terms, slots: int) -> None:
        super().__init__(environment)
        self._player = Player(environment, policy, slots, terms)
        gc.freeze()
        self._jobs: queue.SimpleQueue[tuple[int, Job] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._play, name="rollouts", daemon=True)
        self._thread.start()

    def _send(self, number: int, job: Job) -> None:
        self._jobs.put((number, job))

    def _end(self) -> None:
        self._jobs.put(None)
        self._thread.join()
        self._player.close()
        gc.unfreeze()

    def _play(self) -> None:
        player = self._player
        while True:
            while not (player.busy and self._jobs.empty()):
                message = self._jobs.get()
                if message is None:
                    return
                player.add(*message)
            for number, outcome in tick(player, self._environment):
                self._settle(number, outcome)


def _set_outcome(future: Future[Any], outcome: object) -> None:
    with contextlib.suppress(InvalidStateError):
        if isinstance(outcome, UltraError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def tick(player: Player, environment: Environment) -> list[tuple[int, JobResult | UltraError]]:
    """One tick; an error in it fails every job the player holds, and leaves it ready for others."""
    try:
        return player.tick()
    except Exception as error:
        told = plugin_fault(environment, error)
        told.add_note(traceback.format_exc())
        return [*player.take(), *((number, told) for number in player.drop_all())]
