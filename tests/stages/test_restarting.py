"""`modulation.restart_probability`: from a configuration to training episodes that start at critical states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ultra_agents.config import parse_config
from ultra_agents.contracts import capabilities
from ultra_agents.errors import ConfigError
from ultra_agents.events import Event, StageProgress, TrainingProgress
from ultra_agents.methods import check_methods
from ultra_agents.pipeline import run_pipeline
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout import restarts
from ultra_agents.runs import RunFolder
from ultra_agents.testing.corridor import Corridor

SETTINGS: dict[str, Any] = {
    "name": "one",
    "environment": {"name": "corridor", "options": {"length": 15, "max_steps": 30, "lure": -0.5}},
    "policy": {"train_steps": 64},
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
    "collect": {"episodes": 2},
    "verification": {"mode": "none"},
    "imitation": {"mode": "never"},
    "methods": ["ultra-ra", "continue"],
    "refine": {
        "steps": 2000, "num_envs": 2, "workers": 0, "evaluate_every": 1000, "curve_episodes": 2,
        "algorithm": {"name": "ppo", "options": {"hidden": [8], "num_steps": 64}},
    },
    "evaluate": {"episodes": 2},
}  # fmt: skip


def test_ultra_starts_at_critical_states_and_its_control_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[restarts.Restarts] = []

    class Kept(restarts.Restarts):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("ultra_agents.methods.services.CriticalStarts", Kept)
    folder = RunFolder.create(tmp_path, parse_config(SETTINGS | {"modulation": {"restart_probability": 0.5}}, "test"))
    told: list[Event] = []
    run_pipeline(folder, folder.config, told.append, lambda: False)
    (one,) = made
    assert 0.3 < one.restored_starts / one.starts < 0.7
    notes = [event.note for event in told if isinstance(event, StageProgress)]
    assert any("50% of the episodes from one of" in note for note in notes)
    episodes = [
        event.metrics["episodes"]
        for event in told
        if isinstance(event, TrainingProgress) and event.method == "ultra-ra" and "episodes" in event.metrics
    ]
    assert 0 < sum(episodes) <= one.starts - one.restored_starts


def test_no_restarts_unless_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ultra_agents.methods.services.CriticalStarts", None)
    folder = RunFolder.create(tmp_path, parse_config(SETTINGS, "test"))
    run_pipeline(folder, folder.config, lambda event: None, lambda: False)
    assert (folder.path / "report.json").is_file()


@pytest.mark.parametrize("probability", [-0.1, 1.5, "often"])
def test_a_chance_outside_0_to_1_is_refused(probability: Any) -> None:
    with pytest.raises(ConfigError, match="restart_probability"):
        parse_config(SETTINGS | {"modulation": {"restart_probability": probability}}, "test")


def test_an_environment_that_cannot_restore_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corridor, "absent", frozenset({"snapshot"}))
    environment, algorithm = create_environment("corridor", {}), create_algorithm("ppo", {})
    assert "snapshot" not in capabilities(environment)
    config = parse_config(SETTINGS | {"modulation": {"restart_probability": 0.25}}, "test")
    with pytest.raises(ConfigError) as error:
        check_methods(config, environment, algorithm)
    assert "ultra-ra: the environment 'corridor' has no snapshot (modulation.restart_probability" in str(
        error.value.found
    )
    check_methods(parse_config(SETTINGS, "test"), environment, algorithm)
