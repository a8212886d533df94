"""Behavioural cloning of a few demonstrations into the actor of `sac.py`, without forgetting the rest.

Minimises mean(weight |tanh(mean) - a|^2) over demonstrated steps plus `anchor` times the mean of
|tanh(mean) - tanh(mean_start)|^2 over states the starting policy visited by itself, in unit actions: likelihoods of a
fixed spread, so that the spread learnt by the temperature is nobody's target. The critics stay as they are.
"""

from __future__ import annotations

import numpy as np
import torch

from ultra_agents.contracts import Demonstrations
from ultra_agents.records import Array

from .._imitation import MINIBATCH, descend
from .networks import SACPolicy


def clone(
    policy: SACPolicy,
    demonstrations: Demonstrations,
    *,
    steps: int,
    learning_rate: float,
    anchor: float,
    rng: np.random.Generator,
) -> None:
    """Train the actor of `policy`, in place.

    Args:
        policy: What learns.
        demonstrations: At least one step.
        steps: Minibatches.
        learning_rate: Adam's, falling linearly to 0.
        anchor: Weight of acting as now on `demonstrations.visited`.
        rng: Draws the minibatches.

    Raises:
        PluginError: The loss is not finite.
    """
    torch.set_num_threads(1)  # networks this small only lose by sharing

    def inputs(observations: Array) -> torch.Tensor:
        return torch.from_numpy(policy.normalize(observations))

    def modes(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_std = policy.actor(rows).chunk(2, dim=1)
        return torch.tanh(mean), log_std

    shown, elsewhere = inputs(demonstrations.observations), inputs(demonstrations.visited)
    actions = torch.from_numpy(policy.unit(demonstrations.actions))
    weights = torch.from_numpy(np.asarray(demonstrations.weights, dtype=np.float32))
    with torch.no_grad():
        before, spread = modes(torch.cat([shown, elsewhere]))

    def loss() -> torch.Tensor:
        mb = torch.from_numpy(rng.integers(0, len(actions), MINIBATCH))
        mode, log_std = modes(shown[mb])
        wrong = (weights[mb, None] * (mode - actions[mb]).square()).sum(dim=1).mean()
        wrong = wrong + 0.1 * (log_std - spread[mb]).square().mean()
        if not anchor or not len(elsewhere):
            return wrong
        kept = torch.from_numpy(rng.integers(0, len(elsewhere), MINIBATCH))
        there, width = modes(elsewhere[kept])
        kept = kept + len(shown)
        wrong = wrong + anchor * ((there - before[kept]).square().sum(dim=1).mean())
        return wrong + 0.1 * (width - spread[kept]).square().mean()

    descend(policy.actor.parameters(), loss, steps, learning_rate)
