"""The estimators against those of `scipy.stats`."""

from __future__ import annotations

import math
import subprocess
import sys
import warnings
from typing import Any, Literal

import numpy as np
import pytest
from scipy import stats

from ultra_agents.evaluation.estimators import binomial_ends, bootstrap_ends, spearman, trimmed_mean


def by_scipy(values: Any, confidence: float, method: Literal["BCa", "percentile"]) -> list[float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (values,), np.mean, confidence_level=confidence, n_resamples=999, method=method,
            rng=np.random.default_rng(3), vectorized=True, axis=-1,
        ).confidence_interval  # fmt: skip
    return [float(found.low), float(found.high)]


@pytest.mark.parametrize("size", [2, 3, 7, 40])
@pytest.mark.parametrize("confidence", [0.9, 0.99])
def test_the_bootstrap_is_bias_corrected_and_accelerated(size: int, confidence: float) -> None:
    rng = np.random.default_rng(size)
    for values in (
        rng.normal(size=size),
        rng.exponential(size=size),
        np.arange(size) // 2 + np.arange(size) % 2 * 5.0,
    ):
        expected = by_scipy(values, confidence, "BCa")
        assert all(map(math.isfinite, expected))
        assert bootstrap_ends(values, confidence, 999, 3) == pytest.approx(expected, abs=1e-12)


def test_where_it_is_undefined_the_percentiles_are_taken() -> None:
    values = np.array([0.0, *[1e-200] * 9])  # the cubes of the influences are 0
    assert not all(map(math.isfinite, by_scipy(values, 0.95, "BCa")))
    assert bootstrap_ends(values, 0.95, 999, 3) == pytest.approx(by_scipy(values, 0.95, "percentile"), abs=0, rel=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.4])
def test_a_trimmed_mean_drops_the_same_rows(share: float) -> None:
    for size in (1, 4, 5, 23):
        table = np.random.default_rng(size).normal(size=(6, size))
        assert np.array_equal(trimmed_mean(table, share), stats.trim_mean(table, share, axis=1))


@pytest.mark.parametrize("method", ["wilson", "exact"])
def test_intervals_of_shares(method: Literal["wilson", "exact"]) -> None:
    for trials in (1, 2, 9, 50):
        for successes in range(trials + 1):
            found = stats.binomtest(successes, trials).proportion_ci(0.9, method)
            assert binomial_ends(successes, trials, 0.9, method) == pytest.approx(tuple(found), abs=1e-9)


def test_rank_correlations_share_the_ranks_of_equal_values() -> None:
    rng = np.random.default_rng(1)
    for size in (3, 8, 30):
        x = [*rng.integers(0, 4, size - 2).tolist(), 5, 6]
        for y in (rng.normal(size=size).tolist(), [2 * value for value in x], [-value for value in x]):
            found: Any = stats.spearmanr(x, y)
            assert spearman(x, y) == pytest.approx((found.statistic, found.pvalue), abs=1e-12)


@pytest.mark.parametrize("y", [[1.0, 1.0, 1.0], [1.0, math.nan, 2.0]])
def test_without_ranks_there_is_no_correlation(y: list[float]) -> None:
    assert all(map(math.isnan, spearman([1, 2, 3], y)))


def test_a_report_does_not_load_scipys_statistics() -> None:
    code = (
        "import sys\n"
        "from ultra_agents.evaluation.statistics import iqm, mean_interval, proportion_interval\n"
        "iqm([1, 2, 3, 4]), mean_interval([1, 2, 3]), proportion_interval(1, 3)\n"
        "print(sorted({'scipy.special', 'scipy.stats'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['scipy.special']\n"
