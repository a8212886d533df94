"""The second face: JSON that a grammar can hold to, compiled to the same programs as text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ultra_agents.rules import Interface, RuleError, as_text, parse_rules, reply_model, rules_of

FACE = Interface(("x", "y"), ("Push left", "apply -1 torque"))
ARM = Interface(("x", "y"), components=("hip", "ankle"), low=(-1, -1), high=(1, 1))
THRESHOLDS = {"x": [-0.5, 0.25, 1e-7], "y": [3]}


def atom(**changed: Any) -> dict[str, Any]:
    return {"quantity": "x", "relation": "<", "threshold": 0.25, "action": "Push left"} | changed


def test_atoms_are_the_same_rules_as_text() -> None:
    model = reply_model(FACE, THRESHOLDS)
    said = [atom(), atom(quantity="y", relation=">", threshold=3, action="apply -1 torque")]
    reply = model.model_validate_json(json.dumps({"rules": said}))
    text = "rules: [{when: x < 0.25, do: Push_left}, {when: y > 3.0, do: apply_minus_1_torque}]"
    assert rules_of(reply, FACE) == parse_rules(text, FACE)
    assert as_text(reply) == "where x < 0.25: Push left\nwhere y > 3: apply -1 torque"


def test_a_component_is_changed_from_what_the_policy_does() -> None:
    said = {"quantity": "x", "relation": ">", "threshold": 0.0, "component": "ankle", "add": -0.5}
    reply = reply_model(ARM)(rules=[said])
    actions, _ = rules_of(reply, ARM).act({"x": np.array([1.0, -1])}, np.full((2, 2), -0.2))
    np.testing.assert_allclose(actions, [[-0.2, -0.7], [-0.2, -0.2]])
    assert as_text(reply) == "where x > 0: ankle -0.5"


@pytest.mark.parametrize(
    "wrong",
    [
        atom(quantity="z"), atom(relation="<="), atom(threshold=0.3), atom(action="UP"), atom(threshold=3),
        atom(more=1), atom(quantity="y"), {"quantity": "x"},
    ],
)  # fmt: skip
def test_what_the_environment_lacks_is_no_reply(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        reply_model(FACE, THRESHOLDS)(rules=[wrong])


def test_a_threshold_is_finite_and_the_list_is_short() -> None:
    with pytest.raises(ValidationError):
        reply_model(FACE)(rules=[atom(threshold=float("inf"))])
    with pytest.raises(ValidationError):
        reply_model(FACE, most=2)(rules=[atom()] * 3)
    with pytest.raises(ValidationError):
        reply_model(FACE)(rules=[])


def test_a_schema_names_what_there_is() -> None:
    schema = json.dumps(reply_model(FACE, THRESHOLDS).model_json_schema())
    assert '"enum": ["Push left", "apply -1 torque"]' in schema
    assert '"enum": [-0.5, 0.25, 1e-07]' in schema


@pytest.mark.parametrize(
    ("face", "thresholds"),
    [(FACE, {}), (FACE, {"x": [float("nan")]}), (Interface((), ("A",)), None), (Interface(("x",)), None)],
)
def test_nothing_to_say_is_refused(face: Interface, thresholds: Any) -> None:
    with pytest.raises(RuleError):
        reply_model(face, thresholds)


atoms = st.fixed_dictionaries(
    {
        "quantity": st.sampled_from(FACE.quantities),
        "relation": st.sampled_from("<>"),
        "threshold": st.floats(allow_nan=False, allow_infinity=False),
        "action": st.sampled_from(FACE.actions),
    }
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(atoms, min_size=1, max_size=6), st.lists(st.tuples(st.floats(), st.floats()), min_size=1, max_size=5))
def test_every_reply_is_a_set_of_rules(said: list[dict[str, Any]], rows: list[tuple[float, float]]) -> None:
    rules = rules_of(reply_model(FACE)(rules=said), FACE)
    q = dict(zip(FACE.quantities, np.array(rows).T, strict=True))
    actions, covered = rules.act(q)
    for i, row in enumerate(rows):
        state = dict(zip(FACE.quantities, row, strict=True))
        wanted = -1
        for one in reversed(said):
            value = state[one["quantity"]]
            if np.isfinite(value) and (
                value < one["threshold"] if one["relation"] == "<" else value > one["threshold"]
            ):
                wanted = FACE.actions.index(one["action"])
        assert actions[i] == wanted
        assert covered[i] == (wanted >= 0)
