from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultra_agents.contracts import Environment
from ultra_agents.errors import ConfigError, EnvironmentFault
from ultra_agents.registry import create_environment
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.rollout.vector import chunks
from ultra_agents.rollout.workers import merge_infos
from ultra_agents.testing.corridor import Corridor, CorridorOptions

HERE = str(Path(__file__).parent)
if HERE not in sys.path:  # worker processes take over this path, and find `faulty_corridor` on it
    sys.path.insert(0, HERE)

import faulty_corridor  # noqa: E402

BOTH = pytest.mark.parametrize("workers", [0, 2])


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    one, other = np.asarray(one), np.asarray(other)
    if one.dtype == object:
        return all((a is None) == (b is None) and (a is None or equal(a, b)) for a, b in zip(one, other, strict=True))
    return one.dtype == other.dtype and np.array_equal(one, other)


def history(simulators: Simulators, steps: int) -> list[Any]:
    """Everything the simulators say in a play with a snapshot, a restore elsewhere and a reset in it."""
    rng, count = np.random.default_rng(0), simulators.num_envs
    limit = simulators.single_action_space.n
    said: list[Any] = [*simulators.reset(seed=list(range(count)))]
    for _ in range(steps):
        said += simulators.step(rng.integers(0, limit, count))
    states = simulators.snapshot([count - 1, 0, 2])
    said += [np.array([len(state) for state in states]), simulators.restore([1, count - 1, 0], states)]
    for _ in range(steps):
        said += simulators.step(rng.integers(0, limit, count))
    said += [*simulators.reset(), *simulators.step(rng.integers(0, limit, count)), simulators.render_frame(count - 1)]
    return said


@pytest.mark.parametrize(
    ("name", "options", "steps"),
    [("corridor", {"slip": 0.3, "max_steps": 12}, 60), ("pong", {"sticky": 0.25, "max_steps": 25}, 40)],
)
def test_workers_change_nothing(name: str, options: dict[str, float], steps: int) -> None:
    environment = create_environment(name, options)
    told = []
    for workers in (0, 1, 3):
        with make_simulators(environment, 5, workers) as simulators:
            told.append(history(simulators, steps))
    for other in told[1:]:
        assert len(other) == len(told[0])
        assert all(equal(a, b) for a, b in zip(told[0], other, strict=True))
    assert any(isinstance(item, dict) and "final_obs" in item for item in told[0])


@BOTH
def test_step_in_two_halves_and_closing_twice(workers: int) -> None:
    simulators = make_simulators(create_environment("corridor"), 3, workers)
    simulators.reset(seed=7)
    simulators.step_async(np.array([1, 0, 1]))
    observations, *_ = simulators.step_wait()
    assert observations[:, 0].tolist() == [0.25, -0.25, 0.25]
    simulators.close()
    simulators.close()


def test_an_integer_seed_counts_up() -> None:
    environment = create_environment("mountain-car")
    with make_simulators(environment, 3) as one, make_simulators(environment, 3, 2) as other:
        assert np.array_equal(one.reset(seed=5)[0], other.reset(seed=[5, 6, 7])[0])


@BOTH
def test_values_that_are_not_finite_are_refused(workers: int) -> None:
    with make_simulators(faulty_corridor.NaNAfterAWhile(CorridorOptions()), 4, workers) as simulators:
        simulators.reset(seed=0)
        for _ in range(2):
            simulators.step(np.zeros(4, int))
        with pytest.raises(EnvironmentFault, match=r"NaNAfterAWhile.*observation that is not finite") as caught:
            simulators.step(np.zeros(4, int))
        assert "environment" in str(caught.value.found)
    with make_simulators(faulty_corridor.InfiniteReward(CorridorOptions()), 4, workers) as simulators:
        simulators.reset(seed=0)
        with pytest.raises(EnvironmentFault, match="reward that is not finite") as caught:
            simulators.step(np.zeros(4, int))
        assert str(caught.value.found) == "environment 0: inf"


@BOTH
def test_what_a_plugin_raises_names_the_plugin_and_the_rest_goes_on(workers: int) -> None:
    with make_simulators(faulty_corridor.Raises(CorridorOptions()), 4, workers) as simulators:
        simulators.reset(seed=0)
        for actions in ([0, 0, 0, 1], [1, 1, 1, 1]):
            with pytest.raises(EnvironmentFault, match=r"Raises.*failed") as caught:
                simulators.step(np.array(actions))
            assert caught.value.found == "FileNotFoundError: the map of the corridor"
        observations, _ = simulators.reset(seed=0)  # the answers have not got out of step
        assert (observations == 0).all()
        assert (simulators.step(np.zeros(4, int))[0] == -0.25).all()


@BOTH
@pytest.mark.parametrize(
    ("cls", "says"),
    [(faulty_corridor.FailsToBuild, "FailsToBuild.*failed"), (faulty_corridor.BuildsTooMany, "than it announces")],
)
def test_plugins_that_cannot_be_built(cls: type[Corridor], says: str, workers: int) -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(EnvironmentFault, match=says):
        make_simulators(cls(CorridorOptions()), 4, workers)
    assert set(multiprocessing.active_children()) == before


def test_a_dead_worker_is_an_error_and_leaves_no_process() -> None:
    before = set(multiprocessing.active_children())
    simulators = make_simulators(faulty_corridor.Dies(CorridorOptions()), 4, 2)
    simulators.reset(seed=0)
    with pytest.raises(EnvironmentFault, match=r"worker process of the environment Dies.*died") as caught:
        simulators.step(np.array([0, 0, 0, 1]))
    assert caught.value.found == "signal 9"
    assert "workers=0" in str(caught.value.hint)
    assert set(multiprocessing.active_children()) == before
    with pytest.raises(EnvironmentFault, match="closed"):
        simulators.reset(seed=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_leave_signals_to_their_parent(number: int) -> None:
    before = set(multiprocessing.active_children())
    with make_simulators(create_environment("corridor"), 4, 2) as simulators:
        simulators.reset(seed=0)
        workers = set(multiprocessing.active_children()) - before
        assert len(workers) == 2
        for worker in workers:
            os.kill(int(worker.pid or 0), number)
        for _ in range(3):
            simulators.step(np.zeros(4, int))
    assert set(multiprocessing.active_children()) == before


SCRIPT = """
import multiprocessing, os, signal, sys
from ultra_agents.registry import create_environment
from ultra_agents.rollout.simulators import make_simulators
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background is started deaf to it
    simulators = make_simulators(create_environment("corridor"), 4, 2)
    simulators.reset(seed=0)
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.{signal})
    sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_workers_end_with_their_parent_whatever_ends_it(tmp_path: Path, how: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(signal=how))
    # The workers hold this pipe's other end: reading to its end waits for the last of them to be gone.
    done = subprocess.run(
        [sys.executable, str(script)], stdin=subprocess.PIPE, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    pids = [int(word) for word in done.stdout.split()]
    assert len(pids) == 2
    assert done.stderr.count("Traceback") == (1 if how == "SIGINT" else 0)


class NotPicklable(Corridor):
    def __init__(self, options: CorridorOptions) -> None:
        super().__init__(options)
        self.lock = threading.Lock()


def test_a_plugin_that_cannot_travel_is_an_error() -> None:
    with pytest.raises(EnvironmentFault, match=r"NotPicklable.*failed"):
        make_simulators(NotPicklable(CorridorOptions()), 2, 1)


def test_what_an_environment_cannot_do_is_said() -> None:
    class Plain(Corridor):
        snapshot = Environment.snapshot
        restore = Environment.restore
        render = Environment.render

    with make_simulators(Plain(CorridorOptions()), 2) as simulators:
        assert not simulators.can_snapshot
        assert not simulators.can_render
        for call in (
            lambda: simulators.snapshot([0]),
            lambda: simulators.restore([0], [b""]),
            lambda: simulators.render_frame(0),
        ):
            with pytest.raises(EnvironmentFault, match=r"Plain.*cannot"):
                call()


def test_numbers_that_make_no_sense() -> None:
    environment = create_environment("corridor")
    for num_envs, workers in ((0, 0), (2, -1)):
        with pytest.raises(ConfigError, match="simulators need"):
            make_simulators(environment, num_envs, workers)
    with make_simulators(environment, 2) as simulators:
        with pytest.raises(ValueError, match="3 seeds for 2"):
            simulators.reset(seed=[1, 2, 3])
        with pytest.raises(IndexError):
            simulators.snapshot([2])


def test_chunks_cover_everything_once() -> None:
    for num_envs in range(1, 12):
        for workers in range(1, 14):
            parts = list(chunks(num_envs, workers))
            assert [index for part in parts for index in part] == list(range(num_envs))
            assert all(len(part) > 0 for part in parts)
            assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_infos_merge_with_gaps_and_nested_mappings() -> None:
    last = np.array([None, np.zeros(2)], dtype=object)
    merged = merge_infos(
        [
            {"x": np.array([1, 2])},
            {"x": np.array([3]), "y": np.array([0.5]), "final_obs": last[1:], "final_info": {"z": np.array([7])}},
        ],
        [2, 1],
    )
    assert merged["x"].tolist() == [1, 2, 3]
    assert merged["y"].tolist() == [0.0, 0.0, 0.5]
    assert merged["final_obs"].tolist()[:2] == [None, None]
    assert merged["final_obs"][2].tolist() == [0.0, 0.0]
    assert merged["final_info"]["z"].tolist() == [0, 0, 7]


def test_faults_survive_the_trip_between_processes() -> None:
    error = pickle.loads(pickle.dumps(EnvironmentFault("p", found="f", expected="e", hint="h")))
    assert (error.problem, error.found, error.expected, error.hint) == ("p", "f", "e", "h")
