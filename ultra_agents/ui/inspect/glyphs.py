"""Drawings on one line: sparklines, an interval, arrows, plans in signs, signs of fates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from rich.text import Text

from ultra_agents.records import Fate, FloatArray, Plan, TestResult
from ultra_agents.ui.theme import BAD, DIM, GOOD, WARM

BARS = "▁▂▃▄▅▆▇█"
SIGNS: dict[Fate, tuple[str, str]] = {
    "accepted": ("✔", GOOD),
    "left": ("=", DIM),
    "rejected": ("✘", BAD),
    "dropped": ("○", WARM),
    "open": ("…", "cyan"),
}
_ARROWS = {"up": "↑", "down": "↓", "left": "←", "right": "→"}


def spark(values: FloatArray | Sequence[float], width: int) -> str:
    """`values` as `width` bars from their lowest to their highest; each bar is the mean of its share."""
    series = np.asarray(values, np.float64)
    series = np.where(np.isfinite(series), series, np.nan)
    if width < 1 or series.size == 0 or np.isnan(series).all():
        return " " * max(width, 0)
    edges = np.linspace(0, len(series), width + 1)
    parts = [series[int(a) : max(math.ceil(b), int(a) + 1)] for a, b in pairwise(edges)]
    means = [float(np.nanmean(part)) if not np.isnan(part).all() else math.nan for part in parts]
    low, high = float(np.nanmin(means)), float(np.nanmax(means))
    spread = high - low
    bars = []
    for mean in means:
        if math.isnan(mean):
            bars.append(" ")
            continue
        level = 0 if spread <= 1e-12 else min(int((mean - low) / spread * len(BARS)), len(BARS) - 1)
        bars.append(BARS[level] if spread > 1e-12 else BARS[2])
    return "".join(bars)


def interval(test: TestResult, width: int) -> Text:
    """The interval of a gain on a scale that holds zero: `────┼──├──●──┤`."""
    low, high = min(test.low, 0.0, test.gain), max(test.high, 0.0, test.gain)
    pad = (high - low) * 0.08 or 1.0
    low, high = low - pad, high + pad

    def place(value: float) -> int:
        return min(max(round((value - low) / (high - low) * (width - 1)), 0), width - 1)

    if width < 8 or not all(map(math.isfinite, (low, high))):
        return Text()
    colour = GOOD if test.passed else BAD if test.gain <= 0 else WARM
    cells = [("·", DIM)] * width
    for index in range(place(test.low), place(test.high) + 1):
        cells[index] = ("─", colour)
    cells[place(test.low)], cells[place(test.high)] = ("├", colour), ("┤", colour)
    cells[place(0.0)] = ("┼" if test.low <= 0 <= test.high else "│", "bold")
    cells[place(test.gain)] = ("●", f"bold {colour}")
    return Text.assemble(*cells)


def short(plan: Plan) -> str:
    """The plan in signs: `UP×5 STAY×1`."""
    return " ".join(f"{action}×{hold}" for action, hold in plan.moves)


def arrow(action: str) -> str:
    """An arrow for an action whose name contains exactly one direction, else nothing."""
    words = set(action.lower().replace("_", " ").replace("-", " ").split())
    named = [sign for word, sign in _ARROWS.items() if word in words]
    return named[0] if len(named) == 1 else ""
