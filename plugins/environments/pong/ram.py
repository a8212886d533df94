"""Pong's RAM as numbers and words: which byte means what, the observation made of them, and the sentence for a state.

Everything is in screen pixels: x grows to the right (the agent's paddle is the right one), y grows *downwards*, and
positions are the centres of ball and paddles. The offsets from RAM to pixels were measured against the screen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ultra_agents.contracts import Quantity
from ultra_agents.contracts.quantities import columns
from ultra_agents.records import Array, FloatArray

from .flight import BOTTOM, CENTRE_X, CENTRE_Y, EDGES, LATE, NEAR_PADDLE, OPPONENT_X, OWN_X, TOP, arrivals

BALL_X, OPPONENT_Y, OWN_Y, BALL_Y = 49, 50, 51, 54
OPPONENT_SCORE, OWN_SCORE = 13, 14
_COLUMNS = np.array([BALL_X, BALL_Y, OWN_Y, OPPONENT_Y])
_OFFSETS = np.array([48, 12, 6, 7])

HALF = 80.0
"""Half the court in pixels, both ways: what one unit of a position in the observation is worth."""
OWN_SPEED = 6.0
"""Pixels per frame that one unit of paddle velocity is worth; the ball's units are 1 (x) and 2 (y)."""

_DIGITS = 3
"""Of a pixel that single precision still tells apart: the rest would turn 140 into 139.999 and floor into 139."""

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


LEGEND = {
    "ball_x": Quantity("px", "ball's centre from the screen's left edge; NaN without a ball", "to the right", 16, 146),
    "ball_y": Quantity("px", "ball's centre from the screen's top; NaN without a ball", "downwards", TOP, BOTTOM),
    "ball_vx": Quantity(
        "px/step", "ball's mean movement over the last step; NaN without a ball", "to the right", -4, 4
    ),
    "ball_vy": Quantity(
        "px/step", "the same, bounces within the step included; NaN without a ball", "downwards", -12, 12
    ),
    "own_y": Quantity("px", "centre of my paddle from the screen's top", "downwards", 38, 197),
    "own_v": Quantity("px/step", "movement of my paddle over the last step", "downwards", -24, 24),
    "opponent_y": Quantity("px", "centre of the opponent's paddle from the screen's top", "downwards", 38, 197),
    "opponent_v": Quantity("px/step", "movement of the opponent's paddle over the last step", "downwards", -24, 24),
    "in_play": Quantity("0 or 1", "whether there is a ball", "", 0, 1),
    "arrival_steps": Quantity(
        "steps", "until the ball is at my paddle, parts of a step included; NaN unless it comes at me", "", 0, 30
    ),
    "arrival_y": Quantity(
        "px",
        "where the ball will be then, bounces off the walls included; NaN unless it comes at me, and in the step in "
        "which the opponent returns it",
        "downwards",
        TOP,
        BOTTOM,
    ),
}
"""What `quantities` means."""


def quantities(observations: Array, frame_skip: int) -> dict[str, FloatArray]:
    """Undo `observe`: `(n, 9)` observations -> `(n,)` each, in pixels and agent steps; see `LEGEND`."""
    values = np.asarray(observations, np.float64).T
    values = np.where(np.abs(values) <= 2, values, np.nan)
    speed = OWN_SPEED * frame_skip
    scale = np.array([HALF, HALF, frame_skip, 2 * frame_skip, HALF, HALF, speed, speed], np.float64)
    middle = np.array([CENTRE_X, CENTRE_Y, 0, 0, CENTRE_Y, CENTRE_Y, 0, 0], np.float64)
    known = np.round(values[:8] * scale[:, None] + middle[:, None], _DIGITS)
    return named(ball=known[:4], paddles=known[[4, 6, 5, 7]], in_play=values[8] > 0.5, frame_skip=frame_skip)


def named(
    ball: Array | Sequence[Array],
    paddles: Array | Sequence[Array],
    in_play: Array,
    frame_skip: int,
) -> dict[str, FloatArray]:
    """Everything in `LEGEND`.

    Args:
        ball: x, y and their mean velocities over the last step, `(4, n)`.
        paddles: Own y and velocity, the opponent's, `(4, n)`.
        in_play: Whether there is a ball.
        frame_skip: Frames per step.
    """
    x, y, vx, vy = np.where(in_play, ball, np.nan)
    steps, where, _ = arrivals(x, y, vx, vy, frame_skip)
    return columns(LEGEND, [x, y, vx, vy, *paddles, in_play, steps, where])


@dataclass(frozen=True)
class Court:
    """One state in pixels and pixels per agent step; y grows downwards.

    Attributes:
        ball: Ball x and y, or None when there is no ball.
        velocity: Ball velocity in x and y over the last step; zeros without a ball.
        own: Centre of the agent's paddle.
        own_velocity: Its velocity.
        opponent: Centre of the opponent's paddle.
        frame_skip: Frames per step.
        blur: Pixels by which positions may be wrong; those of the screen are.
    """

    ball: tuple[float, float] | None
    velocity: tuple[float, float]
    own: float
    own_velocity: float
    opponent: float
    frame_skip: int = 4
    blur: float = 0.0

    @classmethod
    def of(cls, observation: Array, frame_skip: int) -> Court:
        """Undo `observe` for one `(9,)` observation; values that are not finite count as 0, all are clipped to +-2."""
        tame = np.clip(np.nan_to_num(observation.astype(np.float64)), -2.0, 2.0)
        told = {name: float(values[0]) for name, values in quantities(tame[None], frame_skip).items()}
        return cls(
            ball=(told["ball_x"], told["ball_y"]) if told["in_play"] else None,
            velocity=(told["ball_vx"], told["ball_vy"]),
            own=told["own_y"],
            own_velocity=told["own_v"],
            opponent=told["opponent_y"],
            frame_skip=frame_skip,
        )

    def arrival(self) -> tuple[float, float, float]:
        """`arrivals` of this state; three times NaN without a ball."""
        if self.ball is None:
            return math.nan, math.nan, math.nan
        x, y, vx, vy = (np.array([value], np.float64) for value in (*self.ball, *self.velocity))
        steps, where, speed = (float(found[0]) for found in arrivals(x, y, vx, vy, self.frame_skip))
        return steps, where, speed

    def in_words(self) -> str:
        """The state as the agent would tell it, at most about 35 words."""
        if self.ball is None:
            seen = "No ball in play, the next serve is coming"
            if self.blur:
                seen = "No ball to be seen: it is at a paddle, past one, or about to be served"
            return f"{seen}. {_paddle(self.own_velocity)}"
        x, y = self.ball
        if x > OWN_X + LATE + 0.5 + self.blur:
            return f"The ball has passed my paddle {_offset(y - self.own)} its centre: this point is lost."
        if x < OPPONENT_X - LATE - 0.5 - self.blur:
            return "The ball has passed the opponent's paddle: this point is won."
        steps, where, vy = self.arrival()
        mine = f"{_offset(y - self.own)} my paddle's centre"
        if x >= OWN_X and self.velocity[0] > 0 and math.isfinite(vy):
            return f"Ball at my paddle, {mine}{self._reached(y - self.own)}. {_paddle(self.own_velocity)}"
        apart = f"Ball {max(OWN_X - x, 0):.0f} px from my paddle"
        if math.isfinite(where):
            text = f"coming at me and {_vertical(vy)}; it arrives {_when(steps)}, {_offset(where - self.own)} my"
            return f"{apart}, {text} paddle's centre. {_paddle(self.own_velocity)}"
        near = abs(x - CENTRE_X) > NEAR_PADDLE
        if near and self.blur:  # which hides the ball in part
            return f"{apart}, near {'my' if x > CENTRE_X else 'the other'} paddle. {_paddle(self.own_velocity)}"
        if math.isfinite(steps):
            what = "just returned by the opponent" if x < CENTRE_X - NEAR_PADDLE else "coming at me"
            text = f"{what}; it arrives {_when(steps)}, where shows in the next step"
            return f"{apart}, {text}. {_paddle(self.own_velocity)}"
        if self.velocity[0] == 0 and not near:
            going, vy = "just served", math.nan
        elif self.velocity[0] < 0 and x <= OPPONENT_X + self.frame_skip:
            going = "at the opponent's paddle"
        else:
            going = "going away"
        moving = f"{_vertical(vy)}, now " if math.isfinite(vy) else ""
        return (
            f"{apart}, {going}, {moving}{mine} and {_offset(y - self.opponent)} the opponent's. "
            f"{_paddle(self.own_velocity)}"
        )

    def _reached(self, off: float) -> str:
        """What becomes of a ball at my paddle, as far as that can be known; `off` is ball less paddle."""
        low, high = EDGES
        if low + self.blur <= off <= high - self.blur:
            return " and probably returned"
        return " and probably missed"


def _when(steps: float) -> str:
    """Steps until something happens: they may end between two."""
    if steps < 1:
        return "within this step"
    number = f"{steps:.2f}".rstrip("0").rstrip(".")
    return f"in {number} step{'' if number == '1' else 's'}"


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
