"""What a test says of its replays beyond their mean: how they ended, and one of them beside the policy's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ultra_agents.narration.rewards import usual_reward
from ultra_agents.records import Replays
from ultra_agents.testing.corridor import Corridor
from ultra_agents.verification import CounterfactualTester, counterfactual

from .conftest import LEFT, RIGHT, Counted, Streams, Walker, corridor, play, settings, suggest

STRAIGHT = Walker(left=0.0)


def measure(
    world: Any, *moves: tuple[str, int], policy: Walker = STRAIGHT, pairs: int = 4, seed: int = 0, **options: Any
) -> Any:
    terms = {"screen_pairs": 0, "min_pairs": pairs, "max_pairs": pairs, "horizon": 20, **options}
    with CounterfactualTester(
        world, policy, settings(**terms), Streams(seed), max_tests=1, usual=usual_reward
    ) as tester:
        result = tester(play(policy, world), suggest(0, *moves))
    assert result is not None
    return result


def test_endings_say_what_came_when_in_every_pair() -> None:
    found = measure(corridor(), (LEFT, 4)).replays
    assert isinstance(found, Replays)
    assert (found.horizon, len(found.advised), len(found.own)) == (24, 4, 4)
    for one, event, earned in ((found.advised[0], 0.19, 0.16), (found.own[0], 0.99, 0.96)):
        assert (one.steps, one.over, one.at) == (4, "terminated", 4)
        assert (one.event, one.earned) == (pytest.approx(event), pytest.approx(earned))
    assert len(set(found.advised)) == len(set(found.own)) == 1


def test_a_replay_that_is_cut_and_one_that_meets_the_policys_own() -> None:
    far = corridor(length=101)
    cut = measure(far, (LEFT, 3)).replays
    assert {(one.steps, one.over, one.event) for one in (*cut.advised, *cut.own)} == {(23, "", None)}
    met = measure(far, (RIGHT, 3)).replays
    assert {(one.steps, one.over) for one in met.advised} == {(3, "merged")}
    assert {(one.steps, one.over) for one in met.own} == {(3, "")}


def test_a_time_limit_is_no_termination() -> None:
    found = measure(corridor(length=101, max_steps=10), (LEFT, 3)).replays
    assert {(one.steps, one.over) for one in (*found.advised, *found.own)} == {(10, "truncated")}


def test_moments_are_those_where_the_plan_changes_and_something_happens() -> None:
    found = measure(corridor(length=21), (LEFT, 3), (RIGHT, 2)).replays
    rows = {moment.after: moment for moment in found.moments}
    assert {0, 3, 5, 10, 16} <= set(rows)
    assert len(rows) <= 7
    assert [rows[time].actions for time in (0, 3, 5)] == [(LEFT, RIGHT), (RIGHT, RIGHT), (RIGHT, RIGHT)]
    assert [rows[time].values["cell"] for time in (0, 3, 5)] == [(10, 10), (7, 13), (9, 15)]
    assert rows[10].actions == (RIGHT, ""), "the policy's own has come to the end"
    assert (rows[16].actions, rows[16].values["cell"]) == (("", ""), (20, None))


@pytest.mark.parametrize("seed", range(4))
def test_the_replay_that_is_told_is_the_first_pair(seed: int) -> None:
    world, policy = corridor(length=7, slip=0.3), Walker(left=0.5)
    found = measure(world, (LEFT, 1), policy=policy, seed=seed).replays
    for moment in found.moments:
        for action, side in zip(moment.actions, (found.advised, found.own), strict=True):
            if side is found.own or side[0].over != "merged":
                assert (action == "") == (moment.after >= side[0].steps)


def test_nothing_more_is_played_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def steps() -> tuple[int, Any]:
        world = Counted(corridor(length=101).options)
        found = measure(world, (LEFT, 3))
        return world.taken, found

    told_steps, told = steps()
    monkeypatch.setattr(counterfactual, "TRACED", 0)
    plain_steps, plain = steps()
    assert told_steps == plain_steps
    assert (plain.replays.moments, plain.replays.own) == ((), told.replays.own)
    assert (plain.gain, plain.env_steps) == (told.gain, told.env_steps)


def test_a_world_without_quantities_has_no_moments() -> None:
    class Wordless(Corridor):
        """As an environment that names none."""

        quantities = Corridor.__mro__[1].quantities  # type: ignore[assignment]

    found = measure(Wordless(corridor().options), (LEFT, 4)).replays
    assert found.moments == ()
    assert found.advised[0].event == pytest.approx(0.19)


def test_dense_rewards_have_no_events() -> None:
    with CounterfactualTester(corridor(), STRAIGHT, settings(), Streams(0), max_tests=1) as tester:
        found = tester(play(STRAIGHT), suggest(0, (LEFT, 4)))
    assert found is not None
    assert found.replays is not None
    assert {one.event for one in (*found.replays.advised, *found.replays.own)} == {None}
    assert np.isfinite([one.earned for one in found.replays.own]).all()
