"""A process and its worker: requests and replies through a pipe, the arrays of a step in shared memory.

A vector step of fast environments takes a quarter of a millisecond. Pickling five arrays, unpickling them and the
wake-up of the receiver can take as long. So the arrays lie in shared memory, the message is a single byte, and the
receiver spins for `SPIN_S` before it blocks in the read. After a spin that saw no message the next ones are skipped,
1, 3, 7 ... up to `MOST_SKIPPED` of them (exponential backoff): on a busy machine spinning only takes time from others.
The byte comes through the pipe in order with all other messages, and a dead process is still seen as a closed pipe.
"""

from __future__ import annotations

import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ultra_agents.contracts import Environment
from ultra_agents.records import Array
from ultra_agents.rollout.vector import StepResult

Field: TypeAlias = tuple[tuple[int, ...], str, int]
"""Shape, dtype, and where the bytes begin."""

SPIN_S = 2e-4
"""Longest spin-wait: the time of a vector step of fast environments. A wake-up takes tens of microseconds, more on a
virtual machine, and there were two in each step."""
CACHE_LINE = 64
"""Bytes; two processes that write to one cache line slow each other down."""
MOST_SKIPPED = 255
"""Upper limit of the backoff: messages received without a spin-wait before the next try."""


class StepSlot:
    """Shared memory for one step of some environments; picklable while a process is being started.

    Args:
        environment: The plugin; its spaces say what fits.
        count: Environments.
    """

    def __init__(self, environment: Environment, count: int) -> None:
        self._fields: list[Field] = []
        size = 0
        spaces = (environment.action_space, environment.observation_space)
        if all(space.shape is not None and space.dtype is not None for space in spaces):
            rows = [((count, *(space.shape or ())), np.dtype(space.dtype)) for space in spaces]
            rows += [((count,), np.dtype(kind)) for kind in (np.float64, np.bool_, np.bool_)]
            for shape, dtype in rows:
                self._fields.append((shape, dtype.str, size))
                size += -(-int(np.prod(shape)) * dtype.itemsize // CACHE_LINE) * CACHE_LINE
        self._memory: Any = get_context("spawn").RawArray("b", max(size, 1))
        self._views: list[Array] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_views": []}

    def write_actions(self, actions: Array) -> bool:
        """Copy actions in; False, and nothing written, where dtype or shape are not those of the space."""
        return self._write([actions], first=0)

    def read_actions(self) -> Array:
        """A copy of what `write_actions` wrote."""
        return self._arrays()[0].copy()

    def write_result(self, result: StepResult) -> bool:
        """Copy a step's arrays in, without its info; False, and nothing written, where dtype or shape differ."""
        return self._write(result[:4], first=1)

    def read_result(self) -> StepResult:
        """A copy of what `write_result` wrote; the info is empty."""
        observations, rewards, terminated, truncated = (array.copy() for array in self._arrays()[1:])
        return observations, rewards, terminated, truncated, {}

    def _arrays(self) -> list[Array]:
        if not self._views:
            self._views = [
                np.frombuffer(self._memory, dtype, int(np.prod(shape)), start).reshape(shape)
                for shape, dtype, start in self._fields
            ]
        return self._views

    def _write(self, values: Any, first: int) -> bool:
        targets = self._arrays()[first : first + len(values)]
        if len(targets) < len(values):
            return False
        for target, value in zip(targets, values, strict=True):
            if not isinstance(value, np.ndarray) or value.dtype != target.dtype or value.shape != target.shape:
                return False
        for target, value in zip(targets, values, strict=True):
            target[...] = value
        return True


class Channel:
    """One end of a pipe on which a message may be a one-byte notice that a slot has been written.

    Args:
        pipe: This end of it.
        counters: Shared by both ends, made by `shared_counters`.
        near: Which of the counters counts the messages this end sends, 0 or 1.
        spin: Spin-wait before a blocking read; only where every process has a core of its own.
    """

    def __init__(self, pipe: Connection, counters: Any, near: int, spin: bool) -> None:
        self._pipe, self._spin = pipe, spin
        every: npt.NDArray[np.int64] = np.frombuffer(counters, np.int64)
        ours, theirs = near * (CACHE_LINE // 8), (1 - near) * (CACHE_LINE // 8)
        self._sent, self._sent_to_us = every[ours : ours + 1], every[theirs : theirs + 1]
        self._received = 0
        self._backoff = self._skipped = 0

    def send(self, message: Any) -> None:
        """Anything that can be pickled."""
        packed = ForkingPickler.dumps(message)  # may raise, so before the counter goes up
        self._sent[0] += 1
        self._pipe.send_bytes(packed)

    def notify(self, part: int) -> None:
        """One byte: the slot of chunk `part`, 0 to 255, has been written."""
        self._sent[0] += 1
        self._pipe.send_bytes(bytes([part]))

    def receive(self) -> Any:
        """The next message; an integer is the argument of `notify`."""
        if self._spin and self._sent_to_us[0] == self._received:
            if self._skipped < self._backoff:
                self._skipped += 1
            else:
                self._backoff = 0 if self._spun() else min(2 * self._backoff + 1, MOST_SKIPPED)
                self._skipped = 0
        packed = self._pipe.recv_bytes()
        self._received += 1
        return packed[0] if len(packed) == 1 else ForkingPickler.loads(packed)  # no pickle is one byte long

    def _spun(self) -> bool:
        """Spin until the other end has sent a message, at most `SPIN_S`; whether it has."""
        until = time.perf_counter() + SPIN_S
        while self._sent_to_us[0] == self._received:
            if time.perf_counter() > until:  # sched_yield here can cost milliseconds
                return False
        return True

    def close(self) -> None:
        """Close the pipe; the other end reads EOF."""
        self._pipe.close()


def shared_counters() -> Any:
    """Two counters in memory that a process about to be started will share."""
    return get_context("spawn").RawArray("b", 2 * CACHE_LINE)
