"""The order of the nodes in each mode, what a measurement says, which tests are kept, what is invalid."""

from __future__ import annotations

import numpy as np
import pytest

from ultra_agents.agents.wording import amount, measured
from ultra_agents.records import Plan, TestResult

UP = Plan((("UP", 8),))


class Diary:
    """Writes down who was asked or tested, in order."""

    def __init__(self, says, gains, critic="accept"):
        self.entries = []
        self.story = says.story(
            identifier=says.cases(3),
            advisor=[says.action(hold=hold) for hold in (8, 2, 3)],
            critic=says.verdict(critic),
        )
        self.tester = says.tester(gains)

    def respond(self, agent, message, before):
        reads_again = agent == "critic" and "read your own judgement again" in message
        self.entries.append("reflect" if reads_again else {"identifier": "identify", "advisor": "advise",
                                                           "critic": "criticise"}[agent])  # fmt: skip
        return self.story(agent, message, before)

    def test(self, trajectory, suggestion, earlier=()):
        self.entries.append("test")
        return self.tester(trajectory, suggestion)


@pytest.mark.parametrize(
    ("mode", "gains", "critic", "order"),
    [
        ("none", [0.5], "accept", "identify advise criticise"),
        ("none", [0.5], "revise", "identify advise criticise advise criticise"),
        ("reflect", [0.5], "accept", "identify advise criticise reflect"),
        ("reflect", [0.5], "revise", "identify advise criticise reflect advise criticise reflect"),
        ("simulate", [0.5], "accept", "identify advise criticise test"),
        ("simulate", [-0.5, 0.5], "accept", "identify advise criticise test advise criticise test"),
        ("simulate", [-0.5], "accept", "identify advise criticise test advise criticise test"),
        ("simulate", [-0.5], "reject", "identify advise criticise test"),
        ("simulate", [0.5], "revise", "identify advise criticise advise criticise test"),
        ("both", [0.5], "accept", "identify advise criticise test reflect"),
        ("both", [-0.5, 0.5], "accept", "identify advise criticise test reflect advise criticise test reflect"),
        ("both", [-0.5], "accept", "identify advise criticise test reflect advise criticise test"),
        ("both", [0.5], "revise", "identify advise criticise advise criticise test reflect"),
    ],
)
def test_the_order_of_the_nodes(bench, item, says, mode, gains, critic, order):
    diary = Diary(says, gains, critic)
    bench.proposer(diary.respond, diary.test, mode, max_revisions=1).explain([item()])
    assert " ".join(diary.entries) == order


@pytest.mark.parametrize("mode", ["simulate", "both"])
@pytest.mark.parametrize("revisions", [0, 1, 2])
def test_a_refuted_suggestion_goes_back_at_most_so_often(bench, item, says, mode, revisions):
    diary = Diary(says, [-0.5])
    made = bench.proposer(diary.respond, diary.test, mode, max_revisions=revisions).explain([item()])[0]
    assert diary.entries.count("advise") == diary.entries.count("test") == 1 + revisions
    assert [attempt.plan.steps for attempt in made.attempts] == [8, 2, 3][: 1 + revisions]
    assert all(attempt.test is not None for attempt in made.attempts)
    assert made.advice == ()


def test_every_refutation_so_far_is_told(bench, item, says):
    diary = Diary(says, [-0.5, -0.4])
    bench.proposer(diary.respond, diary.test, "simulate", max_revisions=2).explain([item()])
    told = bench.gateway.said_to("advisor", 2)
    assert "RIGHT for 8 steps lost 0.50 return" in told
    assert "RIGHT for 2 steps lost 0.40 return" in told


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (TestResult(-0.31, -0.52, -0.10, 8, 90, False, "bad", 1, 7),
         "UP for 8 steps lost 0.31 return on average: it did worse in 7 of 8 replays, better in 1 (interval of the "
         "gain -0.52 to -0.10)."),
        (TestResult(-0.31, -np.inf, np.inf, 8, 90, False, "bad", 0, 7),
         "UP for 8 steps lost 0.31 return on average: it did worse in 7 of 8 replays."),
        (TestResult(120.4, 80.0, 160.0, 4, 90, True, "good", 4, 0),
         "UP for 8 steps gained 120 return on average: it did better in 4 of 4 replays (interval of the gain +80.0 "
         "to +160)."),
        (TestResult(0.02, -0.3, 0.34, 4, 90, False, "pairs", 3, 1),
         "UP for 8 steps gained 0.0200 return on average, which is no clear gain: it did better in 3 of 4 replays, "
         "worse in 1 (interval of the gain -0.30 to +0.34)."),
        (TestResult(0.0, 0.0, 0.0, 4, 90, False, "hopeless"), "UP for 8 steps changed nothing in 4 replays."),
        (TestResult(0.5, 0.4, 0.6, 1, 90, True, "good"),
         "UP for 8 steps gained 0.50 return on average over 1 replay."),
        (TestResult(-0.28, -22.0, 22.0, 3, 90, False, "hopeless", 1, 2),
         "UP for 8 steps lost 0.28 return on average: it did worse in 2 of 3 replays, better in 1."),
    ],
)  # fmt: skip
def test_a_measurement_in_words(result, words):
    assert measured(UP, result) == words


def test_a_measured_plan_is_named_as_a_whole():
    plan = Plan((("UP", 5), ("STAY", 2)))
    words = measured(plan, TestResult(-0.31, -0.5, -0.1, 8, 90, False, "bad", 1, 7))
    assert words.startswith("UP for 5 steps, then STAY for 2 steps lost 0.31 return on average")


@pytest.mark.parametrize(
    ("value", "words"), [(0.004, "0.0040"), (0.31, "0.31"), (12.345, "12.3"), (1234.5, "1,234"), (0.0, "0.00")]
)
def test_amounts_have_three_figures_or_so(value, words):
    assert amount(value) == words


def test_every_suggestion_tested_keeps_its_measurement(bench, item, says):
    story = says.story(
        identifier=says.cases(3, 4),
        advisor=[says.action(hold=8), says.action(hold=2), says.action(hold=1)],
        critic=[says.verdict("accept", 0.3), says.verdict("accept", 0.9), says.verdict("accept", -0.2)],
    )
    made = bench.proposer(story, says.tester([-0.5, 0.5, -0.1]), "simulate").explain([item()])[0]
    tried = [(state.step, attempt) for state in made.states for attempt in state.attempts if attempt.test]
    assert [(step, one.plan.steps, one.test.gain, one.critique.reward) for step, one in tried][:2] == [
        (3, 8, -0.5, 0.3), (3, 2, 0.5, 0.9),
    ]  # fmt: skip
    assert {state.importance for state in made.states} == {0.5}
    assert [one.test.passed for _, one in tried][:2] == [False, True]
    assert sum(one.test.env_steps for _, one in tried) == made.env_steps


def test_an_attempt_keeps_the_reward_given_before_the_outcome_was_known(bench, item, says):
    story = says.story(
        identifier=says.cases(3),
        advisor=says.action(),
        critic=[says.verdict("accept", 0.8), says.verdict("accept", 0.1)],
    )
    made = bench.proposer(story, says.tester([0.5]), "both").explain([item()])[0]
    (attempt,) = made.attempts
    assert (attempt.critique.reward, attempt.reflection.reward, made.advice[0].reward) == (0.8, 0.1, 0.1)


def test_without_a_test_there_is_no_measurement(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    assert [one.test for one in bench.proposer(story).explain([item()])[0].attempts] == [None]


def test_a_plan_beyond_the_horizon_is_dropped_before_it_costs_anything(bench, item, says):
    tester = says.tester([0.5])
    story = says.story(identifier=says.cases(3), advisor=says.action(hold=600), critic=says.verdict())
    made = bench.proposer(story, tester, "simulate", max_hold=600).explain([item()])[0]
    assert [(drop.stage, drop.reason) for drop in made.drops] == [
        ("advise", "invalid: beyond the horizon of the test")
    ]
    assert (tester.tested, made.env_steps, "critic" in bench.gateway.agents()) == ([], 0, False)
    assert len(bench.proposer(story, None, "reflect", max_hold=600).explain([item(episode=1)])[0].advice) == 1


def test_a_gain_that_is_no_number_is_dropped_and_its_steps_are_charged(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    made = bench.proposer(story, says.tester([float("nan")]), "simulate").explain([item()])[0]
    assert [drop.reason for drop in made.drops] == ["invalid: gain is not a number"]
    assert ([one.test for one in made.attempts], made.env_steps) == ([None], 100)


def test_another_model_does_not_reuse_the_explanation(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    counts = []
    for model in ("small", "small", "large"):
        proposer = bench.proposer(story, models={"default": {"provider": "local", "options": {"model": model}}})
        proposer.explain([item()])
        counts.append(len(bench.gateway.asked))
    assert counts == [3, 0, 3]
