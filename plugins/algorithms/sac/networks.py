"""The policy of `sac.py`: a squashed Gaussian actor, twin critics, a temperature, and an observation normaliser.

Actions are tanh(u), u ~ N(mean(s), std(s)), stretched to the bounds of the space; inside, they are "unit" actions in
[-1, 1], and log-probabilities are densities of those. Acting takes and gives numpy; rows go through the networks in
blocks of one shape, padded, so that a row's action does not depend on the rows beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.spaces import Box
from scipy.special import ndtri
from torch import nn

from ultra_agents.contracts import Policy, Widening
from ultra_agents.contracts.spaces import TAKE_FLAT
from ultra_agents.errors import PluginError, PolicyError
from ultra_agents.records import Array, FloatArray

F32 = npt.NDArray[np.float32]
BLOCK = 16
"""Rows per pass; a matrix product's last bits depend on its shape."""
LOG_STD = (-5.0, 2.0)
"""Lowest and highest log standard deviation of u."""
LOG_2 = float(np.log(2.0))
HALF_LOG_2PI = 0.5 * float(np.log(2.0 * np.pi))


class SACPolicy(Policy):
    """Actor, critics, temperature and normaliser of one environment's spaces.

    Args:
        observation_space: A `Box`; observations are flattened.
        action_space: One-dimensional `Box` of floats with finite bounds.
        hidden: Units of each hidden layer (ReLU), the same for the actor and both critics.
        seed: Of the initial weights (uniform, +-1/sqrt(inputs), as torch's own).
        alpha: Initial temperature.
        log_std: Bounds of the log standard deviation of u.
        widening: Quantities of the environment as further inputs, behind the observations.

    Attributes:
        raw_dim: Numbers of one observation.
        obs_dim: Numbers of one normalised observation, what else the networks take included.
        actor: Normalised observations `(m, obs_dim)` -> means and raw log_stds `(m, 2 * action_dim)`.
        critics: Two networks, `(m, obs_dim + action_dim)` -> `(m, 1)`.
        log_alpha: Scalar parameter.

    Raises:
        PluginError: The spaces are of another kind.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        hidden: Sequence[int],
        seed: int = 0,
        alpha: float = 1.0,
        log_std: tuple[float, float] = LOG_STD,
        widening: Widening | None = None,
    ) -> None:
        low, high = _bounds(observation_space, action_space)
        self.observation_space, self.action_space = observation_space, action_space
        self.hidden, self.log_std = tuple(hidden), (float(log_std[0]), float(log_std[1]))
        self.raw_dim, self.action_dim = int(np.prod(observation_space.shape or (1,))), len(low)
        self.widening = widening
        self.obs_dim = self.raw_dim + (0 if widening is None else widening.width)
        self._centre, self._half = (high + low) / 2, (high - low) / 2
        generator = torch.Generator().manual_seed(seed)
        self.actor = mlp(self.obs_dim, self.hidden, 2 * self.action_dim, generator)
        self.critics = nn.ModuleList(mlp(self.obs_dim + self.action_dim, self.hidden, 1, generator) for _ in range(2))
        self.log_alpha = nn.Parameter(torch.tensor(float(np.log(alpha))))
        self.mean, self.var, self.count = np.zeros(self.raw_dim), np.ones(self.raw_dim), 0.0

    # -- acting, in numpy --------------------------------------------------------------------------------------

    def act(self, observations: Array, rng: np.random.Generator | None = None, deterministic: bool = False) -> Array:
        """Raw observations `(n, ...)` -> actions `(n, action_dim)`; `deterministic` gives tanh of the mean."""
        if deterministic:
            return self.stretched(self.mode(observations))
        rng = np.random.default_rng() if rng is None else rng
        return self.act_with_uniforms(observations, rng.random((len(observations), self.action_dim)))

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        """Sample by inverse CDF: observations `(n, ...)`, uniforms `(n, action_dim)` -> actions `(n, action_dim)`."""
        return self.stretched(self.sample(observations, ndtri(np.clip(uniforms, 1e-12, 1.0 - 1e-12))))

    def value(self, observations: Array) -> FloatArray:
        """The lesser critic's value `(n,)` of tanh of the mean: discounted return plus alpha times future entropy."""
        rows = np.concatenate([self.normalize(observations), self.mode(observations)], axis=1, dtype=np.float32)
        return np.minimum(*(_forward(critic, rows)[:, 0] for critic in self.critics)).astype(np.float64)

    def mode(self, observations: Array) -> F32:
        """Unit actions `(n, action_dim)`: tanh of the mean."""
        return np.asarray(np.tanh(_forward(self.actor, self.normalize(observations))[:, : self.action_dim]))

    def sample(self, observations: Array, normals: FloatArray) -> F32:
        """Unit actions `(n, action_dim)` from standard normal draws of the same shape."""
        outputs = _forward(self.actor, self.normalize(observations))
        mean, log_std = outputs[:, : self.action_dim], np.clip(outputs[:, self.action_dim :], *self.log_std)
        return np.asarray(np.tanh(mean + np.exp(log_std) * normals.astype(np.float32)))

    def normalize(self, observations: Array) -> F32:
        """Raw observations `(n, ...)` -> `(n, obs_dim)`: clip((obs - mean) / sqrt(var + 1e-8), -10, 10).

        Without statistics (`count` 0) observations pass as they are. Behind them what a `widening` tells.
        """
        flat = np.asarray(observations).reshape(len(observations), self.raw_dim)
        if self.count:
            flat = np.clip((flat - self.mean) / np.sqrt(self.var + 1e-8), -10.0, 10.0)
        if self.widening is None:
            return flat.astype(np.float32)
        told = self.widening.inputs(np.reshape(observations, (len(flat), *(self.observation_space.shape or ()))))
        return np.concatenate([flat, told], axis=1, dtype=np.float32)

    def stretched(self, unit: F32) -> Array:
        """Unit actions -> actions of the space."""
        assert isinstance(self.action_space, Box)
        actions = self._centre + self._half * unit.astype(np.float64)
        return np.clip(actions, self.action_space.low, self.action_space.high).astype(self.action_space.dtype)

    def unit(self, actions: Array) -> F32:
        """Actions of the space -> unit actions, clipped to [-1, 1]."""
        return np.clip((np.asarray(actions, np.float64) - self._centre) / self._half, -1.0, 1.0).astype(np.float32)

    # -- learning, in torch ------------------------------------------------------------------------------------

    def sampled(self, obs: torch.Tensor, normals: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Normalised `(m, obs_dim)`, normal draws `(m, action_dim)` -> unit actions, their log-densities `(m,)`."""
        mean, raw = self.actor(obs).chunk(2, dim=1)
        log_std = raw.clamp(*self.log_std)
        u = torch.addcmul(mean, log_std.exp(), normals)
        squash = 2.0 * (LOG_2 - u - nn.functional.softplus(-2.0 * u))  # log(1 - tanh(u)^2), without cancellation
        logprobs = (-0.5 * normals.square() - log_std - squash).sum(dim=1) - HALF_LOG_2PI * self.action_dim
        return torch.tanh(u), logprobs

    def update_normalizer(self, observations: Array) -> None:
        """Merge raw observations `(n, ...)` into the running mean and variance (Chan et al. 1979)."""
        flat = np.asarray(observations, dtype=np.float64).reshape(-1, self.raw_dim)
        n, mean, var = len(flat), flat.mean(axis=0), flat.var(axis=0)
        total, delta = self.count + n, mean - self.mean
        self.var = (self.var * self.count + var * n + delta**2 * self.count * n / total) / total
        self.mean, self.count = self.mean + delta * n / total, total

    # -- state -------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Copies of all arrays by name, and the architecture."""
        arrays = {name: np.array(tensor.detach().numpy()) for name, tensor in self.parameters().items()}
        arrays |= {"normalizer.mean": self.mean.copy(), "normalizer.var": self.var.copy()}
        arrays["normalizer.count"] = np.asarray([self.count])
        arrays |= {} if self.widening is None else self.widening.arrays()
        return arrays, {
            "network": "mlp", "hidden": list(self.hidden), "activation": "relu", "head": "tanh-squashed gaussian",
            "log_std": list(self.log_std), **({} if self.widening is None else self.widening.described()),
        }  # fmt: skip

    def load(self, arrays: dict[str, Array]) -> None:
        """Take over arrays made by `state`, in place; raises `PolicyError` when they do not fit."""
        now, _ = self.state()
        missing, unknown = sorted(set(now) - set(arrays)), sorted(set(arrays) - set(now))
        if missing or unknown:
            raise PolicyError(
                "the policy's arrays are not those of this architecture",
                found=f"missing: {', '.join(missing) or 'none'}; unknown: {', '.join(unknown) or 'none'}",
                expected=", ".join(sorted(now)),
            )
        for name, array in arrays.items():
            if array.shape != now[name].shape:
                raise PolicyError(
                    f"the policy's array {name!r} has the wrong shape", found=array.shape, expected=now[name].shape
                )
            if not np.isfinite(array).all():
                raise PolicyError(f"the policy's array {name!r} is not finite", found="NaN or infinity")
        with torch.no_grad():
            for name, tensor in self.parameters().items():
                tensor.copy_(torch.from_numpy(np.array(arrays[name], dtype=np.float32)))
        self.mean, self.var = (np.array(arrays[f"normalizer.{k}"], dtype=np.float64) for k in ("mean", "var"))
        self.count = float(arrays["normalizer.count"][0])
        if self.widening is not None:
            self.widening = self.widening.scaled(arrays)

    def copy(self) -> SACPolicy:
        """An independent policy that acts alike."""
        return self.widened(None)

    def widened(self, further: Widening | None) -> SACPolicy:
        """A copy that also takes the quantities `further`, of weight 0: it acts and values alike, but for rounding."""
        twin = SACPolicy(
            self.observation_space, self.action_space, self.hidden, log_std=self.log_std,
            widening=further if self.widening is None else self.widening.extended(further),
        )  # fmt: skip
        arrays, added = self.state()[0], twin.obs_dim - self.obs_dim
        for name in ("actor.0.weight", "critics.0.0.weight", "critics.1.0.weight") if added else ():
            arrays[name] = np.insert(arrays[name], [self.obs_dim] * added, 0.0, axis=1)  # before a critic's actions
        twin.load({**arrays, **({} if twin.widening is None else twin.widening.arrays())})
        return twin

    def parameters(self) -> dict[str, nn.Parameter]:
        """All parameters by name."""
        named = {f"actor.{name}": p for name, p in self.actor.named_parameters()}
        named |= {f"critics.{name}": p for name, p in self.critics.named_parameters()}
        return named | {"log_alpha": self.log_alpha}

    def __repr__(self) -> str:
        inside = f"hidden={self.hidden}" + ("" if self.widening is None else f", widening={self.widening}")
        return f"SACPolicy(obs_dim={self.obs_dim}, action_dim={self.action_dim}, {inside})"


def mlp(inputs: int, hidden: Sequence[int], outputs: int, generator: torch.Generator) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise([inputs, *hidden, outputs]):
        layer, bound = nn.Linear(fan_in, fan_out), fan_in**-0.5
        for parameter in (layer.weight, layer.bias):
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        layers += [layer, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers[:-1])


def shared_copy(network: nn.ModuleList, mine: nn.ModuleList) -> nn.ModuleList:
    """Let `mine`, built alike, use the very weights of `network` without ever asking for their gradients."""
    for theirs, own in zip(network.parameters(), mine.parameters(), strict=True):
        own.data = theirs.data
        own.requires_grad_(False)
    return mine


def critics_like(policy: SACPolicy) -> nn.ModuleList:
    """Two networks of the shape of the policy's critics, with weights of their own."""
    inputs, draws = policy.obs_dim + policy.action_dim, torch.Generator()
    return nn.ModuleList(mlp(inputs, policy.hidden, 1, draws) for _ in range(2))


def least(critics: nn.ModuleList, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """The lesser of two critics' values `(m,)` of normalised observations and unit actions."""
    rows = torch.cat([obs, actions], dim=1)
    return torch.minimum(critics[0](rows), critics[1](rows)).squeeze(1)


def _forward(network: nn.Module, rows: F32) -> F32:
    n, width = rows.shape
    if n % BLOCK:
        rows = np.concatenate([rows, np.zeros((-n % BLOCK, width), dtype=np.float32)])
    with torch.inference_mode():
        blocks = [network(block) for block in torch.split(torch.from_numpy(rows), BLOCK)]
        return np.asarray(torch.cat(blocks)[:n].numpy() if n else network(torch.from_numpy(rows)).numpy())


def _bounds(observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]) -> tuple[Array, Array]:
    if not isinstance(observation_space, Box):
        raise PluginError("sac takes Box observations only", found=observation_space, hint=TAKE_FLAT)
    if (
        not isinstance(action_space, Box)
        or len(action_space.shape) != 1
        or not np.issubdtype(action_space.dtype, np.floating)
        or not (np.isfinite(action_space.low).all() and np.isfinite(action_space.high).all())
        or not (action_space.high > action_space.low).all()
    ):
        raise PluginError(
            "sac takes one-dimensional Box actions of floats with finite bounds only",
            found=action_space,
            hint="the algorithm `ppo` takes discrete and unbounded actions, too",
        )
    return action_space.low.astype(np.float64), action_space.high.astype(np.float64)
