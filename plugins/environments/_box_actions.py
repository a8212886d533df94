"""Names for continuous actions: a few presets that can be listed, and any `label=number` that can be written."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ultra_agents.contracts import ActionCodec
from ultra_agents.records import Array

REST = "rest"


class BoxActions(ActionCodec):
    """Actions `(k,)` float32 named by their parts: `rest`, `hip=1`, `hip=0.4 knee=-0.2`.

    A part that is not mentioned is at its resting value: 0, or the bound next to it.

    Args:
        labels: One word per part.
        presets: The actions that are listed, `(m, k)`; the resting one first.
        low: Least value of each part.
        high: Greatest value of each part.
    """

    def __init__(self, labels: Sequence[str], presets: Sequence[Sequence[float]], low: Array, high: Array) -> None:
        self._labels = tuple(labels)
        self._low, self._high = np.asarray(low, np.float64), np.asarray(high, np.float64)
        self._rest = np.clip(0.0, self._low, self._high)
        span = np.where(np.isfinite(self._high - self._low), self._high - self._low, 1.0)
        self._scale = np.where(span > 0, span, 1.0)
        found = {self._name(np.asarray(preset, np.float64)): preset for preset in presets}
        self._presets = np.array(list(found.values()), np.float32)
        self._names = tuple(found)

    @property
    def names(self) -> tuple[str, ...]:
        """The presets' names."""
        return self._names

    @property
    def components(self) -> tuple[str, ...]:
        """The labels, in order."""
        return self._labels

    def encode(self, name: str) -> Array:
        """The action of a preset's name, or of any `label=number ...` within the bounds."""
        action, left = self._rest.copy(), dict(zip(self._labels, range(len(self._labels)), strict=True))
        for part in [] if name.strip() == REST else name.replace(",", " ").split():
            label, _, number = part.partition("=")
            index = left.pop(label, None)  # each at most once
            value = _number(number)
            if index is None or not self._low[index] <= value <= self._high[index]:
                raise KeyError(name)
            action[index] = value
        if not name.strip():
            raise KeyError(name)
        return np.asarray(action, np.float32)

    def decode(self, action: Array) -> str:
        """The name of the nearest preset, each part measured against its range."""
        wanted = np.asarray(action, np.float64)
        if not np.isfinite(wanted).all():
            wanted = np.nan_to_num(wanted)
        apart = (wanted - self._presets) / self._scale
        return self._names[int(np.argmin(np.square(apart).sum(axis=1)))]

    def spell(self, action: Array) -> str:
        """The action in `label=number` parts, to two decimals."""
        inside = np.clip(np.nan_to_num(np.asarray(action, np.float64)), self._low, self._high)
        rounded = np.round(inside, 2)
        return self._name(np.where((rounded < self._low) | (rounded > self._high), inside, rounded))

    def _name(self, action: Array) -> str:
        told = zip(self._labels, action.tolist(), self._rest.tolist(), strict=True)
        return " ".join(f"{label}={value:g}" for label, value, rest in told if value != rest) or REST


def _number(text: str) -> float:
    """The number written, NaN (which is in no bounds) if it is none."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value
