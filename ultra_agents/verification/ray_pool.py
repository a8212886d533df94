"""Rollouts on a Ray cluster: the same player as in a process of this machine, so the same numbers, bit by bit.

Each worker is a Ray actor with its own simulators and its own copy of the policy, as in `pool.WorkerPool`. What comes
of a job depends on the job only (a claim, and what was tested at its state before; a wave of paired episodes), so a
job whose worker or node is lost is simply played again by another worker, and which one plays it, how many there are
and when they come does not show in what is measured. Nodes need this package and the plugins in the same versions;
they need no shared folder.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, TypeVar

from ultra_agents.cluster import connected
from ultra_agents.config.engine import RunEngineConfig
from ultra_agents.contracts import Environment
from ultra_agents.errors import ConfigError, EnvironmentFault, RunError, UltraError
from ultra_agents.plugin_calls import plugin_fault, plugin_name
from ultra_agents.verification.local_pool import J, Pool, R
from ultra_agents.version import __version__

PLACED_S = 300.0
"""Seconds until the first worker must be ready; an autoscaling cluster needs minutes to start a node."""
POLL_S = 1.0


J_contra = TypeVar("J_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Plays(Protocol[J_contra, R_co]):
    """What plays jobs on a node; called from several threads where a worker has several slots."""

    def play(self, job: J_contra) -> R_co:
        """What comes of a job."""
        ...


class RayPool(Pool[J, R]):
    """Actors of a cluster play; each job goes to the ready one with the fewest, or where others with its home went.

    It goes to another one if that one is lost.

    Args:
        environment: Picklable, its plugin installed on every node.
        make: Builds what plays a job on a node; picklable, with policies whose copies act alike.
        slots: Jobs side by side, in each worker.
        engine: The cluster, cores of a worker, number of workers, attempts per job.

    Raises:
        ConfigError: Ray is not installed, nobody answers, or the cluster has no room for a single worker.
        EnvironmentFault: The plugin fails to build its environments there.
        RunError: A node has another version of this package.
    """

    def __init__(
        self, environment: Environment, make: Callable[[], Plays[J, R]], slots: int, engine: RunEngineConfig
    ) -> None:
        super().__init__(environment)
        self._engine, self._slots = engine, slots
        self._stack = ExitStack()
        self._ray = self._stack.enter_context(connected(engine.address))
        self._messages: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._jobs: dict[int, _Task] = {}
        self._queued: deque[int] = deque()
        self._actors: dict[int, _Actor] = {}
        self._homes: dict[Hashable, int] = {}
        self._started = self._failures = 0
        self._any_ready = threading.Event()
        self._manager = threading.Thread(target=self._manage, name="rollouts-ray", daemon=True)
        try:
            self._kind = self._ray.remote(num_cpus=engine.cpus, max_concurrency=slots + 1, max_restarts=0)(_Worker)
            self._parts = self._ray.put((__version__, environment, make))
            for _ in range(self._wanted()):
                self._start_actor()
            self._manager.start()
            self._await_first()
        except BaseException:
            self.close()
            raise

    def _wanted(self) -> int:
        cores = float(self._ray.cluster_resources().get("CPU", 0.0))
        return self._engine.workers or max(int(cores // self._engine.cpus), 1)

    def _await_first(self) -> None:
        """Wait until a worker is ready to play.

        Raises:
            UltraError: None will ever be, or not in time.
        """
        until = time.monotonic() + PLACED_S
        while not self._any_ready.wait(POLL_S):
            if time.monotonic() > until:
                free = self._ray.available_resources().get("CPU", 0.0)
                largest = max((node["Resources"].get("CPU", 0.0) for node in self._ray.nodes() if node["Alive"]),
                              default=0.0)  # fmt: skip
                raise ConfigError(
                    f"no worker for rollouts found room on the Ray cluster within {PLACED_S:.0f} s",
                    found=f"{free:g} cores free, {largest:g} on the largest node",
                    expected=f"engine.cpus: {self._engine.cpus:g} free on one node",
                    hint="lower engine.cpus, or wait until the cluster has room: ray status",
                )
        if self._broken is not None:
            raise self._broken

    def _send(self, number: int, job: J, home: Hashable) -> None:
        self._messages.put(("job", number, job, home))

    def _end(self) -> None:
        self._messages.put(None)
        if self._manager.is_alive():
            self._manager.join()
        for actor in self._actors.values():
            self._ray.kill(actor.handle)
        self._stack.close()

    # -- the manager thread; nothing else changes jobs and actors ---------------------------------------------

    def _manage(self) -> None:
        handlers: dict[str, Callable[..., None]] = {"job": self._take, "ready": self._ready, "played": self._played}
        while (message := self._messages.get()) is not None:
            handlers[message[0]](*message[1:])
            self._dispatch()

    def _start_actor(self) -> None:
        """Request one more worker; Ray places it when there is room."""
        name, self._started = self._started, self._started + 1
        actor = self._actors[name] = _Actor(self._kind.remote())
        self._listen(actor.handle.begin.remote(self._parts), "ready", name)

    def _listen(self, reference: Any, *kind: Any) -> None:
        """Queue a message once Ray has the result; Ray calls back in a thread of its own, which must not block."""
        reference.future().add_done_callback(partial(self._on_reply, kind))

    def _on_reply(self, kind: tuple[Any, ...], future: Any) -> None:
        error = future.exception()
        self._messages.put((*kind, None if error is not None else future.result(), error))

    def _take(self, number: int, job: J, home: Hashable) -> None:
        self._jobs[number] = _Task(job, home)
        self._queued.append(number)

    def _ready(self, name: int, told: UltraError | None, error: BaseException | None) -> None:
        if told is not None:
            self._give_up(told)
        elif error is not None:
            self._actor_died(name, error)
        else:
            self._failures, self._actors[name].ready = 0, True
            self._any_ready.set()

    def _played(self, name: int, number: int, outcome: R | None, error: BaseException | None) -> None:
        if name in self._actors:
            self._actors[name].load.discard(number)
        if error is None and outcome is not None:
            del self._jobs[number]
            self._settle(number, outcome)
        elif isinstance(error, self._ray.exceptions.RayTaskError):  # the plugin's, wherever it runs
            cause = getattr(error, "cause", error)
            del self._jobs[number]
            self._settle(number, plugin_fault(self._environment, cause))
        elif self._jobs[number].tries >= self._engine.attempts:
            del self._jobs[number]
            self._settle(number, self._died_error(error))
            self._actor_died(name, error)
        else:
            self._queued.appendleft(number)
            self._actor_died(name, error)

    def _actor_died(self, name: int, error: BaseException | None) -> None:
        """A worker died: start another, unless too many died before one came up."""
        if self._actors.pop(name, None) is None:
            return
        self._failures += 1
        if self._failures > self._engine.attempts * max(len(self._actors), 1):
            self._give_up(self._died_error(error))
        else:
            self._start_actor()

    def _give_up(self, error: UltraError) -> None:
        self._break(error)
        self._any_ready.set()

    def _dispatch(self) -> None:
        for number in list(self._queued):
            free = {name: len(actor.load) for name, actor in self._actors.items()
                    if actor.ready and len(actor.load) < self._slots}  # fmt: skip
            if not free:
                return
            task = self._jobs[number]
            name = self._homes.get(task.home, -1)
            if name not in self._actors:  # nowhere yet, or the worker that it had is lost
                name = min(free, key=lambda one: (free[one], one))
            if name not in free:
                continue
            self._queued.remove(number)
            if task.home is not None:
                self._homes[task.home] = name
            actor = self._actors[name]
            task.tries += 1
            actor.load.add(number)
            self._listen(actor.handle.play.remote(task.job), "played", name, number)

    def _died_error(self, error: BaseException | None) -> EnvironmentFault:
        return EnvironmentFault(
            f"Ray workers that play the environment {plugin_name(self._environment)} died again and again",
            found=" ".join(str(error).split())[:300],
            expected=f"one that lives, in {self._engine.attempts} attempts",
            hint="test with engine: local to see the failure in this process",
        )


@dataclass
class _Task:
    """A job, what it is sent along with, and how often it was sent."""

    job: Any
    home: Hashable = None
    tries: int = 0


@dataclass
class _Actor:
    """A worker, the numbers of the jobs it plays, and whether it is ready."""

    handle: Any
    load: set[int] = field(default_factory=set)
    ready: bool = False


class _Worker:
    """The actor on a node: plays jobs side by side, one waiting thread per call."""

    def __init__(self) -> None:
        self._player: Plays[Any, Any] | None = None

    def begin(self, parts: tuple[str, Environment, Callable[[], Plays[Any, Any]]]) -> UltraError | None:
        """Build the simulators; what is wrong with them, if anything."""
        version, environment, make = parts
        if version != __version__:
            import socket

            return RunError(
                f"the node {socket.gethostname()} has another version of ultra-agents",
                found=__version__, expected=version, hint="install the same version on every node",
            )  # fmt: skip
        try:
            self._player = make()
        except Exception as error:
            return plugin_fault(environment, error)
        return None

    def play(self, job: Any) -> Any:
        """Play a job.

        Raises:
            EnvironmentFault: The plugin failed.
        """
        assert self._player is not None, "begin comes first"
        return self._player.play(job)
