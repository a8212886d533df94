"""How the training programs beside this one write a policy file: scored on held-out episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ultra_agents.contracts import Environment, Policy
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.policies import save_policy
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams

FOLDER = Path(__file__).parents[1] / "plugins" / "environments" / "policies"
EPISODES = 32


def keep(
    path: Path,
    task: str,
    policy: Policy,
    environment: Environment,
    scoring: Simulators,
    provenance: Mapping[str, Any],
    training: Mapping[str, Any] | None,
) -> None:
    """Score a policy by 32 episodes of sampled actions, which decided nothing, and write its file.

    Args:
        path: Where to.
        task: Registered name of the environment.
        policy: What is kept.
        environment: The plugin.
        scoring: Simulators of it.
        provenance: How it was made; its `seed` decides the episodes.
        training: The settings that trained it (`ultra_agents.training.trained_with`), with which it is refined.
    """
    held_out = Streams(10_000 + provenance["seed"]).child("held-out")
    values = evaluate_returns(policy, environment, scoring, held_out.integers(EPISODES, "reset"), held_out).values
    score = {
        "mean": round(float(np.mean(values)), 3),
        "stderr": round(float(np.std(values, ddof=1) / math.sqrt(len(values))), 3),
        "episodes": EPISODES,
        "seed": held_out.seed,
    }
    save_policy(
        path,
        policy,
        algorithm="ppo",
        environment_name=task,
        environment=environment,
        provenance=provenance,
        score=score,
        training=training,
    )
    print(f"  kept {path.name}: {score}", flush=True)
