"""Pong's RAM as numbers and words: which byte means what, the observation made of them, and the sentence for a state.

Everything is in screen pixels: x grows to the right (the agent's paddle is the right one), y grows *downwards*, and
positions are the centres of ball and paddles. The offsets from RAM to pixels were measured against the screen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultra_agents.records import Array, FloatArray

BALL_X, OPPONENT_Y, OWN_Y, BALL_Y = 49, 50, 51, 54
OPPONENT_SCORE, OWN_SCORE = 13, 14
_COLUMNS = np.array([BALL_X, BALL_Y, OWN_Y, OPPONENT_Y])
_OFFSETS = np.array([48, 12, 6, 7])

CENTRE_X, CENTRE_Y = 80.0, 113.5
HALF = 80.0
"""Half the court in pixels, both ways: what one unit of a position in the observation is worth."""
TOP, BOTTOM = 33.0, 193.5
"""Where the ball's centre bounces off the walls."""
OWN_X, OPPONENT_X = 140.0, 21.0
"""Where the ball's centre bounces off the paddles."""
OWN_SPEED = 6.0
"""Pixels per frame that one unit of paddle velocity is worth; the ball's units are 1 (x) and 2 (y)."""

OBSERVATION = (
    "ball_x", "ball_y", "ball_vx", "ball_vy", "own_y", "opponent_y", "own_vy", "opponent_vy", "ball_in_play",
)  # fmt: skip


def positions(ram: Array) -> Array:
    """RAM `(n, 128)` -> int64 pixels `(n, 4)`: ball x and y, own y, opponent y; -1, -1 stands for no ball."""
    pixels = ram[:, _COLUMNS].astype(np.int64)
    absent = pixels[:, 1] == 0
    pixels -= _OFFSETS
    pixels[absent, :2] = -1
    return pixels


def observe(now: Array, before: Array, frame_skip: int) -> FloatArray:
    """Positions `(n, 4)` of this and of the previous step -> float32 observations `(n, 9)`, see `OBSERVATION`.

    Positions are in units of half the court from its centre, velocities in pixels per frame over a typical top speed.
    Without a ball its four columns are 0; its velocity is also 0 on the first step it is seen.
    """
    seen = now[:, 0] >= 0
    moving = seen & (before[:, 0] >= 0)
    step = now - before
    out = np.empty((len(now), len(OBSERVATION)), np.float32)
    out[:, 0] = (now[:, 0] - CENTRE_X) / HALF * seen
    out[:, 1] = (now[:, 1] - CENTRE_Y) / HALF * seen
    out[:, 2] = step[:, 0] / frame_skip * moving
    out[:, 3] = step[:, 1] / (2 * frame_skip) * moving
    out[:, 4:6] = (now[:, 2:] - CENTRE_Y) / HALF
    out[:, 6:8] = step[:, 2:] / (OWN_SPEED * frame_skip)
    out[:, 8] = seen
    return np.clip(out, -2.0, 2.0, out=out)


@dataclass(frozen=True)
class Court:
    """One observation back in pixels and pixels per agent step; y grows downwards.

    Attributes:
        ball: Ball x and y, or None when there is no ball.
        velocity: Ball velocity in x and y; zeros without a ball.
        own: Centre of the agent's paddle.
        own_velocity: Its velocity.
        opponent: Centre of the opponent's paddle.
    """

    ball: tuple[float, float] | None
    velocity: tuple[float, float]
    own: float
    own_velocity: float
    opponent: float

    @classmethod
    def of(cls, observation: Array, frame_skip: int) -> Court:
        """Undo `observe` for one `(9,)` observation; values that are not finite count as 0, all are clipped to +-2."""
        x, y, vx, vy, own, opponent, own_vy, _, in_play = (
            float(value) for value in np.clip(np.nan_to_num(observation.astype(np.float64)), -2.0, 2.0)
        )
        return cls(
            ball=(x * HALF + CENTRE_X, y * HALF + CENTRE_Y) if in_play > 0.5 else None,
            velocity=(vx * frame_skip, vy * 2 * frame_skip),
            own=own * HALF + CENTRE_Y,
            own_velocity=own_vy * OWN_SPEED * frame_skip,
            opponent=opponent * HALF + CENTRE_Y,
        )

    def arrival(self, x: float) -> tuple[float, float] | None:
        """Steps until the ball reaches column `x`, and its y there with wall bounces; None if it moves away."""
        if self.ball is None or self.velocity[0] == 0:
            return None
        steps = (x - self.ball[0]) / self.velocity[0]
        if steps < 0:
            return None
        height = BOTTOM - TOP
        folded = (self.ball[1] + self.velocity[1] * steps - TOP) % (2 * height)
        return steps, TOP + min(folded, 2 * height - folded)

    def in_words(self) -> str:
        """The state as the agent would tell it, at most about 35 words."""
        if self.ball is None:
            return f"No ball in play, the next serve is coming. {_paddle(self.own_velocity)}"
        x, y = self.ball
        if x > OWN_X + 2:
            return f"The ball has passed my paddle {_offset(y - self.own)} its centre: this point is lost."
        if x < OPPONENT_X - 4:
            return "The ball has passed the opponent's paddle: this point is won."
        vx, vy = self.velocity
        if vx > 0:
            arrival = self.arrival(OWN_X)
            text = f"Ball {max(OWN_X - x, 0):.0f} px from my paddle, coming at me and {_vertical(vy)}"
            if arrival is not None:
                steps, where = arrival
                text += f"; it arrives in {steps:.0f} steps, {_offset(where - self.own)} my paddle's centre"
            return f"{text}. {_paddle(self.own_velocity)}"
        going = "going away" if vx < 0 else "turning or just served"
        return (
            f"Ball {OWN_X - x:.0f} px from my paddle, {going}, {_vertical(vy)}, now {_offset(y - self.own)} my "
            f"paddle's centre and {_offset(y - self.opponent)} the opponent's. {_paddle(self.own_velocity)}"
        )


def _offset(down: float) -> str:
    """12.3 -> `12 px below`, as in "12 px below my paddle's centre"."""
    pixels = round(abs(down))
    if pixels == 0:
        return "level with"
    return f"{pixels} px {'below' if down > 0 else 'above'}"


def _vertical(down: float) -> str:
    pixels = round(abs(down))
    if pixels == 0:
        return "flying level"
    return f"{'falling' if down > 0 else 'rising'} {pixels} px/step"


def _paddle(down: float) -> str:
    pixels = round(abs(down))
    if pixels == 0:
        return "My paddle is still."
    return f"My paddle is moving {'down' if down > 0 else 'up'} {pixels} px/step."
