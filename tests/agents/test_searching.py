"""A search in the graph: as proposer, and between the critic and the test of what a model suggested."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ultra_agents.agents.controls import Search
from ultra_agents.agents.proposer import control_proposer, model_proposer
from ultra_agents.config import AgentsConfig, SearchConfig, VerificationConfig
from ultra_agents.records import Plan, Searched
from ultra_agents.records.plans import NO_STATE, NOTHING
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions


def falling(item: Any) -> Any:
    """An episode whose value falls over steps 2 and 5."""
    trajectory, narration = item()
    values = np.array([1, 1, 1, 0.5, 0.5, 0.5, 0.4, 0.4])
    return type(trajectory)(**{**vars(trajectory), "values": values}), narration


def searched(item: Any, find: Any, tester: Any = None, emit: Any = lambda event: None) -> Any:
    proposer = control_proposer(
        control=Search(Streams(0), find, {}),
        environment=Corridor(CorridorOptions()),
        agents=AgentsConfig(max_critical=2),
        tester=tester,
        emit=emit,
    )
    return proposer.explain([falling(item)])[0]


def test_it_proposes_what_the_simulator_found_where_the_value_fell(item: Any, says: Any) -> None:
    asked, events, tester = [], [], says.tester([0.5])

    def find(trajectory: Any, step: int) -> Searched:
        asked.append(step)
        return Searched(Plan.of([("RIGHT", step)]), None, 0.7, 20, 300)

    made = searched(item, find, tester, events.append)
    assert asked == [state.step for state in made.states] == [2, 5]
    assert [row.plan.moves for row in made.advice] == [(("RIGHT", 2),), (("RIGHT", 5),)]
    assert {row.source for row in made.advice} == {"search"}
    assert [row.search.tried for row in made.advice] == [20, 20]
    assert made.states[0].rationale == "the policy's value estimate fell here"
    assert made.env_steps == 2 * (300 + 100)
    spent = [(event.purpose, event.steps) for event in events if type(event).__name__ == "StepsSpent"]
    assert spent == [("search", 300), ("test", 100)] * 2


@pytest.mark.parametrize(
    ("find", "reason", "steps"),
    [(lambda *_: Searched(reason=NOTHING, gain=0.0, tried=9, env_steps=80), NOTHING, 160), (None, NO_STATE, 0)],
)
def test_what_found_nothing_is_dropped_and_charged(item: Any, find: Any, reason: str, steps: int) -> None:
    made = searched(item, find)
    assert [(state.fate, state.stage, state.reason) for state in made.states] == [("dropped", "advise", reason)] * 2
    assert (made.attempts, made.advice, made.env_steps) == ((), (), steps)


class Refining:
    """Makes every hold one step longer, for 50 steps."""

    def __init__(self, change: bool = True) -> None:
        self.asked: list[Plan] = []
        self.change = change

    def __call__(self, trajectory: Any, suggestion: Any) -> Searched:
        self.asked.append(suggestion.plan)
        ((name, hold),) = suggestion.plan.moves
        plan = Plan.of([(name, hold + 1)]) if self.change else suggestion.plan
        return Searched(plan, suggestion.plan, 0.4, 12, 50)


def refined(bench: Any, item: Any, says: Any, refines: Any, gains: list[float], **agents: Any) -> Any:
    story = says.story(
        identifier=says.cases(2), advisor=[says.action("RIGHT", 3), says.action("RIGHT", 2)], critic=says.verdict()
    )
    bench.gateway, bench.tester = says.gateway(story), says.tester(gains)
    proposer = model_proposer(
        environment=Corridor(CorridorOptions()),
        gateway=bench.gateway,
        agents=AgentsConfig(**agents),
        verification=VerificationConfig(mode="simulate"),
        tester=bench.tester,
        checkpoint=None,
        emit=bench.events.append,
        source="fake",
        refines=refines,
    )
    return proposer.explain([item()])[0]


def test_a_models_suggestion_is_improved_before_its_test(bench: Any, item: Any, says: Any) -> None:
    made = refined(bench, item, says, Refining(), [0.5])
    (row,) = made.advice
    assert row.plan == bench.tester.tested[0].plan == Plan.of([("RIGHT", 4)])
    assert row.search == Searched(Plan.of([("RIGHT", 4)]), Plan.of([("RIGHT", 3)]), 0.4, 12, 50)
    assert made.attempts[0].written == Plan.of([("RIGHT", 3)]), "what the model wrote is kept"
    assert made.env_steps == 150
    assert [event.steps for event in bench.events_of("StepsSpent")] == [50, 100]


def test_the_advisor_hears_of_its_own_words_and_of_what_was_measured(bench: Any, item: Any, says: Any) -> None:
    made = refined(bench, item, says, Refining(), [-0.5, 0.6], max_revisions=1)
    told = bench.gateway.said_to("advisor", 1)
    assert "RIGHT for 3 steps at step 2 was suggested before and did not hold" in told
    assert "RIGHT for 4 steps lost 0.50 return" in told
    assert [attempt.plan.steps for attempt in made.attempts] == [4, 3]
    assert made.env_steps == 300


def test_a_plan_that_was_tested_before_is_not_taken_over(bench: Any, item: Any, says: Any) -> None:
    class Back(Refining):
        def __call__(self, trajectory: Any, suggestion: Any) -> Searched:
            return Searched(Plan.of([("RIGHT", 4)]), suggestion.plan, 0.4, 12, 50)

    made = refined(bench, item, says, Back(), [-0.5, 0.6], max_revisions=1)
    assert [attempt.plan.steps for attempt in made.attempts] == [4, 2]
    assert not made.attempts[1].search.changed


def test_what_the_search_leaves_as_it_was_is_tested_as_it_was(bench: Any, item: Any, says: Any) -> None:
    made = refined(bench, item, says, Refining(change=False), [0.5])
    plain = refined(bench, item, says, None, [0.5])
    assert made.advice[0].plan == plain.advice[0].plan
    assert not made.attempts[0].search.changed
    assert (plain.attempts[0].search, plain.env_steps) == (None, 100)


def test_a_segment_is_explained_anew_only_where_a_search_is_another(bench: Any, item: Any) -> None:
    def fingerprint(refines: Any, **search: Any) -> str:
        agents = {"search": SearchConfig(**search)}
        proposer = bench.proposer(lambda *_: {}, **agents)
        made = model_proposer(
            environment=proposer.environment, gateway=bench.gateway, agents=proposer.agents,
            verification=proposer.verification, tester=None, checkpoint=None, emit=print, source="fake",
            refines=refines,
        )  # fmt: skip
        return made._fingerprint(item()[1])

    off = fingerprint(None)
    assert fingerprint(None, population=9) == off, "nobody searches"
    on = fingerprint(Refining())
    assert on not in (off, fingerprint(Refining(), population=9))
    assert on == fingerprint(Refining(change=False))
