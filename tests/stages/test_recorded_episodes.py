"""Stage 1 with `collect.folder`: episodes recorded before are taken instead of played."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ultra_agents.cli.main import invoke
from ultra_agents.config import load_config, parse_config
from ultra_agents.errors import ConfigError, RunError, UltraError
from ultra_agents.events import Event, StepsSpent, Warned, ignore
from ultra_agents.records import Trajectory
from ultra_agents.rollout.store import load_trajectories, save_trajectories
from ultra_agents.runs import RunFolder
from ultra_agents.stages.check import check_run
from ultra_agents.stages.context import RunContext, run_context
from ultra_agents.stages.prepare import collect_episodes, starting_policy

EPISODES = 3


def begun(root: Path, emit: Any = ignore, **collect: Any) -> RunContext:
    root.mkdir(parents=True, exist_ok=True)
    row = {
        "environment": {"name": "corridor"}, "policy": {"train_steps": 64}, "methods": ["continue"],
        "refine": {"num_envs": 4}, "collect": {"episodes": EPISODES, **collect},
    }  # fmt: skip
    config = parse_config(row, "a test")
    context = run_context(RunFolder.create(root, config), config, emit, lambda: False)
    return context.starting_with(starting_policy(context))


def recorded(folder: Path) -> list[Trajectory]:
    made = collect_episodes(begun(folder / "first"))
    save_trajectories(folder / "episodes", made)
    return made


def test_the_first_of_them_are_taken_with_their_states_and_charged(tmp_path: Path) -> None:
    made, events = recorded(tmp_path), list[Event]()
    context = begun(tmp_path / "second", events.append, folder=str(tmp_path / "episodes"), episodes=2)
    found = collect_episodes(context)
    assert [one.snapshots for one in found] == [one.snapshots for one in made[:2]]
    assert [one.episode_return for one in found] == [one.episode_return for one in made[:2]]
    charged = [one.steps for one in events if isinstance(one, StepsSpent)]
    assert charged == [len(one) for one in made[:2]]


def test_fewer_of_them_than_asked_for_are_taken_with_a_warning(tmp_path: Path) -> None:
    made, events = recorded(tmp_path), list[Event]()
    more = len(made) + 5
    context = begun(tmp_path / "second", events.append, folder=str(tmp_path / "episodes"), episodes=more)
    assert len(collect_episodes(context)) == len(made)
    (told,) = [one.text for one in events if isinstance(one, Warned)]
    assert told.endswith(f"has {len(made)} episodes, fewer than collect.episodes: {more}")


def test_what_is_in_the_folder_instead_is_told_and_the_folder_that_was_meant(tmp_path: Path) -> None:
    recorded(tmp_path)
    (tmp_path / "file").write_text("x")
    (tmp_path / "none").mkdir()
    found: dict[str, UltraError] = {}
    for name in ("", "file", "none", "nowhere"):
        with pytest.raises(RunError, match="no trajectories in") as caught:
            load_trajectories(tmp_path / name)
        found[name] = caught.value
    assert found[""].hint == f"did you mean {tmp_path / 'episodes'}?"
    assert [found[name].found for name in ("file", "none", "nowhere")] == [
        "a file", "an empty folder", "nothing of that name",
    ]  # fmt: skip


def test_episodes_of_another_policy_are_refused(tmp_path: Path) -> None:
    made = recorded(tmp_path)
    save_trajectories(tmp_path / "episodes", [replace(one, values=one.values + 0.5) for one in made])
    with pytest.raises(ConfigError, match="were not played by the starting policy"):
        collect_episodes(begun(tmp_path / "second", folder=str(tmp_path / "episodes")))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"observations": np.zeros((5, 3), np.float32)}, "observations of shape (5, 3)"),
        ({"actions": np.full(5, 7)}, "actions of shape (5,)"),
        ({"actions": np.zeros((5, 2), np.float32)}, "actions of shape (5, 2)"),
    ],
)
def test_episodes_of_another_environment_are_refused_before_a_folder_is_made(
    tmp_path: Path, changed: dict[str, Any], told: str
) -> None:
    recorded(tmp_path)
    one = Trajectory(
        0, 1, np.zeros((5, 1), np.float32), np.zeros(5, np.int64), np.zeros(5), np.zeros(5), ({},) * 5, True, False
    )
    save_trajectories(tmp_path / "other", [replace(one, **changed)])
    with pytest.raises(ConfigError, match="is not of the environment 'corridor'") as caught:
        check_run(begun(tmp_path / "second", folder=str(tmp_path / "other")).config)
    assert told in str(caught.value.found)


def test_a_folder_without_episodes_is_refused_and_named_from_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    row = {
        "environment": {"name": "corridor"}, "policy": {"train_steps": 64}, "methods": ["continue"],
        "collect": {"folder": "episodes"},
    }  # fmt: skip
    (tmp_path / "sub" / "one.yaml").write_text(yaml.safe_dump(row))
    assert load_config(tmp_path / "sub" / "one.yaml").collect.folder == tmp_path / "sub" / "episodes"
    with pytest.raises(RunError, match="no trajectories in"):
        check_run(load_config(tmp_path / "sub" / "one.yaml"))
    assert invoke(["run", "sub/one.yaml"]) == 2
    assert "no trajectories in" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "runs").exists()


def test_a_run_takes_them_and_reads_its_own_copy_back(tmp_path: Path) -> None:
    made = recorded(tmp_path)
    row = {
        "name": "second", "environment": {"name": "corridor"}, "policy": {"train_steps": 64}, "methods": ["none"],
        "refine": {"num_envs": 4, "steps": 400}, "collect": {"folder": str(tmp_path / "episodes")},
        "evaluate": {"episodes": 2, "video": False},
    }  # fmt: skip
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(row))
    assert invoke(["run", str(tmp_path / "one.yaml"), "--runs", str(tmp_path / "runs"), "--plain"]) == 0
    copied = load_trajectories(tmp_path / "runs" / "second" / "trajectories")
    assert [one.seed for one in copied] == [one.seed for one in made]
