"""Behavioural cloning into the actor of PPO.

The miss is -weight log pi(a | s), the drift KL(pi_anchor || pi). Only the actor moves, with the trunk it shares with
the critic for screens; the observation statistics stay as they are, and so does the spread of continuous actions
unless `clone_spread` asks for it.

What is demonstrated is what the environment executed, and that is clipped to the bounds of the action space. So the
likelihood of a component at a bound is that of a sample there or beyond (Tobin 1958, Econometrica 26(1)): a mean at
the bound itself would have half of its samples fall short of it.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from gymnasium.spaces import Box

from ultra_agents.contracts import Demonstrations
from ultra_agents.records import Array

from .._imitation import MINIBATCH, CloneOptions, clone
from .._networks import LOG_2PI, PPOPolicy


class PPOCloneOptions(CloneOptions, Protocol):
    """What PPO's options say beyond those of any algorithm that clones."""

    @property
    def clone_spread(self) -> bool:
        """The spread of continuous actions is learnt as well."""

    @property
    def log_std_floor(self) -> float:
        """Its lowest logarithm."""


def imitate(
    policy: PPOPolicy,
    demonstrations: Demonstrations,
    anchor: PPOPolicy,
    options: PPOCloneOptions,
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
        return -(
            weights[rows] * executed_log_prob(policy, policy.actor(policy.encode(shown[rows])), actions[rows])
        ).mean()

    def drift(rows: torch.Tensor) -> torch.Tensor:
        now = policy.actor(policy.encode(elsewhere[rows]))
        return options.clone_anchor * _divergence(policy, before[rows], spread, now).mean()

    spread = None if anchor.log_std is None else anchor.log_std.detach().clone()
    parameters = [p for p in policy.actor_parameters() if options.clone_spread or p is not policy.log_std]
    clone(policy, parameters, demonstrations, miss, drift, options, rng, longest=1.0, eps=1e-5)
    if policy.log_std is not None and options.clone_spread:
        policy.log_std.data.clamp_(min=options.log_std_floor)


def executed_log_prob(policy: PPOPolicy, outputs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Log-likelihood `(m,)` of `actions` as the environment executes them, by the actor's outputs `(m, action_dim)`.

    Of a component within the bounds the density, at a bound the probability of a sample there or beyond.
    """
    if policy.log_std is None:
        return torch.log_softmax(outputs, dim=1).gather(1, actions[:, None]).squeeze(1)
    z = (actions - outputs) / policy.log_std.exp()
    found = -0.5 * (z.square() + LOG_2PI) - policy.log_std
    if isinstance(policy.action_space, Box):
        low, high = (torch.from_numpy(np.asarray(end)) for end in (policy.action_space.low, policy.action_space.high))
        found = torch.where(actions <= low, torch.special.log_ndtr(z), found)
        found = torch.where(actions >= high, torch.special.log_ndtr(-z), found)
    return found.sum(dim=1)


def _inputs(policy: PPOPolicy, observations: Array) -> torch.Tensor:
    return torch.from_numpy(policy.normalize(observations))


def _divergence(
    policy: PPOPolicy, before: torch.Tensor, spread: torch.Tensor | None, now: torch.Tensor
) -> torch.Tensor:
    """KL divergence `(m,)`, nats, of the actor's outputs `now` from those `before`, with the log spread of then."""
    if policy.log_std is None or spread is None:
        old, new = torch.log_softmax(before, dim=1), torch.log_softmax(now, dim=1)
        return (old.exp() * (old - new)).sum(dim=1)
    wider = policy.log_std - spread
    moved = ((before - now) / policy.log_std.exp()).square() + (-2 * wider).exp()
    return (wider + 0.5 * (moved - 1)).sum(dim=1)
