"""A case holds every attempt and its fate, whichever way it ends; it survives JSON; advice is a projection of it."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest

from ultra_agents.agents.state import EXPLANATION
from ultra_agents.config import AgentsConfig
from ultra_agents.records import (
    Attempt,
    CriticalState,
    Critique,
    Explanation,
    JointVerdict,
    Note,
    Plan,
    Segment,
    Suggestion,
    TestResult,
    advice_of,
)
from ultra_agents.testing.corridor import Corridor, CorridorOptions

FATES = {
    # name: (mode, gains of the tests or None, what advisor and critic say, fate, stage, reason, attempts)
    "accepted by the critic": ("none", None, {}, "accepted", "", "", "C"),
    "accepted by the test": ("simulate", [0.5], {}, "accepted", "", "", "CT"),
    "accepted by the test against the critic": (
        "both", [0.5], {"critic": "reject"}, "accepted", "", "", "CTR",
    ),
    "accepted when revised": ("simulate", [-0.5, 0.5], {}, "accepted", "", "", "CT CT"),
    "rejected by the critic": (
        "none", None, {"critic": "reject"}, "rejected", "criticise", "rejected by critic", "C",
    ),
    "rejected at the second reading": (
        "reflect", None, {"critic": ["accept", "reject"]}, "rejected", "criticise", "rejected by critic", "CR",
    ),
    "never good enough for the critic": (
        "none", None, {"critic": "revise"}, "rejected", "criticise", "no revision left", "C C",
    ),
    "rejected by the test": ("simulate", [-0.5], {}, "rejected", "test", "no gain in simulation", "CT CT"),
    "rejected by test and reflection": (
        "both", [-0.5], {"critic": ["accept", "reject"]}, "rejected", "test", "no gain in simulation", "CTR",
    ),
    "no reply of the advisor": (
        "none", None, {"advisor": "malformed reply"}, "dropped", "advise", "malformed reply", "",
    ),
    "no reply of the critic": (
        "none", None, {"critic": "malformed reply"}, "dropped", "criticise", "malformed reply", "-",
    ),
    "the action taken": ("none", None, {"plan": ("LEFT", 1)}, "dropped", "advise", "same action as taken", "-"),
    "suggested again": (
        "simulate", [-0.5], {"repeats": True}, "dropped", "advise", "suggested again", "CT -",
    ),
    "longer than any test": (
        "simulate", [0.5], {"plan": ("RIGHT", 600)}, "dropped", "advise", "invalid: beyond the horizon of the test",
        "-",
    ),
    "not paid for": ("simulate", [None], {}, "dropped", "test", "test budget spent", "C"),
    "a gain that is no number": (
        "simulate", [float("nan")], {}, "dropped", "test", "invalid: gain is not a number", "C",
    ),
}  # fmt: skip


def shape(state):
    """Per attempt `-`, or what there is of it: C(ritique), T(est), R(eflection)."""
    return " ".join(
        "".join(
            letter
            for letter, what in (("C", one.critique), ("T", one.test), ("R", one.reflection))
            if what is not None
        )
        or "-"
        for one in state.attempts
    )


@pytest.mark.parametrize("name", list(FATES))
def test_the_fate_and_the_attempts_of_a_case(bench, item, says, name):
    mode, gains, said, fate, stage, reason, attempts = FATES[name]
    if said.get("advisor"):
        advisor = says.dropped(said["advisor"], "not JSON")
    elif "plan" in said or "repeats" in said:
        advisor = says.action(*said.get("plan", ("RIGHT", 4)))
    else:
        advisor = [says.action(hold=hold) for hold in (8, 2)]
    words = said.get("critic", "accept")
    critic = [
        says.dropped(word, "not JSON") if "reply" in word else says.verdict(word)
        for word in ([words] if isinstance(words, str) else words)
    ]
    story = says.story(identifier=says.cases(3), advisor=advisor, critic=critic)
    tester = None if gains is None else says.tester(gains)
    proposer = bench.proposer(story, tester, mode, max_hold=600, max_revisions=1)
    (made,) = proposer.explain([item()])
    (state,) = made.states
    assert (state.fate, state.stage, state.reason, shape(state)) == (fate, stage, reason, attempts)
    assert (state.step, state.rationale, state.taken_action, state.joint) == (3, "case of 3", "LEFT", None)
    assert made.attempts == state.attempts
    assert made.notes == ()
    if fate == "accepted":
        assert (state.chosen, made.drops) == (state.attempts[-1], ())
        assert [row.plan for row in made.advice] == [state.attempts[-1].plan]
    else:
        assert (state.chosen, made.advice) == (None, ())
        assert made.drops == (Note(stage, reason, state.detail),)
        (event,) = bench.events_of("Dropped")
        assert (event.stage, event.reason, event.segment, event.detail) == (stage, reason, "0:0-8", state.detail)
    assert EXPLANATION.validate_json(EXPLANATION.dump_json(made)) == made


def test_a_control_that_knows_nothing_better_drops_the_case(item):
    from ultra_agents.agents.controls import Random
    from ultra_agents.agents.proposer import control_proposer
    from ultra_agents.seeding import Streams

    class Silent(Random):
        def propose(self, context, step):
            return None

    proposer = control_proposer(
        control=Silent(Streams(0)), environment=Corridor(CorridorOptions()), agents=AgentsConfig(), tester=None,
        emit=lambda event: None,
    )  # fmt: skip
    (made,) = proposer.explain([item()])
    assert {(one.fate, one.stage, one.reason, one.attempts) for one in made.states} == {
        ("dropped", "advise", "no other action", ())
    }


def test_a_reply_that_is_no_case_is_a_note(bench, item, says):
    story = says.story(identifier=says.dropped("malformed reply", "not JSON"))
    (made,) = bench.proposer(story).explain([item()])
    assert (made.states, made.notes) == ((), (Note("identify", "malformed reply", "not JSON"),))
    assert made.drops == made.notes


def test_notes_come_before_the_cases_that_were_lost(bench, item, says):
    story = says.story(identifier=says.cases(3, 3, 4), advisor=says.action("LEFT", 1))
    (made,) = bench.proposer(story).explain([item()])
    assert [(one.stage, one.reason) for one in made.drops] == [
        ("identify", "step named twice"), ("advise", "same action as taken"), ("advise", "same action as taken"),
    ]  # fmt: skip


# -- records ---------------------------------------------------------------------------------------------------

REFUTED = TestResult(0.1, -0.2, 0.4, 4, 90, False, "pairs", 3, 1)
ATTEMPT = Attempt(
    Plan((("UP", 5), ("STAY", 2))),
    "because",
    Critique("accept", 0.8, -0.4, "first"),
    REFUTED,
    Critique("revise", 0.1, -0.1, "second"),
)
CASE = CriticalState(
    7, "here it was lost", 0.6, 2 / 3, "DOWN", (ATTEMPT, replace(ATTEMPT, plan=Plan((("DOWN", 1),)))), "accepted",
    joint=JointVerdict(True, 0.3, 0.1, 0.5, 8),
)  # fmt: skip
LOST = CriticalState(
    9, "x", 0.2, 1.0, "UP", (Attempt(Plan((("STAY", 1),)), "y"),), "rejected", "test", "no gain together", "detail",
    JointVerdict(False, -0.3, -0.5, -0.1, 8),
)  # fmt: skip
WHOLE = Explanation(
    Segment(4, 0, 20, "lost"), (CASE, LOST), (Note("identify", "step named twice", "step 7"),), 123, "some model"
)


def test_an_explanation_survives_json_with_every_field():
    blank = {
        "attempts": (), "states": (), "notes": (), "env_steps": 0, "source": "", "agreement": 1.0, "joint": None,
        "taken_action": "", "stage": "", "reason": "", "detail": "", "critique": None, "test": None,
        "reflection": None, "better": 0, "worse": 0,
    }  # fmt: skip
    for records in ((WHOLE,), (CASE, LOST), (ATTEMPT,), (REFUTED,)):
        for one in fields(records[0]):
            values = [getattr(record, one.name) for record in records]
            assert any(value != blank.get(one.name, object()) for value in values), f"{one.name} is at its default"
    text = EXPLANATION.dump_json(WHOLE)
    assert EXPLANATION.validate_json(text) == WHOLE
    assert EXPLANATION.validate_python(json.loads(json.dumps(EXPLANATION.dump_python(WHOLE, mode="json")))) == WHOLE
    row = json.loads(text)["states"][1]
    assert (row["fate"], row["joint"]["kept"], row["attempts"][0]["plan"]) == (
        "rejected", False, {"moves": [["STAY", 1]]},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("moves", "joined"),
    [
        ([("UP", 2), ("UP", 3)], (("UP", 5),)),
        ([("UP", 2), ("STAY", 1), ("STAY", 1), ("UP", 1)], (("UP", 2), ("STAY", 2), ("UP", 1))),
        ([("UP", 2), ("STAY", 1)], (("UP", 2), ("STAY", 1))),
        ([("UP", 1)] * 4, (("UP", 4),)),
    ],
)
def test_two_moves_of_one_action_in_a_row_are_joined(moves, joined):
    plan = Plan.of(moves)
    assert plan.moves == joined
    assert plan == Plan(joined)
    assert plan.steps == sum(hold for _, hold in moves)
    assert Plan.of(plan.moves) == plan


def test_plans_and_suggestions_in_words():
    short, long = Plan((("UP", 1),)), Plan((("UP", 5), ("STAY", 1)))
    assert (str(short), str(long)) == ("UP for 1 step", "UP for 5 steps, then STAY for 1 step")
    assert (long.actions, long.steps) == ("UP then STAY", 6)
    assert str(Suggestion(0, 118, short)) == "UP for 1 step at step 118"
    assert str(Suggestion(0, 118, long)) == "UP for 5 steps, then STAY for 1 step, from step 118"


def test_what_held_alone_has_the_rewards_of_the_last_reading():
    held = replace(ATTEMPT, test=replace(REFUTED, passed=True, stopped="good"))
    (row,) = Explanation(WHOLE.segment, (replace(CASE, attempts=(ATTEMPT, held), joint=None),)).advice
    assert (row.episode, row.step, row.plan, row.test) == (4, 7, held.plan, held.test)
    assert (row.reward, row.taken_reward, row.critique) == (0.1, -0.1, "second")
    assert (row.rationale, row.advice, row.taken_action, row.importance) == (CASE.rationale, "because", "DOWN", 0.6)


def test_what_held_only_together_has_the_reward_given_before_the_test_and_no_penalty():
    (row,) = advice_of([WHOLE])
    assert row.plan == Plan((("DOWN", 1),)), "the last undecided attempt"
    assert (row.reward, row.taken_reward, row.critique, row.source) == (0.8, 0.0, "", "some model")
    assert row.joint == CASE.joint


def test_of_a_set_the_undecided_attempt_is_taken_not_a_later_bad_one():
    bad = replace(ATTEMPT, plan=Plan((("LEFT", 3),)), test=replace(REFUTED, gain=-0.5, high=-0.1, stopped="bad"))
    falling = replace(ATTEMPT, plan=Plan((("LEFT", 4),)), test=replace(REFUTED, gain=-0.05))
    case = replace(CASE, attempts=(ATTEMPT, bad, falling))
    assert case.set_candidate == case.chosen == ATTEMPT
    assert replace(case, attempts=(bad, falling)).set_candidate is None
    assert replace(case, fate="rejected").chosen is None


def test_rows_come_in_the_order_of_the_states():
    early = replace(CASE, step=2)
    assert [row.step for row in replace(WHOLE, states=(CASE, LOST, early)).advice] == [7, 2]
    other = replace(WHOLE, segment=Segment(1, 0, 9, "won"))
    assert [(row.episode, row.step) for row in advice_of([WHOLE, other])] == [(4, 7), (1, 7)]
