"""What expressions mean, held against an interpreter of plain Python floats; what has no value; what is shared."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from tests.rules.interpreter import NAMES, Tree, conditions, number, numbers, truth, written
from ultra_agents.rules import Interface, RuleError, RuleSet, parse_rules

FACE = Interface(NAMES, components=("out",))
values = st.one_of(
    st.integers(-16, 16).map(lambda n: n / 2), st.sampled_from([math.nan, math.inf, -math.inf, 1e200, 1e-200])
)
tables = st.lists(st.tuples(values, values, values), min_size=1, max_size=6)


def columns(rows: list[tuple[float, float, float]]) -> dict[str, np.ndarray]:
    return dict(zip(NAMES, np.array(rows, float).T, strict=True))


def as_row(values: tuple[float, float, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in zip(NAMES, values, strict=True)}


def computed(rules: RuleSet, rows: list[tuple[float, float, float]]) -> list[float | None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        actions, covered = rules.act(columns(rows), np.zeros((len(rows), 1)))
    assert actions.shape == (len(rows), 1)
    assert np.isfinite(actions).all()
    return [float(value) if there else None for value, there in zip(actions[:, 0], covered, strict=True)]


def parsed(text: str) -> RuleSet | None:
    """The rules; None where a condition is said never to be true. What else is refused by design is left aside."""
    try:
        return parse_rules(text, FACE)
    except RuleError as error:
        if "never has a value" in error.problem or "best within best" in error.problem:
            reject()
        if "can never be true" in error.problem:
            return None
        raise


@settings(max_examples=400, deadline=None, derandomize=True)
@given(numbers(), tables)
def test_numbers_are_those_of_python(tree: Tree, rows: list[tuple[float, float, float]]) -> None:
    rules = parsed(f"rules: [{{when: true, do: {{out: '{written(tree)}'}}}}]")
    assert rules is not None
    for value, row in zip(computed(rules, rows), rows, strict=True):
        expected = number(tree, as_row(row))
        if expected is None or value is None:
            assert value == expected
        else:
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(conditions(), tables)
def test_conditions_are_those_of_python(tree: Tree, rows: list[tuple[float, float, float]]) -> None:
    expected = [truth(tree, as_row(row)) for row in rows]
    for text, wanted in ((written(tree), True), (f"not {written(tree)}", False)):
        rules = parsed(f"rules: [{{when: '{text}', do: {{out: 1}}}}]")
        if rules is None:
            assert wanted not in expected
            continue
        assert [value is not None for value in computed(rules, rows)] == [holds is wanted for holds in expected]


def one(text: str, **quantities: float) -> float:
    """The value of an expression in one state, as a rule's component; NaN where the rule abstains."""
    face = Interface(tuple(quantities), components=("out",))
    rules = parse_rules(f'rules: [{{when: true, do: {{out: "{text}"}}}}]', face)
    actions, covered = rules.act({name: np.array([value]) for name, value in quantities.items()})
    assert covered[0] == np.isfinite(actions[0, 0])
    return float(actions[0, 0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fold(x, 0, 10)", 7),  # 13 -> 7
        ("fold(-x, 0, 10)", 7),
        ("interp(x, 0, 1, 10, 3)", 3),
        ("interp(5, 0, 1, 10, 3)", 2),
        ("best(n, -5, 5, abs(n - x / 4))", 3),
        ("best(n, 0, 3, 0 * n)", 0),
        ("argmin(x, 2, 2)", 1),
        ("argmax(x, 2, 13)", 0),
        ("x % -5", -2),
        ("-x % 5", 2),
        ("clip(x, -1, 1) + (x > 3) * 2", 3),
        ("2 ** 3 + x ** 2", 177),
        ("1e-2 * x", 0.13),
        ("hypot(3, 4) + sign(-x) + floor(-0.5)", 3),
    ],
)
def test_a_function_gives(text: str, expected: float) -> None:
    assert one(text, x=13.0) == pytest.approx(expected)


NO_VALUE = """
1 / x; y / x; 5 % x; sqrt(x - 1); exp(1000 - x); y * 1e300; (y * 1e300) ** 4; hypot(y * 1e299, y * 1e299)
clip(1 / x, -1, 1); tanh(1 / x); y / (1 / x); min(1, 1 / x); z; max(z, 3); argmin(z, 3); fold(y, x, 0 - x)
clip(y, 1 - x, 0 + x); interp(y, x, 0, x, 1); best(n, 0, 3, n * z); 0 * z; infinite - infinite; 1 / infinite
1 if z > 3 else 2; 0 + (z != 3)
"""


@pytest.mark.parametrize("text", [one.strip() for one in NO_VALUE.replace("\n", ";").split(";") if one.strip()])
def test_what_has_no_value_makes_the_rule_abstain(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(one(text, x=0.0, y=1e10, z=math.nan, infinite=math.inf))


@pytest.mark.parametrize(
    "text",
    ["3 if x < 1 else z", "3 if z > 1 and x > 0 else 3", "3 if isfinite(1 / x) else 3", "3 if z > 1 or x < 1 else 4"],
)
def test_what_decides_nothing_needs_no_value(text: str) -> None:
    assert one(text, x=0.0, z=math.nan) == 3


def test_an_abstaining_rule_leaves_the_state_to_the_next() -> None:
    text = """
rules:
  - {when: true, do: {out: 1 / x}}
  - {when: x < 1, do: {out: 7}}
"""
    rules = parse_rules(text, Interface(("x",), components=("out",)))
    decision = rules.decide({"x": np.array([0.0, 2.0, np.nan])}, np.full((3, 1), -5.0))
    assert decision.actions[:, 0].tolist() == [7, 0.5, -5]
    assert decision.rule.tolist() == [1, 0, -1]
    assert decision.covered.tolist() == [True, True, False]


def test_a_division_by_zero_in_one_state_spoils_no_other() -> None:
    face = Interface(("x",), components=("out",))
    rules = parse_rules("rules: [{when: x > -1, do: {out: 1 / x}}]", face)
    x = np.array([0.0, 4.0, np.inf, -2.0])
    assert rules.act({"x": x})[1].tolist() == [False, True, False, False]


def test_a_let_with_parameters_is_expanded_and_one_without_is_shared() -> None:
    text = """
let: {"cost(o)": abs(abs(o) - 6.5), far: a * 2, "twice(u, v)": cost(u) + cost(v)}
rules: [{when: true, do: {out: "twice(far, b) + far"}}]
"""
    rules = parse_rules(text, Interface(NAMES, components=("out",)))
    q = {"a": np.array([1.0, -4.0]), "b": np.array([6.5, 0.0]), "c": np.zeros(2)}
    assert rules.act(q)[0][:, 0].tolist() == [4.5 + 0 + 2, 1.5 + 6.5 - 8]
    assert rules.names == ("a", "b")


def test_an_equal_part_is_computed_once() -> None:
    face = Interface(("a",), components=("out",))
    once = parse_rules("rules: [{when: true, do: {out: sin(a * 3)}}]", face)
    often = parse_rules("rules: [{when: true, do: {out: sin(a * 3) + sin(a * 3) * sin(3 * 1 * a / a * a)}}]", face)
    calls = [function for _, function, *_ in often.compiled.rules.instructions if function is np.sin]
    assert len(once.compiled.rules.instructions) == 2
    assert len(calls) == 2
