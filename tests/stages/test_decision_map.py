"""What rules decide over two quantities, and how a run's rules are told."""

from __future__ import annotations

import numpy as np
import pytest

from ultra_agents.records import RuleProposal, Trajectory
from ultra_agents.registry import create_environment
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.rules.layer import BoundRules
from ultra_agents.stages.decision_map import ABSENT, CELLS
from ultra_agents.stages.findings import RulesFound
from ultra_agents.stages.rules_overview import bound_of, constant_rows, rule_rows, rules_report, rules_worth
from ultra_agents.verification import RuleTest

SET = """\
constants: {at: [0.01, -0.05, 0.05]}
rules:
  - {when: velocity > at and position < 0, do: PUSH_RIGHT, why: along the motion}
  - {when: 1 / position > 1000000, do: COAST}
  - {when: velocity < -at, do: PUSH_LEFT}
"""


def episode(number: int, steps: int, observations: np.ndarray) -> Trajectory:
    return Trajectory(
        number, 0, observations.astype(np.float32), np.zeros(steps, np.int64), np.full(steps, -1.0), np.zeros(steps),
        ({},) * steps, False, True,
    )  # fmt: skip


@pytest.fixture
def episodes() -> list[Trajectory]:
    rng = np.random.default_rng(3)
    each = rng.uniform((-1.2, -0.07), (0.6, 0.07), (2, 300, 2))
    return [episode(number, 300, observations) for number, observations in enumerate(each)]


def found(text: str = SET, **changes: object) -> RulesFound:
    return RulesFound((RuleProposal(text, "file"),), None, text, None, "", True, 0, **changes)  # type: ignore[arg-type]


def test_the_map_is_what_the_rules_decide(episodes: list[Trajectory]) -> None:
    environment = create_environment("mountain-car")
    bound = bound_of(found(), environment)
    assert bound is not None
    shown = rules_report(found(), episodes, bound)["map"]
    assert {shown["x"]["name"], shown["y"]["name"]} == {"position", "velocity"}
    xs, ys = (np.linspace(shown[axis]["low"], shown[axis]["high"], CELLS) for axis in "xy")
    assert len(shown["rows"]) == CELLS
    signs = {name: sign for sign, name in shown["legend"].items()}
    assert set(signs) == {"PUSH_LEFT", "PUSH_RIGHT"}, "the rule in between decides nothing here"
    seen = set()
    for row in range(0, CELLS, 7):
        for column in range(0, CELLS, 7):
            at = {shown["x"]["name"]: xs[column], shown["y"]["name"]: ys[row]}
            right = at["velocity"] > 0.01 and at["position"] < 0
            expected = "PUSH_RIGHT" if right else "PUSH_LEFT" if at["velocity"] < -0.01 else ""
            assert shown["rows"][row][column] == signs.get(expected, ABSENT)
            seen.add(expected)
    assert seen == {"", "PUSH_LEFT", "PUSH_RIGHT"}


def test_shares_and_examples_are_those_of_the_collected_steps(episodes: list[Trajectory]) -> None:
    environment = create_environment("mountain-car")
    report = rules_report(found(), episodes, bound_of(found(), environment))
    rows = report["set"]
    position, velocity = np.concatenate([one.observations for one in episodes]).T
    first = (velocity > 0.01) & (position < 0)
    assert rows[0]["coverage"] == pytest.approx(first.mean())
    assert rows[0]["differs"] == pytest.approx(first.mean()), "the policy pushed left all the time"
    assert rows[2]["differs"] == 0.0
    example = rows[0]["example"]
    shown = episodes[example["episode"]].observations[example["step"]]
    assert shown[1] > 0.01
    assert shown[0] < 0
    assert (example["taken"], example["does"]) == ("PUSH_LEFT", "PUSH_RIGHT")
    assert report["steps"] == 600


def test_where_fewer_than_two_quantities_vary_there_is_no_map() -> None:
    environment = create_environment("corridor")
    rules = "rules: [{when: cell > 2, do: RIGHT}]"
    cells = np.zeros((1, 1))
    shown = rules_report(found(rules), [episode(0, 1, cells)], bound_of(found(rules), environment))
    assert shown["map"] is None
    assert shown["set"][0]["coverage"] is not None


def test_a_continuous_action_is_shown_in_levels() -> None:
    environment = create_environment("gymnasium:Pendulum-v1")
    names = interface_of(environment).components
    text = f"rules: [{{when: 'True', do: {{{names[0]}: 'clip(-4 * angular_velocity, -2, 2)'}}}}]"
    if "angular_velocity" not in environment.legend:
        text = text.replace("angular_velocity", list(environment.legend)[-1])
    rng = np.random.default_rng(0)
    angles = rng.uniform(-np.pi, np.pi, 200)
    seen = np.stack([np.cos(angles), np.sin(angles), rng.uniform(-8, 8, 200)], axis=1)
    one = Trajectory(
        0, 0, seen.astype(np.float32), np.zeros((200, 1), np.float32), np.zeros(200), np.zeros(200), ({},) * 200,
        False, True,
    )  # fmt: skip
    bound = BoundRules(parse_rules(text, interface_of(environment)), environment)
    shown = rules_report(found(text), [one], bound)["map"]
    assert shown["of"] == names[0]
    assert next(iter(shown["legend"].values())).startswith("-2 to")
    assert set("".join(shown["rows"])) <= set(shown["legend"])


def test_what_the_test_dropped_keeps_its_number_and_constants_tell_where_they_went() -> None:
    left = SET.replace("  - {when: 1 / position > 1000000, do: COAST}\n", "").replace("0.01,", "0.02,")
    test = RuleTest("accepted", 5.0, 1.0, 9.0, 4, 0.5, 90, left, weights=(3.0, 0.0, 2.0), dropped=(1,))
    one = RulesFound((RuleProposal(SET, "file"),), test, left, None, "accepted", False, 0)
    rows = rule_rows(one)
    assert [(row["number"], row["dropped"], row["place"], row["weight"]) for row in rows] == [
        (1, False, 0, 3.0), (2, True, None, 0.0), (3, False, 1, 2.0),
    ]  # fmt: skip
    assert constant_rows(one) == [{"name": "at", "written": 0.01, "now": 0.02, "low": -0.05, "high": 0.05}]
    worth = rules_worth(one, 1.5)
    assert (worth["verdict"], worth["rules"], worth["gain"], worth["env_steps"]) == ("accepted", 2, 5.0, 90)


def test_without_any_set_everything_is_empty() -> None:
    nothing = RulesFound((RuleProposal("", "llm"),), headline="no usable set of rules was proposed")
    report = rules_report(nothing, [], None)
    assert (report["set"], report["constants"], report["map"], report["verdict"]) == ([], [], None, "none")
    assert rules_worth(nothing, 0.0)["unusable"] == 1
