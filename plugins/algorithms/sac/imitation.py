"""Behavioural cloning into the actor of SAC.

The miss is weight |tanh(mean) - a|^2, the drift |tanh(mean) - tanh(mean_anchor)|^2, in unit actions: likelihoods of a
fixed spread, so that the spread learnt by the temperature is nobody's target; how far it moves is penalised in both.
The critics stay as they are.
"""

from __future__ import annotations

import numpy as np
import torch

from ultra_agents.contracts import Demonstrations

from .._imitation import CloneOptions, clone
from .networks import SACPolicy

SPREAD_COEF = 0.1
"""Weight of the squared change of the log standard deviation."""


def imitate(
    policy: SACPolicy,
    demonstrations: Demonstrations,
    anchor: SACPolicy,
    options: CloneOptions,
    rng: np.random.Generator,
) -> None:
    """Train the actor of `policy`, in place, to act elsewhere as `anchor`; see `_imitation.clone`."""
    torch.set_num_threads(1)  # networks this small only lose by sharing

    def inputs(whose: SACPolicy) -> tuple[torch.Tensor, torch.Tensor]:
        shown, elsewhere = demonstrations.observations, demonstrations.visited
        return torch.from_numpy(whose.normalize(shown)), torch.from_numpy(whose.normalize(elsewhere))

    def modes(rows: torch.Tensor, whose: SACPolicy = policy) -> tuple[torch.Tensor, torch.Tensor]:
        mean, log_std = whose.actor(rows).chunk(2, dim=1)
        return torch.tanh(mean), log_std

    shown, elsewhere = inputs(policy)
    actions = torch.from_numpy(policy.unit(demonstrations.actions))
    weights = torch.from_numpy(np.asarray(demonstrations.weights, dtype=np.float32))
    with torch.no_grad():
        before, spread = modes(torch.cat(inputs(anchor)), anchor)

    def miss(rows: torch.Tensor) -> torch.Tensor:
        mode, log_std = modes(shown[rows])
        wrong = (weights[rows, None] * (mode - actions[rows]).square()).sum(dim=1).mean()
        return wrong + SPREAD_COEF * (log_std - spread[rows]).square().mean()

    def drift(rows: torch.Tensor) -> torch.Tensor:
        mode, log_std = modes(elsewhere[rows])
        rows = rows + len(shown)
        moved = options.clone_anchor * (mode - before[rows]).square().sum(dim=1).mean()
        return moved + SPREAD_COEF * (log_std - spread[rows]).square().mean()

    clone(policy, policy.actor.parameters(), demonstrations, miss, drift, options, rng)
