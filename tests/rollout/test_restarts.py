"""Training episodes that begin at restored critical states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from ultra_agents_plugins.algorithms.ppo import PPO, PPOOptions
from ultra_agents_plugins.algorithms.sac import SAC, SACOptions

from ultra_agents.contracts import Trainer
from ultra_agents.errors import ConfigError, EnvironmentFault
from ultra_agents.records import Array, CriticalState, Explanation, Segment, Trajectory
from ultra_agents.registry import create_environment
from ultra_agents.rollout.restarts import Restarts, critical_snapshots
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions

SLIPPERY = Corridor(CorridorOptions(length=9, max_steps=12, slip=0.3))


def state_at(environment: Any, steps: int, action: int = 1) -> tuple[bytes, Array]:
    """A stored state `steps` steps into an episode, and its observation."""
    with make_simulators(environment, 1) as simulators:
        obs, _ = simulators.reset(seed=[7])
        for _ in range(steps):
            obs = simulators.step(np.array([action]))[0]
        return simulators.snapshot([0])[0], obs[0]


def around(simulators: Simulators, states: Sequence[bytes], probability: float, seed: int = 0) -> Restarts:
    return Restarts(simulators, lambda: states, probability, Streams(seed))


def play(envs: Any, steps: int, seed: int = 0) -> list[Any]:
    rng, said = np.random.default_rng(seed), []
    for _ in range(steps):
        obs, rewards, terminated, truncated, infos = envs.step(rng.integers(0, 2, envs.num_envs))
        said.append((obs.copy(), rewards, terminated, truncated, infos.get("restarted")))
    return said


@pytest.mark.parametrize(("probability", "least", "most"), [(0.0, 0.0, 0.0), (0.5, 0.35, 0.65), (1.0, 1.0, 1.0)])
def test_the_share_of_restored_starts_is_the_one_asked_for(probability: float, least: float, most: float) -> None:
    state, there = state_at(SLIPPERY, 3)
    with make_simulators(SLIPPERY, 4) as simulators:
        envs = around(simulators, [state], probability)
        first, _ = envs.reset(seed=[1, 2, 3, 4])
        assert np.array_equal(first[envs.restored], np.repeat(there[None], envs.restored.sum(), 0))
        for obs, _, terminated, truncated, restarted in play(envs, 400):
            assert restarted.shape == (4,)
            ended = terminated | truncated
            assert all(obs[i, 0] in (0.0, there[0]) for i in np.flatnonzero(ended))
        assert envs.starts > 100
        assert least <= envs.restored_starts / envs.starts <= most


def test_own_starts_go_on_as_if_nothing_had_been_restored() -> None:
    environment = create_environment("gymnasium:CartPole-v1", {})
    state, there = state_at(environment, 4)
    with make_simulators(environment, 1) as plain, make_simulators(environment, 1) as simulators:
        envs = around(simulators, [state], 0.5)
        starts: dict[str, list[Array]] = {"plain": [], "restarted": []}
        for name, one in (("plain", plain), ("restarted", envs)):
            first, _ = one.reset(seed=[5])
            if name == "plain" or not envs.restored[0]:
                starts[name].append(first[0])
            for obs, _, terminated, truncated, _ in play(one, 700):
                if (terminated[0] or truncated[0]) and not np.array_equal(obs[0], there):
                    starts[name].append(obs[0])
    own = starts["restarted"]
    assert 5 < len(own) < envs.starts - 5
    assert len({row.tobytes() for row in own}) == len(own), "no start comes twice"
    assert np.array_equal(np.stack(own[:5]), np.stack(starts["plain"][:5]))


def test_the_time_limit_counts_what_came_before_the_stored_state() -> None:
    still = Corridor(CorridorOptions(length=101, max_steps=20))
    state, _ = state_at(still, 12)
    with make_simulators(still, 1) as simulators:
        envs = around(simulators, [state], 1.0)
        envs.reset(seed=[0])
        ends = [t for t in range(24) if envs.step(np.array([t % 2]))[3][0]]
    assert ends == [7, 15, 23], "20 - 12 steps each"


def test_the_flag_is_of_the_episode_the_step_belongs_to() -> None:
    state, there = state_at(SLIPPERY, 3)
    with make_simulators(SLIPPERY, 1) as simulators:
        envs = around(simulators, [state], 0.5)
        first, _ = envs.reset(seed=[0])
        began, kinds = bool(first[0, 0] == there[0]), set()
        for obs, _, terminated, truncated, restarted in play(envs, 200):
            assert bool(restarted[0]) is began
            kinds.add(began)
            if terminated[0] or truncated[0]:
                began = bool(obs[0, 0] == there[0])
    assert kinds == {True, False}


def test_a_play_goes_on_exactly_from_its_snapshots() -> None:
    states = [state_at(SLIPPERY, steps)[0] for steps in (1, 3)]
    with make_simulators(SLIPPERY, 3) as one, make_simulators(SLIPPERY, 3) as other:
        first, second = around(one, states, 0.5), around(other, states, 0.5, seed=9)
        first.reset(seed=[1, 2, 3])
        while not any(first._aside):  # until a start is put aside
            play(first, 5, first.starts)
        saved = first.snapshot(range(3))
        second.reset(seed=[4, 5, 6])
        second.restore(range(3), saved)
        for mine, theirs in zip(play(first, 60, 1), play(second, 60, 1), strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))
        with pytest.raises(EnvironmentFault, match="not a snapshot of environments with restored starts"):
            second.restore([0], one.snapshot([0]))


def test_what_one_environment_does_depends_on_no_other() -> None:
    state, _ = state_at(SLIPPERY, 3)
    seen = []
    for count in (1, 3):
        with make_simulators(SLIPPERY, count) as simulators:
            envs = around(simulators, [state], 0.5)
            envs.reset(seed=list(range(1, count + 1)))
            seen.append([envs.step(np.array([t % 2, *[1] * (count - 1)]))[0][0] for t in range(80)])
    assert np.array_equal(*seen)


def trainer(algorithm: str, envs: Any) -> Trainer:
    made: Any = (
        PPO(PPOOptions(num_steps=64, hidden=(8,), value_warmup_updates=0))
        if algorithm == "ppo"
        else SAC(SACOptions(num_steps=64, hidden=(8,), learning_starts=64, replay_ratio=0.1, value_warmup_steps=0))
    )
    policy = made.create_policy(envs.single_observation_space, envs.single_action_space, 0)
    one: Trainer = made.trainer(policy, envs, 10_000, Streams(3))
    return one


@pytest.mark.parametrize(
    ("algorithm", "environment", "steps"),
    [("ppo", SLIPPERY, 2), ("sac", create_environment("gymnasium:Pendulum-v1", {}), 150)],
)
def test_training_on_restarts_resumes_exactly_and_counts_whole_episodes_only(
    algorithm: str, environment: Any, steps: int
) -> None:
    action = np.zeros(1, np.float32) if algorithm == "sac" else 1
    state, _ = state_at(environment, steps, action)  # type: ignore[arg-type]
    with (
        make_simulators(environment, 2) as a,
        make_simulators(environment, 2) as b,
        make_simulators(environment, 2) as c,
    ):
        whole, first, second = (trainer(algorithm, around(one, [state], 0.5)) for one in (a, b, c))
        told = [whole.update() for _ in range(8)]
        for _ in range(4):
            first.update()
        second.load_state(*first.state())
        for _ in range(4):
            second.update()
        theirs = second.state()[0]
        for name, array in whole.state()[0].items():
            assert np.array_equal(array, theirs[name]), name
        lengths = [row["length_mean"] for row in told if row["episodes"]]
        starts: Any = whole.envs  # type: ignore[attr-defined]
        assert sum(row["episodes"] for row in told) <= starts.starts - starts.restored_starts
        assert starts.restored_starts > 0
        assert lengths
        if algorithm == "sac":
            assert set(lengths) == {200.0}, "cut ones of 50 steps are not among them"


def test_a_chance_that_is_none_is_refused() -> None:
    with make_simulators(SLIPPERY, 1) as simulators, pytest.raises(ConfigError, match="no probability"):
        around(simulators, [], 1.5)


def episode(index: int, snapshots: tuple[bytes, ...] | None) -> Trajectory:
    return Trajectory(
        index, 0, np.zeros((2, 1)), np.zeros(2, int), np.zeros(2), np.zeros(2), ({}, {}), True, False, snapshots
    )


def test_states_are_those_of_accepted_advice_or_else_of_all_critical_states() -> None:
    class Place:
        episode, step = 0, 1

    episodes = [episode(0, (b"a", b"b")), episode(1, (b"c", b"d"))]
    explained = [
        Explanation(Segment(number, 0, 2, "whole"), (CriticalState(number, "x", 1.0, fate="rejected"),))
        for number in (0, 1)
    ]
    accepted: Any = [Place(), Place()]
    assert critical_snapshots(episodes, explained, accepted) == [b"b"]
    assert critical_snapshots(episodes, explained, []) == [b"a", b"d"]
    with pytest.raises(ConfigError, match="hold no simulator states"):
        critical_snapshots([episode(0, None)], [], accepted)
