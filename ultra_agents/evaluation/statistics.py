"""The statistics of a comparison: intervals, paired differences, IQM, probability of improvement, precision.

Resampling follows Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice"
(arXiv 2108.13264). What is resampled decides what an interval speaks of: resampled evaluation episodes speak of one
training seed, only resampled training seeds speak of the method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from ultra_agents.evaluation.estimators import binomial_ends, bootstrap_ends, trimmed_mean
from ultra_agents.records import Array, FloatArray, Returns

Verdict: TypeAlias = Literal["better", "worse", "undecided"]
Floats: TypeAlias = Sequence[float] | FloatArray
RESAMPLES = 9999


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval.

    Attributes:
        value: The estimate.
        low: Lower end; None where the sample is too small to say (one value).
        high: Upper end; None likewise.
        confidence: Two-sided level in (0, 1).
    """

    value: float
    low: float | None
    high: float | None
    confidence: float

    def excludes(self, point: float) -> bool:
        """Whether `point` lies outside the interval; never without an interval."""
        return self.low is not None and self.high is not None and not self.low <= point <= self.high


@dataclass(frozen=True)
class PairedDifference:
    """Method minus baseline on the same evaluation seeds.

    Attributes:
        interval: Mean difference of return, in units of return.
        differences: One difference per evaluation seed.
        verdict: `undecided` if the interval includes 0 or there are too few pairs for any claim.
        enough: Whether there are enough pairs for a claim at this confidence (`pairs_needed`).
    """

    interval: Interval
    differences: tuple[float, ...]
    verdict: Verdict
    enough: bool

    def in_words(self) -> str:
        """What may be claimed, as a clause: "the interval includes 0: no difference can be claimed"."""
        pairs = len(self.differences)
        if not self.enough:
            return (
                f"{pairs} paired episode{'s are' if pairs != 1 else ' is'} too few for a claim at "
                f"{self.interval.confidence:.0%} confidence ({pairs_needed(self.interval.confidence)} are needed)"
            )
        if self.verdict == "undecided":
            return "the interval includes 0: no difference can be claimed"
        return f"the interval excludes 0: {self.verdict} on these {pairs} evaluation seeds"


def _checked(values: Floats) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"expected a non-empty row of finite numbers, found {array!r}")
    return array


def mean_interval(values: Floats, confidence: float = 0.95, seed: int = 0) -> Interval:
    """Bootstrap interval of a mean over `(n,)` independent values.

    Bias-corrected and accelerated (BCa; Efron 1987, "Better Bootstrap Confidence Intervals"), percentile where BCa
    is undefined. Equal values give an interval of width 0 and a single value gives none.

    Raises:
        ValueError: No values, or not finite.
    """
    array = _checked(values)
    value = float(array.mean())
    if array.size == 1:
        return Interval(value, None, None, confidence)
    if np.ptp(array) <= 1e-12 * np.abs(array).max():  # equal but for rounding
        return Interval(value, value, value, confidence)
    ends = bootstrap_ends(array, confidence, RESAMPLES, seed)
    return Interval(value, ends[0], ends[1], confidence)


def t_interval(values: Floats, confidence: float = 0.95) -> Interval:
    """Student's interval of a mean over `(n,)` training seeds; none from a single one.

    For the three to ten seeds of a comparison: a bootstrap of so few values is too narrow.

    Raises:
        ValueError: No values, or not finite.
    """
    from scipy.special import stdtrit

    array = _checked(values)
    value = float(array.mean())
    if array.size == 1:
        return Interval(value, None, None, confidence)
    half = float(stdtrit(array.size - 1, (1 + confidence) / 2) * array.std(ddof=1) / math.sqrt(array.size))
    return Interval(value, value - half, value + half, confidence)


def performance_profile(scores: Array, levels: Floats) -> FloatArray:
    """Share `(k,)` of all runs `(seeds, tasks)` that score above each level (Agarwal et al. 2021, section 4.3).

    Raises:
        ValueError: No scores, or not finite.
    """
    flat = _checked(np.asarray(scores, dtype=np.float64).ravel())
    above = flat[None, :] > np.asarray(levels, dtype=np.float64)[:, None]
    return np.asarray(above.mean(axis=1), dtype=np.float64)


def pairs_needed(confidence: float) -> int:
    """Fewest pairs from which a two-sided sign test can reject at `confidence` (6 at 95 %).

    Dixon and Mood 1946, "The Statistical Sign Test": n equal signs have probability 2 * 2**-n. A bootstrap of fewer
    values is too narrow to be believed, so no claim is made from them.
    """
    return math.ceil(math.log2(2 / (1 - confidence)) - 1e-9)


def paired_difference(method: Returns, baseline: Returns, confidence: float = 0.95, seed: int = 0) -> PairedDifference:
    """Mean of `method - baseline` over the evaluation seeds they share, with its bootstrap interval.

    Raises:
        ValueError: The two were not evaluated on the same seeds in the same order.
    """
    if method.seeds != baseline.seeds or len(method.values) != len(baseline.values):
        raise ValueError("a paired difference needs the same evaluation seeds in the same order")
    differences = _checked(np.subtract(method.values, baseline.values))
    interval = mean_interval(differences, confidence, seed)
    enough = differences.size >= pairs_needed(confidence)
    verdict: Verdict = "undecided"
    if enough and interval.excludes(0.0):
        verdict = "better" if interval.value > 0 else "worse"
    return PairedDifference(interval, tuple(float(each) for each in differences), verdict, enough)


QUARTER = 0.25
"""Cut off at either end: what is left gives the interquartile mean (Agarwal et al. 2021, section 4.2)."""


def iqm(values: Floats) -> float:
    """Interquartile mean: the mean without the lowest and the highest quarter."""
    return float(trimmed_mean(_checked(values), QUARTER))


def stratified_interval(
    scores: Array, confidence: float = 0.95, trimmed: float = QUARTER, seed: int = 0, resamples: int = 2000
) -> Interval:
    """Percentile interval of the interquartile mean of `(training_seeds, tasks)` scores; of the mean for `trimmed=0`.

    Training seeds are resampled with replacement within each task (stratified bootstrap, Agarwal et al. 2021,
    section 4.1), so this interval does speak of other training seeds.

    Raises:
        ValueError: `scores` is not a table of finite numbers.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"expected (training_seeds, tasks), found shape {table.shape}")
    runs, tasks = table.shape
    value = float(trimmed_mean(_checked(table.ravel()), trimmed))
    if runs == 1:
        return Interval(value, None, None, confidence)
    rng = np.random.default_rng(seed)
    rows = rng.integers(runs, size=(resamples, runs, tasks))
    resampled = table[rows, np.arange(tasks)].reshape(resamples, -1)
    return _percentiles(value, trimmed_mean(resampled, trimmed), confidence)


def probability_of_improvement(
    method: Floats, baseline: Floats, confidence: float = 0.95, seed: int = 0, resamples: int = 2000
) -> Interval:
    """P(X > Y) for one draw X of `method` and one Y of `baseline`, ties counted half, with a bootstrap interval.

    Agarwal et al. 2021, section 4.3: the Mann-Whitney U statistic over `n * m`; both samples are resampled.

    Raises:
        ValueError: No values, or not finite.
    """
    x, y = _checked(method), _checked(baseline)
    wins = _wins(x, y)
    value = float(wins.mean())
    if min(x.size, y.size) == 1:
        return Interval(value, None, None, confidence)
    rng = np.random.default_rng(seed)
    weights_x = rng.multinomial(x.size, np.full(x.size, 1 / x.size), size=resamples) / x.size
    weights_y = rng.multinomial(y.size, np.full(y.size, 1 / y.size), size=resamples) / y.size
    return _percentiles(value, ((weights_x @ wins) * weights_y).sum(axis=1), confidence)


def stratified_improvement(
    method: Array, baseline: Array, confidence: float = 0.95, seed: int = 0, resamples: int = 2000
) -> Interval:
    """Mean over tasks of the probability of improvement, of two tables `(training_seeds, tasks)` of one shape.

    Agarwal et al. 2021, section 4.3; the interval resamples the seeds of both within each task (stratified bootstrap).

    Raises:
        ValueError: Not finite.
    """
    x, y = np.asarray(method, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    _checked(x.ravel()), _checked(y.ravel())
    value = float(_wins(x, y).mean())
    if len(x) == 1:
        return Interval(value, None, None, confidence)
    rng, columns = np.random.default_rng(seed), np.arange(x.shape[1])
    found = np.empty(resamples)
    for one in range(resamples):
        rows, others = rng.integers(len(x), size=(2, *x.shape))
        found[one] = _wins(x[rows, columns], y[others, columns]).mean()
    return _percentiles(value, found, confidence)


def _wins(x: FloatArray, y: FloatArray) -> FloatArray:
    """1 where a row of `x` is above one of `y`, a half where they are equal: `(len(x), len(y), ...)`."""
    above: FloatArray = (x[:, None] > y[None, :]) + 0.5 * (x[:, None] == y[None, :])
    return above


def proportion_interval(
    successes: int, trials: int, confidence: float = 0.95, method: Literal["wilson", "exact"] = "wilson"
) -> Interval | None:
    """Interval of a share such as advice precision; None where nothing was tried.

    `wilson` is the score interval (Wilson 1927), `exact` that of Clopper and Pearson (1934); both as compared by
    Newcombe 1998, "Two-sided confidence intervals for the single proportion".

    Raises:
        ValueError: `successes` is negative or above `trials`.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials, found {successes} of {trials}")
    if trials == 0:
        return None
    low, high = binomial_ends(successes, trials, confidence, method)
    return Interval(successes / trials, low, high, confidence)


def _percentiles(value: float, found: FloatArray, confidence: float) -> Interval:
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high), confidence)
