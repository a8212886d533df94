from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ultra_agents.registry import create_environment
from ultra_agents.rollout.restarts import Restarts as CriticalStarts
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.seeding import Streams

ENVIRONMENT = create_environment("corridor", {"length": 9, "max_steps": 12, "slip": 0.2})
MIDDLE = 0.0


def state_at(cell: int) -> bytes:
    """A corridor in `cell`, however many steps from the middle that is."""
    with make_simulators(ENVIRONMENT, 1) as simulators:
        for seed in range(200):
            simulators.reset(seed=[seed])
            for _ in range(8):
                seen, _, terminated, _, _ = simulators.step(np.array([cell > 4]))
                if terminated[0]:
                    break
                if round((seen[0, 0] + 1) * 4) == cell:
                    return simulators.snapshot([0])[0]
    raise AssertionError


def play(envs: Any, steps: int, seed: int = 0) -> tuple[list[float], list[Any]]:
    """Walk at random: first observations of episodes, and everything seen."""
    rng, firsts, rows = np.random.default_rng(seed), [], []
    for _ in range(steps):
        seen, rewards, terminated, truncated, _ = envs.step(rng.integers(2, size=envs.num_envs))
        firsts += seen[terminated | truncated, 0].tolist()
        rows.append((seen.tolist(), rewards.tolist(), terminated.tolist(), truncated.tolist()))
    return firsts, rows


def wrapped(simulators: Simulators, states: Any, probability: float) -> CriticalStarts:
    return CriticalStarts(simulators, states, probability, Streams(5))


@pytest.mark.parametrize("p", [0.25, 0.5])
def test_the_share_of_restored_starts_is_p_not_1_minus_p(p: float) -> None:
    states = [state_at(2), state_at(6)]
    with make_simulators(ENVIRONMENT, 8) as simulators:
        envs = wrapped(simulators, lambda: states, p)
        first, _ = envs.reset(seed=list(range(8)))
        firsts, _ = play(envs, 900)
        places = np.array([*first[:, 0].tolist(), *firsts])
        assert len(places) == envs.starts > 700
        restored = places != MIDDLE
        assert restored.sum() == envs.restored_starts
        assert abs(restored.mean() - p) < 4 * np.sqrt(p * (1 - p) / len(places))
        left, right = (places == -0.5).sum(), (places == 0.5).sum()
        assert left + right == restored.sum()
        assert abs(left / restored.sum() - 0.5) < 4 * np.sqrt(0.25 / restored.sum())


def test_all_or_none() -> None:
    states = [state_at(6)]
    with make_simulators(ENVIRONMENT, 4) as simulators:
        for p, place in ((1.0, 0.5), (0.0, MIDDLE)):
            envs = wrapped(simulators, lambda: states, p)
            first, _ = envs.reset(seed=[1, 2, 3, 4])
            assert set(first[:, 0].tolist()) | set(play(envs, 50)[0]) == {place}
            assert envs.restored.all() == (p == 1.0)


def test_no_states_leave_the_environment_alone() -> None:
    with make_simulators(ENVIRONMENT, 4) as simulators:
        bare = simulators.reset(seed=[1, 2, 3, 4])[0].tolist(), play(simulators, 60)
        envs = wrapped(simulators, list, 1.0)
        assert (envs.reset(seed=[1, 2, 3, 4])[0].tolist(), play(envs, 60)) == bare
        assert envs.restored_starts == 0
