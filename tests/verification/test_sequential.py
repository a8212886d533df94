import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from ultra_agents.verification.sequential import Rule, decide, interval, looks, returns_spread


def rule(noise: float = 0.0, confidence: float = 0.9, min_gain: float = 0.0, at: tuple[int, ...] = (4,)) -> Rule:
    return Rule(at, confidence, noise, min_gain)


def test_looks_double_up_to_the_last() -> None:
    assert looks(3, 12) == (3, 6, 12)
    assert looks(4, 10) == (4, 8, 10)
    assert looks(8, 4) == (4,)


def test_one_look_without_noise_is_student_t() -> None:
    values = [1.0, 2.0, 4.0, 3.0]
    found = interval(values, rule())
    low, _ = stats.ttest_1samp(values, 0.0).confidence_interval(0.8)
    # The sum of squares is divided by n, the noise being worth the pair that a sample variance lacks.
    middle = np.mean(values)
    assert found.mean == middle
    assert (found.low - middle) / (low - middle) == pytest.approx(np.sqrt(3 / 4))
    assert found.high - middle == pytest.approx(middle - found.low)


def test_waits_for_a_look_then_decides() -> None:
    assert decide([2.0, 2.0], rule()) is None
    assert decide([2.0, 2.0, 2.0, 1.0], rule()) == "good"
    assert decide([-2.0, -2.0, -2.0, -1.0], rule()) == "bad"
    assert decide([0.0] * 4, rule(min_gain=0.1)) == "hopeless"
    assert decide([2.0, -2.0, 2.0, -2.0], rule()) is None


def test_equal_lucky_pairs_do_not_pass_for_certainty() -> None:
    assert decide([0.1] * 3, rule(at=(3,))) == "good", "without noise there is nothing to doubt"
    assert decide([0.1] * 3, rule(noise=0.5, at=(3,))) is None
    assert decide([0.5] * 3, rule(noise=0.5, at=(3,))) == "good"


def test_one_difference_proves_nothing() -> None:
    found = interval([5.0], rule(noise=2.0))
    assert found.low <= 0 <= found.high
    assert np.isfinite([found.low, found.high]).all(), "results are written as JSON"


@pytest.mark.parametrize("shape", ["normal", "trinomial", "wide"])
def test_false_accepts_stay_below_what_was_asked_however_often_it_looks(shape: str) -> None:
    rng = np.random.default_rng(0)
    draws = {
        "normal": lambda: rng.normal(0, 0.3, 12),
        "trinomial": lambda: rng.choice([-1.0, 0.0, 1.0], 12, p=[0.2, 0.6, 0.2]),
        "wide": lambda: rng.standard_t(3, 12),
    }
    asked, rounds = rule(noise=0.1, confidence=0.9, at=(3, 6, 12)), 800
    accepted = 0
    for _ in range(rounds):
        values = draws[shape]().tolist()
        verdicts = [decide(values[:look], asked) for look in asked.looks]
        accepted += next((verdict for verdict in verdicts if verdict), None) == "good"
    assert accepted / rounds < 0.1 + 2 * np.sqrt(0.1 * 0.9 / rounds)
    assert accepted, "a test that accepts nothing would pass too"


def test_more_looks_ask_for_more() -> None:
    values = [0.5, 0.8, 0.6]
    assert interval(values, rule(at=(3, 6, 12))).low < interval(values, rule(at=(3,))).low


@settings(max_examples=100)
@given(st.lists(st.floats(-100, 100), min_size=2, max_size=12), st.floats(0.55, 0.99), st.floats(0, 10))
def test_mirrored_differences_mirror_the_interval(values: list[float], confidence: float, noise: float) -> None:
    asked = rule(noise, confidence)
    up, down = interval(values, asked), interval([-v for v in values], asked)
    assert up.low == pytest.approx(-down.high, abs=1e-9)
    assert up.low <= up.mean <= up.high


def test_spread_is_that_of_discounted_returns_to_go() -> None:
    assert returns_spread([0.0, 0.0, 1.0], 0.5) == pytest.approx(np.std([0.25, 0.5, 1.0]))
    assert returns_spread([], 0.9) == 0.0
