"""The advisor may leave a critical state as it is: an answer of its own kind, untested, without the critic."""

from __future__ import annotations

import pytest

from ultra_agents.agents.state import EXPLANATION

LEAVE = {"reasoning": "The paddle is where it has to be.", "action": "LEAVE IT", "hold": 1}


@pytest.mark.parametrize("mode", ["none", "reflect", "simulate", "both"])
def test_a_state_left_as_it_is_costs_one_question(bench, item, says, mode):
    tester = says.tester([0.5])
    story = says.story(identifier=says.cases(3, 5), advisor=[LEAVE, says.action()], critic=says.verdict())
    made = bench.proposer(story, tester, mode).explain([item()])[0]
    left, other = made.states
    assert (left.fate, left.reason, left.detail, left.attempts) == ("left", "left as it is", LEAVE["reasoning"], ())
    assert other.fate == "accepted", "the next state is advised"
    assert bench.gateway.agents()[:3] == ["identifier", "advisor", "advisor"]
    assert [one.step for one in tester.tested] == ([5] if mode in ("simulate", "both") else [])
    assert made.drops == (), "nothing went wrong"
    assert [row.step for row in made.advice] == [5]
    assert EXPLANATION.validate_json(EXPLANATION.dump_json(made)) == made


def test_it_is_told_as_a_decision_of_its_own(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=LEAVE, critic=says.verdict())
    bench.proposer(story).explain([item()])
    (event,) = bench.events_of("AdviceDecided")
    assert (event.decision, event.action, event.hold, event.reason) == ("leave", "LEFT", 0, "left as it is")
    assert event.gain is None
    assert bench.events_of("Dropped") == []


def test_a_refuted_suggestion_may_be_followed_by_leaving(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=[says.action(), LEAVE], critic=says.verdict())
    made = bench.proposer(story, says.tester([-0.5]), "simulate").explain([item()])[0]
    (state,) = made.states
    assert (state.fate, len(state.attempts), state.attempts[0].test.gain) == ("left", 1, -0.5)
    assert (made.advice, made.env_steps) == ((), 100)
    assert [event.decision for event in bench.events_of("AdviceDecided")] == ["revise", "leave"]
