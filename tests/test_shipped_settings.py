"""The policies that ship carry the settings that trained them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ultra_agents.policies import (
    Carried,
    carried_by,
    load_policy,
)
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.training import unusable

PONG = {"ent_coef": 0.003, "update_epochs": 6}
HOPPER = {
    "learning_rate": 3e-4, "num_steps": 128, "update_epochs": 10, "num_minibatches": 32, "ent_coef": 0.0,
    "target_kl": None, "log_std_floor": -2.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("task", "options", "which", "trained"),
    [
        ("pong", {}, "suboptimal", PONG),
        ("pong", {}, "expert", {"ent_coef": 0.003, "learning_rate": 0.001}),
        ("hopper", {}, "suboptimal", HOPPER),
        ("hopper", {}, "expert", {**HOPPER, "target_kl": 0.05}),
        ("hopper", {"reward": "sparse"}, "suboptimal", HOPPER),
        ("hopper", {"reward": "sparse"}, "expert", {**HOPPER, "target_kl": 0.05}),
        ("half-cheetah", {}, "expert", {**HOPPER, "target_kl": 0.05, "gamma": 0.98, "gae_lambda": 0.92}),
        ("reacher", {"reward": "sparse"}, "expert", {**HOPPER, "gamma": 0.95, "num_minibatches": 16}),
    ],
)
def test_the_policies_that_ship_carry_what_trained_them(
    task: str, options: dict[str, Any], which: str, trained: dict[str, Any]
) -> None:
    environment = create_environment(task, options)
    path = Path(environment.policies()[which])
    loaded = load_policy(path, task, environment)
    carried = carried_by(loaded.metadata, path.name)
    assert carried == Carried(path.name, "ppo", create_algorithm("ppo", trained).training_options())
    assert unusable(carried) == ""
