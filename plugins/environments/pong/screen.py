"""Pong's screen as policies see it, 84 x 84 grey as in ALE's own vector environment, and what can be read off it."""

from __future__ import annotations

from functools import cache

import numpy as np

from ultra_agents.records import Array, FloatArray

SIZE, STACK = 84, 4
_WALLS = slice(14, 77)
"""Rows between the top and the bottom wall."""
_OWN, _OPPONENT, _FIELD = slice(72, 77), slice(7, 12), slice(12, 72)
_GROUND = 87.0
"""Grey of the court."""
_PADDLE = 75.0
"""Paddles differ from the court by less."""
_LEAST = 60.0
"""Grey summed over its pixels that makes a ball."""


def shrink(screen: Array) -> Array:
    """Grey screens `(210, 160)` -> `(84, 84)` uint8 by mean over areas, identical to what ALE's `resize` makes."""
    rows, columns = _areas()
    return np.asarray(np.rint(rows @ screen.astype(np.float32) @ columns), np.uint8)


def locate(frames: Array) -> FloatArray:
    """Frames `(n, 84, 84)` -> ball x and y, own y, opponent's y, whether there is a ball: `(n, 5)`, screen pixels."""
    marks = np.abs(frames[:, _WALLS].astype(np.float32) - _GROUND)
    heights = (np.arange(_WALLS.start, _WALLS.stop) + 0.5) * 210 / SIZE
    widths = (np.arange(_FIELD.start, _FIELD.stop) + 0.5) * 160 / SIZE
    field = marks[:, :, _FIELD]
    mass = field.sum(axis=(1, 2))
    seen = mass > _LEAST
    whole = np.maximum(mass, 1e-6)
    ball_x = (field.sum(axis=1) @ widths) / whole * seen
    ball_y = (field.sum(axis=2) @ heights) / whole * seen
    dim = np.where(marks > _PADDLE, 0, marks)  # what is brighter is the ball
    own, opponent = (_height(dim[:, :, part].sum(axis=2), heights) for part in (_OWN, _OPPONENT))
    return np.stack([ball_x, ball_y, own, opponent, seen], axis=1)


def _height(mass: FloatArray, heights: FloatArray) -> FloatArray:
    """Centre of `(n, rows)`, the middle of the court where there is nothing."""
    total = mass.sum(axis=1)
    return np.asarray(np.where(total > _LEAST, (mass @ heights) / np.maximum(total, 1e-6), heights.mean()))


@cache
def _areas() -> tuple[FloatArray, FloatArray]:
    return _means(210), _means(160).T


def _means(count: int) -> FloatArray:
    """The matrix `(84, count)` of means over areas."""
    scale = count / SIZE
    edges = np.arange(SIZE + 1) * scale
    pixels = np.arange(count)
    over = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(np.clip(over, 0, None) / scale, np.float32)
