"""Sets of rules drawn at random: always valid, of the same seed the same, of every kind there is."""

from __future__ import annotations

import numpy as np
import pytest

from ultra_agents.rules import Interface, RuleError, parse_rules
from ultra_agents.rules.drawing import quantiles_of, random_constants, random_reward, random_rules

SEEN = {"x": np.linspace(-3.0, 3.0, 101), "v": np.linspace(0.0, 1e-5, 101), "still": np.ones(101)}
DISCRETE = Interface(("x", "v", "still", "never"), ("Push left", "Push right"))
CONTINUOUS = Interface(("x", "v"), components=("hip", "knee"), low=(-1.0, -2.0), high=(1.0, 2.0))


def test_quantiles_are_of_what_varies_and_has_a_value() -> None:
    found = quantiles_of({**SEEN, "gone": np.array([np.nan, 1.0, 2.0]), "never": np.full(3, np.nan)})
    assert set(found) == {"x", "v", "gone"}
    assert found["x"][2] == pytest.approx(0.0)
    assert found["gone"][0] >= 1.0


@pytest.mark.parametrize("interface", [DISCRETE, CONTINUOUS])
def test_every_set_drawn_can_be_written_down_and_read_again(interface: Interface) -> None:
    quantiles, texts = quantiles_of(SEEN), set()
    for seed in range(200):
        rules = random_rules(interface, quantiles, np.random.default_rng(seed))
        again = parse_rules(rules.to_yaml(), interface)
        assert again == rules == random_rules(interface, quantiles, np.random.default_rng(seed))
        assert set(rules.names) <= {"x", "v"}
        own = np.zeros((101, 2)) if interface.continuous else np.zeros(101, int)
        actions, covered = again.act(SEEN, own)
        assert np.isfinite(actions[covered]).all()
        texts.add(rules.to_yaml())
    assert len(texts) > 190


def test_nothing_that_varies_is_nothing_to_draw_from() -> None:
    with pytest.raises(RuleError, match="no quantity varies"):
        random_rules(DISCRETE, quantiles_of({"still": np.ones(5)}), np.random.default_rng(0))


def test_constants_are_drawn_within_their_bounds() -> None:
    rules = parse_rules("constants: {a: [1, 0, 2], b: [5, 5, 5]}\nrules: [{when: x > a + b, do: Push_left}]", DISCRETE)
    drawn = [random_constants(rules, np.random.default_rng(seed)).constants for seed in range(50)]
    values = [one["a"][0] for one in drawn]
    assert 0 <= min(values) < 0.5 < 1.5 < max(values) <= 2
    assert {one["b"] for one in drawn} == {(5.0, 5.0, 5.0)}


def test_a_structure_without_constants_is_refused() -> None:
    with pytest.raises(RuleError, match="no constants"):
        random_constants(parse_rules("rules: [{when: x > 1, do: Push_left}]", DISCRETE), np.random.default_rng(0))


def test_gains_can_be_declared_for_tuning_without_drawing_another_set() -> None:
    quantiles, own, declared = quantiles_of(SEEN), np.full((101, 2), 0.1), 0
    for seed in range(50):
        plain = random_rules(CONTINUOUS, quantiles, np.random.default_rng(seed))
        tunable = random_rules(CONTINUOUS, quantiles, np.random.default_rng(seed), tunable=True)
        assert parse_rules(tunable.to_yaml(), CONTINUOUS) == tunable
        for one, two in zip(plain.act(SEEN, own), tunable.act(SEEN, own), strict=True):
            assert np.array_equal(one, two)
        assert not plain.constants
        assert len(tunable.constants) == len(tunable.document.rules)
        for value, low, high in tunable.constants.values():
            assert low == -high < value < high
            declared += 1
        still = tunable.with_constants(dict.fromkeys(tunable.constants, 0.0))
        assert np.array_equal(still.act(SEEN, own)[0], own), "without its gains it changes nothing"
    assert declared > 50
    assert not random_rules(DISCRETE, quantiles, np.random.default_rng(0), tunable=True).constants


@pytest.mark.parametrize("interface", [DISCRETE, CONTINUOUS], ids=["discrete", "continuous"])
def test_rewards_drawn_are_within_their_range_and_have_no_rules(interface: Interface) -> None:
    quantiles, texts = quantiles_of(SEEN), set()
    for seed in range(100):
        drawn = random_reward(interface, quantiles, np.random.default_rng(seed))
        assert parse_rules(drawn.to_yaml(), interface) == drawn
        assert drawn.document.rules == ()
        paid = drawn.reward(SEEN, SEEN)
        assert -1 <= paid.min() < paid.max() <= 1
        texts.add(drawn.to_yaml())
    assert len(texts) >= 6, "two quantities, two signs, alone and together"
    with pytest.raises(RuleError, match="no reward can be drawn"):
        random_reward(interface, quantiles_of({"still": np.ones(5)}), np.random.default_rng(0))
