"""Behavioural cloning of a few demonstrations, without forgetting the rest.

Minimises mean(-weight log pi(a | s)) over demonstrated steps plus `anchor` times the mean of KL(pi_start || pi) over
states the starting policy visited by itself. The first term is behavioural cloning (Pomerleau 1991), the way DAPG
(Rajeswaran et al. 2018, arXiv 1709.10087) begins, too; the second keeps what nobody gave advice on. Only the actor
moves, with the trunk it shares with the critic for screens; the spread of continuous actions and the observation
statistics stay as they are. The ULTRA paper has no such step: there, advice acts through overridden actions and
rewards alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch

from ultra_agents.contracts import Demonstrations
from ultra_agents.errors import PluginError
from ultra_agents.records import Array

from ._networks import PPOPolicy

MINIBATCH = 256


def clone(
    policy: PPOPolicy,
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
        anchor: Weight of the divergence from the policy as it is now, on `demonstrations.visited`.
        rng: Draws the minibatches.

    Raises:
        PluginError: The loss is not finite.
    """
    torch.set_num_threads(1)  # networks this small only lose by sharing
    shown, elsewhere = _inputs(policy, demonstrations.observations), _inputs(policy, demonstrations.visited)
    kind = torch.int64 if policy.discrete else torch.float32
    actions = torch.from_numpy(np.ascontiguousarray(demonstrations.actions)).to(kind)
    weights = torch.from_numpy(np.asarray(demonstrations.weights, dtype=np.float32))
    with torch.no_grad():
        before = torch.cat([policy.actor(policy.encode(part)) for part in torch.split(elsewhere, MINIBATCH)])
    parameters = [p for p in policy.actor_parameters() if p is not policy.log_std]

    def loss() -> torch.Tensor:
        mb = torch.from_numpy(rng.integers(0, len(actions), MINIBATCH))
        logprobs, _ = policy.log_prob_and_entropy(shown[mb], actions[mb])
        wrong = -(weights[mb] * logprobs[0]).mean()
        if not anchor or not len(elsewhere):
            return wrong
        kept = torch.from_numpy(rng.integers(0, len(elsewhere), MINIBATCH))
        return wrong + anchor * _divergence(policy, before[kept], policy.actor(policy.encode(elsewhere[kept]))).mean()

    descend(parameters, loss, steps, learning_rate, longest=1.0, eps=1e-5)


def descend(
    parameters: Iterable[torch.nn.Parameter],
    loss: Callable[[], torch.Tensor],
    steps: int,
    learning_rate: float,
    longest: float = math.inf,
    eps: float = 1e-8,
) -> None:
    """Minimise what `loss` draws at each step by Adam, its rate falling linearly to 0.

    Args:
        parameters: What moves.
        loss: One minibatch's, a scalar.
        steps: Minibatches.
        learning_rate: Adam's at the first.
        longest: Norm that gradients are clipped to.
        eps: Adam's.

    Raises:
        PluginError: The loss is not finite.
    """
    moving = list(parameters)
    adam = torch.optim.Adam(moving, lr=learning_rate, eps=eps, fused=True)
    for step in range(steps):
        adam.param_groups[0]["lr"] = learning_rate * (1.0 - step / steps)
        value = loss()
        adam.zero_grad()
        value.backward()  # type: ignore[no-untyped-call,unused-ignore]
        if longest < math.inf:
            torch.nn.utils.clip_grad_norm_(moving, longest)
        adam.step()
    if not torch.isfinite(value.detach()):
        raise PluginError(
            "learning from demonstrations diverged",
            found=f"loss {float(value.detach())}",
            hint="lower refine.algorithm.options.clone_learning_rate",
        )


def _inputs(policy: PPOPolicy, observations: Array) -> torch.Tensor:
    return torch.from_numpy(policy.normalize(observations))


def _divergence(policy: PPOPolicy, before: torch.Tensor, now: torch.Tensor) -> torch.Tensor:
    """KL divergence `(m,)`, nats, of the actor's outputs `now` from those `before`."""
    if policy.log_std is None:
        old, new = torch.log_softmax(before, dim=1), torch.log_softmax(now, dim=1)
        return (old.exp() * (old - new)).sum(dim=1)
    return 0.5 * ((before - now) / policy.log_std.detach().exp()).square().sum(dim=1)
