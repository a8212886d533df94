"""Goals on quantities: which can be set, how far a rollout reaches one, and what a search makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ultra_agents.config import SearchConfig
from ultra_agents.policies import load_policy
from ultra_agents.records import Goal, Plan, Trajectory
from ultra_agents.records.plans import ALONE, NO_NEARER, NO_STATE, TOO_LITTLE
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor
from ultra_agents.verification import GoalMeter, PlanSearch, SearchTerms

from .conftest import LEFT, RIGHT, Counted, Walker, corridor, play


def terms(searches: int = 1, **config: Any) -> SearchTerms:
    return SearchTerms(
        config=SearchConfig(**config), moves=1, min_hold=1, max_hold=8, plan_steps=None, discount=1.0, min_gain=0.1,
        searches=searches,
    )  # fmt: skip


@pytest.fixture
def searching() -> Iterator[Any]:
    with ExitStack() as opened:

        def make(policy: Any, world: Any = None, seed: int = 0, given: Any = None, **config: Any) -> PlanSearch:
            made = PlanSearch(world or corridor(), policy, given or terms(**config), Streams(seed), slots=8)
            return opened.enter_context(made)

        yield make


def seen(*cells: float, length: int = 9) -> Any:
    """Observations of a corridor in these cells, `(n, 1)`."""
    return (2 * np.array(cells) / (length - 1) - 1).astype(np.float32)[:, None]


def walked(*cells: float) -> Trajectory:
    """An episode that was in these cells."""
    made = play(Walker(left=0.5))
    count = len(cells)
    return replace(
        made, observations=seen(*cells), actions=np.zeros(count, np.int64), rewards=np.zeros(count),
        values=np.zeros(count), infos=({},) * count, snapshots=None,
    )  # fmt: skip


@pytest.fixture
def meter() -> GoalMeter:
    """The cells 2 to 6 of 0 to 8 were seen."""
    return GoalMeter(corridor(), [walked(2, 3, 4), walked(4, 5, 6)])


# -- how far a rollout reaches one -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("aim", "when", "score", "value", "reached"),
    [
        ("at least", "on average", -1.0, 4.0, False), ("at least", "at the end", 0.0, 6.0, True),
        ("at least", "throughout", -3.0, 2.0, False), ("at least", "once", 0.0, 6.0, True),
        ("at most", "on average", 0.0, 4.0, True), ("at most", "at the end", 0.0, 6.0, True),
        ("between", "on average", -1.0, 4.0, False), ("between", "once", 0.0, 6.0, True),
        ("maximise", "on average", 4.0, 4.0, False), ("maximise", "at the end", 6.0, 6.0, False),
        ("maximise", "throughout", 2.0, 2.0, False), ("maximise", "once", 6.0, 6.0, False),
        ("minimise", "on average", -4.0, 4.0, False), ("minimise", "throughout", -6.0, 6.0, False),
    ],
)  # fmt: skip
def test_the_score_of_a_rollout(
    meter: GoalMeter, aim: Any, when: Any, score: float, value: float, reached: bool
) -> None:
    goal = Goal("cell", aim, 3, when, 5.0, 6.0)
    found = meter.reading(goal, seen(2, 4, 6))
    assert (found.score, found.value, found.reached, found.steps) == (score, value, reached, 3)


def test_the_mean_counts_not_every_step(meter: GoalMeter) -> None:
    assert meter.reading(Goal("cell", "at least", 2, low=4.0), seen(2, 6)).reached
    assert not meter.reading(Goal("cell", "at least", 2, "throughout", low=4.0), seen(2, 6)).reached


def test_an_expression_is_read_like_a_quantity(meter: GoalMeter) -> None:
    found = meter.reading(Goal("abs(cell - 4)", "at most", 2, "at the end", high=1.0), seen(0, 3))
    assert (found.value, found.reached) == (1.0, True)


def test_what_ended_badly_has_reached_nothing_and_what_ended_well_keeps_its_last_value(meter: GoalMeter) -> None:
    goal = Goal("cell", "at least", 4, low=5.0)
    well, badly = meter.reading(goal, seen(6, 8)), meter.reading(goal, seen(6, 8), lost=True)
    assert (well.value, well.reached, well.steps) == (7.5, True, 2)
    assert (badly.value, badly.reached) == (4.5, False), "two steps as bad as the worst that was collected"
    fast = meter.reading(replace(goal, steps=3), seen(8, 8), lost=True)
    assert fast.value == 6.0
    assert not fast.reached
    assert fast.score < 0
    assert meter.reading(replace(goal, when="once"), seen(6, 3), lost=True).reached
    ended = meter.reading(replace(goal, when="at the end"), seen(6, 8), lost=True)
    assert (ended.value, ended.score) == (None, -3.0)


def test_a_step_without_a_value_is_as_bad_as_the_worst_one() -> None:
    class Blind(Corridor):
        def quantities(self, observations: Any) -> Any:
            told = dict(super().quantities(observations))
            return {**told, "cell": np.where(told["cell"] == 3, np.nan, told["cell"])}

    meter = GoalMeter(Blind(corridor().options), [walked(2, 3, 6)])
    found = meter.reading(Goal("cell", "at least", 3, low=5.0), seen(6, 3, 7))
    assert (found.value, found.score) == (5.0, 0.0)
    assert meter.reading(Goal("cell", "at least", 1, "at the end", low=5.0), seen(3)).value is None
    assert "has no value in any of the 1 steps" in GoalMeter(meter.environment, [walked(3)]).fault(
        Goal("cell", "maximise", 1)
    )


# -- which can be set ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        (Goal("speed", "maximise", 3), "there is no quantity, let or constant 'speed'"),
        (Goal("cel", "maximise", 3), "did you mean 'cell'"),
        (Goal("__import__('os')", "maximise", 3), "the goal's quantity"),
        (Goal("own", "maximise", 3), "own, what the policy proposes, is not known here"),
        (Goal("cell" + "+0" * 120, "maximise", 3), "longer than 200 characters"),
        (Goal("cell", "at least", 3), "needs a number in low"),
        (Goal("cell", "at most", 3, low=1.0), "needs a number in high"),
        (Goal("cell", "between", 3, low=5.0, high=4.0), "low (5) is above high (4)"),
        (Goal("cell", "at least", 3, low=50.0), "cell is 2 to 6 in the 6 steps collected, and no target outside -2"),
        (Goal("2 * cell", "at most", 3, high=-50.0), "no target outside -4 to 20 is taken for reachable"),
        (Goal("cell", "at least", 3, low=2.0), "every one of them meets this target"),
        (Goal("cell - cell", "maximise", 3), "never changes in the 6 steps collected: it is always 0"),
        (Goal("3", "maximise", 3), "never changes"),
    ],
)  # fmt: skip
def test_what_cannot_be_set_is_said_in_a_line(meter: GoalMeter, goal: Goal, said: str) -> None:
    fault = meter.fault(goal)
    assert said in fault
    assert "\n" not in fault


@pytest.mark.parametrize("goal", [
    Goal("cell", "at least", 3, low=8.0), Goal("cell", "between", 3, low=7.0, high=100.0), Goal("cell", "minimise", 3),
    Goal("abs(cell - to_right_end)", "at most", 3, high=1.0),
])  # fmt: skip
def test_what_lies_near_what_was_seen_can_be_set(meter: GoalMeter, goal: Goal) -> None:
    assert meter.fault(goal) == ""


def test_a_fact_never_seen_can_be_asked_for_where_the_legend_knows_it() -> None:
    meter = GoalMeter(corridor(), [walked(4, 4)])
    assert meter.fault(Goal("cell", "at least", 3, low=8.0)) == ""
    assert "no target outside 0 to 8" in meter.fault(Goal("cell", "at least", 3, low=9.0))


def test_goals_in_words() -> None:
    assert str(Goal("vx", "at least", 20, low=1.5)) == "vx at least 1.5, on average over 20 steps"
    assert str(Goal("a - b", "between", 1, "at the end", -1, 2)) == "a - b between -1 and 2, at the end of 1 step"
    assert str(Goal("height", "maximise", 8, "once")) == "height maximised, once within 8 steps"
    assert str(Goal("lean", "at most", 8, "throughout", high=3)) == "lean at most 3, throughout 8 steps"
    assert str(Goal("lean", "minimise", 8, "throughout")) == "lean minimised, throughout 8 steps"


# -- the search ------------------------------------------------------------------------------------------------


def test_it_finds_how_to_get_there(searching: Any) -> None:
    policy = Walker(left=1.0)
    episode = play(policy)
    meter = GoalMeter(corridor(), [episode])
    found = searching(policy).reach(episode, 0, Goal("cell", "at least", 3, "at the end", low=7.0), meter)
    assert found.plan == Plan.of([(RIGHT, 3)])
    assert (found.toward.value, found.toward.alone, found.toward.reached) == (7.0, 1.0, True)
    assert (found.reason, found.written) == ("", None)
    assert found.toward.words == "came to 7, the policy alone to 1: reached"
    other = searching(policy).reach(episode, 0, Goal("cell", "between", 4, "throughout", 4.0, 5.0), meter)
    assert [name for name, _ in other.plan.moves[:2]] == [RIGHT, LEFT], "there and back"
    assert other.toward.reached


def test_of_plans_that_reach_it_the_one_that_earns_most_is_taken(searching: Any) -> None:
    policy = Walker(left=1.0)
    episode = play(policy)
    goal = Goal("abs(cell - 4)", "maximise", 4, "at the end")
    found = searching(policy, rounds=6).reach(episode, 0, goal, GoalMeter(corridor(), [episode]))
    assert found.toward.value == found.toward.alone == 4.0
    assert found.plan == Plan.of([(RIGHT, 4)]), "both ends are four cells away, and this one is worth more"
    assert found.reason == NO_NEARER


def test_a_goal_that_the_policy_reaches_alone_costs_one_pair(searching: Any) -> None:
    policy, world = Walker(left=0.0), Counted(corridor().options)
    episode = play(policy, world)
    found = searching(policy, world).reach(
        episode, 0, Goal("cell", "at least", 3, "at the end", low=6.0), GoalMeter(world, [episode])
    )
    assert (found.reason, found.tried, found.env_steps <= 6) == (ALONE, 1, True)


def test_where_nothing_comes_nearer_that_is_said(searching: Any) -> None:
    policy = Walker(left=0.0)
    episode = play(policy)
    goal = Goal("cell", "at least", 2, "at the end", low=7.0)
    found = searching(policy).reach(episode, 0, goal, GoalMeter(corridor(), [episode]))
    assert (found.reason, found.toward.value, found.toward.alone) == (NO_NEARER, 6.0, 6.0)
    assert found.plan is not None
    assert found.tried > 1


def test_what_is_found_depends_on_seed_state_and_goal_only(searching: Any) -> None:
    policy, world = Walker(left=0.6), corridor(slip=0.2)
    episode = play(policy, world)
    meter, goal = GoalMeter(world, [episode]), Goal("cell", "maximise", 6)
    one, two = searching(policy, world), searching(policy, world)
    forwards = [one.reach(episode, step, goal, meter) for step in range(3)]
    backwards = [two.reach(episode, step, goal, meter) for step in (2, 1, 0)]
    assert forwards == backwards[::-1]


@pytest.mark.parametrize("config", [{}, {"max_steps": 60}, {"population": 40, "rounds": 5}, {"total_steps": 40}])
def test_every_step_is_charged_and_the_cap_holds(searching: Any, config: dict[str, Any]) -> None:
    policy, world = Walker(left=0.6), Counted(corridor(slip=0.2).options)
    episode = play(policy, world)
    search = searching(policy, world, **config)
    goal = Goal("cell", "at least", 8, "throughout", low=5.0)
    found = search.reach(episode, 0, goal, GoalMeter(world, [episode]))
    assert 0 < found.env_steps == search.env_steps <= terms(**config).budget
    assert found.toward.goal == goal


def test_a_budget_below_one_rollout_and_a_state_that_is_not_there(searching: Any) -> None:
    policy = Walker(left=0.6)
    episode = play(policy)
    meter, goal = GoalMeter(corridor(), [episode]), Goal("cell", "maximise", 6)
    search = searching(policy, given=terms(searches=100, total_steps=1000))
    found = search.reach(episode, 0, goal, meter)
    assert (found.plan, found.reason, found.env_steps) == (None, TOO_LITTLE, 0)
    bare = replace(episode, snapshots=None)
    assert search.reach(bare, 0, goal, meter).reason == NO_STATE


def test_on_hopper_a_speed_is_reached_that_the_policy_alone_does_not_come_to(searching: Any) -> None:
    """`vx at least 1.5` for 20 steps, where the policy falls."""
    world = create_environment("hopper")
    policy = load_policy(world.policies()["suboptimal"], "hopper", world).policy
    with make_simulators(world, 1) as one:
        episodes = collect(policy, world, one, [11], Streams(3), 1000)
    meter = GoalMeter(world, episodes)
    goal = Goal("vx", "at least", 20, low=1.5)
    assert meter.fault(goal) == ""
    assert "no target outside" in meter.fault(replace(goal, low=50.0))
    search = searching(policy, world, given=replace(terms(), moves=8, discount=0.99))
    states = range(40, len(episodes[0]) - 20, 5)
    found = [one for step in states if (one := search.reach(episodes[0], step, goal, meter)).toward]
    reached = [one for one in found if one.reason == "" and one.toward.reached]
    assert reached, [one.toward.words for one in found]
    for one in reached:
        assert one.toward.value >= 1.5
        assert one.toward.alone < 1.5 or one.toward.alone_steps < 20
        assert one.plan.steps <= 20
        assert one.env_steps <= 1500
    assert len(reached) < len(found), "elsewhere it runs as fast alone, or cannot"
