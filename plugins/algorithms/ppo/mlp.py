"""PPO's gradient written out for tanh networks, and learning from it.

The same loss as `autograd.ppo_loss`, for networks so small that automatic differentiation spends most of its time
on bookkeeping: rows are put in order once per epoch, and every result goes into an array that is there already. Actor
and critic share nothing, but a thread each takes twice the time: operations of a few microseconds wait for each other.

The actor's gradient by its outputs z, for a row with advantage A, ratio r and minibatch size m:
  dL/dz = (c d log pi(a) + c' d log pi(suggested) - ent_coef part / sum(part) dH) / dz, where
  c     = -A r part / sum(part) if the unclipped term is the larger one, else 0;   c' = -imitate_coef weight / m
Categorical: d log pi(a)/dz_j = [j = a] - p_j and dH/dz_j = -p_j (log p_j + H).
Gaussian of mean z, u = (a - z) / std: d log pi(a)/dz = u / std, by log_std u^2 - 1; dH by log_std is 1.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ultra_agents.records import Array, FloatArray

from .._networks import LOG_2PI, PPOPolicy
from .autograd import LOSSES, Batch, Learner, LossOptions

F32 = npt.NDArray[np.float32]
KL, V_LOSS = LOSSES.index("approx_kl"), LOSSES.index("v_loss")
_NOTHING: tuple[Array, F32] | None = None


class TanhNetwork:
    """Forward and backward passes of a stack of linear layers with tanh between them.

    Args:
        network: Its parameters' `grad` must be there; `backward` overwrites them.
    """

    def __init__(self, network: nn.Sequential) -> None:
        linear = [layer for layer in network if isinstance(layer, nn.Linear)]
        self._weights = [layer.weight.detach() for layer in linear]
        self._transposed = [weight.t() for weight in self._weights]
        self._biases = [layer.bias.detach() for layer in linear]
        self._weight_grads = [_gradient(layer.weight) for layer in linear]
        self._bias_grads = [_gradient(layer.bias) for layer in linear]
        self._room: dict[int, tuple[list[torch.Tensor], list[torch.Tensor]]] = {}

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Inputs `(m, inputs)` -> outputs `(m, outputs)`, in an array that the next call overwrites."""
        self._inputs = rows
        if len(rows) not in self._room:
            outs = [rows.new_empty(len(rows), len(bias)) for bias in self._biases]
            self._room[len(rows)] = outs, [torch.empty_like(out) for out in outs]
        outs, _ = self._room[len(rows)]
        hidden, last = rows, len(outs) - 1
        for index, (weight, bias, out) in enumerate(zip(self._transposed, self._biases, outs, strict=True)):
            torch.addmm(bias, hidden, weight, out=out)
            hidden = out if index == last else out.tanh_()
        return hidden

    def backward(self, delta: torch.Tensor) -> None:
        """The loss's gradient by the outputs `(m, outputs)` -> by all parameters, in their `grad`."""
        outs, rooms = self._room[len(delta)]
        for index in reversed(range(len(outs))):
            before = outs[index - 1] if index else self._inputs
            torch.mm(delta.t(), before, out=self._weight_grads[index])
            torch.sum(delta, 0, out=self._bias_grads[index])
            if index:
                room = rooms[index - 1]
                torch.mm(delta, self._weights[index], out=room)
                # tanh' = 1 - tanh^2; nobody needs the activations after this
                delta = room.addcmul_(before.square_(), room, value=-1.0)


class MLPLearner(Learner):
    """Learning by the written-out gradient; the networks must be tanh networks of float32 on the CPU.

    Args:
        policy: Changed in place.
        options: Of the loss.
    """

    def __init__(self, policy: PPOPolicy, options: LossOptions) -> None:
        super().__init__(policy, options)
        self._actor_network, self._critic_network = TanhNetwork(policy.actor), TanhNetwork(policy.critic)
        if policy.log_std is not None:
            self._log_std: F32 = policy.log_std.detach().numpy()
            self._log_std_grad: F32 = _gradient(policy.log_std).numpy()

    def begin(self, batch: Batch, learning_rate: float, warmup: bool) -> None:
        """Take apart what goes through the networks and what does not."""
        self._obs = batch["obs"]
        self._columns = {name: column.numpy() for name, column in batch.items() if name != "obs"}
        self._learning_rate, self._warmup = learning_rate, warmup
        self._rows: list[list[float]] = []

    @torch.no_grad()
    def epoch(self, order: Array, minibatches: int) -> float:
        """Gradient steps, one per minibatch."""
        obs = self._obs[torch.from_numpy(order)]
        columns = {name: column[order] for name, column in self._columns.items()}
        edges = np.cumsum([0, *(len(part) for part in np.array_split(order, minibatches))]).tolist()
        rows = []
        for start, stop in itertools.pairwise(edges):
            mb_obs, mb = obs[start:stop], {name: column[start:stop] for name, column in columns.items()}
            row = [0.0] * len(LOSSES)
            if not self._warmup:
                row = self.actor_gradient(mb_obs, mb)
                self.actor.step(self._learning_rate, self.options.max_grad_norm)
                self.floor()
            row[V_LOSS] = self.critic_gradient(mb_obs, mb["returns"])
            self.critic.step(self._learning_rate, self.options.max_grad_norm)
            rows.append(row)
        self._rows += rows
        return float(np.mean([row[KL] for row in rows]))

    def finish(self) -> FloatArray:
        """The figures of all epochs."""
        return np.asarray(self._rows)

    def critic_gradient(self, obs: torch.Tensor, returns: F32) -> float:
        """Put the gradient of `vf_coef * v_loss` into `critic.gradient`; the `v_loss` of the minibatch."""
        outputs = self._critic_network.forward(obs)
        error = outputs.numpy()[:, 0]
        error -= returns
        v_loss = 0.5 * float(error @ error) / len(error)
        error *= self.options.vf_coef / len(error)
        self._critic_network.backward(outputs)
        return v_loss

    def actor_gradient(self, obs: torch.Tensor, mb: dict[str, Array]) -> list[float]:
        """Put the gradient of the rest of the loss into `actor.gradient`; figures as in `LOSSES`, v_loss 0."""
        options, m = self.options, len(obs)
        outputs = self._actor_network.forward(obs)
        head = _Categorical(outputs.numpy()) if self.policy.discrete else _Gaussian(outputs.numpy(), self._log_std)
        part, own = mb["part"], mb["own"]
        participants = max(float(part.sum()), 1.0)
        advantages = _standardise(mb["advantages"], part, participants)
        newlogprobs = head.log_prob(mb["actions"])
        logratio = newlogprobs - mb["behaviour"]
        # The bound keeps exp finite where an override chose what the policy finds all but impossible.
        ratio = np.exp(np.minimum(np.maximum(logratio, -20.0), 20.0))
        clipped = np.minimum(np.maximum(ratio, 1 - options.clip_coef), 1 + options.clip_coef)
        first, second = -advantages * ratio, -advantages * clipped
        moves = (first >= second) & (np.abs(logratio) <= 20.0)
        by_logprob = first * moves * part / participants
        imitate_loss, by_suggested = 0.0, _NOTHING
        if "imitate" in mb:
            imitate_loss = -float(mb["imitate"] @ head.log_prob(mb["suggested"])) / m
            by_suggested = mb["suggested"], np.asarray(mb["imitate"] * (-options.imitate_coef / m), np.float32)
        entropy = head.backward(mb["actions"], by_logprob, by_suggested, part, options.ent_coef / participants)
        if not self.policy.discrete:
            self._log_std_grad[:] = head.by_log_std
        self._actor_network.backward(outputs)
        change = newlogprobs - mb["logprobs"]
        kl = np.exp(np.minimum(np.maximum(change, -20.0), 20.0)) - 1 - change
        return [
            float(np.maximum(first, second) @ part) / participants,
            0.0,
            entropy,
            imitate_loss,
            float(kl @ own) / max(float(own.sum()), 1.0),
            float((np.abs(ratio - 1) > options.clip_coef) @ part) / participants,
        ]


class _Categorical:
    """Logits `(m, n)`, which `backward` replaces by the loss's gradient by them."""

    by_log_std: F32

    def __init__(self, outputs: F32) -> None:
        self._outputs, self._rows = outputs, np.arange(len(outputs))
        logp = outputs - outputs.max(axis=1, keepdims=True)
        logp -= np.log(np.exp(logp).sum(axis=1, keepdims=True))
        self._logp = logp

    def log_prob(self, actions: Array) -> F32:
        return np.asarray(self._logp[self._rows, actions])

    def backward(
        self, actions: Array, by_logprob: F32, suggested: tuple[Array, F32] | None, part: F32, ent_coef: float
    ) -> float:
        p = np.exp(self._logp)
        entropies = -(p * self._logp).sum(axis=1)
        total = by_logprob if suggested is None else by_logprob + suggested[1]
        bonus = part * np.float32(ent_coef)
        pull = bonus[:, None] * (self._logp + entropies[:, None]) - total[:, None]
        np.multiply(p, pull, out=self._outputs)
        self._outputs[self._rows, actions] += by_logprob
        if suggested is not None:
            self._outputs[self._rows, suggested[0]] += suggested[1]
        return float(entropies @ part) / max(float(part.sum()), 1.0)


class _Gaussian:
    """Means `(m, n)`, which `backward` replaces by the loss's gradient by them; `by_log_std` is that by log_std."""

    by_log_std: F32

    def __init__(self, outputs: F32, log_std: F32) -> None:
        self._outputs, self._log_std, self._precision = outputs, log_std, np.exp(-log_std)
        self._constant = np.float32(log_std.sum() + 0.5 * LOG_2PI * len(log_std))
        self._units: list[F32] = []

    def log_prob(self, actions: Array) -> F32:
        units = (actions - self._outputs) * self._precision
        self._units.append(units)
        return np.asarray(-0.5 * np.einsum("ij,ij->i", units, units) - self._constant)

    def backward(
        self, actions: Array, by_logprob: F32, suggested: tuple[Array, F32] | None, part: F32, ent_coef: float
    ) -> float:
        pulls = [by_logprob] if suggested is None else [by_logprob, suggested[1]]
        self._outputs[:] = 0.0
        share = float(part.sum())
        self.by_log_std = np.full(len(self._log_std), -ent_coef * share, np.float32)
        for units, pull in zip(self._units, pulls, strict=True):
            self._outputs += units * pull[:, None]
            self.by_log_std += pull @ (units * units - 1)
        self._outputs *= self._precision
        return float(self._log_std.sum() + 0.5 * (1 + LOG_2PI) * len(self._log_std)) * min(share, 1.0)


def _standardise(rows: F32, weights: F32, total: float) -> F32:
    centred = rows - np.float32(float(rows @ weights) / total)
    spread = float((centred * centred) @ weights) / total
    return np.asarray(centred / np.float32(spread**0.5 + 1e-8))


def _gradient(parameter: torch.Tensor) -> torch.Tensor:
    assert parameter.grad is not None
    return parameter.grad
