"""Operations on values: what a node of a compiled expression does, where one of numpy's own functions does not do it.

A number is a float64 array broadcastable to `(n,)`; NaN means that it has no value there. An infinite result is no
value either: the program that runs these makes it NaN. A condition is a pair of bool arrays, *surely true* and
*surely false*; where both are False it is unknown (Kleene's three-valued logic), which is what a comparison with no
value gives. Every function is called with numpy's warnings off.
"""

from __future__ import annotations

from functools import reduce
from typing import Any, TypeAlias

import numpy as np

Number: TypeAlias = Any
Condition: TypeAlias = tuple[Any, Any]


def everywhere(condition: Any) -> bool:
    """Whether a bool array holds everywhere; a fraction of the time of `.all()` on few states."""
    return bool(np.count_nonzero(condition) == condition.size)


def known(value: Number) -> Number:
    """`value` with infinities made no value."""
    infinite = np.isinf(value)
    return np.where(infinite, np.nan, value) if np.count_nonzero(infinite) else value


def cube(a: Number) -> Number:
    """`a ** 3`."""
    return a * a * a


def fourth_power(a: Number) -> Number:
    """`a ** 4`."""
    squared = np.multiply(a, a)
    return np.multiply(squared, squared)


def minimum(*values: Number) -> Number:
    """The smallest; no value where any has none."""
    return reduce(np.minimum, values)


def maximum(*values: Number) -> Number:
    """The largest; no value where any has none."""
    return reduce(np.maximum, values)


def clip(x: Number, low: Number, high: Number) -> Number:
    """`x` within [low, high]; no value where low > high."""
    return _where(low <= high, clip_within(x, low, high), np.nan)


def clip_within(x: Number, low: Number, high: Number) -> Number:
    """`clip` where low <= high is known."""
    return np.minimum(np.maximum(x, low), high)


def fold(x: Number, low: Number, high: Number) -> Number:
    """`x` reflected at walls at low and high; no value where they are not in that order."""
    width = high - low
    along = np.mod(x - low, 2.0 * width)
    return _where(width > 0, low + np.minimum(along, 2.0 * width - along), np.nan)


def interpolate(x: Number, *points: Number) -> Number:
    """Piecewise linear through (x0, y0), (x1, y1), ..., constant outside; no value unless x0 < x1 < ..."""
    xs, ys = points[::2], points[1::2]
    value = ys[0] + 0.0 * x
    for i in range(1, len(xs)):
        width = xs[i] - xs[i - 1]
        share = np.minimum(np.maximum((x - xs[i - 1]) / width, 0.0), 1.0)
        value = _where(width > 0, value + share * (ys[i] - ys[i - 1]), np.nan)
    return value


def smallest_index(*values: Number) -> Number:
    """Index of the smallest, from 0, the first of equal ones; no value where any has none."""
    least, index = values[0], np.zeros_like(values[0])
    for i, value in enumerate(values[1:], 1):
        index = _where(value < least, np.float64(i), index)
        least = np.minimum(least, value)
    return _where(np.isnan(least), np.nan, index)


def largest_index(*values: Number) -> Number:
    """Index of the largest, from 0, the first of equal ones; no value where any has none."""
    return smallest_index(*(np.negative(value) for value in values))


def candidates(low: int, high: int) -> Number:
    """The whole numbers from `low` to `high`, `(k, 1)`."""
    return np.arange(low, high + 1, dtype=np.float64)[:, None]


def best_value(values: Number, cost: Number) -> Number:
    """The value of least cost, the first of equal ones: `(k, 1)` and `(k, n)` or `(k, 1)` -> `(n,)` or `(1,)`."""
    cost = np.broadcast_to(cost, np.broadcast_shapes(np.shape(cost), values.shape))
    chosen = values[np.argmin(cost, axis=0), 0]
    return np.where(np.isnan(cost).any(axis=0), np.nan, chosen)


def less(a: Number, b: Number) -> Condition:
    """`a < b`."""
    return np.less(a, b), np.greater_equal(a, b)


def less_equal(a: Number, b: Number) -> Condition:
    """`a <= b`."""
    return np.less_equal(a, b), np.greater(a, b)


def equal(a: Number, b: Number) -> Condition:
    """`a == b`."""
    return np.equal(a, b), np.less(a, b) | np.greater(a, b)


def finite(a: Number) -> Condition:
    """Whether a has a value; never unknown."""
    without = np.isnan(a)
    return ~without, without


def both(a: Condition, b: Condition) -> Condition:
    """`a and b`: false as soon as one is surely false."""
    return a[0] & b[0], a[1] | b[1]


def either(a: Condition, b: Condition) -> Condition:
    """`a or b`: true as soon as one is surely true."""
    return a[0] | b[0], a[1] & b[1]


def negation(a: Condition) -> Condition:
    """`not a`."""
    return a[1], a[0]


def as_number(a: Condition) -> Number:
    """1 where true, 0 where false; no value where unknown."""
    value, decided = np.asarray(a[0], np.float64), a[0] | a[1]
    return value if everywhere(decided) else np.where(decided, value, np.nan)


def choose(condition: Condition, a: Number, b: Number) -> Number:
    """`a if condition else b`; no value where the condition is unknown."""
    yes, no = condition
    value = np.where(yes, a, b)
    decided = yes | no
    return value if everywhere(decided) else np.where(decided, value, np.nan)


def choose_condition(condition: Condition, a: Condition, b: Condition) -> Condition:
    """`a if condition else b` of two conditions."""
    yes, no = condition
    return (yes & a[0]) | (no & b[0]), (yes & a[1]) | (no & b[1])


def _where(condition: Any, a: Number, b: Number) -> Number:
    """`np.where`, without the work where the condition holds everywhere."""
    return a if everywhere(condition) else np.where(condition, a, b)
