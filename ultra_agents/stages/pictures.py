"""The states that decisions are about, drawn for people while the run goes on.

Drawing restores a stored state into a simulator of its own and renders it: no environment step is taken, nothing is
charged, and no random number of the run is used. It happens in one thread (OpenGL contexts belong to the thread that
made them), rarely enough to cost next to nothing, and what fails or is too late is left out.
"""

from __future__ import annotations

import base64
import queue
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ultra_agents.contracts import Environment, capabilities
from ultra_agents.events import AdviceDecided, Emit, Event, StateShown
from ultra_agents.plugin_calls import action_word
from ultra_agents.records import Array, Trajectory
from ultra_agents.rollout.simulators import LocalSimulators
from ultra_agents.stages.context import RunContext

LARGEST = (240, 240)
"""Rows and columns that a drawn frame is kept in; a larger one, or a photograph, becomes smaller."""
SMALL = (72, 96)
"""Rows and columns of a photograph: more than terminals show."""
COLOURS = 256
MOST, WAITING = 400, 8
"""Pictures of a run, and decisions that wait to be drawn: the oldest of more are not drawn."""
SHARE = 0.01
"""Of one processor, what drawing may take: after a picture it rests a hundred times as long."""
BEFORE, AFTER, FEATURES = 24, 24, 12
"""Steps before and after the critical one, and features, that are kept for sparklines."""


class Pictures:
    """An `Emit` that hands every event on, and draws what decisions are about.

    Args:
        environment: Whose states these are.
        trajectories: The episodes, with their stored states.
        emit: Where events go, the pictures too.
        share: Of one processor, what drawing may take.
    """

    def __init__(
        self, environment: Environment, trajectories: Sequence[Trajectory], emit: Emit, share: float = SHARE
    ) -> None:
        self._environment, self._emit, self._share = environment, emit, share
        self._by_episode = {one.episode: one for one in trajectories}
        self._wanted: queue.Queue[AdviceDecided | None] = queue.Queue()
        self._known: set[tuple[str, int]] = set()
        self._simulators: LocalSimulators | None = None
        self._draws = {"snapshot", "render"} <= capabilities(environment)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="pictures", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Hand an event on; what it decides about is drawn later."""
        self._emit(event)
        if isinstance(event, AdviceDecided) and len(self._known) < MOST:
            place = event.segment, event.step
            if place not in self._known:
                self._known.add(place)
                self._wanted.put(event)
                while self._wanted.qsize() > WAITING:
                    self._wanted.get_nowait()

    def close(self) -> None:
        """Draw what waits, without resting, for a second at most; nothing is drawn after this."""
        self._wanted.put(None)
        self._closing.set()
        self._thread.join(1.0)
        self._emit = lambda event: None

    def _work(self) -> None:
        try:
            while (event := self._wanted.get()) is not None:
                began = time.thread_time()
                shown = self._shown(event)
                if shown is not None:
                    self._emit(shown)
                self._closing.wait((time.thread_time() - began) / self._share)
        finally:
            if self._simulators is not None:
                self._simulators.close()

    def _shown(self, event: AdviceDecided) -> StateShown | None:
        trajectory = self._by_episode.get(int(event.segment.partition(":")[0]))
        if trajectory is None or not 0 <= event.step < len(trajectory):
            return None
        taken = action_word(self._environment, trajectory, event.step)
        if self._draws and trajectory.snapshots is not None:
            try:
                width, height, pixels = pack(self._frame(trajectory.snapshots[event.step]))
                return StateShown(event.segment, event.step, taken, width, height, pixels)
            except Exception:  # no display server, no OpenGL, a plugin at fault: numbers say something, too
                self._draws = False
        first = max(event.step - BEFORE, 0)
        seen = trajectory.observations[first : event.step + AFTER]
        try:
            series = np.asarray(self._environment.features(seen), np.float64)[:, :FEATURES].T
        except Exception:
            return StateShown(event.segment, event.step, taken)
        rows = tuple(tuple(round(float(value), 4) for value in row) for row in series)
        return StateShown(event.segment, event.step, taken, first=first, series=rows)

    def _frame(self, snapshot: bytes) -> Array:
        if self._simulators is None:
            self._simulators = LocalSimulators(self._environment, 1)
            self._simulators.reset(seed=[0])
        self._simulators.restore([0], [snapshot])
        return self._simulators.render_frame(0)


@contextmanager
def pictured(context: RunContext, trajectories: Sequence[Trajectory]) -> Iterator[Emit]:
    """The run's `emit`, drawing what decisions are about while the block runs."""
    pictures = Pictures(context.environment, trajectories, context.emit)
    try:
        yield pictures
    finally:
        pictures.close()


def pack(frame: Array) -> tuple[int, int, str]:
    """Width, height and `StateShown.pixels` of a frame `(H, W, 3)` of uint8.

    A drawn frame (few colours) keeps every pixel, so that thin things can be kept where it is shown small; a
    photograph is averaged down first. Colours are coarsened until a byte tells them apart.
    """
    frame = np.asarray(frame, np.uint8)
    kinds = len(np.unique(_codes(frame)))
    rows, columns = LARGEST if kinds <= COLOURS else SMALL
    factor = max(-(-frame.shape[0] // rows), -(-frame.shape[1] // columns), 1)
    if factor > 1:
        tall, wide = (size // factor * factor for size in frame.shape[:2])
        blocks = frame[:tall, :wide].reshape(tall // factor, factor, wide // factor, factor, 3)
        frame = blocks.mean(axis=(1, 3)).astype(np.uint8)
    for bits in range(8, 0, -1):
        coarse = frame >> (8 - bits) << (8 - bits)
        colours, inverse = np.unique(_codes(coarse), return_inverse=True)
        if len(colours) <= COLOURS:
            break
    palette = np.stack([colours >> 16 & 255, colours >> 8 & 255, colours & 255], axis=-1).astype(np.uint8)
    data = bytes([len(colours) - 1]) + palette.tobytes() + inverse.astype(np.uint8).tobytes()
    return frame.shape[1], frame.shape[0], base64.b64encode(zlib.compress(data, 6)).decode("ascii")


def _codes(frame: Array) -> Array:
    parts = frame.astype(np.int64)
    return np.asarray(parts[..., 0] << 16 | parts[..., 1] << 8 | parts[..., 2])
