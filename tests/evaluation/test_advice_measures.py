"""What advice is worth: each measure against a number worked out by hand, and how it is shown."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from tests.evaluation.cases import case, explained
from ultra_agents.cli.measures_table import print_measures
from ultra_agents.evaluation.advice_charts import fidelity, gains
from ultra_agents.evaluation.advice_measures import advice_measures, rank_correlation, touched
from ultra_agents.evaluation.advice_page import facts, fidelity_rows
from ultra_agents.records import Goal, GoalReached, Note, Plan, Replays, Searched, TestResult, Trajectory, Usage
from ultra_agents.records.plans import ALONE, NO_NEARER, NOTHING, TOO_LITTLE


def trajectory(episode, length=100):
    return Trajectory(
        episode, 0, np.zeros((length, 1)), np.zeros(length, np.int64), np.zeros(length), np.zeros(length),
        tuple({} for _ in range(length)), True, False,
    )  # fmt: skip


def trial(gain, importance=0.5, reward=0.5, step=3, test=None, **more):
    test = test or TestResult(gain, gain - 0.1, gain + 0.1, 8, 60, gain > 0.1, "good", 6, 2)
    return case(step, test, importance=importance, reward=reward, fate="rejected", reason="no revision left", **more)


def accepted(step=3, hold=4, then=()):
    return case(step, hold=hold, then=then)


def rows_of(*states):
    return explained(*states).advice


def measures(trials, states=(), notes=(), **more):
    """`trials` are tested and rejected, `states` beside them accepted without a test of their own."""
    settings = {"usage": {"advisor": Usage(10, 2, 4000, 1000, 9.0)}, "proposer": "tiny", "seconds": 30.0, **more}
    untested = [replace(one, attempts=(replace(one.attempts[0], test=None),)) for one in states]
    made = explained(*trials, *untested, notes=tuple(notes), env_steps=600)
    return advice_measures([made], [trajectory(0), trajectory(1)], **settings)


def test_precision_is_the_share_that_holds_with_wilsons_interval():
    found = measures([trial(0.5), trial(0.4), trial(-0.2), trial(-0.3), trial(0.0)])
    assert (found["tested"], found["held"]) == (5, 2)
    n, p, z = 5, 0.4, 1.959963984540054
    centre, half = (p + z * z / (2 * n)), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    assert found["precision"] == pytest.approx({"value": 0.4, "low": low, "high": high})
    assert found["headline"].startswith("2 of 5 tested suggestions hold: 40 % (12 to 77 %)")


def test_gains_of_all_and_of_those_that_hold_with_bootstrap_intervals():
    found = measures([trial(gain) for gain in (-0.6, -0.2, 0.2, 0.4, 0.9)])
    assert found["gain"]["value"] == pytest.approx(0.14)
    assert found["gain"]["low"] < 0.14 < found["gain"]["high"]
    assert found["gain_held"]["value"] == pytest.approx(0.5)
    assert measures([trial(0.5)])["gain"]["low"] is None


def test_prices_are_per_accepted_suggestion():
    found = measures([trial(0.5), trial(0.4)], [accepted(), accepted(9)])
    assert found["cost"] == {
        "tokens": 5000, "calls": 10, "cached": 2, "money": 0.0, "env_steps": 600, "seconds": 30.0,
    }  # fmt: skip
    assert found["per_accepted"] == {"tokens": 2500, "calls": 5, "money": 0.0, "env_steps": 300, "seconds": 15.0}
    assert measures([trial(-0.5)])["per_accepted"] is None


def test_a_pruned_table_counts_what_is_left():
    found = measures([trial(0.5), trial(0.4)], [accepted(), accepted(9)], advice=rows_of(accepted()))
    assert found["accepted"] == 1
    assert found["per_accepted"]["tokens"] == 5000


def test_touched_counts_episodes_and_covered_steps_once():
    rows = rows_of(accepted(3, 4, (("STAY", 6),)), accepted(5, 4), accepted(98, 9))
    assert touched(rows, [trajectory(0), trajectory(1)]) == {"episodes": 0.5, "steps": 12 / 200}
    assert touched([], [trajectory(0)]) == {"episodes": 0.0, "steps": 0.0}


def test_rank_correlation_is_spearmans():
    assert rank_correlation([1, 2, 3, 4, 5], [0.1, 0.2, 5.0, 6.0, 7.0])["rho"] == pytest.approx(1)
    found = rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5])
    assert found["rho"] == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert found["n"] == 5
    assert 0 < found["p"] < 1


@pytest.mark.parametrize(
    ("claims", "outcomes"),
    [([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]), ([1, 2, 3, 4, 5], [0] * 5), ([1, 2], [1, 2]), ([], [])],
)
def test_no_correlation_where_there_is_nothing_to_rank(claims, outcomes):
    assert rank_correlation(claims, outcomes) is None


def test_importance_and_reward_are_ranked_against_the_gain():
    trials = [
        trial(gain, importance, -gain) for gain, importance in zip((0, 0.1, 0.2, 0.3, 0.4), range(5), strict=True)
    ]
    found = measures(trials)["rank"]
    assert (found["importance"]["rho"], found["reward"]["rho"]) == pytest.approx((1, -1))


def test_invalid_suggestions_are_counted_apart():
    notes = [
        Note("advise", "invalid: terminal step"), Note("criticise", "invalid: reward is not a number"),
        Note("advise", "malformed reply"), Note("test", "no gain in simulation"),
    ]  # fmt: skip
    found = measures([trial(0.5)], notes=notes)
    assert (found["invalid"], found["unusable"]) == (2, 3)


def test_nothing_tested_claims_nothing():
    found = measures([])
    assert (found["precision"], found["gain"], found["steps_per_test"]) == (None, None, None)
    assert found["headline"] == "Nothing was suggested."
    said = [case(step, None, fate="dropped") for step in (5, 6, 7)]
    asked = measures([], [accepted(), *said])
    assert asked["headline"] == "4 suggestions, 1 accepted, none tested in the simulator."


def test_everything_is_json_even_where_an_interval_is_endless():
    endless = trial(0.1, step=1, hold=2, test=TestResult(0.1, -np.inf, np.inf, 1, 9, False, "steps"))
    found = measures([endless, trial(0.4, then=(("STAY", 2),))])
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [one["plan"] for one in found["trials"]] == ["UP for 2 steps", "UP for 4 steps, then STAY for 2 steps"]
    assert found["trials"][1]["moves"] == [["UP", 4], ["STAY", 2]]


def test_every_revision_that_was_tested_is_a_trial_with_its_number():
    first, second = trial(-0.3, reward=0.1), trial(0.5, reward=0.9)
    untested = replace(first.attempts[0], test=None)
    state = replace(first, attempts=(first.attempts[0], untested, second.attempts[0]))
    found = measures([state])
    assert [(one["revision"], one["gain"], one["reward"]) for one in found["trials"]] == [
        (0, -0.3, 0.1),
        (2, 0.5, 0.9),
    ]
    assert (found["critical"], found["proposed"], found["tested"], found["held"]) == (1, 3, 2, 1)


JOINT = {
    "gain": 0.4, "low": -0.1, "high": 0.7, "pairs": 12, "env_steps": 4800, "passed": False, "stopped": "pairs",
    "kept": [0, 1], "sets": 1, "worst": -1.0, "rows": 2,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"passed": True, "low": 0.1}, "holds"),
        ({}, "undecided"),
        ({"gain": -0.4, "low": -0.7, "high": -0.1, "kept": []}, "loses"),
        ({"pairs": 0, "kept": []}, "not paid for"),
    ],
)
def test_a_set_in_use_is_called_what_its_test_found(changes, verdict):
    found = measures([trial(0.5)], joint={**JOINT, **changes})
    assert found["joint"] == {**JOINT, **changes, "verdict": verdict}
    (told,) = [fact for fact in facts(found) if fact.name == "Tested together"]
    used = len(found["joint"]["kept"])
    assert told.meaning.endswith(f"in force together: {verdict}; {used} of 2 used, 4,800 steps")
    console = Console(file=io.StringIO(), width=80)
    print_measures(console, {"tiny": found})
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    assert f"tested together, used {used} of 2" in lines
    assert f"the set {verdict}" in lines
    assert "kept" not in console.file.getvalue()


FIDELITY = {
    "d_max": 1.0, "segments": 4, "windows": 32, "env_steps": 900, "confidence": 0.95,
    "scores": [
        {"share": 0.1, "critical": 1.2, "random": 0.7, "difference": 0.5, "low": 0.1, "high": 0.9, "d_critical": 0.3,
         "d_random": 0.2},
        {"share": 0.2, "critical": None, "random": 0.7, "difference": None, "low": None, "high": None,
         "d_critical": 0.0, "d_random": 0.2},
    ],
}  # fmt: skip


def test_the_section_tells_each_measure_with_its_interval():
    told = {fact.name: fact for fact in facts(measures([trial(0.5), trial(-0.25)], [accepted()]))}
    assert (told["Advice precision"].value, told["Advice precision"].ends) == ("50 %", "9 to 91 %")
    assert told["Gain of a suggestion"].value == "+0.12"
    assert told["Episodes touched"].value == "50 %"
    assert told["Price of accepted advice"].value == "5,000 tokens"
    assert "600 steps, 10.0 model calls, 30.0 seconds" in told["Price of accepted advice"].meaning
    assert "Rank correlation of reward" not in told


def test_the_section_says_when_nothing_was_accepted():
    told = {fact.name: fact for fact in facts(measures([trial(-0.25)]))}
    assert told["Price of accepted advice"].meaning == "nothing was accepted"


def test_scores_that_do_not_exist_are_dashes():
    rows = fidelity_rows(measures([trial(0.5)], fidelity=FIDELITY))
    assert [(one["share"], one["critical"], one["difference"], one["ends"]) for one in rows] == [
        ("10 %", "+1.20", "+0.50", "[0.10, 0.90]"), ("20 %", "–", "–", ""),
    ]  # fmt: skip
    assert fidelity_rows(measures([trial(0.5)])) == []


@pytest.mark.parametrize("width", [860, 380])
def test_the_charts_are_drawn_and_speak(width):
    found = measures([trial(0.5), trial(-0.25)], fidelity=FIDELITY)
    chart = gains(found["trials"], width)
    assert chart.startswith("<svg")
    assert "2 tested suggestions, 1 of which hold" in chart
    assert "var(--s2)" in chart
    assert "named steps" in fidelity(FIDELITY["scores"], width)
    assert gains([], width) == fidelity([], width) == fidelity(FIDELITY["scores"][1:], width) == ""


def test_what_a_search_made_of_suggestions_is_told():
    def with_search(state, search):
        return replace(state, attempts=(replace(state.attempts[0], search=search),))

    wrote, better = Plan((("UP", 4),)), Plan((("UP", 6),))
    changed = with_search(trial(0.5), Searched(better, wrote, 0.7, 12, 400))
    kept = with_search(trial(0.1), Searched(wrote, wrote, 0.1, 10, 300))
    failed = with_search(trial(0.2), Searched(wrote, wrote, reason=TOO_LITTLE))
    nothing = replace(trial(0.0), attempts=(), fate="dropped", stage="advise", reason=NOTHING)
    found = measures([changed, kept, failed, nothing])
    assert found["search"] == {
        "suggestions": 3, "changed": 1, "tried": 22, "env_steps": 700, "nothing": 1, "fallback": 1,
    }  # fmt: skip
    assert [row["written"] for row in found["trials"]] == ["UP for 4 steps"] * 3
    told = {fact.name: fact for fact in facts(found)}["Searched in the simulator"]
    assert told.value == "3"
    assert "22 plans played for them in 700 steps; 1 became another plan than was written" in told.meaning
    assert "1 search found no gain; 1 could not be searched" in told.meaning
    assert measures([trial(0.5)])["search"] is None


def test_what_became_of_goals_is_told():
    goal = Goal("vx", "at least", 20, low=1.5)

    def aimed(state, reason="", reached=True, **rest):
        toward = GoalReached(goal, 1.6 if reached else 1.2, 0.8, reached, 20, 20)
        plan = state.attempts[0].plan
        search = Searched(plan, None, 0.7, 12, 400, reason, toward)
        return replace(state, attempts=(replace(state.attempts[0], search=search, **rest),))

    nowhere = replace(aimed(trial(0.0), NO_NEARER, False, test=None), fate="dropped", stage="advise", reason=NO_NEARER)
    alone = replace(trial(0.0), attempts=(), fate="dropped", stage="advise", reason=ALONE)
    found = measures([aimed(trial(0.5)), aimed(trial(-0.5), reached=False), nowhere, alone])
    assert found["search"]["goals"] == {"set": 4, "reached": 1, "nearer": 1, "alone": 1, "no_nearer": 1}
    assert (found["search"]["suggestions"], found["search"]["nothing"], found["search"]["env_steps"]) == (2, 2, 800)
    assert found["unusable"] == 0, "they were searched for"
    assert found["trials"][0]["goal"] == "vx at least 1.5, on average over 20 steps"
    told = {fact.name: fact for fact in facts(found)}["Searched in the simulator"].meaning
    assert "of 4 goals 1 reached, 1 come nearer to or bettered, 1 not come nearer to, 1 reached by the policy" in told
    assert "goals" not in measures([replace(trial(0.0), attempts=(), fate="dropped", reason=NOTHING)])["search"]


def printed(found):
    console = Console(file=io.StringIO(), width=80)
    print_measures(console, {"tiny": found})
    return console.file.getvalue()


def judged(verdict, test):
    state = trial(0.0, test=test)
    attempt = state.attempts[0]
    critique = None if verdict is None else replace(attempt.critique, verdict=verdict)
    return replace(state, attempts=(replace(attempt, critique=critique),))


HOLDS = TestResult(0.5, 0.2, 0.8, 8, 60, True, "good", 8, 0)
LOSES = TestResult(-0.5, -0.8, -0.2, 8, 60, False, "bad", 0, 8)
OPEN = TestResult(0.1, -0.2, 0.4, 8, 60, False, "pairs", 5, 3)
VERDICTS = (("accept", HOLDS), ("accept", HOLDS), ("accept", LOSES), ("reject", HOLDS), ("revise", LOSES),
            ("reject", LOSES), ("accept", OPEN), ("reject", OPEN), (None, HOLDS))  # fmt: skip


def test_the_critics_verdicts_are_scored_against_the_test():
    found = measures([judged(*one) for one in VERDICTS])
    score = found["critic"]
    assert {key: score[key] for key in ("judged", "accepted", "held", "both", "undecided")} == {
        "judged": 6, "accepted": 3, "held": 3, "both": 2, "undecided": 2,
    }  # fmt: skip
    assert score["precision"]["value"] == score["recall"]["value"] == pytest.approx(2 / 3)
    assert score["precision"]["low"] < 0.6 < score["precision"]["high"]
    shown = {fact.name: (fact.value, fact.meaning) for fact in facts(found)}
    assert shown["Critic's accept, precision"] == (
        "67 %", "of 3 suggestions it accepted 2 held; undecided in the test, so not counted: 2",
    )  # fmt: skip
    assert shown["Critic's accept, recall"][1].startswith("of 3 suggestions that held it had accepted 2")
    assert "67 % of 3" in printed(found)
    assert json.loads(json.dumps(found)) == found


def test_a_critic_that_accepts_all_is_as_precise_as_the_advice():
    found = measures([judged("accept", test) for test in (HOLDS, LOSES, LOSES, LOSES)])
    assert (found["critic"]["precision"]["value"], found["critic"]["recall"]["value"]) == (0.25, 1.0)
    none_accepted = measures([judged("reject", LOSES)])["critic"]
    assert (none_accepted["precision"], none_accepted["recall"]) == (None, None)


def test_nobody_is_scored_who_judged_nothing():
    assert measures([judged(None, HOLDS), judged(None, LOSES)])["critic"] is None
    for name in ("random", "search"):
        control = explained(judged("accept", HOLDS), source=name)
        found = advice_measures([control], [trajectory(0)], {}, proposer=name, seconds=1.0)
        assert found["critic"] is None
        assert "Critic" not in " ".join(fact.name for fact in facts(found))


def test_states_left_as_they_are_are_a_kind_of_their_own():
    left = replace(trial(0.0), attempts=(), fate="left", stage="advise", reason="left as it is")
    found = measures([trial(0.5), left, left])
    assert (found["left"], found["critical"], found["proposed"], found["tested"]) == (2, 3, 1, 1)
    assert {fact.name: fact.value for fact in facts(found)}["Left as they are"] == "2"
    assert "left as they are" in printed(found)
    assert measures([left])["headline"] == "Nothing was suggested; 1 critical state was left as it is."


def test_what_replays_said_is_not_repeated_with_every_measure():
    told = replace(HOLDS, replays=Replays(40, (), ()))
    assert "replays" not in measures([judged("accept", told)])["trials"][0]
