"""Comparisons small enough for a test: real cells on the corridor, a second or two each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents.experiments import Cell, Experiment, cells_of, load_experiment

SCRIPTED = {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
COMMON: dict[str, Any] = {
    "llms": {"default": SCRIPTED},
    "collect": {"episodes": 2},
    "narration": {"segments_per_episode": 1},
    "verification": {"max_pairs": 4, "horizon": 20, "decide": "single"},
    "imitation": {"mode": "never"},
    "refine": {"steps": 1024, "num_envs": 2, "workers": 0, "evaluate_every": 512, "curve_episodes": 2},
    "evaluate": {"episodes": 4},
}
TASK: dict[str, Any] = {
    "environment": {"name": "corridor", "options": {"length": 11}},
    "policy": {"train_steps": 256},
}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes an experiment file, with changes."""

    def made(**changes: Any) -> Path:
        content = {"name": "tiny", "seeds": 2, "methods": ["continue", "ultra-ra"], "common": COMMON,
                   "tasks": {"corridor": TASK}}  # fmt: skip
        path = tmp_path / "experiment.yaml"
        path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
        return path

    return made


@pytest.fixture
def small(write: Callable[..., Path], tmp_path: Path) -> Callable[..., tuple[Experiment, list[Cell], Path]]:
    """An experiment, its cells, and the folder they belong to."""

    def made(**changes: Any) -> tuple[Experiment, list[Cell], Path]:
        experiment = load_experiment(write(**changes))
        root = tmp_path / "runs" / experiment.name
        return experiment, cells_of(experiment, root), root

    return made


@pytest.fixture
def worth() -> dict[str, Any]:
    cost = {"tokens": 100, "calls": 2, "cached": 0, "money": 0.0, "env_steps": 24, "seconds": 1.0}
    return {
        "proposed": 5,
        "tested": 4,
        "held": 1,
        "accepted": 1,
        "gain": {"value": 0.5},
        "cost": cost,
        "fidelity": None,
    }
