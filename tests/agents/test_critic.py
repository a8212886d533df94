"""What the critic is asked, and what it sees; how many calls that saves."""

from __future__ import annotations

import pytest

REWARDS = {"reasoning": "it decides the point", "reward": 0.7, "taken_reward": -0.2}
SURE = {"critic": {"asks": "rewards"}}


def test_rewards_alone_are_asked_for_after_the_test_and_only_of_what_held(bench, item, says):
    actions = [says.action(hold=8), says.action(hold=2), says.action(hold=3), says.action(hold=4)]
    story = says.story(identifier=says.cases(3, 5), advisor=actions, critic=REWARDS)
    made = bench.proposer(story, says.tester([-0.5, 0.5, -0.5]), "simulate", **SURE).explain([item()])[0]
    assert bench.gateway.agents() == ["identifier", "advisor", "advisor", "critic", "advisor", "advisor"]
    (row,) = made.advice
    assert (row.reward, row.taken_reward, row.critique) == (0.7, -0.2, "it decides the point")
    asked = bench.gateway.said_to("critic")
    assert "RIGHT for 2 steps gained 0.50 return" in asked
    assert "verdict" not in asked.lower()
    assert [attempt.critique for attempt in made.attempts] == [None] * 4, "nobody judged before the test"


@pytest.mark.parametrize(("mode", "asks", "calls"), [
    ("simulate", "verdict", 4), ("simulate", "rewards", 1), ("both", "verdict", 7), ("both", "rewards", 1),
])  # fmt: skip
def test_calls_saved_where_one_of_four_suggestions_holds(bench, item, says, mode, asks, calls):
    actions = [says.action(hold=hold) for hold in (8, 2, 3, 4)]
    critic = REWARDS if asks == "rewards" else says.verdict()
    story = says.story(identifier=says.cases(3, 5), advisor=actions, critic=critic)
    tester = says.tester([-0.5, -0.5, -0.5, 0.5])
    made = bench.proposer(story, tester, mode, critic={"asks": asks}).explain([item()])[0]
    assert len(made.advice) == 1
    assert bench.gateway.agents().count("critic") == calls


@pytest.mark.parametrize("mode", ["none", "reflect"])
def test_where_nobody_tests_the_critic_judges_all_the_same(bench, item, says, mode):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict("reject"))
    made = bench.proposer(story, None, mode, **SURE).explain([item()])[0]
    assert [drop.reason for drop in made.drops] == ["rejected by critic"]


def test_without_usable_rewards_what_held_is_accepted_with_none(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.dropped("malformed reply"))
    made = bench.proposer(story, says.tester([0.5]), "simulate", **SURE).explain([item()])[0]
    (row,) = made.advice
    assert (row.reward, row.taken_reward) == (0.0, 0.0)
    assert [(note.stage, note.reason) for note in made.notes] == [("criticise", "malformed reply")]


@pytest.mark.parametrize(("sees", "reads"), [("reasoning", True), ("evidence", False)])
@pytest.mark.parametrize("asks", ["verdict", "rewards"])
def test_the_critic_may_see_the_evidence_alone(bench, item, says, sees, reads, asks):
    critic = REWARDS if asks == "rewards" else says.verdict()
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=critic)
    bench.proposer(story, says.tester([0.5]), "both", critic={"sees": sees, "asks": asks}).explain([item()])
    asked = [row["messages"][-1][1] for row in bench.gateway.asked if row["agent"] == "critic"]
    assert any("go RIGHT" in text for text in asked) == reads
    assert "RIGHT for 4 steps gained 0.50 return" in asked[-1]
