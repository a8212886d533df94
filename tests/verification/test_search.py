from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ultra_agents.config import SearchConfig
from ultra_agents.records import Array, FloatArray, Plan, Trajectory
from ultra_agents.records.plans import NO_STATE, NOT_FINITE, NOTHING, TOO_LITTLE
from ultra_agents.registry import create_environment
from ultra_agents.seeding import Streams
from ultra_agents.verification import PlanSearch, SearchTerms
from ultra_agents.verification.env_blocks import Blocks
from ultra_agents.verification.plan_space import PlanSpace

from .conftest import LEFT, RIGHT, Counted, Walker, corridor, play, suggest


def terms(searches: int = 1, moves: int = 2, plan_steps: int | None = None, **config: Any) -> SearchTerms:
    return SearchTerms(
        config=SearchConfig(**{"horizon": 60, "max_steps": 20_000, **config}),
        moves=moves,
        min_hold=1,
        max_hold=8,
        plan_steps=plan_steps,
        discount=1.0,
        min_gain=0.1,
        searches=searches,
    )


@pytest.fixture
def searching() -> Iterator[Any]:
    with ExitStack() as opened:

        def make(policy: Any, environment: Any = None, given: Any = None, seed: int = 0, **config: Any) -> PlanSearch:
            return opened.enter_context(
                PlanSearch(environment or corridor(), policy, given or terms(**config), Streams(seed), slots=8)
            )

        yield make


def test_it_finds_the_known_optimum(searching: Any) -> None:
    lured = Walker(left=0.9)
    episode = play(lured)
    found = searching(lured).find(episode, 0)
    assert found.plan is not None
    first, hold = found.plan.moves[0]
    assert (first, found.plan.steps >= 4, len(found.plan.moves)) == (RIGHT, True, 1), "four cells to the right end"
    assert hold >= 4
    assert found.gain == pytest.approx(1.0 - 0.2, abs=0.25)
    assert (found.written, found.reason, found.tried > 10) == (None, "", True)


def test_where_nothing_is_better_nothing_is_proposed(searching: Any) -> None:
    best = Walker(left=0.0)
    found = searching(best).find(play(best), 0)
    assert (found.plan, found.reason, found.env_steps > 0) == (None, NOTHING, True)


def test_what_is_found_depends_on_seed_and_state_only(searching: Any) -> None:
    policy, world = Walker(left=0.6), corridor(slip=0.2)
    episode = play(policy, world)
    one, two = searching(policy, world), searching(policy, world)
    forwards = [one.find(episode, step) for step in range(3)]
    backwards = [two.find(episode, step) for step in (2, 1, 0)]
    assert forwards == backwards[::-1]
    assert searching(policy, world, seed=1).find(episode, 0) != forwards[0]


@pytest.mark.parametrize("config", [{}, {"max_steps": 500}, {"population": 40, "pairs": 5}, {"total_steps": 300}])
def test_every_step_is_charged_and_the_cap_holds(searching: Any, config: dict[str, Any]) -> None:
    policy, world = Walker(left=0.6), Counted(corridor(slip=0.2).options)
    search = searching(policy, world, **config)
    spent = [search.find(play(policy, world), 0).env_steps, search.improve(*written(policy, world)).env_steps]
    assert search.env_steps == sum(spent)
    assert all(0 < one <= terms(**config).budget for one in spent)


def written(policy: Any, world: Any, *moves: tuple[str, int]) -> Any:
    return play(policy, world), suggest(0, *(moves or ((RIGHT, 2),)))


def test_a_budget_below_one_rollout_finds_nothing_and_says_so(searching: Any) -> None:
    policy = Walker(left=0.6)
    search = searching(policy, given=terms(searches=1000, total_steps=1000))
    found = search.find(play(policy), 0)
    assert (found.plan, found.reason, found.env_steps) == (None, TOO_LITTLE, 0)
    kept = search.improve(*written(policy, corridor()))
    assert (kept.plan, kept.changed, kept.reason, kept.env_steps) == (kept.written, False, TOO_LITTLE, 0)


def test_without_a_state_nothing_is_searched(searching: Any) -> None:
    policy = Walker(left=0.6)
    bare: Trajectory = replace(play(policy), snapshots=None)
    search = searching(policy)
    assert search.find(bare, 0).reason == NO_STATE
    kept = search.improve(bare, suggest(0, (RIGHT, 2)))
    assert (kept.plan, kept.reason) == (Plan.of([(RIGHT, 2)]), NO_STATE)


def test_a_hold_that_is_too_short_is_made_longer(searching: Any) -> None:
    policy = Walker(left=0.9)
    found = searching(policy, pairs=4).improve(*written(policy, corridor(), (RIGHT, 2)))
    assert found.plan is not None
    assert found.changed
    assert found.plan.actions == RIGHT, "the model says what, the search says for how long"
    assert found.plan.steps == 4
    assert found.written == Plan.of([(RIGHT, 2)])


def test_what_cannot_be_bettered_stays_as_it_was_written(searching: Any) -> None:
    policy = Walker(left=0.9)
    found = searching(policy).improve(*written(policy, corridor(), (RIGHT, 4)))
    assert (found.plan, found.changed) == (found.written, False)
    assert found.gain is not None
    assert found.gain > 0.5


@pytest.mark.parametrize("most", [4, 7])
def test_no_plan_is_longer_than_all_moves_may_be_together(searching: Any, most: int) -> None:
    rng = np.random.default_rng(0)
    torque = create_environment("gymnasium:Pendulum-v1")
    for world, own in ((corridor(), np.zeros((most, 0))), (torque, np.zeros((most, 1)))):
        drawn = PlanSpace(world, 3, 2, 5, own, most).draw(40, rng, ())
        assert {one.plan.steps for one in drawn} >= {most}
        assert all(one.plan.steps <= most and min(one.holds) >= 2 for one in drawn)
        assert all(len(one.holds) == len(one.actions) for one in drawn)
    given = Plan.of([(RIGHT, 2), (LEFT, 2)])
    around = PlanSpace(corridor(), 3, 1, 5, np.zeros((most, 0)), most).around(given, 40, rng)
    assert all(one.plan.actions == given.actions and one.plan.steps <= most for one in around)
    policy = Walker(left=0.6)
    found = searching(policy, given=terms(moves=3, plan_steps=3, pairs=8, elites=16)).find(play(policy), 0)
    assert found.plan is not None
    assert (found.plan.actions, found.plan.steps) == (RIGHT, 3), "of four cells to the right end"


# -- continuous actions ----------------------------------------------------------------------------------------


class Still(Walker):
    """Pushes a pendulum with the same torque everywhere; values an upright one."""

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        return np.full((len(observations), 1), 0.5, np.float32)

    def act(self, observations: Array, rng: Any = None, deterministic: bool = False) -> Array:
        return self.act_with_uniforms(observations, observations)


def test_torques_are_corrections_of_what_the_policy_would_do() -> None:
    world = create_environment("gymnasium:Pendulum-v1")
    own = np.linspace(-1, 1, 8)[:, None]
    space = PlanSpace(world, 2, 1, 4, own)
    rng = np.random.default_rng(0)
    alone, *others = space.draw(6, rng, ())
    assert world.actions.encode_plan(alone.plan.moves)[:, 0] == pytest.approx(own[:, 0], abs=0.006)
    for one in others:
        added = np.repeat(one.actions, one.holds, axis=0)
        expected = np.clip(own[: len(added)] + added, -2, 2)
        assert world.actions.encode_plan(one.plan.moves) == pytest.approx(expected, abs=0.006)
    for _ in range(30):
        space.learn([one for one in others if one.actions[0, 0] > 0])
    later = [one.actions[0, 0] for one in space.draw(40, rng, {alone.plan})]
    assert np.mean(np.array(later) > 0) > 0.8, "drawn around the best ones"


def test_a_torque_is_searched_and_improved(searching: Any) -> None:
    world, policy = create_environment("gymnasium:Pendulum-v1"), Still(0.0)
    episode = play(policy, world)
    search = searching(policy, world, horizon=4, population=32, rounds=4)
    found = search.find(episode, 0)
    assert found.plan is not None
    assert found.gain is not None
    assert found.gain > 0
    better = search.improve(episode, suggest(0, ("torque=0.5", 4)))
    assert better.written == Plan.of([("torque=0.5", 4)])
    assert better.plan is not None
    assert len(better.plan.moves) == 1


def test_names_and_holds_are_drawn_as_the_best_have_them() -> None:
    space, rng = PlanSpace(corridor(), 3, 2, 5, np.zeros((15, 0))), np.random.default_rng(0)
    drawn = space.draw(60, rng, ())
    assert {len(one.holds) for one in drawn} == {1, 2, 3}
    assert {int(hold) for one in drawn for hold in one.holds} == {2, 3, 4, 5}
    assert len({one.plan for one in drawn}) == 60
    best = [one for one in drawn if one.plan.moves[0] == (LEFT, 3)]
    assert best
    for _ in range(20):
        space.learn(best)
    later = space.draw(20, rng, ())
    assert {one.plan.moves[0][0] for one in later} == {LEFT}
    known = {one.plan for one in later}
    assert not known & {one.plan for one in space.draw(20, rng, known)}


def test_rewards_that_are_not_finite_find_nothing_and_say_so(searching: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lured = Walker(left=0.9)
    episode, step = play(lured), Blocks.step

    def broken(self: Blocks, slots: Any, actions: Any) -> Any:
        rewards, *rest = step(self, slots, actions)
        return (np.full_like(rewards, np.nan), *rest)

    monkeypatch.setattr(Blocks, "step", broken)
    found = searching(lured).find(episode, 0)
    assert (found.plan, found.reason) == (None, NOT_FINITE)
