"""The policy of `ppo.py`: two tanh networks, a Gaussian or categorical head, and an observation normaliser.

Acting happens in numpy on arrays that share memory with the torch parameters, so the optimiser's steps are seen at
once; for batches of 16 rows that is faster than torch's own dispatch. Learning happens in torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.spaces import Box, Discrete
from scipy.special import ndtri
from torch import nn

from ultra_agents.contracts import Policy
from ultra_agents.errors import PluginError, PolicyError
from ultra_agents.records import Array, FloatArray

F32 = npt.NDArray[np.float32]
BLOCK = 16
"""Rows per matrix product. A product's last bits depend on its shape, so every batch is padded to whole blocks of one
shape: what a row gets does not depend on how many rows come with it."""

LOG_2PI = float(np.log(2 * np.pi))


class PPOPolicy(Policy):
    """Actor, critic and normaliser of one environment's spaces.

    Continuous actions are Gaussian with a standard deviation that does not depend on the state. The density is that of
    the unclipped sample; `act` and `act_with_uniforms` clip to the bounds of the space, as environments take it.

    Args:
        observation_space: A `Box`; observations are flattened.
        action_space: `Discrete` (starting at 0) or one-dimensional `Box`.
        hidden: Units of each hidden layer, the same for actor and critic.
        seed: Of the initial weights (orthogonal; gain sqrt(2) inside, 0.01 for the actor's head, 1 for the critic's).

    Raises:
        PluginError: The spaces are of another kind.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        hidden: Sequence[int],
        seed: int = 0,
    ) -> None:
        _check_spaces(observation_space, action_space)
        self.observation_space, self.action_space = observation_space, action_space
        self.hidden = tuple(hidden)
        self.discrete = isinstance(action_space, Discrete)
        self.obs_dim = int(np.prod(observation_space.shape or (1,)))
        width = action_space.n if isinstance(action_space, Discrete) else np.prod(action_space.shape or ())
        self.action_dim = int(width)
        generator = torch.Generator().manual_seed(seed)
        self.actor = _mlp(self.obs_dim, self.hidden, self.action_dim, 0.01, generator)
        self.critic = _mlp(self.obs_dim, self.hidden, 1, 1.0, generator)
        self.log_std = None if self.discrete else nn.Parameter(_initial_log_std(action_space))
        self.mean, self.var = np.zeros(self.obs_dim), np.ones(self.obs_dim)
        self.count = 0.0

    # -- acting, in numpy --------------------------------------------------------------------------------------

    def act(self, observations: Array, rng: np.random.Generator | None = None, deterministic: bool = False) -> Array:
        """Raw observations `(n, ...)` -> actions `(n, ...)`, within bounds.

        Without `rng` the draws are unseeded. `deterministic` gives the likeliest action.
        """
        if deterministic:
            return self.bounded(self.mode(self.actor_outputs(self.normalize(observations))))
        rng = np.random.default_rng() if rng is None else rng
        return self.act_with_uniforms(observations, self.uniforms(rng, len(observations)))

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        """Sample by inverse CDF: observations `(n, ...)`, uniforms `(n, 1 or action_dim)` -> actions `(n, ...)`."""
        return self.bounded(self.sample(self.actor_outputs(self.normalize(observations)), uniforms))

    def value(self, observations: Array) -> FloatArray:
        """Estimated discounted return `(n,)` of raw observations `(n, ...)`."""
        return self.critic_values(self.normalize(observations))

    def normalize(self, observations: Array) -> F32:
        """Raw observations `(n, ...)` -> `(n, obs_dim)`: clip((obs - mean) / sqrt(var + 1e-8), -10, 10)."""
        flat = np.asarray(observations, dtype=np.float64).reshape(len(observations), self.obs_dim)
        scaled = (flat - self.mean) / np.sqrt(self.var + 1e-8)
        return np.clip(scaled, -10.0, 10.0).astype(np.float32)

    def uniforms(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draws `(n, d)` in (0, 1) for `act_with_uniforms`."""
        return rng.random((n, 1 if self.discrete else self.action_dim))

    def actor_outputs(self, normalized: F32) -> F32:
        """Logits or means `(n, action_dim)` of normalised observations `(n, obs_dim)`."""
        return _forward(self._layers("actor"), normalized)

    def critic_values(self, normalized: F32) -> F32:
        """Values `(n,)` of normalised observations `(n, obs_dim)`."""
        return _forward(self._layers("critic"), normalized)[:, 0]

    def mode(self, outputs: F32) -> Array:
        """The likeliest actions of actor outputs `(n, action_dim)`."""
        return outputs.argmax(axis=1) if self.discrete else outputs

    def sample(self, outputs: F32, uniforms: FloatArray) -> Array:
        """Actions `(n,)` or unclipped `(n, action_dim)` at the given quantiles."""
        if self.discrete:
            cdf = np.cumsum(np.exp(_log_softmax(outputs)), axis=1)
            return np.asarray((uniforms[:, :1] > cdf[:, :-1]).sum(axis=1), dtype=np.int64)
        z = ndtri(np.clip(uniforms, 1e-12, 1.0 - 1e-12))
        return np.asarray(outputs + np.exp(self._log_std()) * z, dtype=np.float32)

    def log_prob(self, outputs: F32, actions: Array) -> FloatArray:
        """Log-probability (density, for unclipped continuous actions) `(n,)` of `actions`."""
        if self.discrete:
            return np.asarray(_log_softmax(outputs)[np.arange(len(actions)), actions])
        log_std = self._log_std()
        z = (np.asarray(actions, dtype=np.float64) - outputs) / np.exp(log_std)
        return np.asarray((-0.5 * (z**2 + LOG_2PI) - log_std).sum(axis=1))

    def bounded(self, actions: Array) -> Array:
        """Actions as the environment takes them: continuous ones clipped to the bounds of the space."""
        if isinstance(self.action_space, Box):
            return np.clip(actions, self.action_space.low, self.action_space.high).astype(self.action_space.dtype)
        return actions

    # -- learning, in torch ------------------------------------------------------------------------------------

    def actor_parameters(self) -> list[nn.Parameter]:
        """What the policy loss moves."""
        return [*self.actor.parameters(), *([] if self.log_std is None else [self.log_std])]

    def log_prob_and_entropy(
        self, mb_obs: torch.Tensor, *actions: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Normalised `(m, obs_dim)` -> log-probabilities `(m,)` of each batch of actions, and entropies `(m,)`."""
        outputs = self.actor(mb_obs)
        if self.log_std is None:
            logp = torch.log_softmax(outputs, dim=1)
            picked = [logp.gather(1, batch[:, None]).squeeze(1) for batch in actions]
            return picked, -(logp.exp() * logp).sum(dim=1)
        z2 = [((batch - outputs) / self.log_std.exp()).square() for batch in actions]
        logps = [(-0.5 * (part + LOG_2PI) - self.log_std).sum(dim=1) for part in z2]
        return logps, (self.log_std + 0.5 * (1 + LOG_2PI)).sum().expand(len(mb_obs))

    def update_normalizer(self, observations: Array) -> None:
        """Merge raw observations `(n, ...)` into the running mean and variance (Chan et al. 1979)."""
        flat = np.asarray(observations, dtype=np.float64).reshape(-1, self.obs_dim)
        n, mean, var = len(flat), flat.mean(axis=0), flat.var(axis=0)
        total = self.count + n
        delta = mean - self.mean
        self.var = (self.var * self.count + var * n + delta**2 * self.count * n / total) / total
        self.mean = self.mean + delta * n / total
        self.count = total

    # -- state -------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Copies of all arrays by name, and the architecture."""
        arrays = {name: tensor.detach().numpy().copy() for name, tensor in self._named().items()}
        arrays |= {
            "normalizer.mean": self.mean.copy(),
            "normalizer.var": self.var.copy(),
            "normalizer.count": np.asarray([self.count]),
        }
        head = "categorical" if self.discrete else "gaussian, state-independent log_std"
        return arrays, {"network": "mlp", "hidden": list(self.hidden), "activation": "tanh", "head": head}

    def load(self, arrays: dict[str, Array]) -> None:
        """Take over arrays made by `state`, in place; raises `PolicyError` when they do not fit."""
        now, _ = self.state()
        missing, extra = sorted(set(now) - set(arrays)), sorted(set(arrays) - set(now))
        if missing or extra:
            raise PolicyError(
                "the policy's arrays are not those of this architecture",
                found="; ".join(filter(None, [_listing("missing", missing), _listing("unknown", extra)])),
                expected=", ".join(sorted(now)),
            )
        for name, array in arrays.items():
            if array.shape != now[name].shape:
                raise PolicyError(
                    f"the policy's array {name!r} has the wrong shape",
                    found=array.shape,
                    expected=now[name].shape,
                )
            if not np.isfinite(array).all():
                raise PolicyError(f"the policy's array {name!r} is not finite", found="NaN or infinity")
        with torch.no_grad():
            for name, tensor in self._named().items():
                tensor.copy_(torch.from_numpy(np.asarray(arrays[name], dtype=np.float32)))
        self.mean, self.var = (np.array(arrays[f"normalizer.{k}"], dtype=np.float64) for k in ("mean", "var"))
        self.count = float(arrays["normalizer.count"][0])

    def copy(self) -> PPOPolicy:
        """An independent policy that acts alike."""
        twin = PPOPolicy(self.observation_space, self.action_space, self.hidden)
        twin.load(self.state()[0])
        return twin

    def _named(self) -> dict[str, torch.Tensor]:
        named: dict[str, torch.Tensor] = {f"actor.{k}": p for k, p in self.actor.named_parameters()}
        named |= {f"critic.{k}": p for k, p in self.critic.named_parameters()}
        return named if self.log_std is None else named | {"log_std": self.log_std}

    def _layers(self, which: str) -> list[tuple[F32, F32]]:
        cache: dict[str, list[tuple[F32, F32]]] = self.__dict__.setdefault("_views", {})
        if which not in cache:
            linear = [layer for layer in getattr(self, which) if isinstance(layer, nn.Linear)]
            cache[which] = [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in linear]
        return cache[which]

    def _log_std(self) -> FloatArray:
        assert self.log_std is not None
        return self.log_std.detach().numpy().astype(np.float64)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the numpy views: a copy must look at its own weights."""
        return {key: value for key, value in self.__dict__.items() if key != "_views"}

    def __repr__(self) -> str:
        return f"PPOPolicy(obs_dim={self.obs_dim}, action_dim={self.action_dim}, hidden={self.hidden})"


def _mlp(
    inputs: int, hidden: Sequence[int], outputs: int, head_gain: float, generator: torch.Generator
) -> nn.Sequential:
    sizes = [inputs, *hidden, outputs]
    layers: list[nn.Module] = []
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        last = index == len(sizes) - 2
        layer = nn.Linear(fan_in, fan_out)
        nn.init.orthogonal_(layer.weight, head_gain if last else 2**0.5, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer] if last else [layer, nn.Tanh()]
    return nn.Sequential(*layers)


def _forward(layers: list[tuple[F32, F32]], rows: F32) -> F32:
    n, width = rows.shape
    padding = -n % BLOCK
    if padding:
        rows = np.concatenate([rows, np.zeros((padding, width), dtype=np.float32)])
    out = rows.reshape(-1, BLOCK, width)
    for weight, bias in layers[:-1]:
        out = np.tanh(np.matmul(out, weight) + bias)
    weight, bias = layers[-1]
    out = np.matmul(out, weight) + bias
    return np.asarray(out.reshape(n + padding, -1)[:n])


def _log_softmax(logits: F32) -> FloatArray:
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _initial_log_std(space: gymnasium.Space[Any]) -> torch.Tensor:
    assert isinstance(space, Box)
    half = (space.high.astype(np.float64) - space.low) / 2
    finite = np.isfinite(half) & (half > 0)
    return torch.from_numpy(np.log(np.where(finite, half, 1.0)).astype(np.float32))


def _check_spaces(observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]) -> None:
    if not isinstance(observation_space, Box):
        raise PluginError("ppo takes Box observations only", found=observation_space)
    discrete = isinstance(action_space, Discrete) and action_space.start == 0
    continuous = (
        isinstance(action_space, Box)
        and len(action_space.shape) == 1
        and np.issubdtype(action_space.dtype, np.floating)
    )
    if not (discrete or continuous):
        raise PluginError(
            "ppo takes Discrete actions that start at 0, or one-dimensional Box actions of floats", found=action_space
        )


def _listing(word: str, names: list[str]) -> str:
    return f"{word}: {', '.join(names)}" if names else ""
