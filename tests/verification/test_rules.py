"""The test of a set of rules as one hypothesis: verdicts, what is chosen, what goes, charges, repeatability."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from ultra_agents.config import RuleTestConfig
from ultra_agents.registry import create_environment
from ultra_agents.rules import RuleError, RuleSet, interface_of, parse_rules
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.verification import RuleTest, RuleTester
from ultra_agents.verification.rules import ERROR, REST, WHOLE, rule_of
from ultra_agents.verification.tuning import stands_out

from .conftest import Counted, Walker, corridor, play

RIGHT, LEFT = "{when: cell > 0, do: RIGHT}", "{when: cell > 0, do: LEFT}"
NEVER = "{when: cell > 100, do: LEFT}"


def rules(*each: str, constants: str = "{}", world: Any = None) -> RuleSet:
    return parse_rules(f"constants: {constants}\nrules: [{', '.join(each)}]", interface_of(world or corridor()))


def judge(world: Any = None, policy: Any = None, seed: int = 0, rest: Any = None, **options: Any) -> RuleTester:
    config = RuleTestConfig(**{"horizon": 50, **options})
    return RuleTester(world or corridor(), policy or Walker(0.5), config, Streams(seed), **(rest or {}))


def test_a_good_set_is_accepted() -> None:
    found = judge().test([rules(RIGHT)])
    assert (found.verdict, found.stopped) == ("accepted", "good")
    assert 0 < found.low < found.gain < found.high
    assert found.rules_return == pytest.approx(1 - 4 * 0.01)
    assert found.gain == pytest.approx(found.rules_return - found.policy_return)
    assert found.coverage == 1.0
    assert found.weights == (None,)
    assert found.spent == {"confirm": found.env_steps}
    assert found.cut == 0
    assert repr(found).startswith("RuleTest(accepted: +")


def test_a_bad_set_is_rejected() -> None:
    found = judge(policy=Walker(0.2)).test([rules(LEFT)])
    assert (found.verdict, found.stopped) == ("rejected", "bad")
    assert found.high < 0


def test_a_set_that_never_acts_is_rejected_as_worth_nothing() -> None:
    found = judge().test([rules(NEVER)])
    assert (found.verdict, found.stopped, found.coverage) == ("rejected", "hopeless", 0.0)
    assert found.gain == 0.0


def test_with_few_pairs_it_is_undecided() -> None:
    found = judge(pairs=2, min_pairs=2, confidence=0.99).test([rules("{when: cell > 5, do: RIGHT}")])
    assert (found.verdict, found.stopped, found.pairs) == ("undecided", "pairs", 2)
    assert found.low < 0 < found.high


def test_without_steps_it_is_undecided() -> None:
    found = judge(max_steps=60).test([rules(RIGHT)])
    assert (found.verdict, found.stopped, found.pairs, found.env_steps) == ("undecided", "steps", 0, 0)
    assert found.coverage is found.policy_return is found.rules_return is None


def test_the_cap_holds_and_what_was_seen_before_it_stands() -> None:
    for cap in (400, 900, 2000):
        found = judge(corridor(slip=0.45), max_steps=cap, pairs=64, confidence=0.99).test([rules(RIGHT)])
        assert found.env_steps <= cap
        assert found.pairs in (0, 4, 8, 16, 32, 64)


def test_charges_are_the_steps_taken_and_told_by_purpose() -> None:
    world = Counted(CorridorOptions(length=101, max_steps=7))  # nobody arrives: every episode has 7 steps
    still = "{when: cell == 0, do: LEFT}"
    sets = [rules(RIGHT, still, world=world), rules(LEFT, still, world=world)]
    told: list[tuple[str, int]] = []
    testing = judge(world, horizon=20, rest={"progress": lambda what, steps: told.append((what, steps))})
    found = testing.test(sets)
    assert found.env_steps == world.taken == sum(found.spent.values()) == testing.env_steps
    assert list(found.spent) == ["race", "confirm", "leave out", "confirm the rest"]
    assert told[-1][1] == found.env_steps
    assert [steps for _, steps in told] == sorted(steps for _, steps in told)


def test_the_same_seed_gives_the_same_result_with_workers_too() -> None:
    sets = [
        rules(RIGHT, "{when: cell == 0, do: LEFT}"),
        rules("{when: cell > at, do: RIGHT}", constants="{at: [6, 0, 8]}"),
    ]
    options: dict[str, Any] = {"tune": True, "tune_settings": 6}
    world = corridor(slip=0.2)
    first = judge(world, **options).test(sets)
    assert judge(world, **options).test(sets) == first
    assert judge(world, rest={"workers": 2}, **options).test(sets) == first
    assert judge(world, seed=1, **options).test(sets) != first


HARMFUL = "{when: cell == 5, do: LEFT}"


def test_a_set_that_holds_is_not_taken_apart() -> None:
    found = judge().test([rules(NEVER, RIGHT)])
    assert (found.verdict, found.pairs_of) == ("accepted", "confirm")
    assert (found.weights, found.dropped) == ((None, None), ())
    assert set(found.spent) == {"confirm"}
    assert "cell > 100" in found.rules


def test_a_harmful_rule_goes_and_the_rest_is_accepted_on_episodes_of_its_own() -> None:
    found = judge().test([rules(NEVER, HARMFUL, RIGHT)])
    assert found.dropped == (0, 1)
    assert found.weights[0] == 0.0
    assert found.weights[1] is not None
    assert found.weights[1] < 0
    assert (found.verdict, found.pairs_of) == ("accepted", "confirm the rest")
    assert "cell > 100" not in found.rules
    assert "cell > 0" in found.rules
    assert list(found.spent) == ["confirm", "leave out", "confirm the rest"]
    assert found.env_steps == sum(found.spent.values())


def test_where_what_is_left_does_not_hold_either_the_set_stays_as_it_was() -> None:
    found = judge().test([rules(HARMFUL, "{when: cell == 6, do: LEFT}", NEVER)])
    assert (found.verdict, found.pairs_of, found.dropped) == ("rejected", "confirm", ())
    assert all(weight is not None for weight in found.weights)
    assert "cell == 5" in found.rules
    assert found.env_steps == sum(found.spent.values())


def test_both_confirmations_together_make_no_more_error_than_was_asked() -> None:
    config = RuleTestConfig()
    asked = 1 - config.confidence
    each = [1 - rule_of(config, (4,), 1.0, ERROR[purpose]).confidence for purpose in (WHOLE, REST)]
    assert sum(each) == pytest.approx(asked)
    alone = judge(weigh_pairs=0).test([rules(RIGHT, NEVER)])
    apart = judge().test([rules(RIGHT, NEVER)])
    assert (alone.returns, alone.gain) == (apart.returns, apart.gain)
    assert apart.low < alone.low


def test_of_two_rules_that_can_stand_in_for_one_another_one_stays() -> None:
    found = judge().test([rules("{when: cell > 0, do: RIGHT}", HARMFUL, "{when: cell > 0.5, do: RIGHT}")])
    assert found.verdict == "accepted", "the harmful one never acts"
    found = judge().test([rules(HARMFUL, "{when: cell > 0, do: RIGHT}", "{when: cell > 0.5, do: RIGHT}")])
    assert len(found.dropped) == 2
    assert 0 in found.dropped
    assert found.verdict == "accepted"


def test_leaving_out_is_not_begun_where_it_cannot_be_finished() -> None:
    world = corridor(length=101, max_steps=10)
    sets = [rules(*(f"{{when: cell == {cell}, do: LEFT}}" for cell in range(45, 55)), world=world)]
    for cap, weighed in ((200, False), (600, True), (1200, True)):
        found = judge(world, Walker(0.9), horizon=10, max_steps=cap).test(sets)
        assert found.verdict != "accepted"
        assert all((weight is not None) == weighed for weight in found.weights)
        assert 4 * 10 <= found.spent["leave out"] <= (cap - found.spent["confirm"]) / 2


@pytest.mark.parametrize("cap", [300, 400, 800, 1600])
def test_what_tuning_spent_is_no_budget_for_leaving_out(cap: int) -> None:
    world = corridor(slip=0.4)
    turned = rules(
        "{when: cell == 7, do: LEFT}", "{when: cell > at, do: LEFT}", constants="{at: [3, 2, 4]}", world=world
    )
    tuning: dict[str, Any] = {"tune": True, "tune_settings": 8, "tune_max_steps": 6000, "tune_pairs": 6}
    found = judge(world, Walker(0.2), max_steps=cap, **tuning).test([turned])
    assert found.verdict != "accepted"
    assert found.spent["tune"] > cap / 2
    assert sum(steps for purpose, steps in found.spent.items() if purpose not in ("tune", "settle")) <= cap


def test_without_pairs_to_weigh_nothing_is_left_out() -> None:
    found = judge(weigh_pairs=0).test([rules(HARMFUL, RIGHT)])
    assert (found.weights, found.dropped) == ((None, None), ())
    assert set(found.spent) == {"confirm"}


@pytest.mark.parametrize("stored", [False, True])
def test_the_best_of_several_sets_is_chosen(stored: bool) -> None:
    world = corridor()
    trajectories = [play(Walker(0.5), world, episode=number) for number in range(3)] if stored else []
    sets = [
        rules(LEFT),
        rules(NEVER),
        rules("{when: cell == 4, do: RIGHT}"),
        rules(RIGHT),
        rules("{when: cell < 4, do: LEFT}"),
    ]
    found = judge(world, rest={"trajectories": trajectories}).test(sets)
    assert (found.chosen, found.verdict) == (3, "accepted")
    assert ("windows" in found.spent) == stored
    assert found.env_steps == sum(found.spent.values())


def test_confirmation_uses_seeds_that_chose_nothing() -> None:
    seeds: dict[str, set[int]] = {}

    class Spied(Corridor):
        phase = ""

        def make(self, num_envs: int) -> Any:
            envs, world = super().make(num_envs), self
            reset = envs.reset

            def spied(*, seed: Any = None, options: Any = None) -> Any:
                seeds.setdefault(world.phase, set()).update(seed)
                return reset(seed=seed, options=options)

            envs.reset = spied  # type: ignore[method-assign]
            return envs

    world = Spied(CorridorOptions(slip=0.2))

    def progress(purpose: str, steps: int) -> None:
        world.phase = purpose

    sets = [  # more than are tuned, so that they race, and none that holds
        rules(f"{{when: cell > {cell}, do: LEFT}}", HARMFUL, constants="{at: [6, 0, 8]}") for cell in range(4)
    ]
    judge(world, tune=True, tune_settings=4, rest={"progress": progress}).test(sets)
    for purpose in ("confirm the rest", "confirm"):
        confirming = seeds.pop(purpose)
        assert {"race", "tune", "leave out"} <= set(seeds)
        assert not confirming & set().union(*seeds.values())


def test_the_set_that_can_be_tuned_best_is_found_though_it_is_the_worst_as_written() -> None:
    planted = rules("{when: cell > 0, do: RIGHT if cell > at else LEFT}", constants="{at: [7, -1, 8]}")
    good = rules("{when: cell > at, do: RIGHT}", constants="{at: [5, 5, 6]}")
    idle = rules("{when: cell > at, do: LEFT}", constants="{at: [6, 5, 6]}")
    assert judge().test([planted]).verdict != "accepted"
    found = judge(tune=True, tune_settings=12).test([good, idle, planted])
    assert (found.chosen, found.verdict) == (2, "accepted")
    assert found.constants["at"] < 4
    assert "race" not in found.spent


def test_sets_that_differ_in_their_constants_alone_are_tuned_as_one() -> None:
    same = [rules("{when: cell > at, do: RIGHT}", constants=f"{{at: [{at}, 0, 8]}}") for at in (7, 3, 5)]
    one = judge(tune=True, tune_settings=8).test([same[0]])
    three = judge(tune=True, tune_settings=8).test(same)
    assert (three.constants, three.spent["tune"]) == (one.constants, one.spent["tune"])


def test_tuning_finds_a_planted_constant() -> None:
    written = rules("{when: cell > 0, do: RIGHT if cell > at else LEFT}", constants="{at: [6, 0, 8], idle: [1, 0, 2]}")
    assert judge().test([written]).verdict != "accepted"
    found = judge(tune=True, tune_settings=8).test([written])
    assert found.verdict == "accepted"
    assert found.constants["at"] < 4
    assert f"- {found.constants['at']}" in found.rules
    assert set(found.spent) == {"tune", "settle", "confirm"}


def test_what_is_best_as_written_stays_so() -> None:
    found = judge(tune=True, tune_settings=8).test(
        [rules("{when: cell > at, do: RIGHT}", constants="{at: [0, 0, 8]}")]
    )
    assert found.constants == {}
    nothing = judge(tune=True).test([rules(RIGHT)])
    assert (nothing.constants, nothing.spent["tune"]) == ({}, 0)
    poor = judge(tune=True, tune_max_steps=0).test(
        [rules("{when: cell > at, do: RIGHT}", constants="{at: [6, 0, 8]}")]
    )
    assert (poor.constants, poor.spent["tune"], poor.spent["settle"]) == ({}, 0, 0)


def test_a_difference_stands_out_by_its_standard_error() -> None:
    assert stands_out(np.array([1.0, 1.0, 1.0]))
    assert stands_out(np.array([1.0, 3.0, 1.0, 3.0]))
    assert not stands_out(np.array([0.0, 0.0]))
    assert not stands_out(np.array([-1.0, -1.0, -1.0]))
    assert not stands_out(np.array([0.0, 2.0]))
    assert not stands_out(np.array([3.0, -2.9, 3.0, -2.9]))


def test_selection_among_worthless_sets_is_seldom_accepted() -> None:
    """Sets that differ by luck only: the winner of the race is confirmed on fresh seeds."""
    world = corridor(slip=0.45, length=7)
    sets = [
        rules(f"{{when: cell == {cell}, do: {move}}}", world=world) for cell in (1, 5) for move in ("LEFT", "RIGHT")
    ]
    equal = corridor(slip=0.45, length=7, lure=1.0)  # symmetric: no single cell's move is worth anything on balance
    verdicts = [judge(equal, seed=seed, min_gain=0.0).test(sets).verdict for seed in range(12)]
    assert verdicts.count("accepted") <= 4


def test_it_survives_json() -> None:
    adapter = TypeAdapter(RuleTest)
    for found in (judge().test([rules(RIGHT, NEVER)]), judge(max_steps=0).test([rules(RIGHT)])):
        assert adapter.validate_json(adapter.dump_json(found)) == found
        assert parse_rules(found.rules, interface_of(corridor())).document.rules


def test_nothing_to_test_is_refused() -> None:
    with pytest.raises(ValueError, match="no sets"):
        judge().test([])
    with pytest.raises(RuleError, match="no rule to act by"):
        judge().test([parse_rules("potential: cell", interface_of(corridor()))])


def test_windows_leave_the_race_its_episodes() -> None:
    """Twelve sets in as many windows as are asked for would take all that choosing may cost."""
    world = corridor()
    trajectories = [play(Walker(0.5), world, episode=number) for number in range(3)]
    sets = [rules(f"{{when: cell == {cell}, do: LEFT}}") for cell in range(1, 8)] * 2
    sets[9] = rules(RIGHT)
    given = {"horizon": 50, "windows": 24, "window_steps": 30, "max_steps": 20_000}
    found = judge(world, rest={"trajectories": trajectories}, **given).test(sets)
    assert (found.chosen, found.verdict) == (9, "accepted")
    assert 0 < found.spent["windows"] <= 5000
    assert found.spent["race"] > 0
    poor = judge(world, rest={"trajectories": trajectories}, **{**given, "max_steps": 4000}).test(sets)
    assert "windows" not in poor.spent, "three windows of each would choose by luck"
    assert poor.spent["race"] > 0


def test_where_nothing_better_can_be_expected_no_more_steps_are_paid_for() -> None:
    best = judge(tune=True, tune_settings=9).test([rules("{when: cell > at, do: RIGHT}", constants="{at: [0, 0, 8]}")])
    assert 0 < best.spent["tune"] < 30_000
    lost = judge(tune=True, tune_settings=9).test(
        [rules("{when: cell > 100 + at, do: LEFT}", constants="{at: [0, 0, 1]}")]
    )
    assert lost.constants == {}
    few = judge(tune=True, tune_max_steps=400).test(
        [rules("{when: cell > at, do: RIGHT}", constants="{at: [6, 0, 8]}")]
    )
    assert few.spent["tune"] + few.spent["settle"] <= 400


PENDULUM = {
    "mild": ("own.torque + gain", 0.01, False),
    "switch": ("2 * sign(tip_speed) * gain", 5.0, True),
}


@pytest.mark.parametrize("kind", list(PENDULUM))
def test_gains_that_saturate_are_told(kind: str) -> None:
    world = create_environment("gymnasium:Pendulum-v1")
    face = interface_of(world)
    text, gain, saturates = PENDULUM[kind]
    name = next(iter(face.quantities))
    do = text.replace("tip_speed", name)
    made = parse_rules(f"constants: {{gain: [{gain}, -9, 9]}}\nrules: [{{when: true, do: {{torque: {do}}}}}]", face)

    class Slack(Walker):
        def act_with_uniforms(self, observations: Any, uniforms: Any) -> Any:
            return (uniforms[:, :1] - 0.5).astype(np.float32)

    found = judge(world, Slack(0.0), pairs=2, min_pairs=2).test([made])
    assert found.saturated is not None
    assert found.saturated_alone == 0.0
    assert found.saturates is saturates
    assert (found.saturated > 0.9) is saturates
    assert judge().test([rules(RIGHT)]).saturated is None, "there is nothing to saturate in a corridor"
