"""A finished run made in seconds: a corridor, scripted agents, a policy trained for a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ultra_agents.config import parse_config
from ultra_agents.events import Event
from ultra_agents.pipeline import run_pipeline
from ultra_agents.runs import RunFolder

SETTINGS: dict[str, Any] = {
    "name": "walk",
    "environment": {"name": "corridor", "options": {"length": 31, "max_steps": 80, "lure": 0.5}},
    "policy": {"train_steps": 2_000},
    "methods": ["ultra-ra"],
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
    "collect": {"episodes": 3},
    "agents": {"max_hold": 16, "max_revisions": 0},
    "verification": {"mode": "both", "max_pairs": 4, "decide": "single"},
    "refine": {"steps": 2_000, "num_envs": 8, "workers": 0, "evaluate_every": 1_000, "curve_episodes": 2},
    "evaluate": {"episodes": 2},
}


def make_run(runs: Path, **changes: Any) -> RunFolder:
    """The run `walk` below `runs`, finished."""
    folder = RunFolder.create(runs, parse_config({**SETTINGS, **changes}, "test"))

    def emit(event: Event) -> None:
        folder.append_event(event.to_json())

    run_pipeline(folder, folder.config, emit, lambda: False)
    folder.close()
    return RunFolder.open(folder.path)
