"""The numbers of an observation by name: from the table in the environment's docstring, from keys, else `obs_0`, ...

What was flattened for the policy is put together again: a discrete part is one number, not a column per value.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from ultra_agents.contracts import Quantity
from ultra_agents.contracts.quantities import columns, is_word
from ultra_agents.records import Array, FloatArray

from . import docs, units

MOST = 400
"""Quantities of one environment; what has more is an image and no list of numbers."""
_LARGEST = 1e6
"""Bounds beyond this say nothing about what is usual."""
_LEAST_SPREAD = 1e-6
_DROPPED = frozenset(
    ("a", "along", "an", "and", "are", "at", "axis", "between", "by", "coordinate", "for", "from", "in", "is", "of",
     "on", "the", "to", "with")
)  # fmt: skip
_PI = re.compile(r"^~?\s*([-+−]?)\s*(\d+\.?\d*|\.\d+)?\s*\*?\s*(?:pi|π)\b", re.IGNORECASE)
_BOUND = re.compile(r"^~?\s*([-+−]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(?!\*)([a-zA-Z°²/]*)")


@dataclass(frozen=True)
class Part:
    """One number of the observation.

    Attributes:
        name: As it is called unless the docstring has a name.
        start: Its first column in the flat observation.
        values: How many values a discrete one has, each with a column; 0 for a plain number.
        first: The least of these values.
    """

    name: str
    start: int
    values: int = 0
    first: int = 0


class Names:
    """What rules can speak of in one environment.

    Args:
        parts: Its numbers.
        rows: Rows of the docstring's table by index; used where an observation is one box of numbers.
        bounds: Least and greatest value of each column of the flat observation, `(2, k)`.
        spread: Mean and standard deviation of each column in random play, `(2, k)`.
    """

    def __init__(self, parts: list[Part], rows: dict[int, docs.Row], bounds: FloatArray, spread: FloatArray) -> None:
        told = [word(rows[part.start].text) if part.start in rows else "" for part in parts]
        counts = Counter(told)
        names = [
            part.name if not name else name if counts[name] == 1 else f"{name}_{part.start}"
            for name, part in zip(told, parts, strict=True)
        ]
        if len(set(names)) < len(names):
            names = [f"obs_{index}" for index in range(len(parts))]
        self.legend = {
            name: _quantity(part, rows.get(part.start), bounds[:, part.start], spread[:, part.start])
            for name, part in zip(names, parts, strict=True)
        }
        self._starts = np.array([part.start for part in parts])
        self._width = bounds.shape[1]
        self._discrete = [(index, part) for index, part in enumerate(parts) if part.values]

    def of(self, observations: Array) -> dict[str, FloatArray]:
        """Everything in `legend`: `(n, ...)` -> `(n,)` each."""
        flat = np.asarray(observations, np.float64).reshape(len(observations), self._width)
        values = flat[:, self._starts].T
        for index, part in self._discrete:
            hot = flat[:, part.start : part.start + part.values]
            values[index] = np.where(np.isfinite(hot).all(axis=1), hot.argmax(axis=1) + part.first, np.nan)
        return columns(self.legend, values)


def names_of(
    inner: gymnasium.Space[Any], observed: gymnasium.Space[Any], sections: dict[str, list[str]], spread: FloatArray
) -> Names | None:
    """Names for the numbers of `inner`, seen flat as `observed`; None where they are too many to be named."""
    assert isinstance(observed, Box)
    if observed.low.size > MOST and isinstance(inner, Box):
        return None
    parts = list(_parts(inner, "", 0))
    if not 0 < len(parts) <= MOST:
        return None
    rows = docs.observation_rows(sections) if isinstance(inner, Box) else {}
    bounds = np.stack([observed.low.ravel(), observed.high.ravel()]).astype(np.float64)
    return Names(parts, rows, bounds, spread)


def word(text: str) -> str:
    """A short identifier for a row's text, "" if nothing is left.

    `Cosine of theta1` is `cos_theta1`; a velocity is named by what moves, `Pole Angular Velocity` is `pole_v`.
    """
    text = text.rsplit("=", 1)[-1]
    text = re.sub(r"\b(?:the\s+)?(cos|sin)(?:in)?e\s+of\b", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"\b(cos|sin|tan)\s*\(([^()]*)\)", r"\1 \2", text, flags=re.IGNORECASE)
    text = re.sub(r"\([^()]*\)", " ", text)
    kept = [part for part in re.findall(r"[a-z0-9]+", text.lower()) if part not in _DROPPED]
    if "velocity" in kept and (moving := [part for part in kept if part not in ("velocity", "angular")]):
        kept = [*moving[:5], "v"]
    name = "_".join(kept[:6])[:40].strip("_")
    return name if is_word(name) else ""


def _parts(space: gymnasium.Space[Any], name: str, start: int) -> Iterator[Part]:
    """The numbers of a space, in the order in which `gymnasium.spaces.flatten` puts them."""
    if isinstance(space, (Dict, Tuple)):
        inner = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        for key, part in inner:
            yield from _parts(part, f"{name}_{key}" if name else str(key), start)
            start += _width(part)
        return
    name = word(name.replace("_", " ")) or f"obs_{name}".strip("_") if name else "obs"
    name = name if is_word(name) else f"obs_{start}"
    if isinstance(space, Discrete):
        yield Part(name, start, int(space.n), int(space.start))
    elif isinstance(space, MultiDiscrete):
        for index, (count, first) in enumerate(zip(space.nvec.ravel(), space.start.ravel(), strict=True)):
            yield Part(f"{name}_{index}", start, int(count), int(first))
            start += int(count)
    else:
        assert isinstance(space, (Box, MultiBinary))
        width = _width(space)
        for index in range(width):
            yield Part(name if width == 1 and name != "obs" else f"{name}_{index}", start + index)


def _width(space: gymnasium.Space[Any]) -> int:
    return int(np.prod(gymnasium.spaces.flatten_space(space).shape or (1,)))


def _quantity(part: Part, row: docs.Row | None, bounds: FloatArray, spread: FloatArray) -> Quantity:
    if part.values:
        return Quantity("index", "one of several values", "", part.first, part.first + part.values - 1)
    mean, deviation = spread.tolist()
    reach = 3 * deviation if deviation > _LEAST_SPREAD else 1.0
    ends, unit = [], (row.unit if row else "")
    for side, sign in ((0, -1), (1, 1)):
        told, its_unit = _bound(row.low if side == 0 else row.high) if row else (math.nan, "")
        unit = unit or its_unit
        given = float(bounds[side])
        usual = told if math.isfinite(told) else given if abs(given) <= _LARGEST else mean + sign * reach
        ends.append(float(f"{usual:.6g}" if math.isfinite(told) else f"{usual:.3g}"))
    low, high = ends if ends[0] < ends[1] else (mean - reach, mean + reach)
    meaning = row.text if row else f"number {part.start} of the observation"
    return Quantity(
        units.unit_of(unit, row.text if row else ""),
        meaning,
        "as the environment has it" if low < 0 else "",
        low,
        high,
    )


def _bound(cell: str) -> tuple[float, str]:
    """The number a cell begins with, NaN if none, and its unit: `~ -0.418 rad (-24°)`."""
    if found := _PI.match(cell):
        return float(f"{found[1]}1".replace("−", "-")) * (float(found[2] or 1)) * math.pi, "rad"
    if found := _BOUND.match(cell):
        return float(found[1].replace("−", "-")), found[2]
    return math.nan, ""
