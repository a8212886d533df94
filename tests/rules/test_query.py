"""Expressions asked of collected states: as the rules' own language has them."""

from __future__ import annotations

import numpy as np
import pytest

from ultra_agents.rules import Interface, RuleError
from ultra_agents.rules.query import Query

DISCRETE = Interface(("x", "y"), actions=("Push left", "Push right"))
BOX = Interface(("x",), components=("hip", "knee"))
COLUMNS = {"x": np.array([0.0, 1.0, np.inf, 3.0]), "y": np.array([1.0, 2.0, 3.0, 0.0])}
OWN = np.array([0, 1, 1, 0])


def test_numbers_have_no_value_where_there_is_none():
    found = Query("1 / x + y", DISCRETE).values(COLUMNS, OWN)
    np.testing.assert_allclose(found, [np.nan, 3.0, np.nan, 1 / 3])
    np.testing.assert_allclose(Query("2", DISCRETE).values(COLUMNS, OWN), [2.0] * 4)


def test_conditions_hold_where_they_surely_do():
    assert Query("x < 2", DISCRETE, "condition").holds(COLUMNS, OWN).tolist() == [True, True, False, False]
    assert Query("not x < 2", DISCRETE, "condition").holds(COLUMNS, OWN).tolist() == [False, False, False, True]
    assert Query("True", DISCRETE, "condition").holds(COLUMNS, OWN).all()
    assert Query("own == Push_right", DISCRETE, "condition").holds(COLUMNS, OWN).tolist() == [False, True, True, False]
    np.testing.assert_allclose(Query("own == Push_right", DISCRETE).values(COLUMNS, OWN), [0, 1, 1, 0])


def test_parts_of_the_policys_action_can_be_asked_for():
    own = np.array([[0.5, -1.0], [0.25, 1.0]], np.float32)
    found = Query("own.hip * 2 + own.knee", BOX).values({"x": np.zeros(2)}, own)
    np.testing.assert_allclose(found, [0.0, 1.5])


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("z", "number", "there is no quantity"),
        ("x +", "number", "this is no expression"),
        ("x", "condition", "a number where a condition is needed"),
        ("own", "number", "an action where a number is needed"),
        ("().__class__", "number", "a name is not usable"),
        ("x" * 5000, "number", "too long"),
        ("(" * 200 + "x" + ")" * 200, "number", "nested too deeply"),
        ("", "number", "an expression is empty"),
    ],
)
def test_what_is_wrong_is_said_in_the_languages_words(text, kind, said):
    with pytest.raises(RuleError) as refused:
        Query(text, DISCRETE, kind, "where")
    assert str(refused.value).startswith("where")
    assert said in str(refused.value)
