"""Parallel games of Pong on ALE emulators: stepping, resets, and snapshots of about 300 bytes.

The emulator is driven through `ale_py.ALEInterface` directly. Two things differ from `gymnasium`'s `ALE/Pong`:
sticky actions are drawn here, from each environment's own generator, because ALE's saved state leaves out the action
it would repeat, so that its own stickiness cannot be restored exactly; and resets restore the power-on state, which
takes 0.03 ms instead of 2.6.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
from ale_py import Action, ALEInterface, ALEState, LoggerMode, roms
from pydantic import Field

from ultra_agents.contracts.vector import (
    GENERATOR_BYTES,
    SameStepVectorEnv,
    VectorOptions,
    pack_generator,
    unpack_generator,
    unpack_snapshot,
)
from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array, FloatArray

from . import ram as court

ALE_ACTIONS = (Action.NOOP, Action.RIGHT, Action.LEFT)
"""STAY, UP, DOWN: in Pong the joystick's right moves the paddle up."""
# magic, CRC-32 of the power-on state, steps, previous positions, rally, executed action, generator, differences
_HEADER = struct.Struct(f"<4sII4hIB{GENERATOR_BYTES}sH")
_MAGIC = b"PNG1"


class PongOptions(VectorOptions):
    """Options of `Pong`.

    There is no `vector: native`: ALE's own vector environment gives neither RAM nor a state to save, and threads
    cannot step emulators side by side because `act` holds Python's global lock.
    """

    vector: Literal["sync", "async"] = Field(
        "sync",
        description="sync: one after another in each process; async: the engine spreads them over at least one "
        "worker process per CPU core",
    )

    sticky: float = Field(0.0, ge=0, lt=1, description="chance per frame that the last action is repeated")
    frame_skip: int = Field(4, ge=1, le=16, description="emulator frames (1/60 s) per agent step")
    max_steps: int = Field(27_000, ge=1, description="agent steps after which an episode is truncated")
    noop_max: int = Field(30, ge=0, le=120, description="most frames of doing nothing before an episode starts")


class PongVectorEnv(SameStepVectorEnv):
    """`num_envs` games of Pong in this process; observations `(n, 9)` float32, actions `(n,)` in 0..2."""

    def __init__(self, num_envs: int, options: PongOptions, observation_space: Any, action_space: Any) -> None:
        super().__init__(num_envs, observation_space, action_space)
        self._options = options
        self._ales = [_emulator() for _ in range(num_envs)]
        self._start = self._ales[0].cloneState(include_rng=False)
        self._base = np.frombuffer(self._start.serialize(), np.uint8)
        self._base_crc = zlib.crc32(self._base.tobytes())
        self._ram = np.zeros((num_envs, 128), np.uint8)
        self._now = np.zeros((num_envs, 4), np.int64)
        self._before = np.zeros((num_envs, 4), np.int64)
        self._steps = np.zeros(num_envs, np.int64)
        self._rally = np.zeros(num_envs, np.int64)
        self._executed = [0] * num_envs
        self._waited = [0] * num_envs
        self._stale_screen = [False] * num_envs

    def observe(self) -> Array:
        """Balls and paddles, see `ram.observe`."""
        return court.observe(self._now, self._before, self._options.frame_skip)

    def info(self) -> dict[str, Any]:
        """Positions in pixels, scores, and steps since the serve."""
        now = self._now
        return {
            "ball_x": now[:, 0].copy(),
            "ball_y": now[:, 1].copy(),
            "own_y": now[:, 2].copy(),
            "opponent_y": now[:, 3].copy(),
            "own_score": self._ram[:, court.OWN_SCORE].astype(np.int64),
            "opponent_score": self._ram[:, court.OPPONENT_SCORE].astype(np.int64),
            "rally_steps": self._rally.copy(),
        }

    def close_extras(self, **kwargs: Any) -> None:
        """Leave the emulators to the next games, as they were at the start."""
        for ale in self._ales[: max(MOST_IDLE - len(_idle), 0)]:
            ale.restoreState(self._start)
            _idle.append(ale)
        self._ales = []

    def snapshot(self, index: int) -> bytes:
        """State of one game: own counters and generator, and where the emulator differs from power-on (~300 bytes)."""
        state = np.frombuffer(self._ales[index].cloneState(include_rng=False).serialize(), np.uint8)
        if len(state) != len(self._base):
            raise EnvironmentFault(
                "Pong's emulator state changed its size", found=len(state), expected=len(self._base)
            )
        where = np.flatnonzero(state != self._base).astype("<u2")
        header = _HEADER.pack(
            _MAGIC,
            self._base_crc,
            int(self._steps[index]),
            *self._before[index].tolist(),
            int(self._rally[index]),
            self._executed[index],
            pack_generator(self._generators[index]),
            len(where),
        )
        return b"".join((header, where.tobytes(), state[where].tobytes()))

    def frame(self, index: int) -> Array:
        """The screen of one game, `(210, 160, 3)` uint8.

        A restored emulator has drawn nothing yet; then one frame (1/60 s) is played for the picture and taken back.
        """
        ale = self._ales[index]
        if self._stale_screen[index]:
            state = ale.cloneState(include_rng=False)
            ale.act(Action.NOOP)
            ale.restoreState(state)
        return np.array(ale.getScreenRGB())

    def _begin(self, indices: Sequence[int]) -> None:
        for index in indices:
            ale = self._ales[index]
            ale.restoreState(self._start)
            self._waited[index] = int(self._generators[index].integers(self._options.noop_max + 1))
            for _ in range(self._waited[index]):
                ale.act(Action.NOOP)
            self._stale_screen[index] = True
            ale.getRAM(self._ram[index])
            self._executed[index] = 0
        which = list(indices)
        self._now[which] = court.positions(self._ram[which])
        self._before[which] = self._now[which]
        self._steps[which] = 0
        self._rally[which] = 0

    def _advance(self, actions: Array) -> tuple[FloatArray, Array, Array]:
        rewards = np.zeros(self.num_envs)
        terminated = np.zeros(self.num_envs, np.bool_)
        asked = actions.tolist()
        for index in self.active:
            rewards[index] = self._act(index, asked[index])
            terminated[index] = self._ales[index].game_over()
        self._before, self._now = self._now, court.positions(self._ram)
        self._steps += 1
        self._rally = np.where(self._now[:, 0] >= 0, self._rally + 1, 0)
        return rewards, terminated, (self._steps >= self._options.max_steps) & ~terminated

    def _act(self, index: int, action: int) -> float:
        ale, sticky, reward = self._ales[index], self._options.sticky, 0.0
        for _ in range(self._options.frame_skip):
            if not sticky or self._generators[index].random() >= sticky:
                self._executed[index] = action
            reward += ale.act(ALE_ACTIONS[self._executed[index]])
            if ale.game_over():
                break
        ale.getRAM(self._ram[index])
        self._stale_screen[index] = False
        return reward

    def _restore(self, index: int, snapshot: bytes) -> None:
        crc, steps, *before, rally, executed, generator, count = unpack_snapshot(_HEADER, snapshot, _MAGIC, "Pong")
        if crc != self._base_crc:
            raise EnvironmentFault(
                "this snapshot was not taken from this emulator",
                found=f"{crc:08x}",
                expected=f"{self._base_crc:08x}",
                hint="use the ale-py version the episodes were collected with, or collect them again",
            )
        try:
            where = np.frombuffer(snapshot, "<u2", count, _HEADER.size)
            values = np.frombuffer(snapshot, np.uint8, count, _HEADER.size + where.nbytes)
        except ValueError as error:
            raise EnvironmentFault("this snapshot of Pong is damaged", found=f"{len(snapshot)} bytes") from error
        full = self._base.copy()
        full[where] = values
        ale = self._ales[index]
        ale.restoreState(ALEState(full.tobytes()))
        ale.getRAM(self._ram[index])
        self._stale_screen[index] = True
        self._now[index] = court.positions(self._ram[index : index + 1])[0]
        self._before[index] = before
        self._steps[index], self._rally[index], self._executed[index] = steps, rally, executed
        unpack_generator(self._generators[index], generator)


MOST_IDLE = 64
"""Emulators that are kept for the next games of this process: loading the ROM takes 85 ms, most of a short test."""
_idle: list[ALEInterface] = []


def _emulator() -> ALEInterface:
    """One that is as at power-on but for its screen, which may be of other games."""
    with contextlib.suppress(IndexError):
        return _idle.pop()
    return _new_emulator()


@cache
def first_screen() -> Array:
    """The screen at power-on, `(210, 160)` uint8, in grey."""
    return np.array(_new_emulator().getScreenGrayscale()).reshape(210, 160)


def _new_emulator() -> ALEInterface:
    # Class-wide, and before the first instance: otherwise ALE prints a banner on stderr.
    ALEInterface.setLoggerMode(LoggerMode.Error)
    ale = ALEInterface()
    ale.setInt("random_seed", 0)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.setInt("frame_skip", 1)
    rom = roms.get_rom_path("pong")
    if rom is None:
        raise EnvironmentFault("ale-py has no ROM of Pong", hint="pip install --force-reinstall ale-py")
    ale.loadROM(rom)
    ale.reset_game()
    return ale
