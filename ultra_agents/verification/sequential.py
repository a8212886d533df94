"""When a paired test has seen enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Interval:
    """Mean of paired differences with its two-sided Student-t interval."""

    mean: float
    low: float
    high: float


def interval(differences: list[float], confidence: float) -> Interval:
    """Interval whose lower end holds with one-sided `confidence`.

    Differences that are all equal give an interval of no width: `min_pairs` is what keeps two lucky pairs from
    passing. A single difference gives an unbounded interval.
    """
    values = np.asarray(differences, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, -np.inf, np.inf)
    half = float(stats.t.ppf(confidence, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(mean, mean - half, mean + half)


def decide(differences: list[float], min_pairs: int, confidence: float) -> str | None:
    """`good`, `bad` or `hopeless` once that is clear, else None: go on.

    `hopeless` means the arms never differed in `min_pairs` pairs: nothing to gain here.
    """
    if len(differences) < min_pairs:
        return None
    if not any(differences):
        return "hopeless"
    found = interval(differences, confidence)
    if found.low > 0:
        return "good"
    if found.high < 0:
        return "bad"
    return None
