"""Rollouts on a Ray cluster: the numbers of this machine, bit by bit, whoever is lost on the way."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultra_agents.config import RuleTestConfig
from ultra_agents.config.engine import RunEngineConfig
from ultra_agents.errors import ConfigError, EnvironmentFault, RunError
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.verification import CounterfactualTester, RuleTest, RuleTester, ray_pool
from ultra_agents.verification.jobs import Job, Terms
from ultra_agents.verification.local_pool import LocalPool, Pool
from ultra_agents.verification.pool import make_pool

from .conftest import LEFT, RIGHT, Walker, corridor, play, settings, suggest

TERMS = Terms(Streams(1), 0.9)
RAY = RunEngineConfig(kind="ray", cpus=0.5, workers=2)
ONE = RunEngineConfig(kind="ray", cpus=0.5, workers=1, attempts=2)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[Any]:
    """A cluster of two cores on this machine, for all tests here."""
    import ray

    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    yield ray
    ray.shutdown()


def jobs(count: int, until: int = 30) -> list[Job]:
    snapshot = (play(Walker(0.5)).snapshots or ())[0]
    plan = np.zeros(2, np.int64)
    return [Job(snapshot, (0, 0, pair), (plan,), (None,), None, (until,)) for pair in range(count)]


def numbers(pool: Pool, some: list[Job]) -> list[Any]:
    found = [future.result(120) for future in [pool.submit(job) for job in some]]
    return [
        (one.baseline.returns.tolist(), one.baseline.digests, one.candidates[0].earned.tolist(), one.candidates[0].end,
         one.steps, one.baseline_steps, one.candidates[0].merged)
        for one in found
    ]  # fmt: skip


def test_rollouts_on_the_cluster_are_those_of_this_process() -> None:
    policy, world = Walker(0.5, worth=2.0), corridor(slip=0.3)
    pools = [make_pool(world, policy, TERMS, slots=4), make_pool(world, policy, TERMS, slots=4, engine=RAY)]
    try:
        here, there = (numbers(pool, jobs(24)) for pool in pools)
    finally:
        for pool in pools:
            pool.close()
    assert here == there
    assert len({str(one) for one in here}) > 1


def test_sets_of_rules_are_tested_alike_on_both_whatever_the_budget_pays_for() -> None:
    policy, world = Walker(0.5), corridor(slip=0.2)
    face, stored = interface_of(world), [play(policy, world, episode=number) for number in range(2)]
    sets = [
        parse_rules(f"rules: [{{when: cell > {edge}, do: {move}}}, {{when: cell < 3, do: RIGHT}}]", face)
        for edge, move in ((0, RIGHT), (4, RIGHT), (0, LEFT), (6, LEFT))
    ]
    for budget in (40_000, 300):  # all of it, and a test that ends in the middle
        found: list[RuleTest] = []
        for engine in (None, RAY):
            config = RuleTestConfig(horizon=50, windows=6, window_steps=20, max_steps=budget)
            tester = RuleTester(world, policy, config, Streams(4), trajectories=stored, engine=engine)
            found.append(tester.test(sets))
        assert found[0] == found[1]
        assert found[0].env_steps > 0
    assert (found[0].verdict, found[0].stopped) == ("undecided", "steps")


def test_a_tester_measures_the_same_on_both() -> None:
    policy, world = Walker(0.4, worth=1.0), corridor(slip=0.2)
    episode = play(policy, world)
    asked = [suggest(step, (move, 3)) for step in range(3) for move in (LEFT, RIGHT)]
    found = []
    for engine in (None, RAY):
        config, streams = settings(max_pairs=8), Streams(9)
        with CounterfactualTester(world, policy, config, streams, max_tests=8, slots=8, engine=engine) as tester:
            results = [tester.test_all(episode, some) for some in (asked[::2], asked[1::2])]
            found.append((results, tester.env_steps))
    assert found[0] == found[1]
    assert found[0][1] > 0


class Slow(Corridor):
    """Says where it lives, and takes its time."""

    def __init__(self, options: CorridorOptions, folder: Path) -> None:
        super().__init__(options)
        self.folder = folder

    def make(self, num_envs: int) -> Any:
        envs, world = super().make(num_envs), self
        step = envs.step

        def slower(actions: Any) -> Any:
            (world.folder / str(os.getpid())).touch()
            time.sleep(0.01)
            return step(actions)

        envs.step = slower  # type: ignore[method-assign]
        return envs


def test_a_lost_worker_costs_time_and_nothing_else(tmp_path: Path) -> None:
    policy, world = Walker(0.5, worth=2.0), Slow(CorridorOptions(slip=0.3), tmp_path)
    pool = make_pool(world, policy, TERMS, slots=4, engine=RAY)
    killed: list[int] = []

    def kill() -> None:
        while not (found := [int(path.name) for path in tmp_path.iterdir()]):
            time.sleep(0.005)
        killed.append(found[0])
        os.kill(found[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    try:
        there = numbers(pool, jobs(24))
    finally:
        pool.close()
    killer.join(30)
    assert killed
    assert killed[0] != os.getpid()
    plain = make_pool(corridor(slip=0.3), policy, TERMS, slots=4)
    try:
        assert there == numbers(plain, jobs(24))
    finally:
        plain.close()


def test_a_worker_lost_between_two_tests_of_a_state_changes_neither_result_nor_price(tmp_path: Path) -> None:
    policy, found = Walker(0.4, worth=1.0), []
    episode, first, revision = play(policy, corridor(slip=0.2)), suggest(0, (LEFT, 3)), suggest(0, (RIGHT, 2))
    for engine in (None, ONE):
        world = Slow(CorridorOptions(slip=0.2), tmp_path) if engine else corridor(slip=0.2)
        with CounterfactualTester(
            world, policy, settings(max_pairs=8), Streams(9), max_tests=8, slots=8, engine=engine
        ) as tester:
            results = [tester(episode, first)]
            for path in tmp_path.iterdir():
                os.kill(int(path.name), signal.SIGKILL)
            found.append(([*results, tester(episode, revision)], tester.env_steps))
    assert found[0] == found[1]
    assert len(list(tmp_path.iterdir())) == 2, "another worker took over"


class Deadly(Corridor):
    """Ends whatever process steps it."""

    def make(self, num_envs: int) -> Any:
        envs = super().make(num_envs)
        envs.step = lambda actions: os._exit(3)  # type: ignore[method-assign]
        return envs


def test_a_plugin_that_kills_every_worker_is_given_up() -> None:
    pool = make_pool(Deadly(CorridorOptions()), Walker(0.5), TERMS, slots=2, engine=ONE)
    try:
        with pytest.raises(EnvironmentFault, match="again and again"):
            pool.submit(jobs(1)[0]).result(120)
    finally:
        pool.close()


class Broken(Corridor):
    """Builds nothing."""

    def make(self, num_envs: int) -> Any:
        raise OSError("no such ROM")


def test_a_plugin_that_cannot_be_built_there_is_named_at_once() -> None:
    with pytest.raises(EnvironmentFault, match="failed") as caught:
        make_pool(Broken(CorridorOptions()), Walker(0.5), TERMS, engine=ONE)
    assert "no such ROM" in str(caught.value.found)


class Faulty(Corridor):
    """Breaks at the first step."""

    def make(self, num_envs: int) -> Any:
        envs = super().make(num_envs)

        def step(actions: Any) -> Any:
            raise ValueError("bad joint")

        envs.step = step  # type: ignore[method-assign]
        return envs


def test_a_plugin_that_fails_there_fails_as_it_does_here() -> None:
    said = []
    for engine in (None, ONE):
        pool = make_pool(Faulty(CorridorOptions()), Walker(0.5), TERMS, slots=2, engine=engine)
        try:
            with pytest.raises(EnvironmentFault) as caught:
                pool.submit(jobs(1)[0]).result(120)
        finally:
            pool.close()
        said.append((caught.value.problem, caught.value.found))
    assert said[0] == said[1]
    assert "bad joint" in str(said[0][1])


def test_a_cluster_without_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_pool, "PLACED_S", 0.1)
    with pytest.raises(ConfigError, match="no worker for rollouts found room") as caught:
        make_pool(corridor(), Walker(0.5), TERMS, engine=RunEngineConfig(kind="ray", cpus=64))
    assert "2 on the largest node" in str(caught.value.found)


def test_another_version_on_a_node_is_refused() -> None:
    worker = ray_pool._Worker()
    told = worker.begin(("0.0.0", corridor(), partial(LocalPool, corridor(), Walker(0.5), TERMS, 2)))
    assert isinstance(told, RunError)
    assert told.expected == "0.0.0"
