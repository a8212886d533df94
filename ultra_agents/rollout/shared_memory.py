"""What a process and its worker say to each other: questions and answers through a pipe, steps in shared memory.

A vector step of fast environments takes a quarter of a millisecond. Packing five arrays into a message, unpacking it
and being woken for it can take as long. So actions and what comes of them lie in memory that both sides see, the
message is a single byte, and whoever waits looks for it in a loop for a moment before it sleeps. Where looking was in
vain, as on a busy machine, it is given up for longer and longer. The byte still comes in order with all other
messages, and a pipe that closes still tells of a death.
"""

from __future__ import annotations

import os
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ultra_agents.contracts import Environment
from ultra_agents.records import Array
from ultra_agents.rollout.simulators import StepResult

Field: TypeAlias = tuple[tuple[int, ...], str, int]
"""Shape, dtype, and where the bytes begin."""

LOOK_S = 2e-4
"""How long a side looks for a message before it sleeps: the time of a vector step of fast environments. Being woken
takes tens of microseconds, more on a virtual machine, and happened twice a step."""
_LINE = 64
MOST_SKIPPED = 255
"""Messages that are waited for asleep after looking was in vain again and again."""


class Board:
    """Shared memory for the steps of some environments; picklable while a process is being started.

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
                size += -(-int(np.prod(shape)) * dtype.itemsize // _LINE) * _LINE
        self._memory: Any = get_context("spawn").RawArray("b", max(size, 1))
        self._views: list[Array] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_views": []}

    def put_actions(self, actions: Array) -> bool:
        """Leave actions here; False where they are of another type or shape than the space says."""
        return self._put([actions], first=0)

    def actions(self) -> Array:
        """A copy of what `put_actions` left."""
        return self._arrays()[0].copy()

    def put_result(self, result: StepResult) -> bool:
        """Leave what came of a step, its information left out; False where something does not fit."""
        return self._put(result[:4], first=1)

    def result(self) -> StepResult:
        """A copy of what `put_result` left."""
        observations, rewards, terminated, truncated = (array.copy() for array in self._arrays()[1:])
        return observations, rewards, terminated, truncated, {}

    def _arrays(self) -> list[Array]:
        if not self._views:
            self._views = [
                np.frombuffer(self._memory, dtype, int(np.prod(shape)), start).reshape(shape)
                for shape, dtype, start in self._fields
            ]
        return self._views

    def _put(self, values: Any, first: int) -> bool:
        places = self._arrays()[first : first + len(values)]
        if len(places) < len(values):
            return False
        for place, value in zip(places, values, strict=True):
            if not isinstance(value, np.ndarray) or value.dtype != place.dtype or value.shape != place.shape:
                return False
        for place, value in zip(places, values, strict=True):
            place[...] = value
        return True


class Line:
    """One side of a pipe on which a message may be a mere notice that a board has been written.

    Args:
        pipe: This side of it.
        counters: Shared by both sides, made by `shared_counters`.
        near: Which of the counters counts what this side sends, 0 or 1.
        look: Look for messages for a moment before sleeping; only where every process has a core.
    """

    def __init__(self, pipe: Connection, counters: Any, near: int, look: bool) -> None:
        self._pipe, self._look = pipe, look
        every: npt.NDArray[np.int64] = np.frombuffer(counters, np.int64)
        self._sent, self._heard = every[near * (_LINE // 8) :][:1], every[(1 - near) * (_LINE // 8) :][:1]
        self._received = 0
        self._skip = self._skipped = 0

    def send(self, message: Any) -> None:
        """Anything that can be pickled."""
        packed = ForkingPickler.dumps(message)  # may fail, before the other side is told to expect something
        self._sent[0] += 1
        self._pipe.send_bytes(packed)

    def notify(self, part: int) -> None:
        """Nothing but that the board of a part has been written; parts are numbered from 0 to 255."""
        self._sent[0] += 1
        self._pipe.send_bytes(bytes([part]))

    def receive(self) -> Any:
        """The next message; an integer is the argument of `notify`."""
        if self._look and self._heard[0] == self._received:
            if self._skipped < self._skip:
                self._skipped += 1
            else:
                self._skip = 0 if self._came() else min(2 * self._skip + 1, MOST_SKIPPED)
                self._skipped = 0
        packed = self._pipe.recv_bytes()
        self._received += 1
        return packed[0] if len(packed) == 1 else ForkingPickler.loads(packed)  # no pickle is one byte long

    def _came(self) -> bool:
        """Look for a message; it may have come just after this gave up."""
        until = time.perf_counter() + LOOK_S
        while self._heard[0] == self._received:
            if time.perf_counter() > until:  # giving way instead would hand the core over for milliseconds
                return False
        return True

    def close(self) -> None:
        """Hang up; the other side hears of it."""
        self._pipe.close()


def shared_counters() -> Any:
    """Two counters in memory that a process about to be started will share."""
    return get_context("spawn").RawArray("b", 2 * _LINE)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
