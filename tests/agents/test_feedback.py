"""What the advisor is told of a suggestion that did not hold."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ultra_agents.agents.replays import how_they_ended, one_replay
from ultra_agents.records import Ending, Moment, Plan, Replays, Searched, TestResult
from ultra_agents.testing.corridor import Corridor, CorridorOptions

LOST, WON = Ending(4, "terminated", 0.16, 0.19, 4), Ending(6, "terminated", 0.94, 0.99, 6)
OPEN = Ending(24, "", -0.24)
MOMENTS = (
    Moment(0, ("LEFT", "RIGHT"), {"cell": (4.0, 4.0)}),
    Moment(4, ("", "RIGHT"), {"cell": (0.0, 8.0)}),
    Moment(6, ("", ""), {"cell": (None, 6.5)}),
)
WORLD = Corridor(CorridorOptions())


def test_endings_are_counted_with_the_steps_they_took():
    later = replace(LOST, at=9)
    told = how_they_ended(Replays(24, (LOST, later, WON), (WON, OPEN, WON)), WORLD)
    assert told == (
        f"How 3 replays of at most 24 steps went on: 2 x {WORLD.segment_kind([0.19])} (after 4 to 9 steps), "
        f"1 x {WORLD.segment_kind([0.99])} (after 6 steps). The policy's own: 2 x {WORLD.segment_kind([0.99])} "
        "(after 6 steps), 1 x nothing decided yet (after 24 steps)."
    )


def test_where_no_reward_stands_out_means_are_told():
    fell, stood = Ending(1, "terminated", 12.5), Ending(24, "truncated", 30.0)
    told = how_they_ended(Replays(24, (fell, fell), (stood, replace(stood, over="merged"))), WORLD)
    assert told == (
        "How 2 replays of at most 24 steps went on: 2 x terminated (after 1 step). The policy's own: 1 x time limit "
        "(after 24 steps), 1 x the same as without it (after 24 steps). Reward earned on average: +12.5, the policy's "
        "own +30.0."
    )


def test_a_replay_is_told_in_whole_rows():
    assert one_replay(Replays(24, (LOST,), (WON,), MOMENTS), WORLD).splitlines() == [
        "One of the replays, by steps from there: what is done next as suggested, cell "
        f"[{WORLD.legend['cell'].unit}] | the same of the policy's own.",
        "0: LEFT 4 | RIGHT 4",
        "4: - 0 | RIGHT 8",
        "6: - | - 6.5",
    ]
    assert one_replay(Replays(24, (LOST,), (WON,)), WORLD) == ""


@pytest.mark.parametrize(("prompts", "rows"), [("full", True), ("short", False)])
def test_the_advisor_is_told_how_its_suggestions_ended(bench, item, says, prompts, rows):
    replays = Replays(24, (LOST,) * 3, (WON,) * 3, MOMENTS)

    def test(trajectory, suggestion, earlier=()):
        return TestResult(-0.5, -22.0, 22.0, 3, 100, False, "hopeless", 0, 3, replays)

    moves = [says.action(hold=hold) for hold in (8, 2, 3)]
    story = says.story(identifier=says.cases(3), advisor=moves, critic=says.verdict())
    made = bench.proposer(story, test, "simulate", prompts=prompts, max_revisions=2).explain([item()])[0]
    assert [attempt.test.replays for attempt in made.attempts] == [replays] * 3, "kept in the checkpoint"
    first, second, third = (bench.gateway.said_to("advisor", number) for number in range(3))
    assert "replays" not in first
    for told, tried in ((second, (8,)), (third, (8, 2))):
        assert [f"RIGHT for {hold} steps at step 3 was suggested before" in told for hold in tried] == [True] * len(
            tried
        )
        assert told.count("How 3 replays of at most 24 steps went on") == len(tried)
        assert told.count("One of the replays") == (1 if rows else 0), "of the last one, and with room"
        assert told.count("Gains and losses of return are sums") == 1
        assert "interval" not in told, "three pairs say nothing of it"
        assert "..." not in told


def test_a_replay_of_what_a_search_made_of_a_suggestion_is_not_called_suggested(bench, item, says):
    def test(trajectory, suggestion, earlier=()):
        return TestResult(-0.5, -22.0, 22.0, 3, 100, False, "hopeless", 0, 3, Replays(24, (LOST,), (WON,), MOMENTS))

    def refines(trajectory, suggestion):
        longer = suggestion.plan.steps + 1
        return Searched(Plan.of([("RIGHT", longer if longer < 9 else 8)]), suggestion.plan, 0.4, 12, 50)

    story = says.story(identifier=says.cases(3), advisor=[says.action(hold=hold) for hold in (2, 8, 5)],
                       critic=says.verdict())  # fmt: skip
    proposer = bench.proposer(story, test, "simulate", prompts="full", max_revisions=2)
    replace(proposer, refines=refines).explain([item()])
    changed, kept = (bench.gateway.said_to("advisor", number) for number in (1, 2))
    assert "RIGHT for 2 steps at step 3 was suggested before" in changed
    assert "RIGHT for 3 steps lost" in changed
    assert "what is done next as tested, cell" in changed
    assert "what is done next as suggested, cell" in kept, "the search left the last one as it was"


def test_the_policys_own_action_is_told_once(bench, item, says):
    class Unnamed(Corridor):
        """Its brief does not name the actions."""

        @property
        def brief(self):
            return replace(super().brief, actions="Two ways to go, leftwards and rightwards.")

    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    bench.proposer(story, environment=Unnamed(CorridorOptions())).explain([item()])
    assert "Actions: LEFT, RIGHT." in bench.gateway.said_to("advisor")
