from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from ultra_agents.contracts import Environment, capabilities, vector
from ultra_agents.contracts.vector import (
    GENERATOR_BYTES,
    SameStepVectorEnv,
    cores,
    pack_generator,
    share_cores,
    sharing_cores,
    stepping_threads,
    unpack_generator,
    unpack_snapshot,
    workers_wanted,
)
from ultra_agents.errors import EnvironmentFault
from ultra_agents.registry import create_environment
from ultra_agents.rollout.simulators import LocalSimulators, make_simulators
from ultra_agents.rollout.workers import WorkerSimulators
from ultra_agents.testing.corridor import Corridor


class Countdown(SameStepVectorEnv):
    """Counts down from a drawn number; each step is worth what is left."""

    def __init__(self, num_envs: int) -> None:
        space = gymnasium.spaces.Box(0, 100, (1,), np.float64)
        super().__init__(num_envs, space, gymnasium.spaces.Discrete(1))
        self.left = np.zeros(num_envs)

    def observe(self) -> np.ndarray:
        return self.left[:, None].copy()

    def info(self) -> dict[str, Any]:
        return {"left": self.left.copy()}

    def _begin(self, indices: Sequence[int]) -> None:
        for index in indices:
            self.left[index] = self._generators[index].integers(2, 9)

    def _advance(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        self.left -= 1
        return self.left.copy(), self.left <= 0, np.zeros(self.num_envs, bool)


class Sharing(Corridor):
    """Tells with how many processes the one that built it shares its cores."""

    def make(self, num_envs: int) -> Any:
        envs, told = super().make(num_envs), np.full(num_envs, sharing_cores())
        envs.info = lambda: {"sharing": told}  # type: ignore[method-assign]
        return envs


def test_an_ended_episode_gives_its_last_observation_and_the_next_ones_first() -> None:
    envs, twin = Countdown(3), Countdown(1)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert envs.observation_space.shape == (3, 1)
    observations, _ = envs.reset(seed=[1, 2, 3])
    assert twin.reset(seed=[2])[0][0] == observations[1]
    ended = 0
    for _ in range(40):
        before = observations
        observations, rewards, terminated, _, info = envs.step(np.zeros(3, int))
        alone = twin.step(np.zeros(1, int))
        assert alone[0][0] == observations[1]
        assert np.array_equal(rewards, before[:, 0] - 1)
        assert ("final_obs" in info) == terminated.any()
        for index in range(3):
            if terminated[index]:
                assert info["final_obs"][index] == 0 != observations[index]
                ended += 1
            elif terminated.any():
                assert info["final_obs"][index] is None
        assert np.array_equal(info["left"], observations[:, 0])
    assert ended > 9


@pytest.mark.parametrize(
    ("name", "options", "rest"),
    [("pong", {}, 0), ("hopper", {}, np.zeros(3)), ("hopper", {"vector": "native"}, np.zeros(3)),
     ("reacher", {}, np.zeros(2)), ("gymnasium", {"id": "CartPole-v1"}, 1)],
)  # fmt: skip
def test_idle_environments_are_left_where_they_are(name: str, options: dict[str, Any], rest: Any) -> None:
    environment = create_environment(name, options)
    envs: Any = environment.make(3)
    envs.reset(seed=[0, 1, 2])
    before = environment.snapshot(envs, [0, 1, 2])
    envs.idle[1] = True
    assert list(envs.active) == [0, 2]
    for _ in range(3):
        seen = envs.step(np.stack([np.asarray(rest)] * 3))[0]
    envs.idle[:] = False
    assert list(envs.active) == [0, 1, 2]
    after = environment.snapshot(envs, [0, 1, 2])
    assert after[0] != before[0]
    environment.restore(envs, [0], [after[1]])
    expected, _, _ = (environment.restore(envs, [index], [before[1]]) for index in range(3))
    envs.close()
    assert np.array_equal(seen[1], expected[0])


def test_seeds_are_one_per_environment() -> None:
    envs = Countdown(3)
    first = envs.reset(seed=7)[0]
    assert np.array_equal(envs.reset(seed=[7, 8, 9])[0], first)
    follows = [envs.reset()[0][1, 0] for _ in range(20)]
    assert len(set(follows)) > 1
    envs.reset(seed=[None, 8, None])
    assert [envs.reset()[0][1, 0] for _ in range(20)] == follows
    with pytest.raises(ValueError, match="2 seeds for 3 environments"):
        envs.reset(seed=[1, 2])


def test_generators_go_on_where_they_were_packed() -> None:
    generator = np.random.default_rng(3)
    generator.integers(10, dtype=np.uint32)  # leaves half a draw behind
    packed = pack_generator(generator)
    assert len(packed) == GENERATOR_BYTES
    other = np.random.default_rng(4)
    unpack_generator(other, packed)
    draws = [g.integers(10**6, size=9, dtype=np.uint32).tolist() for g in (generator, other)]
    assert draws[0] == draws[1]


def test_what_is_no_snapshot_is_told_apart() -> None:
    layout = struct.Struct("<4sI")
    assert unpack_snapshot(layout, layout.pack(b"ABC1", 5) + b"tail", b"ABC1", "Thing") == (5,)
    for bad in (b"", b"ABC1", layout.pack(b"ABC2", 5)):
        with pytest.raises(EnvironmentFault, match="not a snapshot of Thing"):
            unpack_snapshot(layout, bad, b"ABC1", "Thing")


def test_async_is_stepped_by_worker_processes_however_few_are_asked_for() -> None:
    ways = {way: create_environment("hopper", {"vector": way}) for way in ("sync", "native", "async")}
    assert workers_wanted(ways["sync"]) == workers_wanted(ways["native"]) == workers_wanted(Corridor(None)) == 0
    assert workers_wanted(ways["async"]) == os.cpu_count()
    with make_simulators(ways["async"], 2) as simulators:
        assert isinstance(simulators, WorkerSimulators)
    with make_simulators(ways["native"], 2) as simulators:
        assert isinstance(simulators, LocalSimulators)


def test_an_instance_may_lack_what_its_class_offers() -> None:
    class Pictureless(Corridor):
        @property
        def absent(self) -> frozenset[str]:
            return frozenset({"render"})

    made: Environment = Pictureless(Corridor.Options())
    assert "render" in capabilities(Pictureless)
    assert capabilities(made) == capabilities(Corridor) - {"render"}


def test_processes_that_step_side_by_side_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector, "cores", lambda: 8)
    assert (sharing_cores(), stepping_threads()) == (1, 8)
    before = share_cores(3)
    try:
        assert (before, sharing_cores(), stepping_threads()) == (1, 3, 2)
        share_cores(20)
        assert stepping_threads() == 1
    finally:
        share_cores(before)
    assert cores() >= 1


@pytest.mark.parametrize(("workers", "processes"), [(1, 2), (2, 2), (3, 3)])
def test_workers_are_told_with_how_many_they_share_the_cores(workers: int, processes: int) -> None:
    with make_simulators(Sharing(Sharing.Options()), 6, workers) as simulators:
        _, info = simulators.reset(seed=0)
    assert info["sharing"].tolist() == [processes] * 6
    assert sharing_cores() == 1
