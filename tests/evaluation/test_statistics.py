from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ultra_agents.evaluation.statistics import (
    iqm,
    mean_interval,
    paired_difference,
    pairs_needed,
    probability_of_improvement,
    proportion_interval,
    stratified_improvement,
    stratified_interval,
)
from ultra_agents.records import Returns


def returns(values: list[float], first_seed: int = 0) -> Returns:
    return Returns(tuple(values), tuple(range(first_seed, first_seed + len(values))), tuple([10] * len(values)))


# Newcombe 1998, "Two-sided confidence intervals for the single proportion", Table I, methods 3 and 5.
@pytest.mark.parametrize(
    ("successes", "trials", "wilson", "exact"),
    [
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0000, 0.1611), (0.0000, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_proportion_interval_gives_the_published_values(
    successes: int, trials: int, wilson: tuple[float, float], exact: tuple[float, float]
) -> None:
    for method, expected in (("wilson", wilson), ("exact", exact)):
        found = proportion_interval(successes, trials, 0.95, method)  # type: ignore[arg-type]
        assert found is not None
        assert (found.low, found.high) == pytest.approx(expected, abs=6e-5)
        assert found.value == successes / trials


def test_a_share_of_nothing_has_no_interval_and_an_impossible_one_is_refused() -> None:
    assert proportion_interval(0, 0) is None
    with pytest.raises(ValueError, match="3 of 2"):
        proportion_interval(3, 2)


def test_iqm_drops_a_quarter_at_each_end() -> None:
    assert iqm([0, 1, 2, 3, 4, 5, 6, 7]) == 3.5
    assert iqm([-1000, 1, 2, 3, 4, 5, 6, 1000]) == 3.5
    assert iqm([3, 1, 2, 9]) == 2.5


def test_mean_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = [not mean_interval(rng.normal(2.0, 3.0, 30), 0.8, seed).excludes(2.0) for seed in range(150)]
    # 0.8 nominal; five standard errors of 150 trials are 0.16.
    assert 0.64 < np.mean(covered) < 0.93


def test_mean_interval_is_close_to_the_normal_one_on_a_large_sample() -> None:
    values = np.random.default_rng(1).normal(0, 1, 2000)
    found = mean_interval(values, 0.95)
    half = 1.96 * values.std() / np.sqrt(2000)
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).normal(0, 1, 20)
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_degenerate_samples() -> None:
    rounded = mean_interval([0.1 + 0.2, 0.3, 0.3])
    assert rounded.low == rounded.high
    equal = mean_interval([0.1] * 9)
    assert (equal.value, equal.low, equal.high) == (pytest.approx(0.1), equal.value, equal.value)
    single = mean_interval([4.0])
    assert (single.value, single.low, single.high) == (4.0, None, None)
    assert not single.excludes(0.0)
    for bad in ([], [float("nan")], [float("inf"), 1.0]):
        with pytest.raises(ValueError, match="finite"):
            mean_interval(bad)


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=2, max_size=12))
def test_intervals_are_always_finite_and_ordered(values: list[float]) -> None:
    found = mean_interval(values)
    assert found.low is not None
    assert found.high is not None
    assert min(values) <= found.low <= found.high <= max(values)


def test_pairing_finds_what_unpaired_noise_hides() -> None:
    noise = np.random.default_rng(0).normal(0, 50, 24)
    jitter = np.random.default_rng(1).normal(0, 0.5, 24)
    better = paired_difference(returns(list(noise + 1 + jitter)), returns(list(noise)))
    assert better.verdict == "better"
    assert better.interval.value == pytest.approx(1 + jitter.mean())
    assert better.in_words() == "the interval excludes 0: better on these 24 evaluation seeds"
    worse = paired_difference(returns(list(noise)), returns(list(noise + 1 + jitter)))
    assert worse.verdict == "worse"


def test_no_claim_where_the_interval_includes_zero() -> None:
    gap = paired_difference(returns([1.0, -1.0] * 8), returns([0.0] * 16))
    assert gap.verdict == "undecided"
    assert gap.in_words() == "the interval includes 0: no difference can be claimed"


def test_no_claim_from_a_handful_of_episodes_however_equal() -> None:
    assert [pairs_needed(level) for level in (0.5, 0.9, 0.95, 0.99)] == [2, 5, 6, 8]
    few = paired_difference(returns([2.0] * 5), returns([1.0] * 5))
    assert few.interval.excludes(0.0)
    assert few.verdict == "undecided"
    assert "5 paired episodes are too few" in few.in_words()
    assert paired_difference(returns([2.0] * 6), returns([1.0] * 6)).verdict == "better"


def test_different_seeds_cannot_be_paired() -> None:
    with pytest.raises(ValueError, match="same evaluation seeds"):
        paired_difference(returns([1.0, 2.0]), returns([1.0, 2.0], first_seed=5))


def test_probability_of_improvement_counts_pairs_by_hand() -> None:
    # 3>1, 3>2, 3=3 (half), 1=1 (half), 1<2, 1<3: 3 of 6.
    assert probability_of_improvement([3.0, 1.0], [1.0, 2.0, 3.0]).value == pytest.approx(0.5)
    apart = probability_of_improvement([5.0, 6.0, 7.0], [1.0, 2.0])
    assert (apart.value, apart.low, apart.high) == (1.0, 1.0, 1.0)
    rng = np.random.default_rng(0)
    some = probability_of_improvement(rng.normal(0.5, 1, 60), rng.normal(0, 1, 60))
    assert some.low is not None
    assert some.high is not None
    assert 0 < some.low < some.value < some.high < 1
    assert probability_of_improvement([1.0], [0.0]).low is None


def test_probability_of_improvement_over_tasks_has_an_interval_by_stratified_bootstrap() -> None:
    better = np.array([[1.0, 0.0], [2.0, 3.0], [3.0, 5.0]])
    base = np.array([[0.0, 1.0], [0.5, 2.0], [0.2, 4.0]])
    found = stratified_improvement(better, base)
    assert found.value == pytest.approx((1.0 + 5 / 9) / 2)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high <= 1.0
    alone = stratified_improvement(better[:1], base[:1])
    assert (alone.value, alone.low, alone.high) == (0.5, None, None)
    with pytest.raises(ValueError, match="finite"):
        stratified_improvement(better * np.nan, base)


def test_stratified_interval_resamples_seeds_within_tasks() -> None:
    # Tasks differ wildly, seeds do not at all: resampling within tasks leaves nothing to vary.
    found = stratified_interval(np.array([[0.0, 100.0]] * 4), trimmed=0.0)
    assert (found.value, found.low, found.high) == (50.0, 50.0, 50.0)
    scores = np.random.default_rng(0).normal(1.0, 0.5, (5, 3))
    spread = stratified_interval(scores)
    assert spread.value == iqm(scores.ravel())
    assert spread.low is not None
    assert spread.high is not None
    assert spread.low < spread.value < spread.high
    assert stratified_interval(np.ones((1, 4))).low is None
    with pytest.raises(ValueError, match="training_seeds"):
        stratified_interval(np.ones(4))
