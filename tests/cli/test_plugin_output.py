"""What plugins print, in Python and below it, here and in workers, stays out of what a person or a program reads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents.cli.plugin_output import plugins_print_to, screen

MODULE = """
import os
import gymnasium
import numpy as np

class Loud(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-50, 50, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        print("[python] reset")
        self.x = 0.0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        os.write(1, b"[below] step\\n")
        os.write(2, f"[error] {os.getpid()}\\n".encode())
        self.x += 1.0 if action else -1.0
        return np.array([self.x], np.float32), float(self.x > 3), bool(self.x > 3), False, {}

gymnasium.register("Loud-v0", entry_point="loud_env:Loud", max_episode_steps=20)
"""
ULTRA = [sys.executable, "-m", "ultra_agents.cli.main"]
LOUD = "gymnasium:loud_env:Loud-v0"


def ultra(folder: Path, *arguments: str) -> Any:
    (folder / "loud_env.py").write_text(MODULE)
    return subprocess.run([*ULTRA, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("how", ["--json", "--plain"])
def test_a_run_shows_none_of_it_and_keeps_it_in_a_log(tmp_path: Path, how: str) -> None:
    settings = {
        "name": "one",
        "environment": {"name": LOUD},
        "policy": {"train_steps": 200},
        "methods": ["continue"],
        "proposer": "random",
        "collect": {"episodes": 1},
        "verification": {"mode": "none"},
        "refine": {"steps": 200, "num_envs": 2, "workers": 1, "evaluate_every": 100, "curve_episodes": 2},
        "evaluate": {"episodes": 2, "video": False},
    }
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(settings))
    done = ultra(tmp_path, "run", "one.yaml", how)
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("[python]", "[below]", "[error]"):
        assert word not in done.stdout + done.stderr
    if how == "--json":
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert rows[-1]["status"] == "finished"
    log = (tmp_path / "runs" / "one" / "output.log").read_text()
    assert "[python] reset" in log
    assert "[below] step" in log
    assert len({line for line in log.splitlines() if line.startswith("[error]")}) >= 2, "the worker's, too"


def test_json_of_commands_without_a_run_stays_json(tmp_path: Path) -> None:
    done = ultra(tmp_path, "plugins", "check", LOUD, "--json")
    (row,) = json.loads(done.stdout)
    assert row["subject"] == "Loud-v0"
    assert "[python] reset" in done.stderr
    assert "[below] step" in done.stderr


def test_streams_are_what_they_were_afterwards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with plugins_print_to(tmp_path / "log") as shown:
        print("foreign")
        print("ours", file=shown[0])
        assert screen() is shown[0]
    assert (sys.stdout, sys.stderr) == before
    assert screen() is sys.stdout
    print("after")
    assert capsys.readouterr().out == "ours\nafter\n"
    assert (tmp_path / "log").read_text() == "foreign\n"
    with plugins_print_to(tmp_path / "nothing"):
        pass
    assert not (tmp_path / "nothing").exists()
