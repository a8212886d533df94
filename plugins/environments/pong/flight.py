"""How Pong's ball flies: walls, paddles and arrivals, as measured frame by frame (`benchmarks/pong_hits.py`).

All in screen pixels and frames; y grows downwards, and a position is the centre of ball or paddle.
"""

from __future__ import annotations

import numpy as np

from ultra_agents.records import Array, FloatArray

CENTRE_X, CENTRE_Y = 80.0, 113.5
TOP, BOTTOM = 33.0, 194.0
"""A ball that is here or beyond bounces in the next frame: it moves back by its speed and one pixel more."""
OWN_X, OPPONENT_X = 140.0, 20.0
"""Where the ball's centre bounces off the paddles."""
LATE = 4.0
"""Pixels behind that within which a paddle that moves onto the ball still returns it; never farther."""
EDGES = (-8.0, 9.0)
"""Ball less paddle, px, at which the paddle's ends still return it; from 9 to 10 about one in two."""
RETURNS = ((-8, -6, -2), (-5, -2, -1), (-1, 2, 0), (3, 6, 1), (7, 10, 2))
"""Ball less paddle at the hit, least and greatest px, and the ball's speed afterwards, px per frame downwards."""
NEAR_PADDLE = 50.0
"""Pixels from the court's centre beyond which a ball that stands still is turning at a paddle: serves start nearer."""
NOISE = 0.6
"""Pixels per step by which a velocity may be wrong; those of the screen are, by up to half a pixel."""
FASTEST = 3
"""Pixels per frame a ball moves up or down at most; off my paddle at most 2."""
PUSH = 5.6
"""Pixels by which a frame's push moves the place where my paddle comes to rest. In every second frame, nearly always
those after which `ball_x` is even, the paddle goes half of the way that is left to where it would have rested by the
pushes before that frame (`benchmarks/pong_hits.py` moves it so)."""
_TIE = 0.1
"""Pixels: of speeds that lead to the same place (2 and 3 sometimes do) the slower is taken, which is the usual one."""
_ROUNDING = 1e-3
"""Frames: observations are in single precision, and a wall is missed by a millionth of a pixel."""
_BOUNCES = 3
"""At most, in the 120 frames from paddle to paddle."""


def fly(y: Array, speed: Array, frames: Array) -> tuple[FloatArray, FloatArray]:
    """Where a ball is after `frames` and how fast it is then, bounces off the walls included; `(n,)` each.

    Args:
        y: Ball's centre, px.
        speed: Downwards, px per frame.
        frames: How long it flies; they may end between two.
    """
    y, speed, left = (np.array(one, np.float64) for one in (y, speed, frames))
    for _ in range(_BOUNCES):
        pace = np.abs(speed)
        before = np.maximum(np.ceil(np.where(speed < 0, y - TOP, BOTTOM - y) / pace - _ROUNDING), 0)
        bounces = (pace > 0) & (before + 1 <= left)
        if not bounces.any():
            break
        back = y + speed * before - speed - np.sign(speed)
        y = np.where(bounces, back, y)
        left = np.where(bounces, left - before - 1, left)
        speed = np.where(bounces, -speed, speed)
    return y + speed * left, speed


def arrivals(
    x: FloatArray, y: FloatArray, vx: FloatArray, vy: FloatArray, frame_skip: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Steps until the ball is at my paddle, its y there, and its y velocity now; `(n,)` each, NaN where unknown.

    A ball flies at 1 px a frame sideways and 0 to 3 up or down, so over a step without a bounce it moves by multiples
    of `frame_skip`. What does not is the mean over a bounce. At a wall the speed is the one that leads there from
    where the ball was. At the opponent's paddle, and in the step of a serve, only the sideways speed is known: the
    other shows in the next step.

    Args:
        x: Ball's centre, px.
        y: The same, downwards.
        vx: Mean over the last step, px per step.
        vy: The same, downwards.
        frame_skip: Frames per step.
    """
    with np.errstate(all="ignore"):
        partly, near = _uneven(vx, frame_skip), np.abs(x - CENTRE_X) > NEAR_PADDLE
        turned = near & (partly | (vx == 0))
        vx = frame_skip * np.sign(np.where(turned, CENTRE_X - x, vx))
        steps = (OWN_X - x) / vx
        steps = np.where((vx > 0) & (steps >= 0), steps, np.nan)
        speed = _speed(y, vy, frame_skip)
        speed = np.where(partly | turned, np.nan, speed)
        return steps, fly(y, speed, steps * frame_skip)[0], speed * frame_skip


def _uneven(moved: FloatArray, frame_skip: int) -> Array:
    """Whether a mean over a step is none of the speeds a ball flies at."""
    return np.asarray(np.abs(moved - frame_skip * np.rint(moved / frame_skip)) > NOISE)


def _speed(y: FloatArray, vy: FloatArray, frame_skip: int) -> FloatArray:
    """The ball's speed downwards now, px per frame, from its mean over a step that may hold a bounce."""
    plain = np.rint(vy / frame_skip)
    before = y - vy
    bounced = np.asarray(_uneven(vy, frame_skip) | (before <= TOP) & (vy > 0) | (before >= BOTTOM) & (vy < 0))
    if not bounced.any():
        return plain
    wall = np.where(before + y < TOP + BOTTOM, -1.0, 1.0)
    best, least = plain, np.full_like(y, np.inf)
    for pace in range(1, FASTEST + 1):
        there, speed = fly(before, pace * wall, np.full_like(y, frame_skip))
        apart = np.where(speed * wall < 0, np.abs(there - y), np.inf)
        nearer = apart < least - _TIE
        best, least = np.where(nearer, speed, best), np.where(nearer, apart, least)
    return np.where(bounced, best, plain)


def paddle_in_words(frame_skip: int) -> str:
    """How my paddle answers a push, at most about 100 words."""
    law = (
        f"My paddle (measured): each frame of a push moves the place where it will come to rest by {PUSH} px, and in "
        "every second frame it goes half of the way that is left to it."
    )
    if frame_skip != 4:
        return law
    even, odd = (own_push(first) for first in (False, True))
    return (
        f"{law} So the push of one step moves it {4 * PUSH:.0f} px in all: {even:.0f} in its own step and "
        f"{0.75 * (4 * PUSH - even):.0f} in the next where ball_x is even as the step begins, {odd:.0f} and "
        f"{0.75 * (4 * PUSH - odd):.0f} where it is odd (so nine times in ten). How far it still goes by itself: "
        f"own_v / 3 after a step without a push, and {way_left(even):.0f} px more in the direction of the push "
        f"({way_left(odd):.0f} where ball_x is odd) after a step with one."
    )


def own_push(odd: bool) -> float:
    """Pixels my paddle moves within a step of four frames because of that step's own push; see `PUSH`."""
    return PUSH * (1.0 if odd else 1.75)


def way_left(moved: float) -> float:
    """Pixels that a push has left to go at its step's end beyond a third of the movement; `moved` of `own_push`."""
    return 4 * PUSH - 4 * moved / 3
