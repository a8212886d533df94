"""Goals in the graph: asked for, refused in a line, searched for, tested, told of again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ultra_agents.agents.goal_control import RandomGoals, draw_goal
from ultra_agents.agents.goal_terms import Goals
from ultra_agents.agents.goals import goal_of, goal_reply
from ultra_agents.agents.proposer import control_proposer, model_proposer
from ultra_agents.agents.schemas import LEAVE
from ultra_agents.config import AgentsConfig, SearchConfig, VerificationConfig
from ultra_agents.llm.structured import ReplyDropped, parse_reply, reply_schema
from ultra_agents.records import Goal, GoalReached, Plan, Searched
from ultra_agents.records.plans import ALONE, NO_NEARER, NO_STATE, TOO_LITTLE
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.verification import GoalMeter

WORLD = Corridor(CorridorOptions())


class Reaching:
    """Goes RIGHT for as long as the goal says, for 50 steps of search; of no use for each of `reasons` in turn."""

    def __init__(self, *reasons: str, plan: Plan | None = None) -> None:
        self.reasons, self.plan = list(reasons), plan
        self.asked: list[Goal] = []

    def __call__(self, trajectory: Any, step: int, goal: Goal) -> Searched:
        self.asked.append(goal)
        reason = self.reasons.pop(0) if self.reasons else ""
        if reason in (NO_STATE, TOO_LITTLE):
            return Searched(reason=reason)
        toward = GoalReached(goal, 6.0 if not reason else 3.0, 3.0, reason in ("", ALONE), goal.steps, goal.steps)
        return Searched(self.plan or Plan.of([("RIGHT", goal.steps)]), None, 0.4, 12, 50, reason, toward)


def goals(item: Any, reach: Any, least: int = 1, most: int = 8) -> Goals:
    return Goals(GoalMeter(WORLD, [item()[0]]), reach, least, most, SearchConfig())


def goal(quantity: str = "cell", low: float | None = 5.0, steps: int = 4, **rest: Any) -> dict[str, Any]:
    told = {"reasoning": "to the right", "quantity": quantity, "aim": "at least", "low": low, "high": None}
    return {**told, "when": "at the end", "steps": steps, **rest}


def explained(
    bench: Any, item: Any, says: Any, reach: Any, replies: Any, gains: Any = (0.5,), mode: str = "both", **agents: Any
) -> Any:
    story = says.story(identifier=says.cases(2), advisor=replies, critic=says.verdict())
    bench.gateway, bench.tester = says.gateway(story), says.tester(list(gains)) if gains else None
    proposer = model_proposer(
        environment=WORLD, gateway=bench.gateway, agents=AgentsConfig(**{"prompts": "full", **agents}),
        verification=VerificationConfig(mode=mode), tester=bench.tester,  # type: ignore[arg-type]
        checkpoint=None, emit=bench.events.append, source="fake", goals=goals(item, reach),
    )  # fmt: skip
    return proposer.explain([item()])[0]


def test_a_goal_becomes_a_suggestion_like_any_other(bench: Any, item: Any, says: Any) -> None:
    reach = Reaching()
    made = explained(bench, item, says, reach, goal())
    wanted = Goal("cell", "at least", 4, "at the end", 5.0)
    assert reach.asked == [wanted]
    (row,) = made.advice
    assert row.plan == bench.tester.tested[0].plan == Plan.of([("RIGHT", 4)])
    assert (row.advice, row.search.toward.goal) == ("to the right", wanted)
    assert made.attempts[0].goal == wanted
    assert made.env_steps == 150
    assert [(one.purpose, one.steps) for one in bench.events_of("StepsSpent")] == [("search", 50), ("test", 100)]
    assert bench.gateway.agents() == ["identifier", "advisor", "critic", "critic"]
    (decided,) = bench.events_of("AdviceDecided")
    assert decided.action == "cell at least 5, at the end of 4 steps"


def test_the_advisor_is_told_what_goals_can_be_about(bench: Any, item: Any, says: Any) -> None:
    explained(bench, item, says, Reaching(), goal())
    told = bench.gateway.said_to("advisor")
    assert "- cell [cells]: place in the corridor, 0 at the left end; positive: to the right; usually 0 to 8; " in told
    assert "seen 1 to 5" in told
    assert "At this step / 5 steps later, as the policy went on: cell 4 / 1, to_right_end 4 / 7." in told
    assert 'how many "steps", 1 to 8' in told
    assert "may be an expression of these" in told
    assert f'answer "{LEAVE}" as the quantity' in told
    assert "LEFT, RIGHT" not in told, "it says where to, not how"


def test_the_critic_reads_the_goal_and_what_was_found_for_it(bench: Any, item: Any, says: Any) -> None:
    explained(bench, item, says, Reaching(), goal())
    for which in (0, 1):
        told = bench.gateway.said_to("critic", which)
        assert "from step 2 on, cell at least 5, at the end of 4 steps (Of 12 action sequences" in told
        assert "the best came to 6, the policy alone to 3: reached. What it does: RIGHT for 4 steps" in told
    assert "What the search found for this goal gained 0.50 return on average" in bench.gateway.said_to("critic", 1)


def test_a_goal_that_brought_nothing_comes_back_with_how_far_it_was_reached(bench: Any, item: Any, says: Any) -> None:
    made = explained(
        bench, item, says, Reaching(), [goal(), goal(low=6.0, steps=3)], (-0.5, 0.6), "simulate", max_revisions=1
    )
    told = bench.gateway.said_to("advisor", 1)
    assert "The goal set here before, cell at least 5, at the end of 4 steps, did not help: set another one." in told
    assert (
        "Of 12 action sequences that the simulator tried the best came to 6, the policy alone to 3: reached." in told
    )
    assert "What the search found for this goal lost 0.50 return on average" in told
    assert [attempt.goal.low for attempt in made.attempts] == [5.0, 6.0]
    assert made.env_steps == 300


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        (NO_NEARER, "the best came to 3, the policy alone to 3: not reached."),
        (ALONE, "The policy alone reaches that, with 3."),
    ],
)
def test_a_goal_that_leads_nowhere_is_not_tested_and_comes_back(
    bench: Any, item: Any, says: Any, reason: str, said: str
) -> None:
    made = explained(bench, item, says, Reaching(reason), [goal(), goal(low=6.0)], mode="simulate", max_revisions=1)
    told = bench.gateway.said_to("advisor", 1)
    assert "cell at least 5, at the end of 4 steps, did not help: set another one." in told
    assert said in told
    assert len(bench.tester.tested) == 1
    assert [one.test is not None for one in made.attempts] == [False, True], (
        "what was found and not tested is no repetition"
    )
    assert (made.states[0].fate, made.env_steps) == ("accepted", 200)


@pytest.mark.parametrize("reason", [NO_NEARER, ALONE])
def test_without_revisions_such_a_case_is_closed(bench: Any, item: Any, says: Any, reason: str) -> None:
    made = explained(bench, item, says, Reaching(reason), goal(), max_revisions=0)
    (state,) = made.states
    assert (state.fate, state.stage, state.reason, made.env_steps) == ("dropped", "advise", reason, 50)
    assert state.attempts[0].goal is not None
    assert not bench.tester.tested
    assert bench.gateway.agents() == ["identifier", "advisor"]


@pytest.mark.parametrize("reason", [NO_STATE, TOO_LITTLE])
def test_what_cannot_be_searched_is_dropped_with_its_reason(bench: Any, item: Any, says: Any, reason: str) -> None:
    made = explained(bench, item, says, Reaching(reason), goal())
    (state,) = made.states
    assert (state.fate, state.reason, state.attempts) == ("dropped", reason, ())
    assert state.detail == "cell at least 5, at the end of 4 steps"


def test_the_same_goal_again_is_not_searched_twice(bench: Any, item: Any, says: Any) -> None:
    reach = Reaching()
    made = explained(bench, item, says, reach, goal(), (-0.5,), "simulate", max_revisions=1)
    assert len(reach.asked) == 1
    assert (made.states[0].reason, made.env_steps) == ("suggested again", 150)


def test_a_state_may_be_left_as_it_is(bench: Any, item: Any, says: Any) -> None:
    reach = Reaching()
    made = explained(bench, item, says, reach, goal(LEAVE))
    assert (made.states[0].fate, reach.asked) == ("left", [])


def test_a_goal_that_is_refused_twice_is_dropped(bench: Any, item: Any, says: Any) -> None:
    made = explained(bench, item, says, Reaching(), says.dropped("wrong fields", "cell is 1 to 5"))
    (state,) = made.states
    assert (state.fate, state.reason, state.detail) == ("dropped", "wrong fields", "cell is 1 to 5")


def test_without_a_test_the_critic_decides(bench: Any, item: Any, says: Any) -> None:
    made = explained(bench, item, says, Reaching(), goal(), None, "reflect")
    assert [row.plan.steps for row in made.advice] == [4]
    assert made.env_steps == 50


def test_a_long_plan_is_not_spelled_out(bench: Any, item: Any, says: Any) -> None:
    plan = Plan.of([("RIGHT", 1), ("LEFT", 1)] * 4)
    explained(bench, item, says, Reaching(plan=plan), goal(steps=8))
    told = bench.gateway.said_to("critic")
    assert "then LEFT for 1 step, and so on: 8 moves in 8 steps" in told


# -- replies ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"quantity": "speed"}, "there is no quantity, let or constant 'speed'"),
        ({"low": 90.0}, "cell is 1 to 5 in the 8 steps collected, and no target outside -3 to 9 is taken"),
        ({"low": None}, "the aim 'at least' needs a number in low"),
        ({"steps": 9}, "less than or equal to 8"),
        ({"steps": 0}, "greater than or equal to 1"),
        ({"low": float("inf")}, "finite"),
        ({"aim": "reach"}, "aim"),
    ],
)
def test_what_is_wrong_with_a_reply_is_said_in_a_line(item: Any, changes: dict[str, Any], said: str) -> None:
    reply = goal_reply(goals(item, Reaching()), AgentsConfig(prompts="full"))
    with pytest.raises(ValidationError) as caught:
        reply.model_validate({**goal(), **changes})
    assert said in str(caught.value)


def test_the_repair_ask_carries_what_is_wrong(item: Any) -> None:
    reply = goal_reply(goals(item, Reaching()), AgentsConfig(prompts="full"))
    with pytest.raises(ReplyDropped, match="no target outside -3 to 9 is taken for reachable") as caught:
        parse_reply('{"reasoning": "x", "quantity": "cell", "aim": "at least", "low": 90, "steps": 3}', reply)
    assert caught.value.reason == "wrong fields"


def test_small_models_choose_a_quantity_and_others_write_an_expression(item: Any) -> None:
    some = goals(item, Reaching())
    short = reply_schema(goal_reply(some, AgentsConfig(prompts="short")))["properties"]
    full = reply_schema(goal_reply(some, AgentsConfig(prompts="full")))["properties"]
    assert short["quantity"]["enum"] == ["cell", "to_right_end", LEAVE]
    assert full["quantity"] == {"type": "string", "maxLength": 200}
    assert list(full) == ["reasoning", "quantity", "aim", "low", "high", "when", "steps"]
    assert (full["steps"]["minimum"], full["steps"]["maximum"]) == (1, 8)


def test_numbers_that_an_aim_does_not_use_are_no_part_of_the_goal(item: Any) -> None:
    reply = goal_reply(goals(item, Reaching()), AgentsConfig(prompts="full"))
    said = reply.model_validate({**goal(high=7.0), "aim": "AT_LEAST", "quantity": " cell "})
    assert goal_of(said) == Goal("cell", "at least", 4, "at the end", 5.0)
    best = reply.model_validate({"reasoning": "x", "quantity": "cell", "aim": "maximise", "low": 3, "steps": 2})
    assert goal_of(best) == Goal("cell", "maximise", 2, "on average")


# -- the control -----------------------------------------------------------------------------------------------


def test_goals_at_random_are_searched_for_and_tested(bench: Any, item: Any, says: Any) -> None:
    reach, tester = Reaching("", NO_NEARER), says.tester([0.5])

    def explain(seed: int, reach: Any) -> Any:
        control = RandomGoals(Streams(seed), goals(item, reach))
        proposer = control_proposer(
            control=control, environment=WORLD, agents=AgentsConfig(max_critical=2), tester=tester, emit=lambda _: None
        )
        return proposer.explain([item()])[0]

    made = explain(0, reach)
    assert [state.fate for state in made.states] == ["accepted", "dropped"]
    assert (made.states[1].reason, made.source, made.env_steps) == (NO_NEARER, "random", 200)
    assert made.advice[0].search.toward.goal == reach.asked[0]
    again = Reaching()
    explain(0, again)
    assert again.asked == reach.asked


def test_goals_at_random_can_all_be_set(item: Any) -> None:
    some = goals(item, Reaching(), 2, 5)
    drawn = [one for seed in range(40) if (one := draw_goal(some, Streams(seed).generator("x"))) is not None]
    assert len(drawn) == 40
    assert not any(some.meter.fault(one) for one in drawn)
    assert {one.steps for one in drawn} == {2, 3, 4, 5}
    assert len({(one.aim, one.when) for one in drawn}) > 10


def test_where_nothing_ever_changes_no_goal_is_drawn(item: Any) -> None:
    class Still(Corridor):
        @property
        def legend(self) -> Any:
            return {"cell": replace(WORLD.legend["cell"], low=4.0, high=4.0)}

        def quantities(self, observations: Any) -> Any:
            return {"cell": np.full(len(observations), 4.0)}

    meter = GoalMeter(Still(CorridorOptions()), [item()[0]])
    still = Goals(meter, Reaching(), 1, 8, SearchConfig())
    assert draw_goal(still, Streams(0).generator("x")) is None


def test_a_segment_is_explained_anew_where_goals_are_others(bench: Any, item: Any) -> None:
    def fingerprint(some: Goals | None) -> str:
        made = model_proposer(
            environment=WORLD, gateway=bench, agents=AgentsConfig(), verification=VerificationConfig(), tester=None,
            checkpoint=None, emit=print, source="fake", goals=some,
        )  # fmt: skip
        return made._fingerprint(item()[1])

    one = goals(item, Reaching())
    assert fingerprint(one) == fingerprint(goals(item, Reaching()))
    others = [None, goals(item, Reaching(), most=7), replace(one, search=SearchConfig(population=9))]
    assert len({fingerprint(one), *map(fingerprint, others)}) == 4
