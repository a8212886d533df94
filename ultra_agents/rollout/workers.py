"""Simulators spread over processes: one message to and one from each chunk of environments per step.

No chunk reaches over the middle, so that one half can be stepped while the actions for the other are chosen. An even
number of workers takes one chunk each; an odd number takes one of each half. A single worker takes the first half and
this process steps the second itself: two processes that both step keep two cores busy, one that only waits does not.

What runs in a worker is in `worker_process.py`.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.contracts.vector import cores, share_cores, sharing_cores
from ultra_agents.errors import EnvironmentFault, UltraError
from ultra_agents.plugin_calls import asking, plugin_name
from ultra_agents.records import Array
from ultra_agents.rollout.shared_memory import Channel, StepSlot, shared_counters
from ultra_agents.rollout.vector import Simulators, StepResult, build, chunks, halves
from ultra_agents.rollout.worker_process import EXIT_WAIT_S, answer, handlers, serve, start_worker

IN_PROCESS = -1
"""Worker number of the chunk that this process steps itself."""


class WorkerSimulators(Simulators):
    """Contiguous chunks of the environments in worker processes, and of a single worker's half of them in this one."""

    def __init__(
        self, environment: Environment, num_envs: int, workers: int, on_note: Callable[[str], None] | None = None
    ) -> None:
        super().__init__(environment, num_envs, on_note)
        self._chunks, self._worker, self._parts_of_half = _layout(num_envs, workers)
        self._owner = [(part, index - chunk.start) for part, chunk in enumerate(self._chunks) for index in chunk]
        self._local = [self._worker[:part].count(worker) for part, worker in enumerate(self._worker)]
        self._channels: list[Channel] = []
        self._processes: list[BaseProcess] = []
        self._in_flight: list[deque[int]] = [deque() for _ in range(max(self._worker) + 1)]
        self._replies: dict[int, deque[tuple[bool, Any]]] = {part: deque() for part in range(len(self._chunks))}
        self._slots = [StepSlot(environment, len(chunk)) for chunk in self._chunks]
        self._local_envs: dict[int, Any] = {}
        self._handlers = handlers(environment)
        self._pending: dict[int, deque[tuple[Any, ...]]] = {}
        try:
            spin = cores() > len(self._in_flight)
            processes = sharing_cores() * (len(self._in_flight) + (IN_PROCESS in self._worker))
            for worker in range(len(self._in_flight)):
                slots = [slot for slot, who in zip(self._slots, self._worker, strict=True) if who == worker]
                sizes = [len(chunk) for chunk, who in zip(self._chunks, self._worker, strict=True) if who == worker]
                counters = shared_counters()
                pipe, process = start_worker(serve, environment, sizes, slots, counters, spin, processes)
                self._channels.append(Channel(pipe, counters, 0, spin))
                self._processes.append(process)
            for part, chunk in enumerate(self._chunks):
                if self._worker[part] == IN_PROCESS:
                    before = share_cores(processes)
                    try:
                        with asking(environment):
                            self._local_envs[part], self._pending[part] = build(environment, len(chunk)), deque()
                    finally:
                        share_cores(before)
            for worker in range(len(self._in_flight)):
                self._in_flight[worker].append(self._worker.index(worker))
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
        for part in self._parts_of_half[half]:
            chunk = self._chunks[part]
            actions = batch[chunk.start - start : chunk.stop - start]
            if self._worker[part] != IN_PROCESS and self._slots[part].write_actions(actions):
                self._send(part)
            else:
                self._send(part, "step", actions, True)

    def receive_half(self, half: int) -> StepResult:
        """Result of the last `send_half`; its info has `final_obs` only."""
        parts = self._parts_of_half[half]
        result = self._joined(self._receive_all(parts), [len(self._chunks[part]) for part in parts])
        self._check(result[0], result[1], self.halves[half])
        return result

    def close_extras(self, **kwargs: Any) -> None:
        """End every worker and wait for it."""
        for channel in self._channels:
            channel.close()
        for process in self._processes:
            process.join(EXIT_WAIT_S)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._channels, self._processes = [], []
        while self._local_envs:
            self._local_envs.popitem()[1].close()

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
        self._drain()
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

    def _drain(self) -> None:
        """Receive and discard every reply in flight, after an error between `send_half` and `receive_half`."""
        for part in range(len(self._chunks)):
            while not self.closed and (self._replies[part] or self._pending.get(part) or self._awaits(part)):
                with contextlib.suppress(UltraError):
                    self._receive(part)

    def _awaits(self, part: int) -> bool:
        return self._worker[part] != IN_PROCESS and part in self._in_flight[self._worker[part]]

    def _by_worker(self, indices: list[int]) -> dict[int, list[int]]:
        """Worker -> positions in `indices` that are its own."""
        places: dict[int, list[int]] = {}
        for position, index in enumerate(indices):
            places.setdefault(self._owner[index][0], []).append(position)
        return places

    def _send(self, part: int, *request: Any) -> None:
        """Send a request to a chunk; an empty one is a step by the actions in its slot."""
        if self.closed:
            raise EnvironmentFault(f"the simulators of the environment {plugin_name(self.environment)} are closed")
        worker = self._worker[part]
        if worker == IN_PROCESS:
            self._pending[part].append(request)
            return
        channel, local = self._channels[worker], self._local[part]
        try:
            if request:
                channel.send((request[0], local, *request[1:]))
            else:
                channel.notify(local)
        except OSError as error:
            raise self._died(worker) from error
        self._in_flight[worker].append(part)

    def _receive(self, part: int) -> Any:
        """The reply to the oldest request to a chunk; replies to other chunks that come first are stored for them."""
        worker, stored = self._worker[part], self._replies[part]
        try:
            if worker == IN_PROCESS:
                name, *arguments = self._pending[part].popleft()
                stored.append(answer(self._handlers, self.environment, self._local_envs[part], name, arguments))
            while not stored:
                message = self._channels[worker].receive()
                sender = self._in_flight[worker].popleft()
                written = isinstance(message, int)
                self._replies[sender].append((True, self._slots[sender].read_result()) if written else message)
        except (EOFError, OSError) as error:
            raise self._died(worker) from error
        except KeyboardInterrupt:
            self.close()  # a reply still in flight would be taken for that to the next request
            raise
        ok, reply = stored.popleft()
        if ok:
            return reply
        reported, where = reply
        raise reported from RuntimeError(f"{'in this' if worker == IN_PROCESS else 'in a worker'} process:\n{where}")

    def _receive_all(self, parts: Any) -> list[Any]:
        """One reply of each; when several fail the first error is raised after all have been received."""
        replies: dict[int, Any] = {}
        errors: dict[int, UltraError] = {}
        for part in sorted(parts, key=lambda part: self._worker[part] != IN_PROCESS):  # the others work meanwhile
            try:
                replies[part] = self._receive(part)
            except UltraError as error:
                errors[part] = error
                if self.closed:
                    break
        if errors:
            raise errors[min(errors)]
        return [replies[part] for part in parts]

    def _died(self, worker: int) -> EnvironmentFault:
        """A worker has died: end the others too, they are a step ahead or behind."""
        code: int | None = None
        if worker < len(self._processes):
            self._processes[worker].join(EXIT_WAIT_S)
            code = self._processes[worker].exitcode
        self.close()
        return EnvironmentFault(
            f"a worker process of the environment {plugin_name(self.environment)} died",
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


def _layout(num_envs: int, workers: int) -> tuple[list[range], list[int], list[list[int]]]:
    """Chunks of environments, the worker of each, and the chunks of each half."""
    workers = min(workers, num_envs)
    if workers == 1 and num_envs > 1:
        first, second = halves(num_envs)
        return [range(first.start, first.stop), range(second.start, second.stop)], [0, IN_PROCESS], [[0], [1]]
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
