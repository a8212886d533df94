"""Stage 0: which policies a run can begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from ultra_agents.config import parse_config
from ultra_agents.errors import ConfigError
from ultra_agents.events import ignore
from ultra_agents.runs import RunFolder
from ultra_agents.stages.context import open_context
from ultra_agents.stages.prepare import starting_policy


def begin(root: Path, algorithm: str) -> None:
    row = {
        "environment": {"name": "hopper"},
        "policy": {"shipped": "suboptimal"},
        "methods": ["continue"],
        "refine": {"algorithm": {"name": algorithm}},
    }
    config = parse_config(row, "a test")
    with open_context(RunFolder.create(root, config), config, ignore, lambda: False) as context:
        starting_policy(context)


def test_a_policy_of_another_algorithm_is_refused_with_the_name_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'sac' does not train policies of 'ppo'") as caught:
        begin(tmp_path, "sac")
    assert caught.value.hint == "--set refine.algorithm.name=ppo"


def test_the_same_algorithm_under_its_full_name_is_accepted(tmp_path: Path) -> None:
    begin(tmp_path, "ultra-agents:ppo")
