"""Simulators spread over processes: one message to and one from each chunk of environments per step.

No chunk reaches over the middle, so that one half can be stepped while the actions for the other are chosen. An even
number of workers takes one chunk each; an odd number takes one of each half. A single worker takes the first half and
this process steps the second itself: two processes that both step keep two cores busy, one that only waits does not.

Workers are spawned, not forked, so that they share no threads or locks with this process. They ignore Ctrl-C and end
when their pipe closes, whatever way this process goes.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import threading
import traceback
from collections import deque
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
from ultra_agents.rollout.shared_memory import Board, Line, cores, shared_counters
from ultra_agents.rollout.simulators import (
    Simulators,
    StepResult,
    blame,
    build,
    chunks,
    fault,
    halves,
    whose,
)

_LAST_WORDS_S = 5.0
HERE = -1
"""Stands for this process among the workers."""


class WorkerSimulators(Simulators):
    """Contiguous chunks of the environments in worker processes, and of a single worker's half of them in this one."""

    def __init__(self, environment: Environment, num_envs: int, workers: int) -> None:
        super().__init__(environment, num_envs)
        self._chunks, self._worker, self._part = _layout(num_envs, workers)
        self._owner = [(part, index - chunk.start) for part, chunk in enumerate(self._chunks) for index in chunk]
        self._local = [self._worker[:part].count(worker) for part, worker in enumerate(self._worker)]
        self._lines: list[Line] = []
        self._processes: list[BaseProcess] = []
        self._asked: list[deque[int]] = [deque() for _ in range(max(self._worker) + 1)]
        self._early: dict[int, deque[tuple[bool, Any]]] = {part: deque() for part in range(len(self._chunks))}
        self._boards = [Board(environment, len(chunk)) for chunk in self._chunks]
        self._here: dict[int, Any] = {}
        self._calls = _calls(environment)
        self._owed: dict[int, deque[tuple[Any, ...]]] = {}
        try:
            look = cores() > len(self._asked)
            for worker in range(len(self._asked)):
                boards = [board for board, who in zip(self._boards, self._worker, strict=True) if who == worker]
                sizes = [len(chunk) for chunk, who in zip(self._chunks, self._worker, strict=True) if who == worker]
                counters = shared_counters()
                pipe, process = started(_serve, environment, sizes, boards, counters, look)
                self._lines.append(Line(pipe, counters, 0, look))
                self._processes.append(process)
            for part, chunk in enumerate(self._chunks):
                if self._worker[part] == HERE:
                    with blame(environment):
                        self._here[part], self._owed[part] = build(environment, len(chunk)), deque()
            for worker in range(len(self._asked)):
                self._asked[worker].append(self._worker.index(worker))
                self._receive(self._worker.index(worker))
        except BaseException:
            self.close()
            raise

    def step_async(self, actions: Any) -> None:
        """Send each worker its actions."""
        batch = np.asarray(actions)
        if len(batch) != self.num_envs:
            raise ValueError(f"{len(batch)} actions for {self.num_envs} environments")
        for part, chunk in enumerate(self._chunks):
            self._send(part, "step", batch[chunk.start : chunk.stop], False)

    def send_half(self, half: int, actions: Any) -> None:
        """Let one of `halves` step; `receive_half` must follow before it is sent anything else."""
        batch, start = np.asarray(actions), self.halves[half].start
        for part in self._part[half]:
            chunk = self._chunks[part]
            actions = batch[chunk.start - start : chunk.stop - start]
            if self._worker[part] != HERE and self._boards[part].put_actions(actions):
                self._send(part)
            else:
                self._send(part, "step", actions, True)

    def receive_half(self, half: int) -> StepResult:
        """What came of the last `send_half`; information is `final_obs` only."""
        parts = self._part[half]
        result = self._joined(self._receive_all(parts), [len(self._chunks[part]) for part in parts])
        self._check(result[0], result[1], self.halves[half])
        return result

    def close_extras(self, **kwargs: Any) -> None:
        """End every worker and wait for it."""
        for line in self._lines:
            line.close()
        for process in self._processes:
            process.join(_LAST_WORDS_S)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._lines, self._processes = [], []
        while self._here:
            self._here.popitem()[1].close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _collect_step(self) -> StepResult:
        return self._joined(self._receive_all(range(len(self._chunks))), [len(chunk) for chunk in self._chunks])

    @staticmethod
    def _joined(replies: list[Any], sizes: list[int]) -> StepResult:
        if len(replies) == 1:
            only: StepResult = replies[0]
            return only
        observations, rewards, terminated, truncated, infos = zip(*replies, strict=True)
        return (
            np.concatenate(observations),
            np.concatenate(rewards),
            np.concatenate(terminated),
            np.concatenate(truncated),
            merge_infos(infos, sizes),
        )

    def _reset(self, seeds: list[int | None] | None, options: dict[str, Any] | None) -> tuple[Array, dict[str, Any]]:
        self._settle()
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

    def _settle(self) -> None:
        """Hear whatever is still owed, after an error between `send_half` and `receive_half`."""
        for part in range(len(self._chunks)):
            while not self.closed and (self._early[part] or self._owed.get(part) or self._is_asked(part)):
                with contextlib.suppress(UltraError):
                    self._receive(part)

    def _is_asked(self, part: int) -> bool:
        return self._worker[part] != HERE and part in self._asked[self._worker[part]]

    def _by_worker(self, indices: list[int]) -> dict[int, list[int]]:
        """Worker -> positions in `indices` that are its own."""
        places: dict[int, list[int]] = {}
        for position, index in enumerate(indices):
            places.setdefault(self._owner[index][0], []).append(position)
        return places

    def _send(self, part: int, *question: Any) -> None:
        """Ask a chunk something; nothing means a step by the actions on its board."""
        if self.closed:
            raise EnvironmentFault(f"the simulators of {whose(self.environment)} are closed")
        worker = self._worker[part]
        if worker == HERE:
            self._owed[part].append(question)
            return
        line, local = self._lines[worker], self._local[part]
        try:
            if question:
                line.send((question[0], local, *question[1:]))
            else:
                line.notify(local)
        except OSError as error:
            raise self._dead(worker) from error
        self._asked[worker].append(part)

    def _receive(self, part: int) -> Any:
        """The answer to the oldest question to a chunk; those to other chunks that come first are kept for them."""
        worker, kept = self._worker[part], self._early[part]
        try:
            if worker == HERE:
                name, *arguments = self._owed[part].popleft()
                kept.append(_answer(self._calls, self.environment, self._here[part], name, arguments))
            while not kept:
                answer = self._lines[worker].receive()
                whom = self._asked[worker].popleft()
                self._early[whom].append((True, self._boards[whom].result()) if isinstance(answer, int) else answer)
        except (EOFError, OSError) as error:
            raise self._dead(worker) from error
        except KeyboardInterrupt:
            self.close()  # what the workers still send would be taken for the answer to the next question
            raise
        ok, reply = kept.popleft()
        if ok:
            return reply
        reported, where = reply
        raise reported from RuntimeError(f"{'in this' if worker == HERE else 'in a worker'} process:\n{where}")

    def _receive_all(self, parts: Any) -> list[Any]:
        """One reply of each; when several fail the first error is raised after all have been heard."""
        replies: dict[int, Any] = {}
        errors: dict[int, UltraError] = {}
        for part in sorted(parts, key=lambda part: self._worker[part] != HERE):  # the others work meanwhile
            try:
                replies[part] = self._receive(part)
            except UltraError as error:
                errors[part] = error
                if self.closed:
                    break
        if errors:
            raise errors[min(errors)]
        return [replies[part] for part in parts]

    def _dead(self, worker: int) -> EnvironmentFault:
        """A worker is gone: end the others too, they are out of step."""
        code: int | None = None
        if worker < len(self._processes):
            self._processes[worker].join(_LAST_WORDS_S)
            code = self._processes[worker].exitcode
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


def _layout(num_envs: int, workers: int) -> tuple[list[range], list[int], list[list[int]]]:
    """Chunks of environments, the worker of each, and the chunks of each half."""
    workers = min(workers, num_envs)
    if workers == 1 and num_envs > 1:
        first, second = halves(num_envs)
        return [range(first.start, first.stop), range(second.start, second.stop)], [0, HERE], [[0], [1]]
    per_half = workers // 2 if workers % 2 == 0 else workers
    found: list[range] = []
    owners: list[int] = []
    parts: list[list[int]] = []
    for number, half in enumerate(halves(num_envs)):
        inside = chunks(half.stop - half.start, per_half)
        made = [range(half.start + part.start, half.start + part.stop) for part in inside]
        parts.append(list(range(len(found), len(found) + len(made))))
        found += made
        shift = number * per_half if workers % 2 == 0 else 0
        owners += [shift + index for index in range(len(made))]
    return found, owners, parts


def _serve(
    pipe: Connection, environment: Environment, sizes: list[int], boards: list[Board], counters: Any, look: bool
) -> None:
    """A worker's life: build, answer `(ok, result)` to each message, end when the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    line = Line(pipe, counters, 1, look)
    try:
        try:
            chunks_here: list[Any] = [build(environment, size) for size in sizes]
        except Exception as error:
            line.send((False, _report(environment, error)))
            return
        line.send((True, None))
        calls = _calls(environment)
        while True:
            asked = line.receive()
            if isinstance(asked, int):
                name, local, arguments = "step", asked, [boards[asked].actions(), True]
            else:
                name, local, *arguments = asked
            ok, reply = _answer(calls, environment, chunks_here[local], name, arguments)
            if ok and isinstance(asked, int) and not reply[4] and boards[local].put_result(reply):
                line.notify(local)
                continue
            try:
                line.send((ok, reply))
            except (TypeError, AttributeError, PicklingError) as error:
                line.send((False, _report(environment, error)))
    except (EOFError, OSError):
        pass


def _calls(environment: Environment) -> dict[str, Any]:
    """What can be asked of some environments, by name."""
    return {
        "step": _step, "reset": _reset, "snapshot": environment.snapshot, "restore": environment.restore,
        "render": environment.render,
    }  # fmt: skip


def _answer(
    calls: dict[str, Any], environment: Environment, envs: Any, name: str, arguments: list[Any]
) -> tuple[bool, Any]:
    """What some environments say to one question: `(True, answer)`, or `(False, error and where it was raised)`."""
    try:
        return True, calls[name](envs, *arguments)
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
    return error if isinstance(error, UltraError) else fault(environment, error), traceback.format_exc()
