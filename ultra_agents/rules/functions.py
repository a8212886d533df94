"""The functions of the language by name, and where one is called with ends that are in the wrong order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from ultra_agents.rules import operations as op
from ultra_agents.rules.nodes import Kind, Range

MOST_ARGUMENTS = 41
MOST_CANDIDATES = 21


@dataclass(frozen=True, slots=True)
class Function:
    """One function: how it is written, what computes it, how many numbers it takes, what it gives."""

    usage: str
    evaluate: Callable[..., Any]
    least: int
    most: int
    gives: Kind = "number"

    def takes(self, count: int) -> bool:
        """Whether it can be called with `count` numbers."""
        paired = self.evaluate is not op.interpolate or count % 2 == 1
        return self.least <= count <= self.most and paired


FUNCTIONS = {
    "abs": Function("abs(x)", np.absolute, 1, 1),
    "argmax": Function("argmax(a, b, ...)", op.largest_index, 2, MOST_ARGUMENTS),
    "argmin": Function("argmin(a, b, ...)", op.smallest_index, 2, MOST_ARGUMENTS),
    "atan2": Function("atan2(y, x)", np.arctan2, 2, 2),
    "clip": Function("clip(x, low, high)", op.clip, 3, 3),
    "cos": Function("cos(x)", np.cos, 1, 1),
    "exp": Function("exp(x)", np.exp, 1, 1),
    "floor": Function("floor(x)", np.floor, 1, 1),
    "fold": Function("fold(x, low, high)", op.fold, 3, 3),
    "hypot": Function("hypot(x, y)", np.hypot, 2, 2),
    "interp": Function("interp(x, x0, y0, x1, y1, ...)", op.interpolate, 5, MOST_ARGUMENTS),
    "isfinite": Function("isfinite(x)", op.finite, 1, 1, "condition"),
    "max": Function("max(a, b, ...)", op.maximum, 2, MOST_ARGUMENTS),
    "min": Function("min(a, b, ...)", op.minimum, 2, MOST_ARGUMENTS),
    "sign": Function("sign(x)", np.sign, 1, 1),
    "sin": Function("sin(x)", np.sin, 1, 1),
    "sqrt": Function("sqrt(x)", np.sqrt, 1, 1),
    "tanh": Function("tanh(x)", np.tanh, 1, 1),
}
BEST = "best"
BEST_USAGE = "best(n, low, high, expression): n a new name, low and high whole numbers, at most 21 values"


def disorder(function: Function, ranges: Sequence[Range]) -> str | None:
    """What is wrong with the ends given to clip, fold or interp, if they never are in order."""
    if function.evaluate is op.clip and ranges[1][0] > ranges[2][1]:
        return "the low end of clip is above its high end"
    if function.evaluate is op.fold and ranges[1][0] >= ranges[2][1]:
        return "the low end of fold is not below its high end"
    if function.evaluate is op.interpolate:
        xs = ranges[1::2]
        if any(a[0] >= b[1] for a, b in pairwise(xs)):
            return "the points of interp are not in increasing order"
    return None
