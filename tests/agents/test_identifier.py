"""The identifier's panel: votes, majority, agreement, absent and useless members."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import pytest

from ultra_agents.agents.panel import count_votes
from ultra_agents.config import AgentsConfig, parse_config
from ultra_agents.contracts.llm import Unreachable
from ultra_agents.errors import ConfigError, LLMError


@dataclass
class Vote:
    step: int
    importance: float = 0.5
    case_analysis: str = "because"


def votes(*ballots, tolerance=4):
    made = count_votes([[Vote(step) for step in ballot] for ballot in ballots], tolerance)
    return [(state.step, state.votes) for state in made]


def test_steps_within_the_tolerance_are_one_state():
    assert votes([10], [14], [12]) == [(12, 3)]
    assert votes([10], [15], [30]) == [(10, 1), (15, 1), (30, 1)]
    assert votes([10], [15], [12]) == [(12, 3)]  # both are within 4 of 12
    assert votes([10], [10], tolerance=0) == [(10, 2)]
    assert votes([10], [11], tolerance=0) == [(10, 1), (11, 1)]


def test_a_member_votes_for_a_state_once():
    assert votes([10, 12], [40], [41]) == [(40, 2), (10, 1), (12, 1)]
    assert votes([10, 12], [10, 12]) == [(10, 2), (12, 2)]


def test_the_order_of_members_does_not_decide():
    for order in permutations(([10, 30], [12], [31, 50])):
        assert votes(*order) == [(10, 2), (30, 2), (50, 1)]


def test_nobody_named_anything():
    assert votes([], []) == []
    assert votes() == []


def test_the_rationale_is_of_the_step_that_is_kept_and_the_importance_of_all():
    (state,) = count_votes([[Vote(10, 0.2, "a")], [Vote(12, 0.4, "b")], [Vote(13, 0.9, "c")]], 4)
    assert (state.step, state.rationale, state.votes) == (12, "b", 3)
    assert state.importance == pytest.approx(0.5)


PANEL = {"panel": ["one", "two", "three"], "panel_tolerance": 1}


class Models:
    """A gateway whose identifiers have opinions of their own."""

    def __init__(self, says, opinions):
        self.says, self.opinions, self.asked = says, opinions, []

    def ask(self, *, agent, segment, models, messages, reply, **more):
        self.asked.append((agent, tuple(models)))
        if agent == "identifier":
            said = self.opinions[models[0]]
        else:
            said = self.says.action() if agent == "advisor" else self.says.verdict()
        if isinstance(said, BaseException):
            raise said
        return type("Answer", (), {"value": reply.model_validate(said)})


def explain(bench, item, says, opinions, **identifier):
    models = Models(says, opinions)
    return bench.proposer(models, identifier={**PANEL, **identifier}).explain([item()])[0], models


def test_a_majority_decides_and_the_agreement_is_recorded(bench, item, says):
    opinions = {"one": says.cases(2, 5), "two": says.cases(3), "three": says.cases(5, 7)}
    made, models = explain(bench, item, says, opinions)
    assert sorted((agent, names) for agent, names in models.asked if agent == "identifier") == [
        ("identifier", (name,)) for name in ("one", "three", "two")
    ]
    assert [(state.step, round(state.agreement, 2)) for state in made.states] == [(2, 0.67), (5, 0.67)]
    lone = [(drop.stage, drop.reason, drop.detail) for drop in made.drops]
    assert ("identify", "no majority", "step 7: 1 of 3") in lone
    assert {row.step for row in made.advice} == {2, 5}


def test_all_agree(bench, item, says):
    made, _ = explain(bench, item, says, dict.fromkeys(("one", "two", "three"), says.cases(4)))
    assert [(state.step, state.agreement) for state in made.states] == [(4, 1.0)]


def test_no_majority_is_no_critical_state(bench, item, says):
    made, models = explain(bench, item, says, {"one": says.cases(0), "two": says.cases(3), "three": says.cases(6)})
    assert made.states == ()
    assert [drop.reason for drop in made.drops] == ["no majority"] * 3
    assert {agent for agent, _ in models.asked} == {"identifier"}


def test_a_panel_may_find_nothing_critical(bench, item, says):
    made, _ = explain(bench, item, says, dict.fromkeys(("one", "two", "three"), says.cases()))
    assert made.states == ()
    assert [(drop.stage, drop.reason) for drop in made.drops] == [("identify", "nothing critical")]
    opinions = {"one": says.cases(), "two": says.cases(3), "three": says.cases(3)}
    made, _ = explain(bench, item, says, opinions, panel_tolerance=2)
    assert [state.step for state in made.states] == [3]
    assert made.drops == ()


def test_a_useless_reply_counts_against(bench, item, says):
    useless = says.dropped("malformed reply", "no JSON")
    made, _ = explain(bench, item, says, {"one": useless, "two": says.cases(3), "three": says.cases(3)})
    assert [(state.step, round(state.agreement, 2)) for state in made.states] == [(3, 0.67)]
    assert ("malformed reply", "one: no JSON") in [(drop.reason, drop.detail) for drop in made.drops]
    made, _ = explain(bench, item, says, {"one": useless, "two": useless, "three": says.cases(5)}, panel_tolerance=2)
    assert made.states == ()


def test_an_absent_member_is_counted_and_too_many_end_the_run(bench, item, says):
    gone = Unreachable("no model server answers", hint="start it")
    made, _ = explain(bench, item, says, {"one": gone, "two": says.cases(3), "three": says.cases(3)})
    assert [state.step for state in made.states] == [3]
    assert "panel member unreachable" in [drop.reason for drop in made.drops]
    with pytest.raises(Unreachable, match="no model server answers"):
        explain(bench, item, says, {"one": gone, "two": gone, "three": says.cases(5)}, panel_tolerance=2)


def test_a_wrong_key_of_a_member_ends_the_run(bench, item, says):
    wrong = LLMError("the model refuses the key")
    with pytest.raises(LLMError, match="refuses the key"):
        explain(bench, item, says, {"one": wrong, "two": says.cases(3), "three": says.cases(3)})


def test_no_more_states_than_asked_for(bench, item, says):
    models = Models(says, dict.fromkeys(("one", "two", "three"), says.cases(0, 3, 6)))
    made = bench.proposer(models, identifier=PANEL, max_critical=3).explain([item()])[0]
    assert len(made.states) == 3
    opinions = {"one": says.cases(0, 6), "two": says.cases(0, 3), "three": says.cases(3, 6)}
    models = Models(says, opinions)
    made = bench.proposer(models, identifier=PANEL, max_critical=2).explain([item(episode=1)])[0]
    assert len(made.states) == 2
    assert "beyond max_critical" in [drop.reason for drop in made.drops]


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ({"panel": ["one"]}, "at least two models"),
        ({"panel": ["one", "one"]}, "every model once"),
        ({"panel": ["one", "two"], "llm": "one"}, "either a panel, or llm"),
    ],
)
def test_panels_that_cannot_vote(identifier, expected):
    with pytest.raises(ConfigError, match=r"agents\.identifier\.panel cannot vote") as caught:
        AgentsConfig(identifier=identifier)
    assert expected in caught.value.expected
    assert caught.value.exit_code == 2


def test_a_panel_of_unknown_models_and_a_list_as_a_chain():
    base = {"environment": {"name": "corridor"}, "policy": {"train_steps": 5}, "llms": {"one": {}, "two": {}}}
    with pytest.raises(ConfigError, match=r"agents\.identifier names the model 'three'"):
        parse_config({**base, "agents": {"identifier": {"panel": ["one", "three"]}}}, "test")
    config = parse_config({**base, "agents": {"advisor": {"llm": ["two", "one"]}}}, "test")
    assert (config.agents.advisor.llm, config.agents.advisor.fallback) == ("two", ("one",))
    assert config.agents.advisor.chains == (("two", "one"),)
    panel = parse_config({**base, "agents": {"identifier": {"panel": ["one", "two"]}}}, "test").agents.identifier
    assert panel.chains == (("one",), ("two",))
