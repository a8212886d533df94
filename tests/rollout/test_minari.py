"""Minari datasets: written, loaded by Minari itself, and read back as they were."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import minari
import numpy as np
import pytest

from ultra_agents.contracts import Environment
from ultra_agents.errors import ConfigError, RunError
from ultra_agents.records import Trajectory
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.minari import export_dataset, import_dataset
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams

NAME = "corridor/walks-v0"


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Minari's own folder of datasets, for this test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return tmp_path / "datasets"


class Wanderer:
    """A policy that follows its uniforms."""

    def act_with_uniforms(self, observations: Any, uniforms: Any) -> Any:
        return (uniforms[:, 0] > 0.5).astype(np.int64)

    def value(self, observations: Any) -> Any:
        return np.asarray(observations, np.float64)[:, 0] / 3


def played(environment: Environment, episodes: int = 5, max_steps: int = 50) -> list[Trajectory]:
    with make_simulators(environment, 3) as simulators:
        seeds = list(range(100, 100 + episodes))
        return collect(Wanderer(), environment, simulators, seeds, Streams(0), max_steps)  # type: ignore[arg-type]


def same(one: Trajectory, other: Trajectory) -> None:
    for name in ("observations", "actions", "rewards", "values"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
        assert getattr(one, name).dtype == getattr(other, name).dtype, name
    for name in ("episode", "seed", "infos", "terminated", "truncated"):
        assert getattr(one, name) == getattr(other, name), name
    kinds = [[type(value) for value in info.values()] for info in one.infos]
    assert kinds == [[type(value) for value in info.values()] for info in other.infos]


@pytest.mark.parametrize(("options", "most"), [({"slip": 0.3}, 50), ({"max_steps": 4}, 50), ({}, 3)])
def test_round_trip(options: dict[str, float], most: int) -> None:
    environment = create_environment("corridor", options)
    episodes = played(environment, max_steps=most)
    export_dataset(episodes, NAME, environment)
    again = import_dataset(NAME, environment)
    assert len(again) == len(episodes)
    for one, other in zip(episodes, again, strict=True):
        same(one, other)
        assert other.snapshots is None, "simulator states cannot go along"


def test_minari_itself_loads_what_is_written(root: Path) -> None:
    environment = create_environment("corridor", {"slip": 0.3, "max_steps": 1000})
    episodes = played(environment, max_steps=1000)
    with make_simulators(environment, 2) as simulators:
        assert export_dataset(episodes, NAME, environment, simulators) == root / NAME
    dataset = minari.load_dataset(NAME)
    assert list(minari.list_local_datasets()) == [NAME]
    assert dataset.total_steps == sum(map(len, episodes))
    assert dataset.observation_space == environment.observation_space
    for one, loaded in zip(episodes, dataset.iterate_episodes(), strict=True):
        assert np.array_equal(loaded.observations[:-1], one.observations)
        assert np.array_equal(loaded.actions, one.actions)
        assert np.array_equal(loaded.rewards, one.rewards)
        assert abs(loaded.observations[-1, 0]) == 1.0, "the last observation is the end that was reached"
        assert loaded.terminations.tolist() == [False] * (len(one) - 1) + [True]
    about = dataset.storage.metadata["ultra_agents"]
    assert (about["last_observation"], about["snapshots"]) == ("replayed", "left out")
    known = environment.reference_returns
    assert minari.get_normalized_score(dataset, np.array([known.random, known.reference])).tolist() == [0.0, 1.0]
    (first,) = dataset.storage.get_episode_metadata([0])
    assert first["seed"] == 100


def test_without_snapshots_the_last_observation_is_repeated_and_said_to_be(root: Path) -> None:
    environment = create_environment("corridor")
    episodes = [replace(one, snapshots=None) for one in played(environment)]
    with make_simulators(environment, 1) as simulators:
        export_dataset(episodes, NAME, environment, simulators)
    dataset = minari.load_dataset(NAME)
    assert dataset.storage.metadata["ultra_agents"]["last_observation"] == "repeated"
    assert all(np.array_equal(row.observations[-1], row.observations[-2]) for row in dataset.iterate_episodes())


def test_images_are_not_made_lossy(root: Path) -> None:
    """Minari would write them as JPEG by default."""
    import gymnasium

    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    like = create_environment("corridor")

    class Pictures(type(like)):  # type: ignore[misc]
        observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)

    episode = Trajectory(0, 1, frames, np.zeros(4, np.int64), np.zeros(4), np.zeros(4), ({},) * 4, True, False)
    environment = Pictures(like.options)
    export_dataset([episode], NAME, environment)
    assert np.array_equal(import_dataset(NAME, environment)[0].observations, frames)


def test_uneven_information_stays_behind_and_is_named(root: Path) -> None:
    environment = create_environment("corridor")
    (episode,) = played(environment, 1)
    infos = tuple({**info, "word": f"step {i}", **({"odd": 1} if i else {})} for i, info in enumerate(episode.infos))
    export_dataset([replace(episode, infos=infos)], NAME, environment)
    (again,) = import_dataset(NAME, environment)
    assert again.infos == tuple({"cell": info["cell"], "word": info["word"]} for info in infos)
    assert minari.load_dataset(NAME).storage.metadata["ultra_agents"]["infos_left_out"] == ["odd"]


def test_somebody_elses_dataset_is_read(root: Path) -> None:
    from minari.data_collector import EpisodeBuffer

    environment = create_environment("corridor")
    made = EpisodeBuffer(
        observations=np.zeros((3, 1), np.float32), actions=np.array([0, 1]), rewards=[0.5, 1.0],
        terminations=[False, False], truncations=[False, True],
    )  # fmt: skip
    with pytest.warns(UserWarning, match="None"):
        minari.create_dataset_from_buffers(
            "theirs-v3",
            [made, made],
            observation_space=environment.observation_space,
            action_space=environment.action_space,
        )
    (first,) = import_dataset("theirs-v3", environment, episodes=1)
    assert (first.seed, first.truncated, first.rewards.tolist()) == (-1, True, [0.5, 1.0])
    assert first.infos == ({}, {})


def test_nothing_is_overwritten_and_nothing_half_is_left(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minari.dataset._storages.hdf5_storage import HDF5Storage

    environment = create_environment("corridor")
    episodes = played(environment)

    def full(self: Any, rows: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(HDF5Storage, "update_episodes", full)
        with pytest.raises(RunError, match="cannot write the dataset"):
            export_dataset(episodes, NAME, environment)
    assert list((root / "corridor").iterdir()) == []
    export_dataset(episodes[:1], NAME, environment)
    with pytest.raises(RunError, match="exists already") as caught:
        export_dataset(episodes, NAME, environment)
    assert "-v1" in str(caught.value.hint)
    assert len(import_dataset(NAME, environment)) == 1


def test_a_dataset_of_another_task_is_refused() -> None:
    environment = create_environment("corridor")
    export_dataset(played(environment), NAME, environment)
    with pytest.raises(ConfigError, match="recorded in something else than MountainCar-v0") as caught:
        import_dataset(NAME, create_environment("mountain-car"))
    assert "Box (1,) float32" in str(caught.value.found)
    assert "Discrete of 3" in str(caught.value.expected)


def test_a_dataset_that_is_not_there_names_those_that_are(root: Path, tmp_path: Path) -> None:
    environment = create_environment("corridor")
    export_dataset(played(environment, 1), NAME, environment)
    with pytest.raises(RunError, match="there is no dataset") as caught:
        import_dataset("walks-v0", environment)
    assert caught.value.expected == f"one of: {NAME}"
    assert "minari download walks-v0" in str(caught.value.hint)
    with pytest.raises(RunError, match="there is no dataset"):
        import_dataset(NAME, environment, root=tmp_path / "elsewhere")


@pytest.mark.parametrize("name", ["", "no version", "../up-v0", "walks"])
def test_a_bad_id_is_refused(name: str) -> None:
    environment = create_environment("corridor")
    with pytest.raises(ConfigError, match="not the id of a Minari dataset"):
        import_dataset(name, environment)


def test_damage_is_named(root: Path) -> None:
    environment = create_environment("corridor")
    folder = export_dataset(played(environment, 1), NAME, environment)
    file = folder / "data" / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(RunError, match="cannot be read"):
        import_dataset(NAME, environment)


@pytest.mark.parametrize("package", ["minari", "h5py"])
def test_without_the_extra_the_command_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = create_environment("corridor")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match="need the packages minari and h5py") as caught:
        import_dataset(NAME, environment)
    assert caught.value.hint == "pip install 'ultra-agents[minari]'"


def lake(root: Path, episodes: int = 3) -> list[Any]:
    """Random play in FrozenLake, stored as Minari's own collector stores it."""
    import gymnasium
    from minari.data_collector import EpisodeBuffer
    from minari.dataset.minari_storage import MinariStorage

    env = gymnasium.make("FrozenLake-v1")
    env.action_space.seed(0)
    made = []
    for seed in range(episodes):
        seen, ends = [env.reset(seed=seed)[0]], [False]
        actions: list[int] = []
        while not ends[-1]:
            actions.append(int(env.action_space.sample()))
            observation, _, ended, cut, _ = env.step(actions[-1])
            seen.append(observation)
            ends.append(ended or cut)
        rewards = np.zeros(len(actions))
        made.append(
            EpisodeBuffer(
                seed=seed, observations=np.array(seen), actions=np.array(actions), rewards=rewards,
                terminations=np.array(ends[1:]), truncations=np.zeros(len(actions), bool), infos={},
            )
        )  # fmt: skip
    folder = root / "lake" / "walks-v0" / "data"
    folder.parent.mkdir(parents=True)
    storage = MinariStorage.new(folder, env.observation_space, env.action_space)
    storage.update_metadata({"dataset_id": "lake/walks-v0"})
    storage.update_episodes(made)
    return made


def test_observations_of_a_dataset_are_flattened_like_the_environments(root: Path) -> None:
    recorded = lake(root)
    environment = create_environment("gymnasium:FrozenLake-v1")
    found = import_dataset("lake/walks-v0", environment)
    for one, theirs in zip(found, recorded, strict=True):
        assert one.observations.shape == (len(theirs.rewards), 16)
        assert one.observations.argmax(axis=1).tolist() == theirs.observations[:-1].tolist()
        assert (one.observations.sum(axis=1) == 1).all()
        assert one.actions.tolist() == theirs.actions.tolist()
    with pytest.raises(ConfigError, match="something else"):
        import_dataset("lake/walks-v0", create_environment("gymnasium", {"id": "FrozenLake8x8-v1"}))


def test_a_short_episode_is_left_out_and_counted(root: Path) -> None:
    import h5py

    environment = create_environment("corridor", {"slip": 0.3})
    episodes = played(environment, episodes=4)
    export_dataset(episodes, NAME, environment)
    with h5py.File(next((root / NAME / "data").glob("*.hdf5")), "r+") as file:
        whole = file["episode_1/observations"][:]
        del file["episode_1/observations"]
        file["episode_1/observations"] = whole[:-1]
    notes: list[str] = []
    found = import_dataset(NAME, environment, on_note=notes.append)
    assert [one.seed for one in found] == [100, 102, 103]
    assert [one.episode for one in found] == [0, 1, 2]
    assert notes == [
        f"1 of 4 episodes are not whole and were left out: episode 1 has {len(whole) - 1} observations and "
        f"{len(whole) - 1} actions for {len(whole) - 1} rewards"
    ]
    assert [one.seed for one in import_dataset(NAME, environment, episodes=2)] == [100, 102]
