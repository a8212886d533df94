from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ultra_agents.errors import RunError
from ultra_agents.records import Trajectory
from ultra_agents.rollout import store
from ultra_agents.rollout.store import load_trajectories, save_trajectories


def trajectory(episode: int, steps: int = 5, snapshots: bool = True) -> Trajectory:
    rng = np.random.default_rng(episode)
    return Trajectory(
        episode=episode,
        seed=100 + episode,
        observations=rng.normal(size=(steps, 3)).astype(np.float32),
        actions=rng.integers(0, 3, steps),
        rewards=rng.normal(size=steps),
        values=rng.normal(size=steps),
        infos=tuple({"x": step, "y": step / 3, "flag": step > 1, "word": "übung"} for step in range(steps)),
        terminated=episode % 2 == 0,
        truncated=episode % 2 == 1,
        snapshots=tuple(rng.bytes(step * 7) for step in range(steps)) if snapshots else None,
    )


@pytest.mark.parametrize("snapshots", [True, False])
def test_round_trip(tmp_path: Path, snapshots: bool) -> None:
    saved = [trajectory(episode, snapshots=snapshots) for episode in (2, 0, 1)]
    save_trajectories(tmp_path / "deep" / "folder", saved)
    loaded = load_trajectories(tmp_path / "deep" / "folder")
    assert [one.episode for one in loaded] == [0, 1, 2]
    for one, other in zip(sorted(saved, key=lambda each: each.episode), loaded, strict=True):
        for name in ("observations", "actions", "rewards", "values"):
            assert np.array_equal(getattr(one, name), getattr(other, name))
            assert getattr(one, name).dtype == getattr(other, name).dtype
        for name in ("seed", "infos", "terminated", "truncated", "snapshots"):
            assert getattr(one, name) == getattr(other, name)
            assert type(getattr(one, name)) is type(getattr(other, name))
    assert sorted(path.name for path in (tmp_path / "deep" / "folder").iterdir()) == [
        f"episode-{episode:06d}.npz" for episode in range(3)
    ]


def test_saving_again_replaces_everything(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    save_trajectories(tmp_path, [trajectory(0), trajectory(1)])
    save_trajectories(tmp_path, [replace(trajectory(1), seed=7)])
    assert [(one.episode, one.seed) for one in load_trajectories(tmp_path)] == [(1, 7)]
    assert (tmp_path / "notes.txt").exists()


def test_an_interrupted_write_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_trajectories(tmp_path, [trajectory(0)])

    def fail(file: object, **arrays: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError("no space left on device")

    monkeypatch.setattr(store.np, "savez", fail)
    with pytest.raises(RunError, match="cannot write trajectories") as caught:
        save_trajectories(tmp_path, [replace(trajectory(0), seed=7)])
    assert "no space left" in str(caught.value.found)
    assert [path.name for path in tmp_path.iterdir()] == ["episode-000000.npz"]
    assert load_trajectories(tmp_path)[0].seed == 100


def test_nothing_there(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunError, match="no trajectories") as caught:
            load_trajectories(folder)
        assert caught.value.hint


@pytest.mark.parametrize("cut", [0, 10, 0.5])
def test_damage_is_named(tmp_path: Path, cut: float) -> None:
    save_trajectories(tmp_path, [trajectory(0)])
    path = tmp_path / "episode-000000.npz"
    data = path.read_bytes()
    path.write_bytes(data[: int(cut * len(data)) if isinstance(cut, float) else cut])
    with pytest.raises(RunError, match=r"episode-000000\.npz is damaged"):
        load_trajectories(tmp_path)


def test_arrays_that_do_not_fit_together_are_damage(tmp_path: Path) -> None:
    save_trajectories(tmp_path, [replace(trajectory(0), rewards=np.zeros(2))])
    with pytest.raises(RunError, match="damaged") as caught:
        load_trajectories(tmp_path)
    assert "lengths" in str(caught.value.found)


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("evil-was-here"),))


def test_no_pickle_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_trajectories(tmp_path / "t", [trajectory(0)])
    path = tmp_path / "t" / "episode-000000.npz"
    with np.load(path) as file:
        arrays = dict(file)
    arrays["observations"] = np.array([Evil()] * 5, dtype=object)
    np.savez(path, **arrays)
    assert pickle.dumps(Evil())
    with pytest.raises(RunError, match="damaged"):
        load_trajectories(tmp_path / "t")
    assert not Path("evil-was-here").exists()


def test_another_version_is_told_from_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(store, "_VERSION", 99)
        save_trajectories(tmp_path, [trajectory(0)])
    with pytest.raises(RunError, match="another version") as caught:
        load_trajectories(tmp_path)
    assert caught.value.found == "format 99"
