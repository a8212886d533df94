import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ultra_agents.verification.sequential import decide, interval


def test_interval_is_student_t() -> None:
    values = [1.0, 2.0, 4.0, 3.0]
    found = interval(values, 0.9)
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.8)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_waits_for_min_pairs_then_decides() -> None:
    assert decide([2.0, 2.0], 4, 0.8) is None
    assert decide([2.0, 2.0, 2.0, 1.0], 4, 0.8) == "good"
    assert decide([-2.0, -2.0, -2.0, -1.0], 4, 0.8) == "bad"
    assert decide([0.0] * 4, 4, 0.8) == "hopeless"
    assert decide([2.0, -2.0, 2.0, -2.0], 4, 0.8) is None


def test_one_difference_proves_nothing() -> None:
    assert interval([5.0], 0.8).low == -np.inf


def test_false_accepts_are_rare_without_a_gain() -> None:
    rng = np.random.default_rng(0)
    accepted = 0
    for _ in range(600):
        seen: list[float] = []
        while len(seen) < 12 and (verdict := decide(seen, 4, 0.9)) is None:
            seen.append(float(rng.normal()))
        accepted += verdict == "good"
    assert accepted / 600 < 0.3, "nine looks at one-sided 0.9 stay far below nine times 0.1"


@settings(max_examples=100)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12), st.floats(0.55, 0.99))
def test_mirrored_differences_mirror_the_interval(values: list[float], confidence: float) -> None:
    up, down = interval(values, confidence), interval([-v for v in values], confidence)
    assert up.low == pytest.approx(-down.high, abs=1e-9)
    assert up.low <= up.mean <= up.high
