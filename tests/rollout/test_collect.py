from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ultra_agents.contracts import Environment, Policy
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.records import Trajectory
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect, scalars
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams


class Tilted(Policy):
    """Chooses each of `count` actions by chance, the last one more often the larger the first observation is."""

    def __init__(self, count: int) -> None:
        self.count = count

    def act(self, observations: Any, rng: Any = None, deterministic: bool = False) -> Any:
        if deterministic:
            return np.full(len(observations), self.count - 1)
        return self.act_with_uniforms(observations, rng.random((len(observations), 1)))

    def value(self, observations: Any) -> Any:
        return observations[:, 0].astype(np.float64) / 2

    def act_with_uniforms(self, observations: Any, uniforms: Any) -> Any:
        assert uniforms.shape == (len(observations), 1)
        assert ((uniforms > 0) & (uniforms < 1)).all()
        lean = 0.2 * np.clip(observations[:, 0], -1, 1)
        return np.clip((uniforms[:, 0] + lean) * self.count, 0, self.count - 1).astype(np.int64)

    def state(self) -> Any:
        return {}, {}


def play(
    environment: Environment, num_envs: int, seeds: list[int], workers: int = 0, max_steps: int = 1000, **more: Any
) -> list[Trajectory]:
    with make_simulators(environment, num_envs, workers) as simulators:
        policy = Tilted(int(environment.action_space.n))  # type: ignore[attr-defined]
        return collect(policy, environment, simulators, seeds, Streams(3), max_steps, **more)


def same(one: Trajectory, other: Trajectory) -> bool:
    return (
        (one.episode, one.seed, one.terminated, one.truncated, one.infos, one.snapshots)
        == (other.episode, other.seed, other.terminated, other.truncated, other.infos, other.snapshots)
        and np.array_equal(one.observations, other.observations)
        and np.array_equal(one.actions, other.actions)
        and np.array_equal(one.rewards, other.rewards)
        and np.array_equal(one.values, other.values)
    )


@pytest.mark.parametrize(
    ("name", "options"), [("corridor", {"slip": 0.2, "max_steps": 30}), ("pong", {"sticky": 0.1, "max_steps": 60})]
)
def test_episodes_do_not_depend_on_how_many_are_played_at_once(name: str, options: dict[str, float]) -> None:
    environment, seeds = create_environment(name, options), [5, 3, 8, 1, 9]
    alone = play(environment, 1, seeds)
    assert [one.seed for one in alone] == seeds
    assert [one.episode for one in alone] == [0, 1, 2, 3, 4]
    for num_envs, workers in ((2, 0), (8, 0), (3, 2)):
        assert all(map(same, alone, play(environment, num_envs, seeds, workers)))
    assert len({one.actions.tobytes() for one in alone}) == 5


def test_a_trajectory_is_what_the_simulator_replays() -> None:
    environment = create_environment("corridor", {"slip": 0.2})
    episodes = play(environment, 3, [0, 1, 2, 3])
    assert any(one.terminated for one in episodes)
    for episode in episodes:
        with make_simulators(environment, 1) as simulators:
            observations, info = simulators.reset(seed=[episode.seed])
            for step in range(len(episode)):
                assert np.array_equal(observations[0], episode.observations[step])
                assert episode.infos[step] == {"cell": int(info["cell"][0])}
                assert episode.values[step] == episode.observations[step][0] / 2
                assert episode.snapshots is not None
                assert simulators.snapshot([0]) == [episode.snapshots[step]]
                observations, rewards, terminated, truncated, info = simulators.step(episode.actions[step : step + 1])
                assert rewards[0] == episode.rewards[step]
                assert bool(terminated[0] or truncated[0]) == (step == len(episode) - 1)
            assert (bool(terminated[0]), bool(truncated[0])) == (episode.terminated, episode.truncated)


def test_any_stored_state_leads_to_the_same_end() -> None:
    environment = create_environment("pong", {"sticky": 0.25, "max_steps": 80})
    (episode,) = play(environment, 1, [4])
    assert episode.snapshots is not None
    with make_simulators(environment, 3) as simulators:
        simulators.reset(seed=0)
        for start in (0, 1, 40, 79):
            observations = simulators.restore([1], [episode.snapshots[start]])
            assert np.array_equal(observations[0], episode.observations[start])
            for step in range(start, len(episode)):
                observations, rewards, _, truncated, _ = simulators.step(np.repeat(episode.actions[step], 3))
                assert rewards[1] == episode.rewards[step]
                if step + 1 < len(episode):
                    assert np.array_equal(observations[1], episode.observations[step + 1])
            assert truncated[1]


def test_infos_are_plain_and_snapshots_optional() -> None:
    (episode,) = play(create_environment("pong", {"max_steps": 20}), 1, [0], snapshots=False)
    assert episode.snapshots is None
    assert {type(value) for info in episode.infos for value in info.values()} == {int}
    assert {"ball_x", "own_y", "opponent_score"} <= episode.infos[0].keys()


def test_long_episodes_are_cut_and_each_is_told_once() -> None:
    told: list[Trajectory] = []
    episodes = play(create_environment("mountain-car"), 2, [0, 1, 2], max_steps=25, on_episode=told.append)
    assert [len(one) for one in episodes] == [25, 25, 25]
    assert not any(one.terminated or one.truncated for one in episodes)
    assert sorted(one.episode for one in told) == [0, 1, 2]


def test_only_scalars_that_were_said_are_kept() -> None:
    info = {
        "a": np.array([1, 2]),
        "b": np.array([0.5, 0.0]),
        "_b": np.array([True, False]),
        "word": np.array(["left", None], dtype=object),
        "vector": np.zeros((2, 3)),
        "final_obs": np.array([None, None], dtype=object),
        "nested": {"z": np.array([1, 2])},
    }
    assert scalars(info, 0) == {"a": 1, "b": 0.5, "word": "left"}
    assert scalars(info, 1) == {"a": 2}


def test_returns_do_not_depend_on_how_many_are_played_at_once() -> None:
    environment, seeds = create_environment("corridor", {"slip": 0.3}), [4, 2, 7, 7, 1]
    found = []
    for num_envs, workers in ((1, 0), (2, 0), (9, 0), (3, 2)):
        with make_simulators(environment, num_envs, workers) as simulators:
            found.append(evaluate_returns(Tilted(2), environment, simulators, seeds, Streams(3)))
    assert all(one == found[0] for one in found)
    assert found[0].seeds == tuple(seeds)
    episodes = play(environment, 2, seeds)
    assert found[0].values == pytest.approx([one.episode_return for one in episodes])
    assert found[0].lengths == tuple(len(one) for one in episodes)


def test_the_best_policy_earns_the_known_optimum() -> None:
    environment = create_environment("corridor")
    with make_simulators(environment, 2) as simulators:
        returns = evaluate_returns(Tilted(2), environment, simulators, [0, 1, 2], Streams(0), deterministic=True)
    assert returns.values == pytest.approx([environment.reference_returns.reference] * 3)
    assert returns.lengths == (4, 4, 4)
