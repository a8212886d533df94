"""What schedulers do: SIGTERM to every process of a job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import yaml

ULTRA = [sys.executable, "-m", "ultra_agents.cli.main"]


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.05)


def test_a_run_that_is_terminated_with_its_workers_stops_cleanly_and_goes_on(tmp_path: Path) -> None:
    settings = {
        "name": "one",
        "environment": {"name": "corridor"},
        "policy": {"train_steps": 200},
        "methods": ["continue"],
        "proposer": "random",
        "collect": {"episodes": 1},
        "verification": {"mode": "none"},
        "refine": {"steps": 30_000, "num_envs": 4, "workers": 2, "evaluate_every": 10_000, "curve_episodes": 2},
        "evaluate": {"episodes": 2, "video": False},
    }
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(settings))
    command = [*ULTRA, "run", "one.yaml", "--plain"]
    process = subprocess.Popen(
        command, cwd=tmp_path, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    events, updates = (tmp_path / "runs" / "one" / name for name in ("events.jsonl", "metrics.jsonl"))
    try:
        wait_for(lambda: process.poll() is not None or (updates.is_file() and updates.stat().st_size > 0))
        os.killpg(process.pid, signal.SIGTERM)
        told = process.communicate(timeout=120)[0]
    finally:
        process.kill()
    assert process.returncode == 130, told
    assert "ultra resume runs/one" in told
    assert "died" not in told
    assert json.loads(events.read_text().splitlines()[-1])["status"] == "interrupted"
    done = subprocess.run(
        [*ULTRA, "resume", "one", "--plain"], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
