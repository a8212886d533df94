"""Stage 0: which policies a run can begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

from ultra_agents.config import parse_config
from ultra_agents.errors import ConfigError
from ultra_agents.events import ignore
from ultra_agents.policies import save_policy
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.runs import RunFolder
from ultra_agents.stages.check import check_run
from ultra_agents.stages.context import run_context
from ultra_agents.stages.prepare import starting_policy


def begin(root: Path, algorithm: str) -> None:
    row = {
        "environment": {"name": "hopper"},
        "policy": {"shipped": "suboptimal"},
        "methods": ["continue"],
        "refine": {"algorithm": {"name": algorithm}},
    }
    config = parse_config(row, "a test")
    starting_policy(run_context(RunFolder.create(root, config), config, ignore, lambda: False))


def test_a_policy_of_another_algorithm_is_refused_with_the_name_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'sac' does not train policies of 'ppo'") as caught:
        begin(tmp_path, "sac")
    assert caught.value.hint == "--set refine.algorithm.name=ppo"


def test_the_same_algorithm_under_its_full_name_is_accepted(tmp_path: Path) -> None:
    begin(tmp_path, "ultra-agents:ppo")


@pytest.mark.parametrize(
    ("env_id", "made_by", "wanted"), [("Pendulum-v1", "sb3-td3", "sb3-sac"), ("CartPole-v1", "sb3-dqn", "sb3-ppo")]
)
def test_another_algorithm_of_the_same_library_is_refused_before_anything_is_spent(
    tmp_path: Path, env_id: str, made_by: str, wanted: str
) -> None:
    name = f"gymnasium:{env_id}"
    environment = create_environment(name)
    spaces = environment.observation_space, environment.action_space
    path = tmp_path / "mine.safetensors"
    save_policy(
        path, create_algorithm(made_by).create_policy(*spaces, 0), algorithm=made_by, environment_name=name,
        environment=environment, provenance={"imported_by": "ultra policy import"}, score=None,
    )  # fmt: skip
    row = {
        "environment": {"name": name}, "policy": {"path": str(path)}, "methods": ["continue"],
        "refine": {"algorithm": {"name": wanted}},
    }  # fmt: skip
    config = parse_config(row, "a test")
    context = run_context(RunFolder.create(tmp_path, config), config, ignore, lambda: False)
    for refused in (lambda: check_run(config), lambda: starting_policy(context)):
        with pytest.raises(ConfigError, match=f"{wanted!r} does not train policies of {made_by!r}") as caught:
            refused()
        assert caught.value.hint == f"--set refine.algorithm.name={made_by}"
        assert caught.value.found == f"refine.algorithm.name = {wanted}"
