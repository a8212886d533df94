"""Short tests of rules for those who write them: what is measured, told, paid, and that order does not matter."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ultra_agents.config import RuleTestConfig
from ultra_agents.rules import RuleError, RuleSet, interface_of, parse_rules
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import CorridorOptions
from ultra_agents.verification.trials import RuleTrials

from .conftest import Counted, Walker, corridor

RIGHT, LEFT = "{when: cell > 0, do: RIGHT}", "{when: cell > 0, do: LEFT}"


def rules(*each: str) -> RuleSet:
    return parse_rules(f"rules: [{', '.join(each)}]", interface_of(corridor()))


def trials(
    world: Any = None, number: int = 4, seed: int = 0, workers: int = 0, left: float = 0.5, **options: Any
) -> RuleTrials:
    config = RuleTestConfig(**{"horizon": 40, **options})
    return RuleTrials(world or corridor(), Walker(left), config, Streams(seed), trials=number, workers=workers)


def test_what_is_told() -> None:
    found = trials(left=0.7).try_out(rules("{when: cell == 4, do: RIGHT}", RIGHT), 0)
    assert found is not None
    assert found.passed
    assert found.low is not None and found.high is not None  # noqa: PT018
    assert found.low < found.gain < found.high
    assert found.gain == pytest.approx(np.mean(np.subtract(found.ruled.returns, found.alone.returns)))
    assert found.ruled.lengths == (4, 4, 4, 4)
    assert (found.ruled.terminated, found.ruled.truncated, found.ruled.cut) == (4, 0, 0)
    assert found.coverage == (0.25, 0.75)
    assert found.env_steps == 16
    assert found.alone_steps == sum(found.alone.lengths)
    assert found.worst.rule.tolist() == [0, 1, 1, 1]
    assert found.worst.trajectory.actions.tolist() == [1, 1, 1, 1]
    assert found.worst.trajectory.episode_return == pytest.approx(1 - 4 * 0.01)
    assert found.best is not None
    assert 0 in found.best.own.tolist()
    differences = np.subtract(found.ruled.returns, found.alone.returns)
    assert (found.worst.pair, found.best.pair) == (differences.argmin(), differences.argmax())
    assert repr(found).startswith("RuleTrial(+")


def test_who_acted_is_told_where_the_policy_did() -> None:
    found = trials().try_out(rules("{when: cell > 5, do: LEFT}"), 0)
    assert found is not None
    trace = found.worst
    here = np.round((trace.trajectory.observations[:, 0] + 1) * 4) > 5
    assert ((trace.rule == 0) == here).all()
    assert (trace.trajectory.actions[here] == 0).all()
    assert (trace.trajectory.actions[~here] == trace.own[~here]).all()


def test_no_interval_from_fewer_than_four_pairs() -> None:
    found = trials(trial_pairs=3).try_out(rules(RIGHT), 0)
    assert found is not None
    assert (found.low, found.high, found.pairs, found.passed) == (None, None, 3, False)


def test_an_episode_where_nothing_differs_has_one_trace() -> None:
    found = trials().try_out(rules("{when: cell > 100, do: LEFT}"), 0)
    assert found is not None
    assert (found.gain, found.best, found.coverage) == (0.0, None, (0.0,))


def test_the_policy_alone_is_played_once_and_everything_is_charged() -> None:
    world = Counted(CorridorOptions(length=101, max_steps=7))  # nobody arrives: every episode has 7 steps
    sets = [parse_rules(f"rules: [{one}]", interface_of(world)) for one in (RIGHT, LEFT)]
    testing = trials(world)
    first, second = (testing.try_out(one, index) for index, one in enumerate(sets))
    assert first is not None
    assert second is not None
    assert (first.env_steps, second.env_steps) == (28, 28)
    assert first.alone_steps == second.alone_steps == 28
    assert world.taken == 28 * 3
    assert first.ruled.truncated == 4


@pytest.mark.parametrize(("steps", "horizon"), [(19, None), (400, 20), (100_000, 40)])
def test_all_trials_together_keep_the_cap(steps: int, horizon: int | None) -> None:
    world = corridor(length=101, max_steps=60)
    one = parse_rules(f"rules: [{RIGHT}]", interface_of(world))
    found = trials(world, trial_steps=steps).try_out(one, 0)
    assert (None if found is None else found.horizon) == horizon
    if found is not None:
        assert found.ruled.cut == 4
        assert found.alone_steps + 4 * found.env_steps <= steps


def test_a_trial_says_the_same_whenever_it_comes_with_workers_too() -> None:
    one, other = rules(RIGHT), rules(LEFT)
    first = trials()
    before = first.try_out(one, 0), first.try_out(other, 1)
    second = trials(workers=2)
    after = second.try_out(other, 1), second.try_out(one, 0)
    for left, right in zip(before, reversed(after), strict=True):
        assert left is not None
        assert right is not None
        assert (left.ruled, left.alone, left.gain, left.low) == (right.ruled, right.alone, right.gain, right.low)
        assert (left.worst.trajectory.observations == right.worst.trajectory.observations).all()
    assert trials(seed=1).try_out(one, 0).alone != before[0].alone  # type: ignore[union-attr]


def test_a_potential_alone_cannot_be_tried() -> None:
    with pytest.raises(RuleError, match="no rule to act by"):
        trials().try_out(parse_rules("potential: cell", interface_of(corridor())), 0)
