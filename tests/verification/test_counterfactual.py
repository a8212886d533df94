from collections.abc import Callable
from threading import Thread
from typing import Any

import numpy as np
import pytest

from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array, FloatArray, Trajectory
from ultra_agents.verification import max_tests, refusal
from ultra_agents.verification.candidates import Candidate
from ultra_agents.verification.counterfactual import CounterfactualTester

from .conftest import LEFT, RIGHT, Walker, corridor, play, suggest

Make = Callable[..., CounterfactualTester]
LONG = {"horizon": 60, "screen_pairs": 0}


def test_good_advice_passes_and_bad_advice_fails(testers: Make) -> None:
    lured, keen = Walker(left=0.7), Walker(left=0.3)
    good = testers(lured, **LONG)(play(lured), suggest(0, (RIGHT, 8)))
    assert good is not None
    assert (good.passed, good.stopped) == (True, "good")
    assert good.gain > 0.3
    assert (good.better, good.worse) == (good.pairs, 0)
    bad = testers(keen, **LONG)(play(keen), suggest(0, (LEFT, 8)))
    assert bad is not None
    assert (bad.passed, bad.stopped) == (False, "bad")
    assert bad.worse > 0


def test_suggesting_what_the_policy_does_is_hopeless_and_cheap(testers: Make) -> None:
    policy = Walker(left=0.0)
    found = testers(policy)(play(policy), suggest(0, (RIGHT, 1)))
    assert found is not None
    assert (found.gain, found.stopped, found.passed, found.pairs) == (0.0, "hopeless", False, 2)
    assert found.env_steps == 1 + found.pairs, "arms that met are not played on, and a plan is played once"


def test_first_look_sends_few_on(testers: Make) -> None:
    policy = Walker(left=0.5)
    options = {"min_gain": 0.5, "horizon": 60, "screen_horizon": 0, "screen_pairs": 2}
    found = testers(policy, **options)(play(policy), suggest(0, (RIGHT, 1)))
    assert found is not None
    assert (found.stopped, found.pairs) == ("hopeless", 2)
    assert found.env_steps <= 4, "two pairs of one step: at the cut nothing was gained yet"
    unscreened = testers(policy, **{**options, "screen_pairs": 0})(play(policy), suggest(0, (RIGHT, 1)))
    assert unscreened is not None
    assert unscreened.pairs > 2


def test_first_look_is_cut_with_the_plan_or_later(testers: Make) -> None:
    policy, world = Walker(left=0.0), corridor(length=101)
    trajectory = play(policy, world)

    def looked(screen_horizon: int) -> Any:
        tester = testers(policy, world, horizon=60, screen_horizon=screen_horizon, screen_pairs=2)
        return tester(trajectory, suggest(0, (LEFT, 3), (RIGHT, 1)))

    short, long = looked(2), looked(9)
    assert (short.stopped, short.pairs) == ("hopeless", 2)
    assert short.env_steps == 4 + 2 * 4, "the plan once, the policy alone as long in each pair"
    assert (long.stopped, long.env_steps) == ("hopeless", 4 + 2 * (9 - 4) + 2 * 9)


def test_a_pair_that_loses_does_not_refute_what_another_won(testers: Make) -> None:
    policy, world = Walker(left=0.5), corridor()
    trajectory = play(policy, world)
    one = [testers(policy, world, screen_pairs=1, seed=seed)(trajectory, suggest(0, (RIGHT, 2))) for seed in range(12)]
    two = [testers(policy, world, screen_pairs=2, seed=seed)(trajectory, suggest(0, (RIGHT, 2))) for seed in range(12)]
    refuted = [[result.pairs <= 2 for result in some] for some in (one, two)]
    assert all(first or not both for first, both in zip(*refuted, strict=True)), "the same first pair"
    assert sum(refuted[1]) < sum(refuted[0])


def test_playing_a_plan_once_for_all_pairs_changes_the_price_only(
    testers: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, world = Walker(left=0.55), corridor(slip=0.2)
    trajectory = play(policy, world)
    asked = everything(trajectory)
    once = testers(policy, world)
    expected = [once(trajectory, one) for one in asked]
    monkeypatch.setattr(Candidate, "begun", lambda candidate, pair: candidate.rollouts.get(pair))
    every = testers(policy, world)
    assert [measured(every(trajectory, one)) for one in asked] == [measured(one) for one in expected]
    assert once.env_steps < every.env_steps


def test_a_plan_is_played_move_by_move(testers: Make) -> None:
    policy = Walker(left=0.0)
    found = testers(policy, **LONG)(play(policy), suggest(0, (LEFT, 2), (RIGHT, 1), (LEFT, 2)))
    there_and_back = testers(policy, **LONG)(play(policy), suggest(0, (LEFT, 1), (RIGHT, 1)))
    assert found is not None
    assert there_and_back is not None
    assert found.gain == pytest.approx(-0.08), "eight more steps of 0.01: five that lead three cells away, and back"
    assert there_and_back.gain == pytest.approx(-0.02)


def everything(trajectory: Trajectory) -> list[Any]:
    plans = [((LEFT, 1),), ((RIGHT, 3),), ((RIGHT, 2), (LEFT, 1)), ((RIGHT, 6),)]
    return [suggest(step, *plan) for step in range(min(len(trajectory), 4)) for plan in plans]


def measured(result: Any) -> tuple[Any, ...]:
    """All of a result but who paid for the shared arm."""
    return (result.gain, result.low, result.high, result.pairs, result.passed, result.stopped, result.better)


def test_results_do_not_depend_on_order_slots_threads_or_workers(testers: Make) -> None:
    policy, world = Walker(left=0.55), corridor(slip=0.2)
    trajectory = play(policy, world)
    asked = everything(trajectory)
    first = testers(policy, world)
    expected = [first(trajectory, one) for one in asked]
    assert {one.stopped for one in expected if one} >= {"hopeless"}
    assert sum(one.env_steps for one in expected if one) == first.env_steps
    backwards = testers(policy, world, slots=5)
    found = [backwards(trajectory, one) for one in reversed(asked)][::-1]
    assert [measured(one) for one in found] == [measured(one) for one in expected]
    assert backwards.env_steps == first.env_steps, "the order decides who pays, not how much is paid"
    for pool in ({"slots": 40}, {"slots": 6, "workers": 2}):
        other = testers(policy, world, **pool)
        assert [measured(one) for one in other.test_all(trajectory, asked)] == [measured(one) for one in expected]
        assert other.env_steps == first.env_steps
    assert testers(policy, world, seed=1)(trajectory, asked[-1]) != expected[-1]


def test_the_policys_own_arm_is_played_once_for_all_candidates_and_revisions(testers: Make) -> None:
    policy = Walker(left=0.5)
    trajectory, tester = play(policy), testers(policy, **LONG, confidence=0.99, min_gain=0)
    first = tester(trajectory, suggest(0, (RIGHT, 4)))
    second = tester(trajectory, suggest(0, (RIGHT, 3)))
    alone = testers(policy, **LONG, confidence=0.99, min_gain=0)(trajectory, suggest(0, (RIGHT, 3)))
    assert first is not None
    assert second is not None
    assert alone is not None
    assert measured(second) == measured(alone)
    assert second.env_steps < alone.env_steps
    assert tester.env_steps == first.env_steps + second.env_steps


def test_compare_halves_the_field_and_finds_the_best(testers: Make) -> None:
    policy = Walker(left=0.5)
    trajectory = play(policy)
    plans = [((LEFT, 1),), ((RIGHT, 1),), ((RIGHT, 2),), ((RIGHT, 4),), ((LEFT, 4),), ((LEFT, 2),)]
    options = {**LONG, "min_pairs": 4, "max_pairs": 32, "confidence": 0.95}
    found = testers(policy, **options).compare(trajectory, [suggest(0, *plan) for plan in plans])
    results = [one for one in found if one is not None]
    assert len(results) == len(plans)
    assert max(results, key=lambda one: (one.passed, one.gain)) is results[3]
    assert results[3].passed
    assert any(one.stopped == "outdone" for one in results)
    assert min(one.pairs for one in results) == 4
    with pytest.raises(ValueError, match="different states"):
        testers(policy).compare(trajectory, [suggest(0, (LEFT, 1)), suggest(1, (LEFT, 1))])


def test_more_candidates_than_slots(testers: Make) -> None:
    policy = Walker(left=0.5)
    trajectory = play(policy)
    asked = [suggest(0, (RIGHT, hold)) for hold in range(1, 7)]
    few, many = testers(policy, slots=3), testers(policy, slots=32)
    a, b = few.compare(trajectory, asked), many.compare(trajectory, asked)
    assert [measured(one) for one in a] == [measured(one) for one in b]
    assert few.env_steps == many.env_steps


def test_caps_hold_whatever_is_asked(testers: Make) -> None:
    policy = Walker(left=0.5)
    trajectory = play(policy)
    options: dict[str, Any] = {
        "horizon": 30,
        "screen_pairs": 1,
        "screen_horizon": 5,
        "min_gain": 0,
        "confidence": 0.99,
    }
    tester = testers(policy, tests=10, max_steps=1500, **options)
    found = [tester(trajectory, suggest(0, (RIGHT, hold))) for hold in range(1, 11)]
    assert all(one is not None for one in found)
    assert tester.env_steps <= 1500
    assert any(one.stopped == "steps" for one in found if one is not None)
    poor = testers(policy, tests=100, max_steps=1000, **options)
    assert poor(trajectory, suggest(0, (RIGHT, 8))) is None, "ten steps do not pay for a first look"
    assert poor.env_steps == 0
    assert testers(policy, max_test_steps=9, **options)(trajectory, suggest(0, (RIGHT, 4))) is None
    assert max_tests(segments=5, max_critical=3, max_revisions=1) == 30


def test_episode_end_needs_no_value_beyond_it(testers: Make) -> None:
    policy = Walker(left=0.0, worth=1000.0)
    found = testers(policy, **LONG)(play(policy), suggest(0, (LEFT, 1)))
    assert found is not None
    assert found.gain == pytest.approx(-0.02), "both arms reach the goal: the value at a terminal state counts nothing"


def test_an_episode_cut_by_its_time_limit_is_worth_its_value(testers: Make) -> None:
    policy, world = Walker(left=0.0, worth=5.0), corridor(length=101, max_steps=10)
    found = testers(policy, world, **LONG)(play(policy, world), suggest(0, (LEFT, 1)))
    assert found is not None
    assert found.gain == pytest.approx(0.0), "both arms are cut, and both are worth 5 there"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (suggest(1000, (LEFT, 1)), "step outside the episode"),
        (suggest(-1, (LEFT, 1)), "step outside the episode"),
        (suggest(0, ("JUMP", 1)), "illegal action"),
        (suggest(0, (LEFT, 1), ("JUMP", 2)), "illegal action"),
        (suggest(0, (LEFT, 0)), "hold below 1"),
        (suggest(0, (LEFT, 10**7)), "beyond the horizon of the test"),
        (suggest(0, (LEFT, 1), episode=4), "another episode"),
    ],
)
def test_what_cannot_be_tested_is_counted_and_harms_nobody(testers: Make, bad: Any, why: str) -> None:
    policy = Walker(left=0.3)
    trajectory, tester = play(policy), testers(policy)
    assert refusal(corridor(), trajectory, bad, 10**6) == why
    found = tester(trajectory, bad)
    assert found is not None
    assert (found.stopped, found.passed, found.pairs, found.env_steps) == ("invalid", False, 0, 0)
    assert tester.refused == {why: 1}
    assert tester(trajectory, suggest(0, (LEFT, 1))) == testers(policy)(trajectory, suggest(0, (LEFT, 1)))


class _Odd(type(corridor())):  # type: ignore[misc]
    """A corridor with a fault at its lure."""

    def make(self, num_envs: int) -> Any:
        envs, fault = super().make(num_envs), self.fault
        step = envs.step

        def faulty(actions: Any) -> Any:
            observations, rewards, terminated, truncated, info = step(actions)
            rewards = np.array(rewards)
            if (rewards > 0.1)[(rewards < 0.5)].any() and fault == "raise":
                raise RuntimeError("the lure bit")
            rewards[(rewards > 0.1) & (rewards < 0.5)] = np.nan
            return observations, rewards, terminated, truncated, info

        envs.step = faulty
        return envs


def test_a_reward_that_is_not_finite_costs_only_the_suggestion_that_met_it(testers: Make) -> None:
    policy, world = Walker(left=0.0), _Odd(corridor().options)
    world.fault = "nan"
    trajectory, tester = play(policy), testers(policy, world, **LONG)
    good, bad = suggest(0, (LEFT, 1)), suggest(0, (LEFT, 4))
    found = tester.compare(trajectory, [good, bad])
    assert [one.stopped == "invalid" for one in found if one] == [False, True]
    assert sum(tester.refused.values()) == 1
    assert measured(found[0]) == measured(testers(policy, **LONG)(trajectory, good))


def test_an_environment_that_raises_fails_what_is_under_way_and_nothing_later(testers: Make) -> None:
    policy, world = Walker(left=0.0), _Odd(corridor().options)
    world.fault = "raise"
    trajectory, tester = play(policy), testers(policy, world, **LONG)
    with pytest.raises(EnvironmentFault, match="_Odd") as caught:
        tester(trajectory, suggest(0, (LEFT, 4)))
    assert "the lure bit" in str(caught.value)
    later = tester(trajectory, suggest(0, (LEFT, 1)))
    assert measured(later) == measured(testers(policy, **LONG)(trajectory, suggest(0, (LEFT, 1))))


def test_damaged_snapshot_and_missing_ones(testers: Make) -> None:
    policy = Walker(left=0.3)
    trajectory = play(policy)
    parts = {**trajectory.__dict__, "snapshots": (b"rubbish", *(trajectory.snapshots or ())[1:])}
    tester = testers(policy)
    with pytest.raises(EnvironmentFault, match="not a snapshot"):
        tester(Trajectory(**parts), suggest(0, (LEFT, 1)))
    assert tester(trajectory, suggest(1, (LEFT, 1))) is not None
    with pytest.raises(EnvironmentFault, match="without simulator states"):
        testers(policy)(Trajectory(**{**parts, "snapshots": None}), suggest(0, (LEFT, 1)))


def test_a_policy_is_always_asked_in_batches_of_one_shape(testers: Make) -> None:
    shapes = set()

    class Watched(Walker):
        def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
            shapes.add((len(observations), len(uniforms)))
            return super().act_with_uniforms(observations, uniforms)

        def value(self, observations: Array) -> FloatArray:
            shapes.add((len(observations),) * 2)
            return super().value(observations)

    policy = Watched(0.5)
    trajectory = play(Walker(0.5))
    testers(policy).test_all(trajectory, everything(trajectory))
    assert len(shapes) == 1, "a matrix product of another shape may differ in its last bits"


def test_several_threads_at_once(testers: Make) -> None:
    policy = Walker(left=0.5)
    trajectory = play(policy)
    asked = everything(trajectory)
    expected = [measured(testers(policy)(trajectory, one)) for one in asked[:4]]
    tester, found = testers(policy), dict[int, Any]()
    threads = [Thread(target=lambda n=n: found.update({n: tester(trajectory, asked[n])})) for n in range(len(asked))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [measured(found[n]) for n in range(4)] == expected


def test_a_closed_tester_says_so(testers: Make) -> None:
    tester = testers(Walker(0.5))
    tester.close()
    tester.close()
    with pytest.raises(EnvironmentFault, match="closed"):
        tester(play(Walker(0.5)), suggest(0, (LEFT, 1)))


def test_a_real_policy_gives_the_same_bits_in_any_number_of_slots() -> None:
    from ultra_agents.policies import load_policy
    from ultra_agents.registry import create_environment
    from ultra_agents.seeding import Streams

    from .conftest import settings

    world = create_environment("pong")
    policy = load_policy(world.policies()["suboptimal"], "pong", world).policy
    trajectory = play(policy, world)
    asked = [suggest(step, (name, 3)) for step in (50, 80) for name in ("UP", "DOWN")]
    found = []
    for slots in (3, 6):
        config = settings(discount=0.99, horizon=12, max_pairs=3)
        with CounterfactualTester(world, policy, config, Streams(2), max_tests=1, slots=slots) as tester:
            found.append([measured(one) for one in tester.test_all(trajectory, asked)])
    assert found[0] == found[1]
    assert len({one[0] for one in found[0]}) > 1


def test_a_process_that_takes_over_charges_what_the_first_would_have(testers):
    policy = Walker(0.4)
    trajectory = play(policy)
    first, revision = suggest(0, (LEFT, 2)), suggest(0, (RIGHT, 6))
    whole = testers(policy, max_pairs=8)
    costs = [whole(trajectory, first), whole(trajectory, revision, [first.plan])]
    killed = testers(policy, max_pairs=8)(trajectory, first)
    resumed = testers(policy, max_pairs=8)(trajectory, revision, [first.plan])
    forgetful = testers(policy, max_pairs=8)(trajectory, revision)
    assert [killed, resumed] == costs
    assert forgetful.env_steps > resumed.env_steps, "the first test at a state pays for the policy's own rollouts"
