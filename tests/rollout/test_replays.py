"""Stretches from stored states against steps made by hand: the same, whatever plays beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ultra_agents.records import Array
from ultra_agents.rollout.replays import Replay, plans_act, replay
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.testing.corridor import Corridor, CorridorOptions

WORLD = Corridor(CorridorOptions(slip=0.3, max_steps=40))
RNG = np.random.default_rng(7)
PLANS = [RNG.integers(0, 2, length) for length in (5, 1, 9, 3, 14, 30, 2)]


def stored(count: int = len(PLANS)) -> list[bytes]:
    """States of different episodes, some steps in; slips lie ahead."""
    with make_simulators(WORLD, count) as simulators:
        simulators.reset(seed=list(range(count)))
        simulators.step(np.zeros(count, dtype=np.int64))
        return simulators.snapshot(range(count))


def by_hand(snapshot: bytes, plan: Array) -> tuple[list[Any], list[int], float]:
    """Observations before each action, the actions, the sum of rewards; up to the end of the episode."""
    with make_simulators(WORLD, 1) as one:
        one.reset(seed=[99])
        seen = one.restore([0], [snapshot])
        observations, actions, earned = [], [], 0.0
        for action in plan:
            observations.append(np.array(seen[0]))
            actions.append(int(action))
            seen, rewards, terminated, truncated, _ = one.step(np.array([action]))
            earned += float(rewards[0])
            if terminated[0] or truncated[0]:
                break
    return observations, actions, earned


def replays(num_envs: int, snapshots: Sequence[bytes], plans: Sequence[Array] = PLANS) -> list[Replay]:
    with make_simulators(WORLD, num_envs) as simulators:
        simulators.reset(seed=list(range(1000, 1000 + num_envs)))
        return replay(simulators, snapshots, [len(plan) for plan in plans], plans_act(plans))


@pytest.mark.parametrize("num_envs", [1, 3, 7, 10])
def test_a_stretch_is_what_stepping_by_hand_meets(num_envs: int) -> None:
    snapshots = stored()
    made = replays(num_envs, snapshots)
    assert len(made) == len(PLANS)
    for one, snapshot, plan in zip(made, snapshots, PLANS, strict=True):
        observations, actions, earned = by_hand(snapshot, plan)
        assert np.array_equal(one.observations, np.array(observations))
        assert one.observations.dtype == np.float32
        assert one.actions.tolist() == actions
        assert one.earned == pytest.approx(earned)
        assert len(one) == len(actions)


def test_a_stretch_ends_with_its_episode() -> None:
    snapshots = stored(2)
    plain = Corridor(CorridorOptions())
    with make_simulators(plain, 2) as simulators:
        simulators.reset(seed=[0, 1])
        snapshots = simulators.snapshot(range(2))
        right, left = np.ones(20, dtype=np.int64), np.zeros(3, dtype=np.int64)
        long, short = replay(simulators, snapshots, [20, 3], plans_act([right, left]))
    assert long.actions.tolist() == [1] * 4, "from cell 4 the goal in cell 8 is four steps away"
    assert long.observations[:, 0].tolist() == [0.0, 0.25, 0.5, 0.75], "nothing of the episode after the reset"
    assert long.earned == pytest.approx(1.0 - 4 * 0.01)
    assert short.actions.tolist() == [0] * 3
    assert short.earned == pytest.approx(-0.03)


def test_the_actions_may_depend_on_what_is_seen_and_when() -> None:
    asked: list[tuple[list[int], int]] = []

    def act(which: Array, observations: Array, time: int) -> Array:
        asked.append((which.tolist(), time))
        return (observations[:, 0] < 0.2).astype(np.int64)  # back and forth about cell 5

    plain = Corridor(CorridorOptions())
    with make_simulators(plain, 2) as simulators:
        simulators.reset(seed=[0, 1])
        middle = simulators.snapshot([0])[0]
        made = replay(simulators, [middle] * 3, [1, 4, 2], act)
    assert [one.actions.tolist() for one in made] == [[1], [1, 0, 1, 0], [1, 0]]
    assert asked == [([0, 1], 0), ([1], 1), ([1], 2), ([1], 3), ([2], 0), ([2], 1)]


def test_a_stretch_of_no_steps_is_empty() -> None:
    made = replays(2, stored(2), [np.zeros(0, dtype=np.int64), np.array([1])])
    assert [len(one) for one in made] == [0, 1]
    assert made[0].observations.shape == (0, 1)
    assert made[0].earned == 0.0
    assert replays(2, [], []) == []


def test_vector_actions_keep_their_shape_and_kind() -> None:
    pytest.importorskip("mujoco")
    from ultra_agents.registry import create_environment

    world = create_environment("hopper")
    plan = np.full((3, 3), 0.25, dtype=np.float32)
    with make_simulators(world, 1) as simulators:
        simulators.reset(seed=[0])
        (made,) = replay(simulators, simulators.snapshot([0]), [3], plans_act([plan]))
    assert made.actions.dtype == np.float32
    assert np.array_equal(made.actions, plan)
