"""The pool a run asks for: a thread of this process, worker processes, or a Ray cluster.

A worker holds its own simulators and its own copy of the policy, so there is no message per step: a task goes out (a
claim, say, with all that testing it needs), an outcome comes back. Which worker plays a task, and what else it plays,
does not change the outcome.
"""

from __future__ import annotations

import contextlib
import gc
import threading
from collections.abc import Hashable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from ultra_agents.config.engine import RunEngineConfig
from ultra_agents.contracts import Environment, Policy
from ultra_agents.contracts.vector import share_cores, sharing_cores
from ultra_agents.errors import EnvironmentFault
from ultra_agents.plugin_calls import plugin_fault, plugin_name
from ultra_agents.rollout.worker_process import EXIT_WAIT_S, ByValue, start_worker
from ultra_agents.verification.host import Host, Task
from ultra_agents.verification.jobs import Terms
from ultra_agents.verification.local_pool import LocalPool, Pool
from ultra_agents.worker_signals import leave_to_parent


def make_pool(
    environment: Environment,
    policy: Policy,
    terms: Terms,
    workers: int = 0,
    slots: int = 32,
    engine: RunEngineConfig | None = None,
) -> Pool[Any, Any]:
    """Somewhere to play a `Task`: a job, or a whole test at a state.

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

        return RayPool(environment, partial(LocalPool, environment, policy, terms, slots), slots, engine)
    if workers == 0:
        return LocalPool(environment, policy, terms, slots)
    return WorkerPool(environment, policy, terms, workers, slots)


class WorkerPool(Pool[Task, Any]):
    """Processes play; each task goes to the one with the fewest, or where others with its home went."""

    def __init__(self, environment: Environment, policy: Policy, terms: Terms, workers: int, slots: int) -> None:
        super().__init__(environment)
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        self._listeners: list[threading.Thread] = []
        self._owner: dict[int, int] = {}
        self._homes: dict[Hashable, int] = {}
        self._locks = [threading.Lock() for _ in range(workers)]
        try:
            for _ in range(workers):
                shared = sharing_cores() * workers
                pipe, process = start_worker(_serve, environment, ByValue(policy), slots, terms, shared)
                self._pipes.append(pipe)
                self._processes.append(process)
            for part in range(workers):
                self._greet(part)
            gc.freeze()  # see `LocalPool`
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

    def _send(self, number: int, job: Task, home: Hashable) -> None:
        with self._lock:
            load = [0] * len(self._pipes)
            for part in self._owner.values():
                load[part] += 1
            part = self._homes.get(home, load.index(min(load)))
            self._owner[number] = part
            if home is not None:
                self._homes[home] = part
        try:
            with self._locks[part]:
                self._pipes[part].send((number, job))
        except OSError:
            if not self._closed:
                self._break(self._dead(part))

    def _settle(self, number: int, outcome: Any) -> None:
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
        gc.unfreeze()
        for part, pipe in enumerate(self._pipes):
            with self._locks[part]:
                _hang_up(pipe)
        for process in self._processes:
            process.join(EXIT_WAIT_S)
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
            self._processes[part].join(EXIT_WAIT_S)
            code = self._processes[part].exitcode
        return EnvironmentFault(
            f"a worker process of the environment {plugin_name(self._environment)} died",
            found=f"signal {-code}" if code is not None and code < 0 else f"exit code {code}",
            hint="test with no workers to see the failure in this process; in a script of your own, start the work "
            'below `if __name__ == "__main__":`',
        )


def _hang_up(pipe: Connection) -> None:
    """Tell the worker to end; a listener may be reading from this end, so it is not closed yet."""
    with contextlib.suppress(OSError):
        pipe.send(None)


def _serve(
    pipe: Connection, environment: Environment, policy: Policy, slots: int, terms: Terms, processes: int
) -> None:
    """The worker's loop: build, play the tasks that arrive, end on None or when the pipe closes."""
    leave_to_parent()
    share_cores(processes)
    try:
        try:
            host = Host(environment, policy, terms, slots)
        except Exception as error:
            pipe.send(plugin_fault(environment, error))
            return
        pipe.send(None)
        gc.freeze()  # see `LocalPool`
        while True:
            while not host.busy or pipe.poll():
                message = pipe.recv()
                if message is None:
                    return
                host.add(*message)
            for reply in host.tick():
                pipe.send(reply)
    except (EOFError, OSError):
        pass
