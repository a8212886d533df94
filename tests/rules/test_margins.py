"""How far states are from where rules would decide otherwise, as quantities and as inputs of a network."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultra_agents.contracts import Environment, Widening
from ultra_agents.errors import PolicyError, UltraError
from ultra_agents.policies import describe_policy_file, load_policy, read_policy_file, save_policy
from ultra_agents.records import Array
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rules import Interface, RuleError, parse_rules
from ultra_agents.rules.margins import Margins, teller

BALL = Interface(("x", "y", "v"), ("STAY", "UP", "DOWN"))
TEXT = "rules: [{when: cell > 4 and not to_right_end < 2, do: RIGHT}, {when: cell <= 1, do: LEFT}]"


def margins(when: str, do: str = "UP", let: str = "", **columns: list[float]) -> list[list[float]]:
    text = f"let: {{{let}}}\nrules: [{{when: '{when}', do: '{do}'}}]"
    quantities = {name: np.array(columns.get(name, [1.0, 2.0])) for name in BALL.quantities}
    return parse_rules(text, BALL).margins(quantities).T.tolist()


@pytest.mark.parametrize(
    ("when", "do", "let", "expected"),
    [
        ("x > 3", "UP", "", [[2.0, 1.0]]),  # 3 - x: `x > 3` is `3 < x`
        ("x < 3 or not (y >= 2 * x)", "UP", "", [[-2.0, -1.0], [-1.0, -2.0]]),
        ("isfinite(y) and near", "UP", "near: abs(x - y) < 6", [[-6.0, -6.0]]),
        ("x > 0", "UP if y > 1.5 else DOWN", "", [[-1.0, -2.0], [0.5, -0.5]]),
        ("x > 3 and x <= 3", "UP", "", None),
        ("(2 if y > 0 else 1) * x > 3", "UP", "", [[1.0, -1.0]]),  # not within arithmetic
        ("x == 1", "UP", "", [[0.0, 1.0]]),
        ("isfinite(x)", "UP", "", []),
        ("own == UP or v < 0", "DOWN", "", [[1.0, 2.0]]),  # the policy's own action is no input
        ("best(n, 0, 3, abs(n - x)) > 1", "UP", "", [[0.0, -1.0]]),
    ],
)
def test_the_differences_that_decide(when: str, do: str, let: str, expected: list[list[float]] | None) -> None:
    if expected is None:
        with pytest.raises(UltraError, match="never be true"):
            margins(when, do, let)
        return
    assert margins(when, do, let) == expected


def test_a_comparison_is_one_margin_however_often_it_is_written() -> None:
    text = "rules: [{when: x > 3 and y > 1, do: UP}, {when: x <= 3, do: DOWN}, {when: not x > 3 or v > 0, do: STAY}]"
    quantities = {name: np.array([1.0]) for name in BALL.quantities}
    assert parse_rules(text, BALL).margins(quantities).tolist() == [[2.0, 0.0, -1.0]]


def test_what_has_no_value_and_constants() -> None:
    rules = parse_rules("constants: {far: [3, 0, 9]}\nrules: [{when: x > far, do: UP}]", BALL)
    quantities = {"x": np.array([np.nan, np.inf, 1.0])}
    np.testing.assert_array_equal(rules.margins(quantities), [[np.nan], [np.nan], [2.0]])
    np.testing.assert_array_equal(rules.with_constants({"far": 5}).margins(quantities)[2], [4.0])


def cells(*which: int) -> Array:
    return (2.0 * np.asarray(which) / 8 - 1.0).astype(np.float32)[:, None]


def widened(environment: Environment, *texts: str) -> Any:
    algorithm = create_algorithm("ppo", {"hidden": [8, 8]})
    policy: Any = algorithm.create_policy(environment.observation_space, environment.action_space, 3)
    for index in range(len(texts)):
        told = Margins(environment, texts[: index + 1])
        policy = algorithm.widen(policy, Widening.of(told, ("cell", *told.names), cells(*range(9)), told.texts))
    policy.actor[0].weight.data[:, 1:] = 0.3
    return policy


def saved(path: Path, policy: Any, environment: Environment) -> Path:
    save_policy(
        path, policy, algorithm="ppo", environment_name="corridor", environment=environment, provenance={}, score=None
    )
    return path


def test_they_stand_behind_the_quantities_of_the_environment() -> None:
    environment = create_environment("corridor")
    told = Margins(environment, [TEXT, TEXT])
    assert tuple(told.legend) == (*environment.legend, *told.names)
    assert len(told.names) == 3, "the same text is one set"
    found = told.quantities(cells(0, 5, 8))
    at, left = (np.array(found[name]) for name in ("cell", "to_right_end"))
    np.testing.assert_array_equal([found[name] for name in told.names], [4 - at, 2 - left, at - 1])
    assert teller(environment, ()) is environment
    with pytest.raises(UltraError):
        Margins(environment, ["rules: [{when: nobody > 4, do: RIGHT}]"])


def test_a_policy_that_takes_them_needs_no_more_than_its_file(tmp_path: Path) -> None:
    environment = create_environment("corridor")
    policy = widened(environment, TEXT, "rules: [{when: cell > 6, do: RIGHT}]")
    path = saved(tmp_path / "policy.safetensors", policy, environment)
    loaded, uniforms = load_policy(path, "corridor", environment), np.random.default_rng(0).random((9, 1))
    np.testing.assert_array_equal(
        loaded.policy.act_with_uniforms(cells(*range(9)), uniforms),
        policy.act_with_uniforms(cells(*range(9)), uniforms),
    )
    assert "takes quantities as inputs: cell, and 4 margins of rules" in describe_policy_file(loaded.metadata)


@pytest.mark.parametrize(
    ("rules", "error"),
    [("abc", PolicyError), ([7], PolicyError), (["rules: ["], RuleError), ([], PolicyError)],
)
def test_a_file_whose_rules_are_damaged_is_refused(tmp_path: Path, rules: Any, error: type[Exception]) -> None:
    environment = create_environment("corridor")
    policy = widened(environment, TEXT)
    arrays, description = policy.state()
    told = json.loads(json.dumps(description))
    told["widening"]["rules"] = rules

    class Damaged(type(policy)):  # type: ignore[misc]
        def state(self) -> Any:
            return arrays, told

    policy.__class__ = Damaged
    path = saved(tmp_path / "policy.safetensors", policy, environment)
    assert read_policy_file(path)[0]["architecture"]["widening"]["rules"] == rules
    with pytest.raises(error) as caught:
        load_policy(path, "corridor", environment)
    assert path.name in str(caught.value)


def test_it_can_be_sent_to_another_process() -> None:
    policy = widened(create_environment("corridor"), TEXT)
    twin, rows, uniforms = pickle.loads(pickle.dumps(policy)), cells(*range(9)), np.full((9, 1), 0.4)
    np.testing.assert_array_equal(twin.act_with_uniforms(rows, uniforms), policy.act_with_uniforms(rows, uniforms))
