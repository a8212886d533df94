"""What preceded events, in episodes made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ultra_agents.effects import Event, events_table
from ultra_agents.records import Trajectory
from ultra_agents.testing.corridor import Corridor, CorridorOptions

WORLD = Corridor(CorridorOptions(length=101))


def episode(index: int, cells: Any, rewards: Any, terminated: bool = False) -> Trajectory:
    cells = np.asarray(cells)
    return Trajectory(
        episode=index,
        seed=index,
        observations=(2 * cells / 100 - 1).astype(np.float32)[:, None],
        actions=np.zeros(len(cells), np.int64),
        rewards=np.asarray(rewards, np.float64),
        values=np.zeros(len(cells)),
        infos=tuple({} for _ in cells),
        terminated=terminated,
        truncated=not terminated,
    )


def find(events: tuple[Event, ...], kind: str, quantity: str = "cell") -> Event:
    (one,) = [row for row in events if (row.kind, row.quantity) == (kind, quantity)]
    return one


def test_cells_before_a_reward_against_those_elsewhere() -> None:
    episodes = []
    for index in range(3):
        cells, rewards = 50 + np.arange(100) % 2, np.zeros(100)
        cells[44:61] = 74 + np.arange(17)
        rewards[60] = 1
        episodes.append(episode(index, cells, rewards))
    found = find(events_table(episodes, WORLD), "wandering")  # the corridor's word for such a reward
    assert (found.count, found.episodes) == (3, 3)
    assert found.means == (74, 82, 86, 90)
    assert found.elsewhere == pytest.approx(50.5, abs=0.02)
    assert found.size > 10
    assert found.surely > 10


def test_an_end_is_an_event_and_a_time_limit_is_none() -> None:
    episodes = [episode(index, 50 + np.arange(40) % 2, np.zeros(40), terminated=index < 2) for index in range(4)]
    episodes[:2] = [episode(index, np.arange(40) + 20, np.zeros(40), terminated=True) for index in range(2)]
    found = find(events_table(episodes, WORLD), "end of an episode")
    assert (found.count, found.episodes) == (2, 2)
    assert found.means == (43, 51, 55, 59)
    assert events_table(episodes[2:], WORLD) == ()


def test_dense_rewards_have_outliers_and_what_happened_once_is_no_rule() -> None:
    rng = np.random.default_rng(0)
    rewards, cells = rng.normal(0, 0.1, 200), rng.integers(40, 60, 200)
    rewards[[50, 100, 150]], cells[[50, 100, 150]] = 9.0, 99
    found = events_table([episode(0, cells, rewards)], WORLD)
    assert {one.kind for one in found} == {"unusually high reward"}
    assert find(found, "unusually high reward").means[-1] == 99
    rewards[[50, 100]] = 0.0
    assert events_table([episode(0, cells, rewards)], WORLD) == ()


def test_no_quantities_no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    episodes = [episode(index, np.arange(40) + 20, np.zeros(40), terminated=True) for index in range(2)]
    assert events_table(episodes, WORLD)
    monkeypatch.setattr(Corridor, "absent", frozenset({"quantities"}))
    assert events_table(episodes, WORLD) == ()
