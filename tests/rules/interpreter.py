"""The language a second time: random expressions as trees, and what they mean for one state in plain Python floats.

A tree is a tuple of an operation and its parts. A number without a value and an unknown condition are None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

NAMES = ("a", "b", "c")
Tree = tuple[Any, ...]
Row = Mapping[str, float]

_BINARY: dict[str, Callable[[float, float], float]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "%": lambda x, y: x % y,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "abs": abs,
    "floor": math.floor,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "sin": math.sin,
    "cos": math.cos,
    "tanh": math.tanh,
    "sign": lambda x: float((x > 0) - (x < 0)),
    "min": min,
    "max": max,
    "atan2": math.atan2,
    "hypot": math.hypot,
    "argmin": lambda *values: values.index(min(values)),
    "argmax": lambda *values: values.index(max(values)),
}
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
    "==": lambda x, y: x == y,
    "!=": lambda x, y: x != y,
}
_ONE = ("abs", "floor", "sqrt", "exp", "sin", "cos", "tanh", "sign")
_TWO = ("min", "max", "atan2", "hypot", "argmin", "argmax")

constants = st.integers(-16, 16).map(lambda n: n / 2)
_ARITHMETIC = [*_BINARY, *_ONE, *_TWO, "neg", "**", "min3", "if", "count", "clip", "fold", "interp", "best"]
_LOGIC = [*_COMPARISONS, "isfinite", "chain", "and", "or", "not", "if"]


@st.composite
def numbers(draw: st.DrawFn, depth: int = 3) -> Tree:
    """A number at most `depth` operations deep."""
    kind = draw(st.sampled_from(["is", "name", "name"] if depth == 0 else ["is", "name", *_ARITHMETIC]))

    def inner() -> Tree:
        return draw(numbers(depth - 1))

    match kind:
        case "is":
            return ("is", draw(constants))
        case "name":
            return ("name", draw(st.sampled_from(NAMES)))
        case "**":
            return ("**", inner(), draw(st.integers(2, 4)))
        case "if":
            return ("if", draw(conditions(depth - 1)), inner(), inner())
        case "count":
            return ("count", draw(conditions(depth - 1)))
        case "clip" | "fold":
            low = draw(constants)
            return (kind, inner(), (low, low + draw(st.integers(1, 8)) / 2))
        case "interp":
            xs = sorted(draw(st.lists(constants, min_size=2, max_size=4, unique=True)))
            return ("interp", inner(), xs, draw(st.lists(constants, min_size=len(xs), max_size=len(xs))))
        case "best":
            return ("best", inner(), inner(), draw(st.integers(-3, 0)), draw(st.integers(1, 3)))
        case "min3":
            return ("min", inner(), inner(), inner())
    return (kind, inner(), inner()) if kind in _BINARY or kind in _TWO else (kind, inner())


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> Tree:
    """A condition at most `depth` operations deep, or of one comparison."""
    kind = draw(st.sampled_from([*_COMPARISONS, "isfinite"] if depth == 0 else _LOGIC))

    def inner() -> Tree:
        return draw(conditions(depth - 1))

    match kind:
        case "and" | "or":
            return (kind, inner(), inner())
        case "not":
            return (kind, inner())
        case "if":
            return (kind, inner(), inner(), inner())
    count = {"isfinite": 1, "chain": 3}.get(kind, 2)
    return (kind, *(draw(numbers(max(depth - 1, 0))) for _ in range(count)))


def written(tree: Tree) -> str:
    """The tree in the language."""
    match tree:
        case ("is", value):
            return f"({value!r})" if value < 0 else repr(value)
        case ("name", name):
            return str(name)
        case ("neg", x):
            return f"(-{written(x)})"
        case ("**", x, exponent):
            return f"({written(x)} ** {exponent})"
        case ("not", x):
            return f"(not {written(x)})"
        case ("count", x):
            return f"(0 + {written(x)})"
        case ("if", condition, x, y):
            return f"({written(x)} if {written(condition)} else {written(y)})"
        case ("chain", x, y, z):
            return f"({written(x)} < {written(y)} <= {written(z)})"
        case ("clip" | "fold" as name, x, (low, high)):
            return f"{name}({written(x)}, {low}, {high})"
        case ("interp", x, xs, ys):
            points = ", ".join(f"{px}, {py}" for px, py in zip(xs, ys, strict=False))
            return f"interp({written(x)}, {points})"
        case ("best", x, y, low, high):
            return f"best(n, {low}, {high}, abs({written(x)} - n) + n * {written(y)})"
        case (sign, x, y) if sign in _BINARY or sign in _COMPARISONS or sign in ("and", "or"):
            return f"({written(x)} {sign} {written(y)})"
        case (name, *parts):
            return f"{name}({', '.join(written(part) for part in parts)})"
    raise AssertionError(tree)


def number(tree: Tree, row: Row) -> float | None:
    """A number's value in one state."""
    try:
        value = _number(tree, row)
    except (ZeroDivisionError, OverflowError, ValueError):
        return None
    return value if value is not None and math.isfinite(value) else None


def _number(tree: Tree, row: Row) -> float | None:
    match tree:
        case ("is", value):
            return float(value)
        case ("name", name):
            return row[name]
        case ("if", condition, x, y):
            holds = truth(condition, row)
            return None if holds is None else number(x if holds else y, row)
        case ("count", condition):
            holds = truth(condition, row)
            return None if holds is None else float(holds)
        case ("best", x, y, low, high):
            first, second = number(x, row), number(y, row)
            if first is None or second is None:
                return None
            costs = [abs(first - n) + n * second for n in range(low, high + 1)]
            return float(low + costs.index(min(costs))) if all(map(math.isfinite, costs)) else None
    x = number(tree[1], row)
    if x is None:
        return None
    match tree:
        case ("neg", _):
            return -x
        case ("**", _, exponent):
            return float(x**exponent)
        case ("clip", _, (low, high)):
            return low if x < low else high if x > high else x
        case ("fold", _, (low, high)):
            along = (x - low) % (2 * (high - low))
            return low + min(along, 2 * (high - low) - along)
        case ("interp", _, xs, ys):
            if x <= xs[0]:
                return float(ys[0])
            for i in range(1, len(xs)):
                if x <= xs[i]:
                    return float(ys[i - 1] + (x - xs[i - 1]) / (xs[i] - xs[i - 1]) * (ys[i] - ys[i - 1]))
            return float(ys[len(xs) - 1])
    others = [number(part, row) for part in tree[2:]]
    known = [value for value in others if value is not None]
    if len(known) < len(others):
        return None
    return float((_BINARY | _FUNCTIONS)[tree[0]](x, *known))  # type: ignore[operator]


def truth(tree: Tree, row: Row) -> bool | None:
    """A condition's truth in one state; what is decided already needs no more."""
    match tree:
        case ("and", x, y):
            parts = truth(x, row), truth(y, row)
            return False if False in parts else None if None in parts else True
        case ("or", x, y):
            parts = truth(x, row), truth(y, row)
            return True if True in parts else None if None in parts else False
        case ("not", x):
            holds = truth(x, row)
            return None if holds is None else not holds
        case ("if", condition, x, y):
            holds = truth(condition, row)
            return None if holds is None else truth(x if holds else y, row)
        case ("isfinite", x):
            return number(x, row) is not None
        case ("chain", x, y, z):
            return truth(("and", ("<", x, y), ("<=", y, z)), row)
    x, y = number(tree[1], row), number(tree[2], row)
    return None if x is None or y is None else _COMPARISONS[tree[0]](x, y)
