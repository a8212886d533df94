from __future__ import annotations

import numpy as np
import pytest
from gymnasium.spaces import Discrete
from pydantic import ValidationError

from ultra_agents.agents.identifier import spans
from ultra_agents.config import NarrationConfig, parse_config
from ultra_agents.contracts import DiscreteActions
from ultra_agents.errors import ConfigError
from ultra_agents.narration import narrate
from ultra_agents.records import Advice, Attempt, CriticalState, Critique, Plan, Segment, TestResult, Trajectory
from ultra_agents.testing.corridor import Corridor, CorridorOptions


def reasons(explanation):
    return [(drop.stage, drop.reason) for drop in explanation.drops]


def test_one_suggestion_from_case_to_advice(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action("RIGHT", 5), critic=says.verdict())
    trajectory, narration = item(episode=7)
    made = bench.proposer(story).explain([(trajectory, narration)])[0]
    assert made.segment == narration.segment
    attempt = Attempt(Plan((("RIGHT", 5),)), "go RIGHT", Critique("accept", 0.8, -0.4, "I say accept"))
    assert made.states == (
        CriticalState(3, "case of 3", 0.5, taken_action="LEFT", attempts=(attempt,), fate="accepted"),
    )
    assert made.advice == (
        Advice(
            episode=7, step=3, plan=attempt.plan, reward=0.8, taken_action="LEFT", taken_reward=-0.4,
            rationale="case of 3", advice="go RIGHT", critique="I say accept", importance=0.5, source="fake",
        ),
    )  # fmt: skip
    assert (made.attempts, made.drops, made.env_steps, made.source) == ((attempt,), (), 0, "fake")
    (decided,) = bench.events_of("AdviceDecided")
    assert (decided.decision, decided.segment, decided.step, decided.gain) == ("accept", "7:0-8", 3, None)
    assert bench.gateway.agents() == ["identifier", "advisor", "critic"]


def test_every_question_of_a_segment_begins_with_the_same_message(bench, item, says):
    story = says.story(identifier=says.cases(3, 4), advisor=says.action(), critic=says.verdict())
    trajectory, narration = item()
    bench.proposer(story, mode="reflect").explain([(trajectory, narration)])
    openings = {row["messages"][0] for row in bench.gateway.asked}
    ((role, text),) = openings
    assert role == "system"
    assert narration.text in text
    assert "Walk to the end of the corridor" in text
    assert all([role for role, _ in row["messages"]] == ["system", "user"] for row in bench.gateway.asked)
    assert len(bench.gateway.asked) == 7


def test_the_advisor_is_told_the_state_and_what_followed(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    bench.proposer(story).explain([item()])
    asked = bench.gateway.said_to("advisor")
    assert "Step 3: I am in cell 5: 3 steps from the right end, 5 from the left end. Action: LEFT." in asked
    assert "What followed: reward +0.19 4 steps later." in asked
    assert "LEFT, RIGHT" not in asked, "the opening names them"


def game(lost=(), won=(), length=30, terminated=False):
    """An episode in the corridor in which points are lost and won."""
    rewards = np.zeros(length)
    rewards[list(lost)], rewards[list(won)] = -1, 1
    return Trajectory(
        episode=0, seed=0, observations=np.zeros((length, 1), np.float32), actions=np.zeros(length, np.int64),
        rewards=rewards, values=np.zeros(length), infos=({"cell": 4},) * length, terminated=terminated,
        truncated=not terminated,
    )  # fmt: skip


def part(trajectory, start, stop):
    told = narrate(trajectory, Segment(0, start, stop, "x"), Corridor(CorridorOptions()), NarrationConfig(stride=1))
    return trajectory, told


def test_the_advisor_is_told_what_followed_beyond_the_stretch(bench, says):
    story = says.story(identifier=says.cases(3), advisor=says.action("RIGHT"), critic=says.verdict())
    for trajectory, told in (
        (game(lost=[20]), "What followed: reward -1 17 steps later, after this stretch."),
        (game(lost=[4]), "What followed: reward -1 1 step later."),
        (game(lost=[3]), "What followed: reward -1 at this step."),
        (game(terminated=True), "What followed: the episode terminated 26 steps later, after this stretch."),
    ):
        bench.proposer(story).explain([part(trajectory, 0, 10)])
        assert told in bench.gateway.said_to("advisor").splitlines()
        bench.checkpoint = bench.folder / f"{len(told)}.sqlite"
    bench.proposer(story).explain([part(game(), 0, 10)])
    assert "What followed" not in bench.gateway.said_to("advisor")


def test_nobody_is_asked_about_a_stretch_of_a_point_won(bench, says):
    (made,) = bench.proposer(says.story()).explain([part(game(lost=[5], won=[20]), 8, 21)])
    assert bench.gateway.asked == []
    assert made.states == ()
    assert [(note.stage, note.reason) for note in made.notes] == [("identify", "nothing to gain")]
    assert [event.reason for event in bench.events_of("Dropped")] == ["nothing to gain"]


def test_steps_of_a_point_won_cannot_be_named(bench, says):
    story = says.story(identifier=says.cases(6), advisor=says.action("RIGHT"), critic=says.verdict())
    with pytest.raises(ValidationError):
        bench.proposer(story).explain([part(game(lost=[5], won=[20]), 0, 21)])
    assert "out of 0-5, and its importance" in bench.gateway.said_to("identifier")


def test_that_there_is_nothing_critical_is_an_answer(bench, item, says):
    (made,) = bench.proposer(says.story(identifier={"cases": []})).explain([item()])
    assert bench.gateway.agents() == ["identifier"]
    assert made.states == ()
    assert [(note.stage, note.reason) for note in made.notes] == [("identify", "nothing critical")]


@pytest.mark.parametrize(
    ("steps", "told"),
    [((), ""), ((4,), "4"), ((4, 5), "4, 5"), ((4, 5, 6), "4-6"), ((1, 3, 5, 6, 7, 8, 10, 11), "1, 3, 5-8, 10, 11")],
)
def test_steps_in_few_words(steps, told):
    assert spans(steps) == told


def test_agents_have_their_own_models_and_fallbacks(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    agents = {"advisor": {"llm": "big", "fallback": ("small",)}}
    bench.proposer(story, **agents).explain([item()])
    assert [row["models"] for row in bench.gateway.asked] == [[], ["big", "small"], []]


def test_a_fallback_from_no_model_is_refused():
    base = {"environment": {"name": "corridor"}, "policy": {"train_steps": 5}, "llms": {"small": {}}}
    with pytest.raises(ConfigError, match=r"agents\.critic has a fallback") as caught:
        parse_config({**base, "agents": {"critic": {"fallback": ("small",)}}}, "test")
    assert (caught.value.found, caught.value.hint) == ("fallback: small", "set agents.critic.llm")


def test_a_step_named_twice_counts_once(bench, item, says):
    story = says.story(identifier=says.cases(3, 3, 4), advisor=says.action(), critic=says.verdict())
    made = bench.proposer(story).explain([item()])[0]
    assert [state.step for state in made.states] == [3, 4]
    assert reasons(made) == [("identify", "step named twice")]
    (event,) = bench.events_of("Dropped")
    assert (event.stage, event.reason, event.segment, event.detail) == (
        "identify", "step named twice", "0:0-8", "step 3",
    )  # fmt: skip


def test_the_action_already_taken_is_no_advice(bench, item, says):
    story = says.story(identifier=says.cases(3, 4), advisor=says.action("LEFT", 1), critic=says.verdict())
    made = bench.proposer(story).explain([item()])[0]
    assert made.advice == ()
    assert len(made.attempts) == 2
    assert reasons(made) == [("advise", "same action as taken")] * 2
    assert "critic" not in bench.gateway.agents()


def test_holding_the_action_taken_is_advice(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action("LEFT", 2), critic=says.verdict())
    (row,) = bench.proposer(story).explain([item()])[0].advice
    assert (row.plan.moves, row.taken_action) == ((("LEFT", 2),), "LEFT")


def test_the_shortest_hold_is_an_option(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action(hold=3), critic=says.verdict())
    (row,) = bench.proposer(story, min_hold=3).explain([item()])[0].advice
    assert row.plan.moves == (("RIGHT", 3),)
    assert "for 3 to 8 steps" in bench.gateway.said_to("advisor")


@pytest.mark.parametrize("agent", ["identifier", "advisor", "critic"])
def test_an_unusable_reply_is_counted_and_the_rest_goes_on(bench, item, says, agent):
    parts = {"identifier": says.cases(3, 4), "advisor": says.action(), "critic": says.verdict()}
    parts[agent] = [says.dropped("malformed reply", "not JSON"), parts[agent]]
    made = bench.proposer(says.story(**parts)).explain([item()])[0]
    stage = {"identifier": "identify", "advisor": "advise", "critic": "criticise"}[agent]
    assert reasons(made) == [(stage, "malformed reply")]
    assert made.drops[0].detail == "not JSON"
    assert [row.step for row in made.advice] == ([] if agent == "identifier" else [4])


@pytest.mark.parametrize(("word", "stage"), [("reject", "rejected by critic"), ("revise", "no revision left")])
def test_without_a_test_the_critic_decides(bench, item, says, word, stage):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict(word))
    made = bench.proposer(story, max_revisions=0).explain([item()])[0]
    assert made.advice == ()
    assert reasons(made) == [("criticise", stage)]
    assert bench.events_of("AdviceDecided")[-1].decision == "reject"


def test_a_revision_knows_what_was_wrong_and_is_bounded(bench, item, says):
    story = says.story(
        identifier=says.cases(3),
        advisor=[says.action("RIGHT", hold) for hold in (1, 2, 3)],
        critic=says.verdict("revise"),
    )
    made = bench.proposer(story, max_revisions=2).explain([item()])[0]
    assert len(made.attempts) == 3
    assert reasons(made) == [("criticise", "no revision left")]
    assert "did not hold" not in bench.gateway.said_to("advisor", 0)
    assert "RIGHT for 1 step at step 3" in bench.gateway.said_to("advisor", 1)
    assert "The critic: I say revise" in bench.gateway.said_to("advisor", 1)
    assert [event.decision for event in bench.events_of("AdviceDecided")] == ["revise", "revise", "reject"]


def test_the_next_state_starts_without_the_feedback_of_the_one_before(bench, item, says):
    story = says.story(
        identifier=says.cases(3, 4),
        advisor=[says.action("RIGHT", 1), says.action("RIGHT", 2), says.action("RIGHT", 1)],
        critic=[says.verdict("revise"), says.verdict("accept")],
    )
    made = bench.proposer(story).explain([item()])[0]
    assert [(row.step, row.plan.steps) for row in made.advice] == [(3, 2), (4, 1)]
    assert "did not hold" in bench.gateway.said_to("advisor", 1)
    assert "did not hold" not in bench.gateway.said_to("advisor", 2)


def test_the_same_suggestion_again_is_not_judged_again(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict("revise"))
    made = bench.proposer(story, max_revisions=3).explain([item()])[0]
    assert reasons(made) == [("advise", "suggested again")]
    assert len(made.attempts) == 2
    assert bench.gateway.agents().count("critic") == 1


def test_a_measured_gain_is_accepted(bench, item, says):
    tester = says.tester([0.5])
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    made = bench.proposer(story, tester, "simulate").explain([item()])[0]
    (row,) = made.advice
    assert row.test == TestResult(0.5, 0.4, 0.6, 4, 100, True, "good")
    assert type(row.test.passed) is bool
    assert made.env_steps == 100
    assert bench.gateway.agents() == ["identifier", "advisor", "critic"]
    assert bench.events_of("AdviceDecided")[0].gain == 0.5


def test_a_refuted_suggestion_goes_back_with_the_measurement(bench, item, says):
    tester = says.tester([-0.5, 0.5])
    story = says.story(
        identifier=says.cases(3), advisor=[says.action(hold=8), says.action(hold=2)], critic=says.verdict()
    )
    made = bench.proposer(story, tester, "simulate").explain([item()])[0]
    assert [(row.plan.steps, row.test.gain) for row in made.advice] == [(2, 0.5)]
    assert [suggestion.plan for suggestion in tester.tested] == [attempt.plan for attempt in made.attempts]
    assert [attempt.plan.steps for attempt in made.attempts] == [8, 2]
    assert "RIGHT for 8 steps lost 0.50 return on average over 4 replays" in bench.gateway.said_to("advisor", 1)
    assert made.env_steps == 200
    decided = [(event.decision, event.gain) for event in bench.events_of("AdviceDecided")]
    assert decided == [("revise", -0.5), ("accept", 0.5)]


def test_a_suggestion_refuted_to_the_end_is_dropped_unreflected(bench, item, says):
    tester = says.tester([-0.5])
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    made = bench.proposer(story, tester, "both", max_revisions=0).explain([item()])[0]
    assert reasons(made) == [("test", "no gain in simulation")]
    assert "lost 0.50 return" in made.drops[0].detail
    assert made.env_steps == 100
    assert bench.gateway.agents().count("critic") == 1
    assert bench.events_of("AdviceDecided")[-1].gain == -0.5


@pytest.mark.parametrize("mode", ["simulate", "both"])
def test_the_measurement_overrules_a_rejection(bench, item, says, mode):
    tester = says.tester([0.5])
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict("reject"))
    made = bench.proposer(story, tester, mode).explain([item()])[0]
    assert len(made.advice) == len(tester.tested) == 1


@pytest.mark.parametrize("mode", ["simulate", "both"])
def test_what_critic_and_measurement_reject_is_not_revised(bench, item, says, mode):
    tester = says.tester([-0.5])
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict("reject"))
    made = bench.proposer(story, tester, mode, max_revisions=3).explain([item()])[0]
    assert reasons(made) == [("test", "no gain in simulation")]
    assert bench.gateway.agents() == ["identifier", "advisor", "critic"]


def test_a_wish_to_revise_that_comes_too_late_is_measured(bench, item, says):
    tester = says.tester([0.5])
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict("revise"))
    made = bench.proposer(story, tester, "simulate", max_revisions=0).explain([item()])[0]
    assert len(made.advice) == len(tester.tested) == 1


def test_a_spent_test_budget_is_a_reason_of_its_own(bench, item, says):
    story = says.story(identifier=says.cases(3, 4), advisor=says.action(), critic=says.verdict())
    made = bench.proposer(story, says.tester([0.5, None]), "both").explain([item()])[0]
    assert [row.step for row in made.advice] == [3]
    assert reasons(made) == [("test", "test budget spent")]


def test_the_reflection_on_a_gain_corrects_rewards_but_not_the_measurement(bench, item, says):
    story = says.story(
        identifier=says.cases(3), advisor=says.action(), critic=[says.verdict(), says.verdict("reject", 0.3, -0.1)]
    )
    made = bench.proposer(story, says.tester([0.5]), "both").explain([item()])[0]
    (row,) = made.advice
    assert (row.reward, row.taken_reward, row.critique) == (0.3, -0.1, "I say reject")
    asked = bench.gateway.said_to("critic", 1)
    assert "RIGHT for 4 steps gained 0.50 return on average" in asked
    assert "Your verdict was accept, with reward 0.8" in asked


def test_the_reflection_on_a_refuted_suggestion_may_end_it(bench, item, says):
    story = says.story(
        identifier=says.cases(3), advisor=says.action(), critic=[says.verdict(), says.verdict("reject")]
    )
    made = bench.proposer(story, says.tester([-0.5]), "both", max_revisions=3).explain([item()])[0]
    assert reasons(made) == [("test", "no gain in simulation")]
    assert len(made.attempts) == 1


def test_the_reflection_on_a_refuted_suggestion_cannot_save_it(bench, item, says):
    story = says.story(
        identifier=says.cases(3), advisor=[says.action(hold=8), says.action(hold=2)], critic=says.verdict("accept")
    )
    made = bench.proposer(story, says.tester([-0.5, -0.4]), "both").explain([item()])[0]
    assert made.advice == ()
    assert reasons(made) == [("test", "no gain in simulation")]
    assert "The critic: I say accept" in bench.gateway.said_to("advisor", 1)


@pytest.mark.parametrize("mode", ["reflect", "both"])
def test_without_a_simulator_the_second_reading_decides(bench, item, says, mode):
    story = says.story(
        identifier=says.cases(3, 4),
        advisor=says.action(),
        critic=[says.verdict("reject"), says.verdict("accept", 0.1), says.verdict("accept"), says.verdict("reject")],
    )
    made = bench.proposer(story, None, mode).explain([item()])[0]
    assert [(row.step, row.reward) for row in made.advice] == [(3, 0.1)]
    assert reasons(made) == [("criticise", "rejected by critic")]
    assert "replays" not in bench.gateway.said_to("critic", 1)


def test_an_unusable_reflection_leaves_the_first_verdict(bench, item, says):
    story = says.story(
        identifier=says.cases(3), advisor=says.action(), critic=[says.verdict(), says.dropped("wrong fields")]
    )
    made = bench.proposer(story, None, "reflect").explain([item()])[0]
    assert len(made.advice) == 1
    assert reasons(made) == [("criticise", "reflection: wrong fields")]


def test_modes_without_simulation_never_test(bench, item, says):
    tester = says.tester([-0.5])
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    for mode in ("none", "reflect"):
        assert len(bench.proposer(story, tester, mode).explain([item()])[0].advice) == 1
    assert tester.tested == []


def test_the_longest_path_fits_the_graphs_limit(bench, item, says):
    holds = [says.action("RIGHT", 1 + hold % 8) for hold in range(8)] * 8
    story = says.story(identifier=says.cases(*range(3, 8)), advisor=holds, critic=says.verdict())
    made = bench.proposer(story, says.tester([-0.5]), "both", max_critical=5, max_revisions=7).explain([item()])[0]
    assert len(made.attempts) == 5 * 8
    assert reasons(made) == [("test", "no gain in simulation")] * 5


def test_an_action_among_many_names_is_checked_by_the_codec(bench, item, says):
    class Many(Corridor):
        @property
        def action_space(self):
            return Discrete(62)

        @property
        def actions(self):
            return DiscreteActions(("LEFT", "RIGHT", *(f"A{number}" for number in range(60))))

    environment = Many(CorridorOptions())
    story = says.story(identifier=says.cases(3), advisor=says.action("A59"), critic=says.verdict())
    (row,) = bench.proposer(story, environment=environment).explain([item()])[0].advice
    assert row.plan.actions == "A59"
