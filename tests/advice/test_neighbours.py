from typing import Any

import numpy as np
import pytest

from ultra_agents.advice import build_table, rings_of
from ultra_agents.records import Advice, Plan, Trajectory
from ultra_agents.registry import create_environment

CORRIDOR = create_environment("corridor")


def episode(index: int, cells: Any, snapshots: bool = True) -> Trajectory:
    seen = np.asarray(cells, dtype=np.float32)[:, None]
    zeros = np.zeros(len(seen))
    states = (b"state",) * len(seen) if snapshots else None
    return Trajectory(
        index, 0, seen, np.zeros(len(seen), dtype=np.int64), zeros, zeros, ({},) * len(seen), True, False, states
    )


def row(episode: int, step: int) -> Advice:
    return Advice(episode, step, Plan((("RIGHT", 2),)), 1.0, "LEFT", 0.0, "", "", "", 1.0, "test")


def rings(advice: list[Advice], episodes: list[Trajectory], share: float = 1.0, **options: Any) -> Any:
    table = build_table(advice, episodes, CORRIDOR, hit_rate=share)
    settings = {"rings": 3, "states": 4, "rng": np.random.default_rng(0), **options}
    return table, rings_of(table, advice, episodes, CORRIDOR.features, **settings)


def test_rings_hold_the_states_a_row_is_matched_at_and_grow() -> None:
    episodes = [episode(0, np.linspace(-1, 1, 41)), episode(1, np.linspace(-1, 1, 41) + 0.01)]
    advice = [row(0, 5), row(0, 30)]
    table, found = rings(advice, episodes)
    for index, part in enumerate(found):
        assert [ring.radius for ring in part] == sorted(ring.radius for ring in part)
        for ring in part:
            assert 0 < len(ring.states) <= 4
            for number, step in ring.states:
                seen = CORRIDOR.features(episodes[number].observations[step][None])
                assert table.lookup(seen).tolist() == [index], "its row and no other"
                assert np.linalg.norm(seen[0] / table.scale - table.features[index]) <= ring.radius
    assert not {(0, 5), (0, 30)} & {state for part in found for ring in part for state in ring.states}


def test_states_are_spread_over_the_episodes() -> None:
    episodes = [episode(index, np.linspace(-1, 1, 21) + 0.001 * index) for index in range(4)]
    _, (part,) = rings([row(0, 10)], episodes, rings=1)
    assert {number for number, _ in part[0].states} == {0, 1, 2, 3}


def test_only_states_within_the_radius_that_can_be_restored_count() -> None:
    episodes = [episode(0, np.linspace(-1, 1, 41)), episode(1, np.linspace(-1, 1, 41), snapshots=False)]
    table, (part,) = rings([row(0, 20)], episodes, share=0.2, states=50)
    states = [state for ring in part for state in ring.states]
    assert {number for number, _ in states} == {0}
    assert max(ring.radius for ring in part) <= table.radius
    assert len(states) == pytest.approx(7, abs=2)
    _, nothing = rings([row(0, 20)], episodes, rings=0)
    assert nothing == [()]
