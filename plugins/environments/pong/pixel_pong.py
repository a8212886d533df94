"""Atari Pong from pixels: the policy sees the last four screens, the describer still reads RAM."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import gymnasium
import numpy as np
from pydantic import Field

from ultra_agents.contracts import Options
from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array, FloatArray, Scalar

from . import ram as court
from . import screen
from .flight import CENTRE_X, CENTRE_Y
from .ram_pong import PongGame
from .vector import ALE_ACTIONS, PongOptions, PongVectorEnv, first_screen

_VELOCITIES = ("ball_dx", "ball_dy", "own_dy", "opponent_dy")
BLUR = 3.0
"""Pixels by which a position read off a screen may be wrong: a screen is the brighter of two frames."""


class PixelOptions(PongOptions):
    """Options of `PixelPong`."""

    frame_skip: int = Field(4, ge=2, le=16, description="emulator frames (1/60 s) per agent step")


class PixelVectorEnv(PongVectorEnv):
    """`num_envs` games; observations `(n, 4, 84, 84)` uint8, the newest screen last.

    A screen is the brighter of a step's last two, as in ALE's vector environment (a test compares them). That one
    itself is not used: it gives neither RAM nor a state to save.
    """

    def __init__(self, num_envs: int, options: PixelOptions, observation_space: Any, action_space: Any) -> None:
        super().__init__(num_envs, options, observation_space, action_space)
        self._stack = np.zeros((num_envs, screen.STACK, screen.SIZE, screen.SIZE), np.uint8)
        self._grey = np.zeros((2, 210, 160), np.uint8)

    def observe(self) -> Array:
        """The last four screens of all games; zeros stand for those before an episode."""
        return self._stack.copy()

    def info(self) -> dict[str, Any]:
        """As without pixels, and the velocities in pixels per step."""
        moved = self._now - self._before
        moved[(self._now[:, 0] < 0) | (self._before[:, 0] < 0), :2] = 0
        return {**super().info(), **dict(zip(_VELOCITIES, moved.T.copy(), strict=True))}

    def snapshot(self, index: int) -> bytes:
        """The state of one game and its last four screens, about 1 kB."""
        game = super().snapshot(index)
        return game + zlib.compress(self._stack[index].tobytes(), 1) + len(game).to_bytes(4, "little")

    def _restore(self, index: int, snapshot: bytes) -> None:
        length = int.from_bytes(snapshot[-4:], "little")
        try:
            stack = np.frombuffer(zlib.decompress(snapshot[length:-4]), np.uint8).reshape(self._stack.shape[1:])
        except (zlib.error, ValueError) as error:
            raise EnvironmentFault(
                "this is not a snapshot of Pong from pixels", found=f"{len(snapshot)} bytes: {error}"
            ) from error
        super()._restore(index, snapshot[:length])
        self._stack[index] = stack

    def _begin(self, indices: Sequence[int]) -> None:
        super()._begin(indices)
        for index in indices:
            if self._waited[index]:
                self._ales[index].getScreenGrayscale(self._grey[0])
            else:  # put back into its first state, the emulator has drawn nothing yet
                self._grey[0] = first_screen()
            self._stack[index] = 0
            self._stack[index, -1] = screen.shrink(self._grey[0])

    def _act(self, index: int, action: int) -> float:
        ale, sticky, reward = self._ales[index], self._options.sticky, 0.0
        self._grey[:] = 0
        for frame in range(self._options.frame_skip):
            if not sticky or self._generators[index].random() >= sticky:
                self._executed[index] = action
            reward += ale.act(ALE_ACTIONS[self._executed[index]])
            over = ale.game_over()
            if over or frame >= self._options.frame_skip - 2:
                ale.getScreenGrayscale(self._grey[frame % 2])
            if over:
                break
        ale.getRAM(self._ram[index])
        self._stale_screen[index] = False
        self._stack[index, :-1] = self._stack[index, 1:]
        self._stack[index, -1] = screen.shrink(self._grey.max(axis=0))
        return reward


class PixelPong(PongGame):
    """Pong as image policies see it.

    Observation, `(4, 84, 84)` uint8: the last four screens in grey, the newest last. Actions, reward and the
    information beside an observation are those of `Pong`, and `ball_dx`, `ball_dy`, `own_dy`, `opponent_dy` (pixels
    per step).
    """

    Options: ClassVar[type[Options]] = PixelOptions
    options: PixelOptions

    @property
    def env_id(self) -> str:
        """Id of the task; frame skip and stickiness are part of it."""
        return self._named("pixels")

    @cached_property
    def observation_space(self) -> gymnasium.Space[Any]:
        """Four screens."""
        return gymnasium.spaces.Box(0, 255, (screen.STACK, screen.SIZE, screen.SIZE), np.uint8)

    def make(self, num_envs: int) -> PixelVectorEnv:
        """Build `num_envs` emulators in this process (about 80 ms each)."""
        return PixelVectorEnv(num_envs, self.options, self.observation_space, self.action_space)

    def describe(self, observation: Array, info: Mapping[str, Scalar]) -> str:
        """As without pixels: from the positions beside the observation, or off the screens where there are none."""
        wanted = ("ball_x", "ball_y", "own_y", "opponent_y", *_VELOCITIES)
        told = [float(info[name]) for name in wanted if name in info]
        exact = len(told) == len(wanted)
        if not exact:
            x, y, own, opponent, seen, *moved = self._read(observation[None])[0].tolist()
            told = [x if seen else -1.0, y, own, opponent, *moved]
        x, y, own, opponent, dx, dy, own_dy, _ = told
        there = x >= 0
        return court.Court(
            ball=(x, y) if there else None,
            velocity=(dx, dy) if there else (0.0, 0.0),
            own=own,
            own_velocity=own_dy,
            opponent=opponent,
            frame_skip=self.options.frame_skip,
            blur=0.0 if exact else BLUR,
        ).in_words()

    def features(self, observations: Array) -> FloatArray:
        """What `Pong` uses, read off the last two screens: `(n, 7)`."""
        skip, half = self.options.frame_skip, court.HALF
        x, y, own, _, seen, dx, dy, own_dy, _ = self._read(observations).T
        return np.stack(
            [
                seen,
                (x - CENTRE_X) / half * seen,
                (y - CENTRE_Y) / half * seen,
                np.clip(dx / skip, -2, 2),
                np.clip(dy / (2 * skip), -2, 2),
                np.clip(2 * (own - y) / half * seen, -4, 4),
                np.clip(own_dy / (court.OWN_SPEED * skip), -2, 2),
            ],
            axis=1,
        ).astype(np.float32)

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        """What `Pong` names, read off the last two screens: right to a pixel or two, while nothing is hidden."""
        x, y, own, opponent, seen, dx, dy, own_dy, opponent_dy = self._read(np.asarray(observations)).T
        paddles = (own, own_dy, opponent, opponent_dy)
        return court.named((x, y, dx, dy), paddles, seen > 0, self.options.frame_skip)

    def _read(self, observations: Array) -> FloatArray:
        """Ball x and y, own y, opponent's y, ball there; movement of the ball and of both paddles: `(n, 9)`."""
        now, before = screen.locate(observations[:, -1]), screen.locate(observations[:, -2])
        earlier = np.asarray(observations[:, -2].any(axis=(1, 2)))
        both = (now[:, 4] > 0) & (before[:, 4] > 0) & earlier
        ball = (now[:, :2] - before[:, :2]) * both[:, None]
        paddles = (now[:, 2:4] - before[:, 2:4]) * earlier[:, None]
        return np.concatenate([now, ball, paddles], axis=1)
