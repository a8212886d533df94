"""Where rollouts are played: in a thread of this process, or in worker processes that play whole rollouts.

A worker holds its own simulators and its own copy of the policy, so there is no message per step: a job goes out, an
outcome comes back. Which worker plays a job, and what else it plays, does not change the outcome.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
import traceback
from abc import ABC, abstractmethod
from concurrent.futures import Future, InvalidStateError
from multiprocessing.connection import Connection
from typing import Any

from ultra_agents.config.engine import RunEngineConfig
from ultra_agents.contracts import Environment, Policy
from ultra_agents.errors import EnvironmentFault, UltraError
from ultra_agents.rollout.simulators import fault, whose
from ultra_agents.rollout.workers import started
from ultra_agents.verification.jobs import Job, Outcome, Terms
from ultra_agents.verification.rollouts import Player

_LAST_WORDS_S = 5.0


def make_pool(
    environment: Environment,
    policy: Policy,
    terms: Terms,
    workers: int = 0,
    slots: int = 32,
    engine: RunEngineConfig | None = None,
) -> Pool:
    """Somewhere to play jobs.

    Args:
        environment: Must be able to restore.
        policy: Picklable; its copies must act alike.
        terms: Uniforms and discount.
        workers: Processes; 0 plays in a thread of this one.
        slots: Parallel rollouts, in each process.
        engine: Of kind `ray`, the workers are on its cluster and `workers` is of no account.

    Raises:
        EnvironmentFault: The plugin fails to build its environments, or a worker does not come up.
        ConfigError: There is no such cluster.
    """
    if engine is not None and engine.kind == "ray":
        from ultra_agents.verification.ray_pool import RayPool

        return RayPool(environment, policy, terms, slots, engine)
    if workers == 0:
        return LocalPool(environment, policy, terms, slots)
    return WorkerPool(environment, policy, terms, workers, slots)


class Pool(ABC):
    """Plays jobs handed over from any thread."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._lock = threading.Lock()
        self._waiting: dict[int, Future[Outcome]] = {}
        self._count = 0
        self._broken: UltraError | None = None
        self._closed = False

    def submit(self, job: Job) -> Future[Outcome]:
        """Queue a job.

        Raises:
            EnvironmentFault: The pool is closed, or what it plays on is gone.
        """
        future: Future[Outcome] = Future()
        with self._lock:
            if self._closed:
                raise EnvironmentFault(f"the rollouts of {whose(self._environment)} are closed")
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
        self._fail(EnvironmentFault(f"the rollouts of {whose(self._environment)} were closed"))

    @abstractmethod
    def _send(self, number: int, job: Job) -> None: ...

    @abstractmethod
    def _end(self) -> None: ...

    def _settle(self, number: int, outcome: Outcome | UltraError) -> None:
        with self._lock:
            future = self._waiting.pop(number, None)
        if future is not None:
            _set(future, outcome)

    def _fail(self, error: UltraError) -> None:
        """Fail whatever is under way."""
        with self._lock:
            futures, self._waiting = list(self._waiting.values()), {}
        for future in futures:
            _set(future, error)

    def _break(self, error: UltraError) -> None:
        """Fail whatever is under way or comes later."""
        with self._lock:
            self._broken = self._broken or error
        self._fail(error)


class LocalPool(Pool):
    """One thread of this process plays."""

    def __init__(self, environment: Environment, policy: Policy, terms: Terms, slots: int) -> None:
        super().__init__(environment)
        self._player = Player(environment, policy, slots, terms)
        self._jobs: queue.SimpleQueue[tuple[int, Job] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._play, name="rollouts", daemon=True)
        self._thread.start()

    def _send(self, number: int, job: Job) -> None:
        self._jobs.put((number, job))

    def _end(self) -> None:
        self._jobs.put(None)
        self._thread.join()
        self._player.close()

    def _play(self) -> None:
        player = self._player
        while True:
            while not (player.busy and self._jobs.empty()):
                message = self._jobs.get()
                if message is None:
                    return
                player.add(*message)
            for number, outcome in _tick(player, self._environment):
                self._settle(number, outcome)


class WorkerPool(Pool):
    """Processes play; each job goes to the one with the fewest."""

    def __init__(self, environment: Environment, policy: Policy, terms: Terms, workers: int, slots: int) -> None:
        super().__init__(environment)
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        self._listeners: list[threading.Thread] = []
        self._owner: dict[int, int] = {}
        self._locks = [threading.Lock() for _ in range(workers)]
        try:
            for _ in range(workers):
                pipe, process = started(_serve, environment, policy, slots, terms)
                self._pipes.append(pipe)
                self._processes.append(process)
            for part in range(workers):
                self._greet(part)
        except BaseException:
            self.close()
            raise
        for part in range(workers):
            listener = threading.Thread(target=self._listen, args=(part,), name=f"rollouts-{part}", daemon=True)
            self._listeners.append(listener)
            listener.start()

    def _greet(self, part: int) -> None:
        try:
            ready = self._pipes[part].recv()
        except (EOFError, OSError) as error:
            raise self._dead(part) from error
        if ready is not None:
            raise ready

    def _send(self, number: int, job: Job) -> None:
        with self._lock:
            load = [0] * len(self._pipes)
            for part in self._owner.values():
                load[part] += 1
            part = self._owner[number] = load.index(min(load))
        try:
            with self._locks[part]:
                self._pipes[part].send((number, job))
        except OSError:
            if not self._closed:
                self._break(self._dead(part))

    def _settle(self, number: int, outcome: Outcome | UltraError) -> None:
        with self._lock:
            self._owner.pop(number, None)
        super()._settle(number, outcome)

    def _listen(self, part: int) -> None:
        while True:
            try:
                number, outcome = self._pipes[part].recv()
            except (EOFError, OSError):
                if not self._closed:
                    self._break(self._dead(part))
                return
            self._settle(number, outcome)

    def _end(self) -> None:
        for part, pipe in enumerate(self._pipes):
            with self._locks[part]:
                _hang_up(pipe)
        for process in self._processes:
            process.join(_LAST_WORDS_S)
            if process.is_alive():
                process.kill()
                process.join()
        for listener in self._listeners:
            listener.join()
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.close()

    def _dead(self, part: int) -> EnvironmentFault:
        code = None
        if part < len(self._processes):
            self._processes[part].join(_LAST_WORDS_S)
            code = self._processes[part].exitcode
        return EnvironmentFault(
            f"a worker process of {whose(self._environment)} died",
            found=f"signal {-code}" if code is not None and code < 0 else f"exit code {code}",
            hint="test with no workers to see the failure in this process; in a script of your own, start the work "
            'below `if __name__ == "__main__":`',
        )


def _hang_up(pipe: Connection) -> None:
    """Tell the worker to end; a listener may be reading from this end, so it is not closed yet."""
    with contextlib.suppress(OSError):
        pipe.send(None)


def _set(future: Future[Outcome], outcome: Outcome | UltraError) -> None:
    with contextlib.suppress(InvalidStateError):
        if isinstance(outcome, UltraError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _tick(player: Player, environment: Environment) -> list[tuple[int, Outcome | UltraError]]:
    """One tick; an error in it fails every job the player holds, and leaves it ready for others."""
    try:
        return player.tick()
    except Exception as error:
        told = error if isinstance(error, UltraError) else fault(environment, error)
        told.add_note(traceback.format_exc())
        return [*player.take(), *((number, told) for number in player.drop_all())]


def _serve(pipe: Connection, environment: Environment, policy: Policy, slots: int, terms: Terms) -> None:
    """A worker's life: build, play what comes, end when told or when the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        try:
            player = Player(environment, policy, slots, terms)
        except Exception as error:
            pipe.send(error if isinstance(error, UltraError) else fault(environment, error))
            return
        pipe.send(None)
        while True:
            while not player.busy or pipe.poll():
                message = pipe.recv()
                if message is None:
                    return
                player.add(*message)
            for reply in _tick(player, environment):
                pipe.send(reply)
    except (EOFError, OSError):
        pass
