"""Behavioural cloning into the actor of PPO.

The miss is -weight log pi(a | s), the drift KL(pi_anchor || pi). Only the actor moves, with the trunk it shares with
the critic for screens; the spread of continuous actions and the observation statistics stay as they are.
"""

from __future__ import annotations

import numpy as np
import torch

from ultra_agents.contracts import Demonstrations
from ultra_agents.records import Array

from .._imitation import MINIBATCH, CloneOptions, clone
from .._networks import PPOPolicy


def imitate(
    policy: PPOPolicy,
    demonstrations: Demonstrations,
    anchor: PPOPolicy,
    options: CloneOptions,
    rng: np.random.Generator,
) -> None:
    """Train the actor of `policy`, in place, to act elsewhere as `anchor`; see `_imitation.clone`."""
    torch.set_num_threads(1)  # networks this small only lose by sharing
    shown, elsewhere = _inputs(policy, demonstrations.observations), _inputs(policy, demonstrations.visited)
    kind = torch.int64 if policy.discrete else torch.float32
    actions = torch.from_numpy(np.ascontiguousarray(demonstrations.actions)).to(kind)
    weights = torch.from_numpy(np.asarray(demonstrations.weights, dtype=np.float32))
    with torch.no_grad():
        theirs = torch.split(_inputs(anchor, demonstrations.visited), MINIBATCH)
        before = torch.cat([anchor.actor(anchor.encode(part)) for part in theirs])

    def miss(rows: torch.Tensor) -> torch.Tensor:
        logprobs, _ = policy.log_prob_and_entropy(shown[rows], actions[rows])
        return -(weights[rows] * logprobs[0]).mean()

    def drift(rows: torch.Tensor) -> torch.Tensor:
        now = policy.actor(policy.encode(elsewhere[rows]))
        return options.clone_anchor * _divergence(policy, before[rows], now).mean()

    parameters = [p for p in policy.actor_parameters() if p is not policy.log_std]
    clone(policy, parameters, demonstrations, miss, drift, options, rng, longest=1.0, eps=1e-5)


def _inputs(policy: PPOPolicy, observations: Array) -> torch.Tensor:
    return torch.from_numpy(policy.normalize(observations))


def _divergence(policy: PPOPolicy, before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
    """KL divergence `(m,)`, nats, of the actor's outputs `now` from those `before`."""
    if policy.log_std is None:
        old, new = torch.log_softmax(before, dim=1), torch.log_softmax(now, dim=1)
        return (old.exp() * (old - new)).sum(dim=1)
    return 0.5 * ((before - now) / policy.log_std.detach().exp()).square().sum(dim=1)
