"""Paired play: same starts, same draws, charges; races; states of interest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.verification.halving import halve
from ultra_agents.verification.paired import Budget, Entrant, Episodes, Horizon, Windows, states_of_interest

from .conftest import Walker, corridor, play

WHOLE = Horizon(50, 1.0, value_at_truncation=False)
FREE = 10**9


def over(text: str, world: Any = None, left: float = 0.5) -> RulePolicy:
    world = world or corridor()
    return RulePolicy(Walker(left), parse_rules(text, interface_of(world)), world)


def episodes(
    world: Any = None, limit: int = FREE, horizon: Horizon = WHOLE, **options: Any
) -> tuple[Episodes, Budget]:
    budget = Budget(limit)
    return Episodes(world or corridor(), Walker(0.5), Streams(0), horizon, budget, **options), budget


RIGHT, LEFT = "rules: [{when: cell > 0, do: RIGHT}]", "rules: [{when: cell > 0, do: LEFT}]"


def test_policies_that_act_alike_earn_the_same() -> None:
    never = over("rules: [{when: cell > 100, do: RIGHT}]")
    alone, silent = Entrant(never.alone), Entrant(never)
    paired, _ = episodes()
    with paired:
        assert paired.extend([alone, silent], 12)
    assert alone.returns == silent.returns
    assert len(set(alone.returns)) > 1
    assert silent.covered == 0


def test_a_pair_is_the_same_whatever_is_played_before_and_how_far() -> None:
    at_once, bit_by_bit = Entrant(Walker(0.5)), Entrant(Walker(0.5))
    paired, _ = episodes(width=4)
    with paired:
        paired.extend([at_once], 11)
        for count in (1, 3, 7, 11):
            paired.extend([bit_by_bit], count)
    with_workers, _ = episodes(width=4, workers=1)
    elsewhere = Entrant(Walker(0.5))
    with with_workers:
        with_workers.extend([elsewhere], 11)
    assert at_once.returns == bit_by_bit.returns == elsewhere.returns


class Counted(Corridor):
    """A corridor that counts the steps its walkers take."""

    taken = 0

    def make(self, num_envs: int) -> Any:
        envs, plain = super().make(num_envs), self
        step = envs.step

        def counting(actions: Any) -> Any:
            plain.taken += num_envs
            return step(actions)

        envs.step = counting  # type: ignore[method-assign]
        return envs


def test_charges_are_the_steps_taken() -> None:
    world = Counted(CorridorOptions(length=101, max_steps=7))  # nobody arrives: every episode has 7 steps
    paired, budget = episodes(world, width=4)
    entrants = [Entrant(Walker(0.5)), Entrant(over(RIGHT, world))]
    with paired:
        paired.extend(entrants, 8)
    assert budget.spent == world.taken == 2 * 8 * 7
    assert [one.steps for one in entrants] == [56, 56]
    assert entrants[1].covered == 56
    paired, budget = episodes(world, width=4, horizon=Horizon(5, 1.0))
    cut = Entrant(Walker(0.5))
    with paired:
        paired.extend([cut], 4)
    assert (budget.spent, cut.cut) == (20, 4)


def test_what_is_not_played_is_not_charged() -> None:
    world = corridor(length=101, max_steps=7)
    paired, budget = episodes(world, width=4)
    with paired:
        paired.extend([Entrant(Walker(0.5))], 3)
    assert budget.spent == 3 * 7


def test_the_budget_is_never_exceeded() -> None:
    for limit in (0, 100, 399, 1000):
        paired, budget = episodes(limit=limit, width=2)
        entrants = [Entrant(Walker(0.5)) for _ in range(6)]
        with paired:
            done = paired.extend(entrants, 8)
        assert budget.spent <= limit
        assert done == all(len(one.returns) == 8 for one in entrants)


@pytest.mark.parametrize(("bootstrapped", "expected"), [(True, 5.0), (False, 0.0)])
def test_the_value_counts_where_the_environment_truncates_only_if_asked(bootstrapped: bool, expected: float) -> None:
    world = corridor(length=101, max_steps=7, step_cost=0.0)
    judge = Walker(0.5, worth=5.0)
    with Episodes(world, judge, Streams(0), Horizon(50, 1.0, bootstrapped), Budget(FREE), width=2) as paired:
        one = Entrant(judge)
        paired.extend([one], 2)
    assert one.returns == [expected, expected]
    with Episodes(world, judge, Streams(0), Horizon(3, 0.5, bootstrapped), Budget(FREE), width=2) as paired:
        cut = Entrant(judge)
        paired.extend([cut], 2)
    assert cut.returns == [5.0 * 0.5**3] * 2


def test_windows_begin_at_the_stored_states_and_end_with_the_value() -> None:
    world = corridor()
    trajectory = play(Walker(0.5), world)
    budget = Budget(FREE)
    entrants = [Entrant(Walker(0.5)), Entrant(over(RIGHT, world)), Entrant(over(LEFT, world))]
    starts = [trajectory.snapshots[0]] * 3  # type: ignore[index]
    with Windows(world, Walker(0.5), Streams(0), Horizon(4, 1.0), budget, snapshots=starts, width=2) as windows:
        windows.extend(entrants, 3)
    assert entrants[1].returns == pytest.approx([1 - 4 * 0.01] * 3)
    assert entrants[2].returns == pytest.approx([0.2 - 4 * 0.01] * 3)
    assert len(set(entrants[0].returns)) > 1
    assert budget.spent == sum(one.steps for one in entrants)


def test_states_of_interest_are_where_rules_act_otherwise_and_spread_over_episodes() -> None:
    world = corridor(length=41, max_steps=60)
    made = [play(Walker(0.6), world, episode=number) for number in range(3)]
    right, middle = over(RIGHT, world), over("rules: [{when: cell == 19, do: RIGHT}]", world)
    states = states_of_interest(made, [right, middle], 9, np.random.default_rng(0))
    assert [episode for episode, _ in states] == [0] * 3 + [1] * 3 + [2] * 3
    assert all(made[episode].actions[step] == 0 for episode, step in states)
    few = states_of_interest(made, [middle], 1000, np.random.default_rng(0))
    expected = sum(int(((one.actions == 0) & np.isclose(one.observations[:, 0], -0.05)).sum()) for one in made)
    assert len(few) == len(set(few)) == expected > 0
    assert (
        states_of_interest(made, [over("rules: [{when: cell > 90, do: LEFT}]", world)], 9, np.random.default_rng(0))
        == []
    )


def test_halving_keeps_the_best_and_plays_it_most() -> None:
    world = corridor(length=101, max_steps=7)
    entrants = [Entrant(Walker(chance)) for chance in (0.9, 0.7, 0.0, 0.5, 0.8, 0.6)]
    near = corridor(length=11, max_steps=30)
    paired, _ = episodes(near)
    with paired:
        best = halve(paired, entrants, 2, 8)
    assert best[0] is entrants[2]
    assert sorted(len(one.returns) for one in entrants)[0] == 2
    assert len(entrants[2].returns) >= 4
    paired, budget = episodes(world, limit=50 * 2 * 3, width=2)
    few = [Entrant(Walker(0.5)) for _ in range(6)]
    with paired:
        assert len(halve(paired, few, 2, 8)) >= 1
    assert budget.spent <= 300
    paired, _ = episodes(world, limit=10)
    with paired:
        assert halve(paired, [Entrant(Walker(0.5))], 2, 8) == []


def test_a_draw_goes_to_the_earlier_one() -> None:
    entrants = [Entrant(Walker(0.0)) for _ in range(4)]
    paired, _ = episodes()
    with paired:
        assert halve(paired, entrants, 2, 4)[0] is entrants[0]
