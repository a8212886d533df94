"""The loss of PPO as the paper writes it, and learning from it by automatic differentiation: any network, any device.

`mlp` computes the same gradient by hand for small tanh networks; a test holds the two together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch

from ultra_agents.records import Array, FloatArray

from .._networks import PPOPolicy
from .flat import FlatAdam

LOSSES = ("pg_loss", "v_loss", "entropy", "imitate_loss", "approx_kl", "clipfrac")
Batch = dict[str, torch.Tensor]


class LossOptions(Protocol):
    """What of the options enters the loss; see `ppo.PPOOptions`."""

    @property
    def clip_coef(self) -> float:
        """Half-width of the range the probability ratio is clipped to."""
        ...

    @property
    def ent_coef(self) -> float:
        """Weight of the entropy bonus."""
        ...

    @property
    def vf_coef(self) -> float:
        """Weight of the value loss."""
        ...

    @property
    def imitate_coef(self) -> float:
        """Weight of the imitation loss on overridden steps."""
        ...

    @property
    def max_grad_norm(self) -> float:
        """Largest norm of a gradient."""
        ...

    @property
    def log_std_floor(self) -> float:
        """Smallest log standard deviation of continuous actions."""
        ...


class Learner(ABC):
    """Moves the weights of `policy`; actor (with a shared trunk) and critic are clipped and moved apart.

    Args:
        policy: Changed in place.
        options: Of the loss.

    Attributes:
        actor: Adam on what the policy loss moves.
        critic: Adam on the rest.
    """

    def __init__(self, policy: PPOPolicy, options: LossOptions) -> None:
        self.policy, self.options = policy, options
        self.actor, self.critic = FlatAdam(policy.actor_parameters()), FlatAdam(list(policy.critic.parameters()))
        policy.__dict__.pop("_views", None)  # its numpy views look at the former tensors

    @abstractmethod
    def begin(self, batch: Batch, learning_rate: float, warmup: bool) -> None:
        """Start learning from one rollout (see `_rollout.flattened`); `warmup` moves the critic only."""

    @abstractmethod
    def epoch(self, order: Array, minibatches: int) -> float:
        """One pass over the rollout's rows in `order`, in so many parts; the mean `approx_kl` over them."""

    @abstractmethod
    def finish(self) -> FloatArray:
        """End the update; the figures named by `LOSSES`, `(minibatches of all epochs, 6)`."""

    def floor(self) -> None:
        """Keep the spread of continuous actions from vanishing."""
        if self.policy.log_std is not None:
            self.policy.log_std.data.clamp_(min=self.options.log_std_floor)


class AutogradLearner(Learner):
    """Learning by automatic differentiation.

    Args:
        policy: Changed in place; on any device.
        options: Of the loss.
        bfloat16: Networks compute in bfloat16 (weights, losses and Adam stay float32).
        wrap: Applied once to the loss function, for `torch.compile`.
    """

    def __init__(
        self,
        policy: PPOPolicy,
        options: LossOptions,
        bfloat16: bool = False,
        wrap: Callable[[Callable[..., torch.Tensor]], Callable[..., torch.Tensor]] | None = None,
    ) -> None:
        super().__init__(policy, options)
        self.device = self.actor.values.device
        self._bfloat16 = bfloat16
        self._loss = ppo_loss if wrap is None else wrap(ppo_loss)

    def begin(self, batch: Batch, learning_rate: float, warmup: bool) -> None:
        """Bring the rollout to the device."""
        self._batch = {name: column.to(self.device) for name, column in batch.items()}
        self._learning_rate, self._warmup = learning_rate, warmup
        self._rows: list[torch.Tensor] = []

    def epoch(self, order: Array, minibatches: int) -> float:
        """Gradient steps, one per minibatch."""
        start = len(self._rows)
        for index in torch.from_numpy(order).to(self.device).tensor_split(minibatches):
            self.gradient({name: column[index] for name, column in self._batch.items()})
            if not self._warmup:
                self.actor.step(self._learning_rate, self.options.max_grad_norm)
                self.floor()
            self.critic.step(self._learning_rate, self.options.max_grad_norm)
        return float(torch.stack(self._rows[start:])[:, LOSSES.index("approx_kl")].double().mean())

    def gradient(self, mb: Batch) -> None:
        """Put the gradient of one minibatch's loss into `actor.gradient` and `critic.gradient`; note its figures."""
        self.actor.gradient.zero_()
        self.critic.gradient.zero_()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bfloat16):
            loss = self._loss(self.policy, self.options, mb, self._warmup, self._rows)
        loss.backward()  # type: ignore[no-untyped-call,unused-ignore]

    def finish(self) -> FloatArray:
        """All figures at once: asking for each would wait for the device each time."""
        return np.asarray(torch.stack(self._rows).cpu().numpy(), dtype=np.float64)


def ppo_loss(
    policy: PPOPolicy, options: LossOptions, mb: Batch, warmup: bool, rows: list[torch.Tensor]
) -> torch.Tensor:
    """Loss of one minibatch; the figures named by `LOSSES` are added to `rows`."""
    zero = torch.zeros((), device=mb["returns"].device)
    features = policy.encode(mb["obs"], learn=not warmup)
    v_loss = 0.5 * (policy.critic(features).float().squeeze(1) - mb["returns"]).square().mean()
    if warmup:
        rows.append(torch.stack([zero, v_loss.detach(), zero, zero, zero, zero]))
        critics: torch.Tensor = options.vf_coef * v_loss
        return critics
    wanted = [mb[name] for name in ("actions", "suggested") if name in mb]
    newlogprobs, entropies = policy.head_log_prob_and_entropy(features, *wanted)
    mb_advantages = standardise(mb["advantages"], mb["part"])
    # The bound keeps exp finite where an override chose what the policy finds all but impossible.
    ratio = (newlogprobs[0] - mb["behaviour"]).clamp(-20.0, 20.0).exp()
    clipped = ratio.clamp(1 - options.clip_coef, 1 + options.clip_coef)
    pg_loss = weighted_mean(torch.max(-mb_advantages * ratio, -mb_advantages * clipped), mb["part"])
    entropy = weighted_mean(entropies, mb["part"])
    imitate_loss = -(mb["imitate"] * newlogprobs[1]).mean() if "imitate" in mb else zero
    with torch.no_grad():
        logratio = newlogprobs[0] - mb["logprobs"]
        approx_kl = weighted_mean(logratio.clamp(-20.0, 20.0).exp() - 1 - logratio, mb["own"])
        clipfrac = weighted_mean(((ratio - 1).abs() > options.clip_coef).float(), mb["part"])
    rows.append(torch.stack([pg_loss, v_loss, entropy, imitate_loss, approx_kl, clipfrac]).detach())
    loss: torch.Tensor = pg_loss + options.vf_coef * v_loss + options.imitate_coef * imitate_loss
    return loss - options.ent_coef * entropy


def weighted_mean(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean of `rows` `(m,)` by `weights` `(m,)`; 0 where all are 0."""
    return (rows * weights).sum() / weights.sum().clamp(min=1.0)


def standardise(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """`rows` `(m,)` less their weighted mean, over their weighted standard deviation."""
    centred = rows - weighted_mean(rows, weights)
    return centred / (weighted_mean(centred.square(), weights).sqrt() + 1e-8)
