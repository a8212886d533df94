"""A toolbox over episodes in the corridor, and whole runs whose scripted model calls tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultra_agents.agents.tools.toolbox import Toolbox
from ultra_agents.config import AgentsConfig, ToolsConfig, VerificationConfig
from ultra_agents.contracts import Policy
from ultra_agents.records import Array, FloatArray
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.testing.corridor import Corridor, CorridorOptions


class Left(Policy):
    """Walks left three times out of four."""

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        return np.where(uniforms[:, 0] < 0.75, 0, 1).astype(np.int64)

    def act(self, observations: Array, rng: Any = None, deterministic: bool = False) -> Array:
        return self.act_with_uniforms(observations, rng.random((len(observations), 1)))

    def value(self, observations: Array) -> FloatArray:
        return np.zeros(len(observations))

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return {}, {}


class Offers:
    """A gateway whose models all call tools."""

    def calls_tools(self, models: Any) -> bool:
        return True

    def turn(self, **_: Any) -> Any:
        raise NotImplementedError


@pytest.fixture
def boxes() -> Any:
    """Makes toolboxes over two episodes of the corridor, and closes them."""
    made: list[Toolbox] = []

    def make(conversations: int = 1, steps: int = 100_000, world: Any = None, **config: Any) -> Toolbox:
        environment = world or Corridor(CorridorOptions(length=15, max_steps=40, lure=0.5))
        policy = Left()
        with make_simulators(environment, 1) as one:
            trajectories = collect(policy, environment, one, [5, 6], Streams(3), 100)
        box = Toolbox(
            gateway=Offers(),
            config=ToolsConfig(**config),
            environment=environment,
            policy=policy,
            trajectories=trajectories,
            streams=Streams(1, ("tools",)),
            agents=AgentsConfig(),
            verification=VerificationConfig(),
            conversations=conversations,
            most_steps=steps,
        )
        made.append(box)
        box.episodes = trajectories  # type: ignore[attr-defined]
        return box

    yield make
    for box in made:
        box.close()


RUN = """
import pathlib, sys
from ultra_agents.config import parse_config
from ultra_agents.pipeline import run_pipeline
from ultra_agents.runs import RunFolder
folder = RunFolder.open(pathlib.Path(sys.argv[1]))
run_pipeline(folder, folder.config, lambda event: None, lambda: False, "measure")
"""


class Runs:
    """Whole runs in the corridor."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @staticmethod
    def settings(script: str, **changes: Any) -> dict[str, Any]:
        return {
            "name": "tools",
            "environment": {"name": "corridor", "options": {"length": 15, "max_steps": 40, "lure": 0.5, "slip": 0.1}},
            "policy": {"train_steps": 256},
            "llms": {"default": {"provider": "scripted", "options": {"callable": script}}},
            "collect": {"episodes": 2},
            "agents": {"tools": {}},
            "narration": {"effects": False},
            "verification": {"mode": "simulate"},
            "methods": ["ultra-ra", "continue"],
            "refine": {
                "steps": 4000, "num_envs": 8, "workers": 0, "evaluate_every": 2000, "curve_episodes": 4,
                "algorithm": {"name": "ppo", "options": {"hidden": [16, 16], "num_steps": 32, "clone_steps": 50}},
            },
            "evaluate": {"episodes": 4, "video": False},
            **changes,
        }  # fmt: skip

    def start(self, name: str, script: str, **changes: Any) -> Any:
        from ultra_agents.config import parse_config
        from ultra_agents.runs import RunFolder

        if ":" not in script:
            script = f"ultra_agents.testing.corridor_tools:{script}"
        return RunFolder.create(self.root / name, parse_config(self.settings(script, **changes), "test"))

    @staticmethod
    def run(folder: Any) -> list[Any]:
        """Run it here; the events."""
        from ultra_agents.pipeline import run_pipeline

        events: list[Any] = []
        run_pipeline(folder, folder.config, events.append, lambda: False, "measure")
        return events

    def run_apart(self, folder: Any, **variables: str) -> int:
        """Run it in a process of its own; its exit code."""
        path = os.pathsep.join([str(self.root), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, "PYTHONPATH": path, **variables}
        return subprocess.run([sys.executable, "-c", RUN, str(folder.path)], env=environment, timeout=300).returncode

    @staticmethod
    def lines(folder: Any) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder.path / "transcript.jsonl").read_text().splitlines()]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)
