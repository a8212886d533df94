"""`ultra data export` and `ultra data import`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents.rollout.store import load_trajectories
from ultra_agents.runs import RunFolder

SETTINGS: dict[str, Any] = {
    "name": "first",
    "environment": {"name": "corridor", "options": {"length": 21, "max_steps": 40}},
    "policy": {"train_steps": 500},
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
    "collect": {"episodes": 3},
    "verification": {"mode": "none"},
    "imitation": {"mode": "never"},
    "refine": {"steps": 1000, "num_envs": 4, "workers": 0, "evaluate_every": 500, "curve_episodes": 2},
    "evaluate": {"episodes": 4},
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(SETTINGS))
    return path


def test_a_runs_episodes_go_out_and_explain_another_run(ultra: Any, config: Path, tmp_path: Path) -> None:
    assert ultra("run", str(config), "--plain").code == 0
    done = ultra("data", "export", "first", "corridor/first-v0")
    assert done.code == 0, done.err
    assert "3 episodes" in done.out
    assert "simulator states" in done.out
    done = ultra("data", "import", "corridor/first-v0", str(config), "--name", "second", "--set", "collect.episodes=2")
    assert done.code == 0, done.err
    assert "ultra resume runs/second" in done.out
    folder = RunFolder.open(Path("runs/second"))
    assert folder.stage_done("collect") == {
        "seconds": 0.0, "value": {"episodes": 2}, "dataset": "corridor/first-v0",
    }  # fmt: skip
    one, other = load_trajectories(Path("runs/first/trajectories")), load_trajectories(folder.trajectories)
    assert [row.rewards.tolist() for row in other] == [row.rewards.tolist() for row in one[:2]]
    assert [row.seed for row in other] == [row.seed for row in one[:2]]
    done = ultra("resume", "second", "--plain")
    assert done.code == 0, done.err
    report = json.loads((folder.path / "report.json").read_text())
    assert report["advice"]["accepted"] > 0
    assert report["env_steps"]["collect"] == sum(map(len, other))


def test_a_dataset_cannot_be_tested_in_the_simulator(ultra: Any, config: Path) -> None:
    done = ultra("data", "import", "any-v0", str(config), "--set", "verification.mode=both")
    assert done.code == 2
    assert "no simulator states" in done.err
    assert "--set verification.mode=reflect" in done.err
    assert not Path("runs").exists()


def test_what_is_missing_is_said_and_no_run_is_left(ultra: Any, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = ultra("data", "import", "any-v0", str(config))
    assert (done.code, Path("runs").exists()) == (2, False)
    assert "minari download any-v0" in done.err
    assert ultra("data", "export", "nowhere", "any-v0").code == 2
    monkeypatch.setitem(sys.modules, "minari", None)
    done = ultra("data", "import", "any-v0", str(config))
    assert (done.code, Path("runs").exists()) == (2, False)
    assert "pip install 'ultra-agents[minari]'" in done.err
