"""A set of rules: shapes, `own`, bounds, constants, potential and reward, text and back."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from ultra_agents.rules import Interface, RuleError, parse_rules
from ultra_agents.rules.interface import action_words
from ultra_agents.rules.ruleset import ROWS

PONG = Interface(("own_y", "own_v", "arrival_y"), ("STAY", "UP", "DOWN"))
HOPPER = Interface(("lean", "vx"), components=("hip", "knee", "ankle"), low=(-1, -1, -1), high=(1, 1, 1))
TEXT = """
version: 1
let: {rest: own_y + coast * own_v, miss: arrival_y - rest}
constants: {coast: [9e-1, 0.0, 1.5], dead: [5, 1, 12]}
rules:
  - {when: isfinite(arrival_y) and miss > dead, do: DOWN, why: "the ball arrives below"}
  - {when: isfinite(arrival_y) and miss < -dead, do: UP if own_y > 10 else own}
potential: -min(abs(miss), 60) / 60
"""
Q = {
    "own_y": np.array([100.0, 100, 100, 5, 100]),
    "own_v": np.array([0.0, 10, 0, 0, 0]),
    "arrival_y": np.array([120.0, 112, 50, -50, np.nan]),
}


def test_the_first_rule_that_holds_acts_and_elsewhere_the_policy() -> None:
    decision = parse_rules(TEXT, PONG).decide(Q, np.array([1, 1, 2, 2, 1]))
    assert decision.actions.tolist() == [2, 1, 1, 2, 1]
    assert decision.covered.tolist() == [True, False, True, True, False]
    assert decision.rule.tolist() == [0, -1, 1, 1, -1]
    assert repr(decision) == "Decision(3 of 5 states covered)"


def test_without_the_policys_actions_what_is_not_covered_is_marked() -> None:
    rules = parse_rules(TEXT.replace("UP if own_y > 10 else own", "UP"), PONG)
    assert not rules.needs_own
    assert not rules.corrects
    actions, covered = rules.act(Q)
    assert actions.dtype == np.int64
    assert covered.dtype == bool
    assert actions.tolist() == [2, -1, 1, 1, -1]


def test_rules_that_use_the_policys_actions_need_them() -> None:
    rules = parse_rules(TEXT, PONG)
    assert rules.needs_own
    assert rules.corrects
    with pytest.raises(RuleError, match="need the policy's own actions"):
        rules.act(Q)


def test_rules_can_ask_what_the_policy_would_do() -> None:
    rules = parse_rules("rules: [{when: own == UP and own_v > 1, do: STAY}, {when: own != UP, do: UP}]", PONG)
    assert rules.act(Q | {"own_v": np.full(5, 3.0)}, np.array([0, 1, 2, 1, 0]))[0].tolist() == [1, 0, 1, 0, 1]


def test_a_component_that_is_not_named_stays_the_policys() -> None:
    rules = parse_rules("rules: [{when: lean > 0, do: {hip: own.hip - 2 * lean, ankle: own.knee}}]", HOPPER)
    own = np.array([[0.5, 1.7, 0.0], [0.5, -1.7, 0.0], [0.5, 1.7, 0.3]])
    actions, covered = rules.act({"lean": np.array([0.1, 3, -1])}, own)
    assert covered.tolist() == [True, True, False]
    np.testing.assert_allclose(actions, [[0.3, 1.7, 1], [-1, -1.7, -1], [0.5, 1.7, 0.3]])  # clipped where decided
    assert own[0].tolist() == [0.5, 1.7, 0.0]
    with pytest.raises(RuleError, match="need the policy's own actions"):
        rules.act({"lean": np.zeros(3)})


def test_a_component_without_a_value_makes_the_whole_rule_abstain() -> None:
    rules = parse_rules("rules: [{when: lean > 0, do: {hip: 0, knee: 1 / vx, ankle: 0}}]", HOPPER)
    actions, covered = rules.act({"lean": np.ones(2), "vx": np.array([0.0, 2])}, np.full((2, 3), 0.7))
    assert actions.tolist() == [[0.7, 0.7, 0.7], [0, 0.5, 0]]
    assert covered.tolist() == [False, True]


def test_many_states_are_decided_like_few() -> None:
    n = 2 * ROWS + 17
    rng = np.random.default_rng(0)
    rules, q = parse_rules(TEXT, PONG), {name: rng.uniform(0, 200, n) for name in PONG.quantities}
    q["arrival_y"][::7] = np.nan
    own = rng.integers(0, 3, n)
    whole = rules.decide(q, own)
    parts = [rules.decide({k: v[i : i + 100] for k, v in q.items()}, own[i : i + 100]) for i in range(0, n, 100)]
    assert np.array_equal(whole.actions, np.concatenate([part.actions for part in parts]))
    assert np.array_equal(whole.rule, np.concatenate([part.rule for part in parts]))
    assert set(whole.rule.tolist()) == {-1, 0, 1}
    assert rules.potential(q).shape == (n,)


def test_no_states_are_no_actions() -> None:
    rules = parse_rules(TEXT, PONG)
    empty = {name: np.zeros(0) for name in PONG.quantities}
    actions, covered = rules.act(empty, np.zeros(0, np.int64))
    assert actions.shape == covered.shape == rules.potential(empty).shape == (0,)


def test_rules_without_quantities_count_the_states_by_what_is_given() -> None:
    rules = parse_rules("rules: [{when: true, do: UP}]", PONG)
    assert rules.names == ()
    assert rules.act(Q)[0].tolist() == [1] * 5
    with pytest.raises(RuleError, match="the number of states is not known"):
        rules.act({})


def test_integers_booleans_and_single_precision_are_numbers() -> None:
    rules = parse_rules("rules: [{when: own_y > 0.5 and own_v > 0.5, do: UP}]", PONG)
    assert rules.act({"own_y": np.array([True, False]), "own_v": np.array([1, 1], np.float32)})[1].tolist() == [
        True,
        False,
    ]


BAD: list[tuple[dict[str, Any], Any, str]] = [
    ({"own_v": Q["own_v"], "arrival_y": Q["arrival_y"]}, np.zeros(5, int), "a quantity that is not given"),
    (Q | {"own_v": np.zeros(4)}, np.zeros(5, int), "the quantity own_v misfits the others"),
    (Q | {"own_y": np.zeros((5, 1))}, np.zeros(5, int), "the quantity own_y misfits the others"),
    (Q | {"own_y": np.float64(1)}, np.zeros(5, int), "the quantity own_y misfits the others"),
    (Q, np.zeros(4, int), "own actions misfit the rules"),
    (Q, np.zeros((5, 3), int), "own actions misfit the rules"),
    (Q, np.zeros(5), "own actions are no indices"),
]


@pytest.mark.parametrize(("quantities", "own", "problem"), BAD)
def test_values_that_misfit_are_refused(quantities: dict[str, Any], own: Any, problem: str) -> None:
    with pytest.raises(RuleError, match=problem):
        parse_rules(TEXT, PONG).act(quantities, own)


def test_constants_move_within_their_bounds() -> None:
    rules = parse_rules(TEXT, PONG)
    moved = rules.with_constants({"dead": 12, "coast": np.float32(1.5)})
    assert moved.constants == {"coast": (1.5, 0.0, 1.5), "dead": (12.0, 1.0, 12.0)}
    assert rules.constants["dead"] == (5, 1, 12)
    q = {"own_y": np.array([0.0]), "own_v": np.array([0.0]), "arrival_y": np.array([10.0])}
    assert (rules.act(q, np.zeros(1, int))[1][0], moved.act(q, np.zeros(1, int))[1][0]) == (True, False)
    assert parse_rules(moved.to_yaml(), PONG) == moved != rules


@pytest.mark.parametrize("value", [0.99, 13, float("nan"), True, "5", None])
def test_constants_out_of_bounds_are_refused(value: Any) -> None:
    with pytest.raises(RuleError, match="dead is out of its bounds"):
        parse_rules(TEXT, PONG).with_constants({"dead": value})


def test_a_constant_nobody_declared_is_refused() -> None:
    with pytest.raises(RuleError, match="did you mean 'dead'"):
        parse_rules(TEXT, PONG).with_constants({"dea": 3})


def test_a_potential_is_zero_where_it_has_no_value() -> None:
    potential = parse_rules(TEXT, PONG).potential(Q)
    np.testing.assert_allclose(potential, [-20 / 60, -3 / 60, -50 / 60, -55 / 60, 0])
    with pytest.raises(RuleError, match="give no reward"):
        parse_rules(TEXT, PONG).reward(Q, Q)


def test_a_reward_sees_both_ends_of_a_step() -> None:
    rules = parse_rules("reward: (next.own_y - own_y) / next.own_v", PONG)
    assert rules.names == ("own_y", "own_v")
    after = {"own_y": np.array([3.0, 3]), "own_v": np.array([2.0, 0])}
    assert rules.reward({"own_y": np.array([1.0, 1])}, after).tolist() == [1, 0]
    with pytest.raises(RuleError, match="give no potential"):
        rules.potential(after)
    with pytest.raises(RuleError, match="differ in length"):
        rules.reward({"own_y": np.zeros(3)}, after)


def test_rules_go_to_text_and_back() -> None:
    rules = parse_rules(TEXT, PONG)
    text = rules.to_yaml()
    again = parse_rules(text, PONG)
    assert again == rules
    assert again.to_yaml() == text
    own = np.array([1, 1, 2, 2, 1])
    assert np.array_equal(again.act(Q, own)[0], rules.act(Q, own)[0])


def test_rules_go_to_another_process() -> None:
    rules = parse_rules(TEXT.replace("let: {rest: own_y", 'let: {most: "best(n, 0, 1, n)", rest: most + own_y'), PONG)
    again = pickle.loads(pickle.dumps(rules))
    assert again == rules
    assert np.array_equal(again.act(Q, np.zeros(5, int))[0], rules.act(Q, np.zeros(5, int))[0])


def test_rules_tell_what_they_are() -> None:
    shown = repr(parse_rules(TEXT, PONG))
    assert shown == (
        "RuleSet(2 rules, 2 lets, coast=0.9, dead=5, potential; sees own_y own_v arrival_y; decides STAY, UP, DOWN)"
    )


def test_an_actions_name_may_be_anything() -> None:
    names = ("apply -1 torque", "apply 1 torque", "Push left", "+0.5", "!", "else", "2nd")
    assert action_words(names) == (
        "apply_minus_1_torque",
        "apply_1_torque",
        "Push_left",
        "plus_0_5",
        "action_4",
        "else_",
        "action_2nd",
    )
    face = Interface(("x",), names)
    for index, (name, word) in enumerate(zip(names, face.words, strict=True)):
        for text in (name, f"{word} if x > 0 else Push_left"):
            rules = parse_rules(f'rules: [{{when: x > 0, do: "{text}"}}]', face)
            assert rules.act({"x": np.ones(1)})[0].tolist() == [index]
    assert action_words(["a b", "a-b"]) == ("a_b_0", "a_b_1")


def test_without_an_interface_names_are_in_order_of_appearance() -> None:
    rules = parse_rules("rules: [{when: b > a, do: UP}, {when: own == DOWN, do: STAY}]")
    assert rules.interface == Interface(("b", "a"), ("UP", "DOWN", "STAY"))
    free = parse_rules("rules: [{when: a > 0, do: {knee: own.hip}}]")
    assert free.interface == Interface(("a",), components=("knee", "hip"))


def test_yaml_is_read_as_written() -> None:
    face = Interface(("x",), ("yes", "no", "null"))
    rules = parse_rules(
        "rules: [{when: x > 1e-2, do: no}, {when: x > -1e-2, do: yes}, {when: x < -1e+1, do: 'null'}]", face
    )
    assert rules.act({"x": np.array([1.0, 0, -20])})[0].tolist() == [1, 0, 2]
    assert parse_rules(rules.to_yaml(), face) == rules


def test_a_reason_is_one_printable_line() -> None:
    text = 'rules: [{when: x > 1, do: UP, why: "a\\e[31m\\nb\\ud800 \\u202e c"}]'
    assert parse_rules(text, Interface(("x",), ("UP",))).document.rules[0].why == "a [31m b c"
