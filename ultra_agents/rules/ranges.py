"""Interval arithmetic on compiled expressions, to find conditions that can never hold.

A range is (least, greatest) of the values a node can have; a condition's is that of its truth, 0 or 1, so that it can
be true if and only if its greatest value is 1. What is not known is infinite: a range is never
too narrow, but for rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ultra_agents.rules import operations as op
from ultra_agents.rules.nodes import Node, Range

EVERYTHING: Range = (-math.inf, math.inf)


def range_of(function: Callable[..., Any], inputs: Sequence[Range]) -> Range:
    """Where the results of an operation lie."""
    if function in (op.smallest_index, op.largest_index):
        return (0.0, float(len(inputs) - 1))
    known = _RANGES.get(function)
    if known is None:
        return EVERYTHING
    low, high = known(*inputs)
    return EVERYTHING if math.isnan(low) or math.isnan(high) else (low, high)


def _product(a: Range, b: Range) -> Range:
    corners = [0.0 if 0.0 in (x, y) else x * y for x in a for y in b]
    return (min(corners), max(corners))


def _magnitude(a: Range) -> Range:
    least = 0.0 if a[0] <= 0.0 <= a[1] else min(abs(a[0]), abs(a[1]))
    return (least, max(abs(a[0]), abs(a[1])))


def _square(a: Range) -> Range:
    low, high = _magnitude(a)
    return (low * low, high * high)


def _clip(x: Range, low: Range, high: Range) -> Range:
    return (min(max(x[0], low[0]), high[0]), min(max(x[1], low[1]), high[1]))


def _choice(_condition: Range, a: Range, b: Range) -> Range:
    return (min(a[0], b[0]), max(a[1], b[1]))


_UNIT: Range = (-1.0, 1.0)
_TRUTH: Range = (0.0, 1.0)
_RANGES: dict[Callable[..., Any], Callable[..., Range]] = {
    np.add: lambda a, b: (a[0] + b[0], a[1] + b[1]),
    np.subtract: lambda a, b: (a[0] - b[1], a[1] - b[0]),
    np.multiply: _product,
    np.negative: lambda a: (-a[1], -a[0]),
    np.square: _square,
    op.fourth_power: lambda a: _square(_square(a)),
    np.absolute: _magnitude,
    op.minimum: lambda *values: (min(v[0] for v in values), min(v[1] for v in values)),
    op.maximum: lambda *values: (max(v[0] for v in values), max(v[1] for v in values)),
    op.clip: _clip,
    np.floor: lambda a: (float(np.floor(a[0])), float(np.floor(a[1]))),
    op.fold: lambda _x, low, high: (low[0], high[1]),
    np.sign: lambda _a: _UNIT,
    np.sin: lambda _a: _UNIT,
    np.cos: lambda _a: _UNIT,
    np.tanh: lambda _a: _UNIT,
    np.arctan2: lambda _y, _x: (-math.pi, math.pi),
    np.sqrt: lambda _a: (0.0, math.inf),
    np.exp: lambda _a: (0.0, math.inf),
    np.hypot: lambda _a, _b: (0.0, math.inf),
    op.best_value: lambda values, _cost: values,
    op.choose: _choice,
    op.choose_condition: _choice,
    op.as_number: lambda a: a,
    op.finite: lambda _a: _TRUTH,
    op.less: lambda a, b: (float(a[1] < b[0]), float(a[0] < b[1])),
    op.less_equal: lambda a, b: (float(a[1] <= b[0]), float(a[0] <= b[1])),
    op.equal: lambda a, b: (float(a == b and a[0] == a[1]), float(a[0] <= b[1] and b[0] <= a[1])),
    op.both: lambda a, b: (min(a[0], b[0]), min(a[1], b[1])),
    op.either: lambda a, b: (max(a[0], b[0]), max(a[1], b[1])),
    op.negation: lambda a: (1.0 - a[1], 1.0 - a[0]),
}


def never_true(nodes: Sequence[Node], condition: int) -> bool:
    """Whether a condition is false everywhere, as far as ranges and what is required side by side (`and`) tell."""
    parts = _conjuncts(nodes, condition)
    told = {(nodes[part].function, *nodes[part].args) for part in parts}
    # The ends of what is left for a node: a least (value, excluded) and a greatest (value, included); `max` and `min`
    # of these are the narrower ones.
    lows: dict[int, tuple[float, bool]] = {}
    highs: dict[int, tuple[float, bool]] = {}
    for part in parts:
        node = nodes[part]
        if node.range[1] == 0.0 or (node.function is op.negation and node.args[0] in parts):
            return True
        if node.function not in (op.less, op.less_equal, op.equal):
            continue
        (a, b), strict = node.args, node.function is op.less
        if strict and {(op.less, b, a), (op.less_equal, b, a), (op.equal, a, b), (op.equal, b, a)} & told:
            return True
        for small, large in [(a, b), (b, a)] if node.function is op.equal else [(a, b)]:
            low, high = (nodes[small].range[0], strict), (nodes[large].range[1], not strict)
            lows[large] = max(low, lows.get(large, low))
            highs[small] = min(high, highs.get(small, high))
    return any(
        low > highs[slot][0] or (low == highs[slot][0] and (excluded or not highs[slot][1]))
        for slot, (low, excluded) in lows.items()
        if slot in highs
    )


def _conjuncts(nodes: Sequence[Node], condition: int) -> set[int]:
    """What `condition` requires at once: the parts of its `and`s."""
    seen, waiting = {condition}, [condition]
    while waiting:
        slot = waiting.pop()
        if nodes[slot].function is op.both:
            waiting += set(nodes[slot].args) - seen
            seen.update(nodes[slot].args)
    return {slot for slot in seen if nodes[slot].function is not op.both}
