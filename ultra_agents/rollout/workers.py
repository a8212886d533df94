"""Simulators spread over processes: one message to and one from each worker per step.

Workers are spawned, not forked, so that they share no threads or locks with this process. They ignore Ctrl-C and end
when their pipe closes, whatever way this process goes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pickle import PicklingError
from typing import Any

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.errors import EnvironmentFault, UltraError
from ultra_agents.records import Array
from ultra_agents.rollout.simulators import Simulators, StepResult, blame, build, chunks, fault, whose

_LAST_WORDS_S = 5.0


class WorkerSimulators(Simulators):
    """Contiguous chunks of the environments, each in a process of its own."""

    def __init__(self, environment: Environment, num_envs: int, workers: int) -> None:
        super().__init__(environment, num_envs)
        self._chunks = list(chunks(num_envs, workers))
        self._owner = [(part, index - chunk.start) for part, chunk in enumerate(self._chunks) for index in chunk]
        self._pipes: list[Connection] = []
        self._processes: list[BaseProcess] = []
        try:
            for chunk in self._chunks:
                pipe, process = started(_serve, environment, len(chunk))
                self._pipes.append(pipe)
                self._processes.append(process)
            for part in range(len(self._chunks)):
                self._receive(part)
        except BaseException:
            self.close()
            raise

    def step_async(self, actions: Any) -> None:
        """Send each worker its actions."""
        batch = np.asarray(actions)
        if len(batch) != self.num_envs:
            raise ValueError(f"{len(batch)} actions for {self.num_envs} environments")
        for part, chunk in enumerate(self._chunks):
            self._send(part, "step", batch[chunk.start : chunk.stop])

    def close_extras(self, **kwargs: Any) -> None:
        """End every worker and wait for it."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(_LAST_WORDS_S)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._pipes, self._processes = [], []

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _collect_step(self) -> StepResult:
        replies = self._receive_all(range(len(self._chunks)))
        observations, rewards, terminated, truncated, infos = zip(*replies, strict=True)
        return (
            np.concatenate(observations),
            np.concatenate(rewards),
            np.concatenate(terminated),
            np.concatenate(truncated),
            merge_infos(infos, [len(chunk) for chunk in self._chunks]),
        )

    def _reset(self, seeds: list[int | None] | None, options: dict[str, Any] | None) -> tuple[Array, dict[str, Any]]:
        for part, chunk in enumerate(self._chunks):
            self._send(part, "reset", None if seeds is None else seeds[chunk.start : chunk.stop], options)
        observations, infos = zip(*self._receive_all(range(len(self._chunks))), strict=True)
        return np.concatenate(observations), merge_infos(infos, [len(chunk) for chunk in self._chunks])

    def _snapshot(self, indices: list[int]) -> list[bytes]:
        places = self._by_worker(indices)
        for part, positions in places.items():
            self._send(part, "snapshot", [self._owner[indices[position]][1] for position in positions])
        out: list[bytes] = [b""] * len(indices)
        for (_, positions), states in zip(places.items(), self._receive_all(places), strict=True):
            for position, state in zip(positions, states, strict=True):
                out[position] = state
        return out

    def _restore(self, indices: list[int], snapshots: Sequence[bytes]) -> Array:
        places = self._by_worker(indices)
        for part, positions in places.items():
            local = [self._owner[indices[position]][1] for position in positions]
            self._send(part, "restore", local, [snapshots[position] for position in positions])
        out = np.empty((len(indices), *self._shape[1:]), self.single_observation_space.dtype)
        for (_, positions), observations in zip(places.items(), self._receive_all(places), strict=True):
            out[positions] = observations
        return out

    def _render(self, index: int) -> Array:
        part, local = self._owner[index]
        self._send(part, "render", local)
        frame: Array = self._receive(part)
        return frame

    def _by_worker(self, indices: list[int]) -> dict[int, list[int]]:
        """Worker -> positions in `indices` that are its own."""
        places: dict[int, list[int]] = {}
        for position, index in enumerate(indices):
            places.setdefault(self._owner[index][0], []).append(position)
        return places

    def _send(self, part: int, *message: Any) -> None:
        if self.closed:
            raise EnvironmentFault(f"the simulators of {whose(self.environment)} are closed")
        try:
            self._pipes[part].send(message)
        except OSError as error:
            raise self._dead(part) from error

    def _receive(self, part: int) -> Any:
        try:
            ok, reply = self._pipes[part].recv()
        except (EOFError, OSError) as error:
            raise self._dead(part) from error
        except KeyboardInterrupt:
            self.close()  # what the workers still send would be taken for the answer to the next question
            raise
        if ok:
            return reply
        reported, where = reply
        raise reported from RuntimeError(f"in a worker process:\n{where}")

    def _receive_all(self, parts: Any) -> list[Any]:
        """One reply of each; when several fail the first error is raised after all have been heard."""
        replies, first = [], None
        for part in parts:
            try:
                replies.append(self._receive(part))
            except UltraError as error:
                first = first or error
                if self.closed:
                    break
        if first is not None:
            raise first
        return replies

    def _dead(self, part: int) -> EnvironmentFault:
        """A worker is gone: end the others too, they are out of step."""
        code: int | None = None
        if part < len(self._processes):
            self._processes[part].join(_LAST_WORDS_S)
            code = self._processes[part].exitcode
        self.close()
        return EnvironmentFault(
            f"a worker process of {whose(self.environment)} died",
            found=f"signal {-code}" if code is not None and code < 0 else f"exit code {code}",
            hint="set refine.workers=0 to see the failure in this process; in a script of your own, start the work "
            'below `if __name__ == "__main__":`',
        )


def merge_infos(infos: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """One info of arrays of length `n` from those of contiguous chunks of `sizes`.

    A key that a chunk does not have is filled with None (object arrays) or zeros; nested mappings merge alike.
    """
    if len(infos) == 1:
        return infos[0]
    merged: dict[str, Any] = {}
    for key in dict.fromkeys(key for info in infos for key in info):
        found = [info.get(key) for info in infos]
        example = next(value for value in found if value is not None)
        if isinstance(example, dict):
            merged[key] = merge_infos([value or {} for value in found], sizes)
            continue
        like = np.asarray(example)
        fill = None if like.dtype == object else np.zeros((), like.dtype)
        merged[key] = np.concatenate(
            [
                np.full((size, *like.shape[1:]), fill, like.dtype) if value is None else np.asarray(value)
                for value, size in zip(found, sizes, strict=True)
            ]
        )
    return merged


def started(serve: Callable[..., None], environment: Environment, *args: Any) -> tuple[Connection, BaseProcess]:
    """A worker that runs `serve(pipe, environment, *args)`, and our end of its pipe.

    Raises:
        EnvironmentFault: The plugin cannot be sent to another process.
    """
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    try:
        process = context.Process(target=serve, args=(there, environment, *args), daemon=True)
        with blame(environment), _interrupts_held_back():
            process.start()
    except BaseException:
        here.close()
        raise
    finally:
        there.close()
    return here, process


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Ctrl-C waits; a process started meanwhile inherits that, and is not hit before it can ignore it."""
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    # Starting the tracker lets interrupts through again, so it has to happen first.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, environment: Environment, num_envs: int) -> None:
    """A worker's life: build, answer `(ok, result)` to each message, end when the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        try:
            envs: Any = build(environment, num_envs)
        except Exception as error:
            pipe.send((False, _report(environment, error)))
            return
        pipe.send((True, None))
        calls: dict[str, Callable[..., Any]] = {
            "step": envs.step,
            "reset": lambda seeds, options: envs.reset(seed=seeds, options=options),
            "snapshot": lambda indices: environment.snapshot(envs, indices),
            "restore": lambda indices, snapshots: environment.restore(envs, indices, snapshots),
            "render": lambda index: environment.render(envs, index),
        }
        while True:
            name, *arguments = pipe.recv()
            try:
                reply = (True, calls[name](*arguments))
            except Exception as error:
                reply = (False, _report(environment, error))
            try:
                pipe.send(reply)
            except (TypeError, AttributeError, PicklingError) as error:
                pipe.send((False, _report(environment, error)))
    except (EOFError, OSError):
        pass


def _report(environment: Environment, error: Exception) -> tuple[UltraError, str]:
    return error if isinstance(error, UltraError) else fault(environment, error), traceback.format_exc()
