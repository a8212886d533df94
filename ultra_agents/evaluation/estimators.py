"""What intervals and tests are computed with: the numbers that `scipy.stats` gives, which takes a second to load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from ultra_agents.records import Array, FloatArray


def bootstrap_ends(values: FloatArray, confidence: float, resamples: int, seed: int) -> tuple[float, float]:
    """Ends of the bootstrap interval of the mean of `(n,)` values, at least two of them different.

    Bias-corrected and accelerated (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 14.3);
    percentile where that is undefined.
    """
    from scipy.special import ndtr, ndtri

    picks = np.random.default_rng(seed).integers(0, values.size, (resamples, values.size))
    means = values[picks].mean(axis=-1)
    mean, tail = values.mean(), (1 - confidence) / 2
    below = (np.count_nonzero(means < mean) + np.count_nonzero(means <= mean)) / (2 * resamples)
    kept = np.broadcast_to(values, (values.size, values.size))[~np.eye(values.size, dtype=bool)]
    jackknife = kept.reshape(values.size, values.size - 1).mean(axis=-1)
    influence = (values.size - 1) * (jackknife.mean() - jackknife)
    with np.errstate(all="ignore"):
        skew = (influence**3).sum() / values.size**3 / ((influence**2).sum() / values.size**2) ** 1.5 / 6
        bias = ndtri(below)
        shifted = bias + np.array([1, -1]) * ndtri(tail)
        levels = ndtr(bias + shifted / (1 - skew * shifted))
    if not np.isfinite(levels).all():
        levels = np.array([tail, 1 - tail])
    low, high = np.quantile(means, levels)
    return float(low), float(high)


def trimmed_mean(values: Array, share: float) -> FloatArray:
    """Mean over the last axis without the lowest and the highest `share` of it."""
    size = values.shape[-1]
    cut = int(share * size)
    kept = np.partition(values, (cut, size - cut - 1), axis=-1)[..., cut : size - cut]
    return np.asarray(kept.mean(axis=-1), dtype=np.float64)


def binomial_ends(
    successes: int, trials: int, confidence: float, method: Literal["wilson", "exact"]
) -> tuple[float, float]:
    """Ends of the interval of a share: Wilson's score interval (1927), or that of Clopper and Pearson (1934)."""
    from scipy.special import betaincinv, ndtri

    failures = trials - successes
    if method == "exact":
        tail = (1 - confidence) / 2
        low = betaincinv(successes, failures + 1, tail) if successes else 0.0
        high = betaincinv(successes + 1, failures, 1 - tail) if failures else 1.0
    else:
        z = ndtri((1 + confidence) / 2)
        whole = 2 * (trials + z**2)
        middle = (2 * successes + z**2) / whole
        half = z / whole * math.sqrt(4 * successes * failures / trials + z**2)
        low = middle - half if successes else 0.0
        high = middle + half if failures else 1.0
    return float(low), float(high)


def spearman(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Spearman's rank correlation of two rows of equal length, and its two-sided p (Student's distribution).

    Both are NaN where a value is, or where one row is constant.
    """
    from scipy.special import stdtr

    rows = [np.asarray(row, dtype=np.float64) for row in (x, y)]
    if any(np.isnan(row).any() or np.unique(row).size < 2 for row in rows):
        return math.nan, math.nan
    rho = float(np.corrcoef([_ranks(row) for row in rows])[1, 0])
    freedom = len(rows[0]) - 2
    with np.errstate(divide="ignore", invalid="ignore"):
        t = rho * np.sqrt(np.maximum(freedom / np.float64((rho + 1) * (1 - rho)), 0))
    return rho, float(2 * stdtr(freedom, -abs(t)))


def _ranks(row: FloatArray) -> FloatArray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, places, counts = np.unique(row, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places], dtype=np.float64)
