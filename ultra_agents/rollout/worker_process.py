"""A worker process: how it is started, and what it does until its pipe closes.

Workers are spawned, not forked, so that they share no threads or locks with this process. They leave Ctrl-C and
SIGTERM to the parent and end when their pipe closes, however the parent ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from multiprocessing.util import Finalize
from typing import Any

from ultra_agents.contracts import Environment
from ultra_agents.contracts.vector import share_cores
from ultra_agents.errors import UltraError
from ultra_agents.plugin_calls import asking, plugin_fault
from ultra_agents.records import Array
from ultra_agents.rollout.shared_memory import Channel, StepSlot
from ultra_agents.rollout.vector import StepResult, build
from ultra_agents.worker_signals import blocked_while_starting, leave_to_parent

EXIT_WAIT_S = 5.0
"""Seconds a worker has to end by itself before it is killed."""


class ByValue:
    """Something to be sent to another process as a copy.

    What PyTorch adds to `multiprocessing` shares tensors instead, and moves them in this process to do so: NumPy
    arrays that look at their memory look at freed memory then, and what one process learns, the other acts by.
    """

    def __init__(self, value: object) -> None:
        self._value = value

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return pickle.loads, (pickle.dumps(self._value),)


def start_worker(serve: Callable[..., None], environment: Environment, *args: Any) -> tuple[Connection, BaseProcess]:
    """A worker that runs `serve(pipe, environment, *args)`, and our end of its pipe; arguments may be `ByValue`.

    Raises:
        EnvironmentFault: The plugin cannot be sent to another process.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    try:
        process = context.Process(target=serve, args=(there, ByValue(environment), *args), daemon=True)
        with asking(environment), blocked_while_starting():
            process.start()
    except BaseException:
        here.close()
        raise
    finally:
        there.close()
    Finalize(process, hang_up, (here,), exitpriority=10)  # before multiprocessing waits for its daemons
    return here, process


def hang_up(pipe: Connection) -> None:
    """Let the other end read EOF now, whoever still holds or reads this end."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(pipe.fileno())) as line:
        line.shutdown(socket.SHUT_RDWR)


def serve(
    pipe: Connection,
    environment: Environment,
    sizes: list[int],
    slots: list[StepSlot],
    counters: Any,
    spin: bool,
    processes: int,
) -> None:
    """The worker's loop: build, answer each request with `(ok, result)`, end when the pipe closes."""
    leave_to_parent()
    share_cores(processes)
    channel = Channel(pipe, counters, 1, spin)
    try:
        try:
            chunks: list[Any] = [build(environment, size) for size in sizes]
        except Exception as error:
            channel.send((False, _report(environment, error)))
            return
        channel.send((True, None))
        by_name = handlers(environment)
        while True:
            request = channel.receive()
            if isinstance(request, int):
                name, local, arguments = "step", request, [slots[request].read_actions(), True]
            else:
                name, local, *arguments = request
            ok, reply = answer(by_name, environment, chunks[local], name, arguments)
            if ok and isinstance(request, int) and not reply[4] and slots[local].write_result(reply):
                channel.notify(local)
                continue
            try:
                channel.send((ok, reply))
            except (TypeError, AttributeError, pickle.PicklingError) as error:
                channel.send((False, _report(environment, error)))
    except (EOFError, OSError):
        pass


def handlers(environment: Environment) -> dict[str, Any]:
    """The function for each kind of request, by name."""
    return {
        "step": _step, "reset": _reset, "snapshot": environment.snapshot, "restore": environment.restore,
        "render": environment.render,
    }  # fmt: skip


def answer(
    by_name: dict[str, Any], environment: Environment, envs: Any, name: str, arguments: list[Any]
) -> tuple[bool, Any]:
    """The reply to one request: `(True, result)`, or `(False, (error, its traceback))`."""
    try:
        return True, by_name[name](envs, *arguments)
    except Exception as error:
        return False, _report(environment, error)


def _step(envs: Any, actions: Array, brief: bool) -> StepResult:
    observations, rewards, terminated, truncated, infos = envs.step(actions)
    if brief:
        infos = {"final_obs": infos["final_obs"]} if "final_obs" in infos else {}
    return observations, rewards, terminated, truncated, infos


def _reset(envs: Any, seeds: list[int | None] | None, options: dict[str, Any] | None) -> Any:
    return envs.reset(seed=seeds, options=options)


def _report(environment: Environment, error: Exception) -> tuple[UltraError, str]:
    return plugin_fault(environment, error), traceback.format_exc()
