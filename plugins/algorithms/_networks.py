"""The policy of `ppo.py`: two tanh networks, a Gaussian or categorical head, and an observation normaliser.

Acting happens in numpy on arrays that share memory with the torch parameters, so the optimiser's steps are seen at
once; for batches of 16 rows that is faster than torch's own dispatch. Learning happens in torch.

Screens (`_encoders.is_image`) go through one convolutional trunk that actor and critic share, as in CleanRL's and
SB3's Atari agents: it is nearly all of the work, and two of them would double it. Its features feed two linear heads.
"Normalised" screens are the screens themselves, uint8, flattened: the trunk divides by 255, so rollouts stay small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import torch
from gymnasium.spaces import Box, Discrete
from scipy.special import ndtri
from torch import nn

from ultra_agents.contracts import Policy, Widening
from ultra_agents.contracts.spaces import TAKE_FLAT
from ultra_agents.errors import PluginError, PolicyError
from ultra_agents.records import Array, FloatArray

from ._encoders import FEATURES, NatureCNN, is_image
from ._mlp import F32, clipped, forward, mlp, one_thread

IMAGE_BLOCK = 8
"""Rows per pass through the convolutions, for the reason given at `_mlp.BLOCK`."""

LOG_2PI = float(np.log(2 * np.pi))
CLIP = 10.0
"""Normalised observations are clipped here, unless an imported policy was trained with something else."""


class PPOPolicy(Policy):
    """Actor, critic and normaliser of one environment's spaces.

    Continuous actions are Gaussian with a standard deviation that does not depend on the state. The density is that of
    the unclipped sample; `act` and `act_with_uniforms` clip to the bounds of the space, as environments take it.

    Args:
        observation_space: A `Box`; observations are flattened.
        action_space: `Discrete` (starting at 0) or one-dimensional `Box`.
        hidden: Units of each hidden layer, the same for actor and critic; without meaning for `nature_cnn`.
        seed: Of the initial weights (orthogonal; gain sqrt(2) inside, 0.01 for the actor's head, 1 for the critic's).
        network: `mlp` or `nature_cnn`; None takes what suits the observations.
        widening: Quantities of the environment as further inputs of `mlp`.

    Attributes:
        encoder: The trunk of `nature_cnn`; None for `mlp`.
        actor: From features (for `mlp`: normalised observations) to logits or means.
        critic: From the same to values `(m, 1)`.
        raw_dim: Numbers of one observation.
        obs_dim: Numbers of one normalised observation, what else the networks take included.
        obs_dtype: Of normalised observations: float32, or uint8 for screens.

    Raises:
        PluginError: The spaces are of another kind.
        PolicyError: `network` is unknown, or does not suit the observations.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        hidden: Sequence[int],
        seed: int = 0,
        network: str | None = None,
        widening: Widening | None = None,
    ) -> None:
        _check_spaces(observation_space, action_space)
        self.observation_space, self.action_space = observation_space, action_space
        self.network = _network(network, observation_space)
        images = self.network == "nature_cnn"
        self.hidden = () if images else tuple(hidden)
        self.discrete = isinstance(action_space, Discrete)
        self.widening = widening
        if images and widening is not None:
            raise PluginError(
                "a network of screens takes no quantities as further inputs",
                found=self.network,
                expected="mlp, the network of observations that are no screens",
                hint="learn from the rules without widening the policy",
            )
        self.raw_dim = int(np.prod(observation_space.shape or (1,)))
        self.obs_dim = self.raw_dim + (0 if widening is None else widening.width)
        width = action_space.n if isinstance(action_space, Discrete) else np.prod(action_space.shape or ())
        self.action_dim = int(width)
        self.obs_dtype: npt.DTypeLike = np.uint8 if images else np.float32
        generator = torch.Generator().manual_seed(seed)
        features = FEATURES if images else self.obs_dim
        with one_thread():
            self.encoder = NatureCNN(observation_space.shape or (), generator) if images else None
            self.actor = mlp(features, self.hidden, self.action_dim, 0.01, generator)
            self.critic = mlp(features, self.hidden, 1, 1.0, generator)
        self.log_std = None if self.discrete else nn.Parameter(_initial_log_std(action_space))
        width = 0 if images else self.raw_dim
        self.mean, self.var = np.zeros(width), np.ones(width)
        self.count, self.clip = 0.0, CLIP

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

    def normalize(self, observations: Array) -> Array:
        """Raw observations `(n, ...)` -> `(n, obs_dim)`: (obs - mean) / sqrt(var + 1e-8), clipped; screens as is.

        Behind them what a `widening` tells.
        """
        if self.encoder is not None:
            return np.asarray(observations, dtype=np.uint8).reshape(len(observations), self.obs_dim)
        flat = np.asarray(observations, dtype=np.float64).reshape(len(observations), self.raw_dim)
        scaled = flat - self.mean
        scaled /= self._spread
        normalized = clipped(scaled, -self.clip, self.clip).astype(np.float32)
        if self.widening is None:
            return normalized
        return np.concatenate([normalized, self.widening.inputs(observations)], axis=1)

    def uniforms(self, rng: np.random.Generator, n: int) -> FloatArray:
        """Draws `(n, d)` in (0, 1) for `act_with_uniforms`."""
        return rng.random((n, 1 if self.discrete else self.action_dim))

    def actor_outputs(self, normalized: Array) -> F32:
        """Logits or means `(n, action_dim)` of normalised observations `(n, obs_dim)`."""
        if self.encoder is not None:
            return self.outputs_and_values(normalized)[0]
        return forward(self._layers("actor"), normalized, self._split)

    def critic_values(self, normalized: Array) -> F32:
        """Values `(n,)` of normalised observations `(n, obs_dim)`."""
        if self.encoder is not None:
            return self.outputs_and_values(normalized)[1]
        return forward(self._layers("critic"), normalized, self._split)[:, 0]

    def outputs_and_values(self, normalized: Array) -> tuple[F32, F32]:
        """Both of the above at once: for screens one pass through the trunk instead of two."""
        if self.encoder is None:
            return self.actor_outputs(normalized), self.critic_values(normalized)
        device, n = next(self.encoder.parameters()).device, len(normalized)
        rows = np.concatenate([normalized, np.zeros((-n % IMAGE_BLOCK, self.obs_dim), np.uint8)])
        found = []
        with torch.inference_mode():
            for block in torch.split(torch.from_numpy(rows).to(device), IMAGE_BLOCK):
                features = self.encoder(block)
                found.append(torch.cat([self.actor(features), self.critic(features)], dim=1))
        both = torch.cat(found)[:n].cpu().numpy() if found else np.zeros((0, self.action_dim + 1), np.float32)
        return np.ascontiguousarray(both[:, :-1]), np.ascontiguousarray(both[:, -1])

    def mode(self, outputs: F32) -> Array:
        """The likeliest actions of actor outputs `(n, action_dim)`."""
        return outputs.argmax(axis=1) if self.discrete else outputs

    def sample(self, outputs: F32, uniforms: FloatArray) -> Array:
        """Actions `(n,)` or unclipped `(n, action_dim)` at the given quantiles."""
        if self.discrete:
            cdf = np.cumsum(np.exp(_log_softmax(outputs)), axis=1)
            return np.asarray((uniforms[:, :1] > cdf[:, :-1]).sum(axis=1), dtype=np.int64)
        z = ndtri(clipped(uniforms, 1e-12, 1.0 - 1e-12))
        z *= np.exp(self._log_std())
        z += outputs
        return np.asarray(z, dtype=np.float32)

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
            space = self.action_space
            return clipped(actions, space.low, space.high).astype(space.dtype, copy=False)
        return actions

    @property
    def critic_is_untrained(self) -> bool:
        """All biases of the critic are 0, as they begin: the first step of any training moves them."""
        return not any(bias.any() for _, bias in self._layers("critic"))

    # -- learning, in torch ------------------------------------------------------------------------------------

    def actor_parameters(self) -> list[nn.Parameter]:
        """What the policy loss moves; the shared trunk of images is among them."""
        trunk = [] if self.encoder is None else [*self.encoder.parameters()]
        return [*trunk, *self.actor.parameters(), *([] if self.log_std is None else [self.log_std])]

    def encode(self, mb_obs: torch.Tensor, learn: bool = True) -> torch.Tensor:
        """Normalised `(m, obs_dim)` -> the features actor and critic take.

        `learn=False` sends no gradient into a shared trunk: the critic can be trained without moving the actor.
        """
        if self.encoder is None:
            return mb_obs
        with torch.set_grad_enabled(learn and torch.is_grad_enabled()):
            features: torch.Tensor = self.encoder(mb_obs)
        return features

    def log_prob_and_entropy(
        self, mb_obs: torch.Tensor, *actions: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Normalised `(m, obs_dim)` -> log-probabilities `(m,)` of each batch of actions, and entropies `(m,)`."""
        return self.head_log_prob_and_entropy(self.encode(mb_obs), *actions)

    def head_log_prob_and_entropy(
        self, features: torch.Tensor, *actions: torch.Tensor
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """The same of features that `encode` gave, for callers that need them for the critic, too."""
        outputs = self.actor(features)
        if self.log_std is None:
            logp = torch.log_softmax(outputs, dim=1)
            picked = [logp.gather(1, batch[:, None]).squeeze(1) for batch in actions]
            return picked, -(logp.exp() * logp).sum(dim=1)
        z2 = [((batch - outputs) / self.log_std.exp()).square() for batch in actions]
        logps = [(-0.5 * (part + LOG_2PI) - self.log_std).sum(dim=1) for part in z2]
        return logps, (self.log_std + 0.5 * (1 + LOG_2PI)).sum().expand(len(features))

    def update_normalizer(self, observations: Array) -> None:
        """Merge raw observations `(n, ...)` into the running mean and variance (Chan et al. 1979); not for screens."""
        if self.encoder is not None:
            return
        flat = np.asarray(observations, dtype=np.float64).reshape(-1, self.raw_dim)
        n, mean, var = len(flat), flat.mean(axis=0), flat.var(axis=0)
        total = self.count + n
        delta = mean - self.mean
        self.var = (self.var * self.count + var * n + delta**2 * self.count * n / total) / total
        self.mean = self.mean + delta * n / total
        self.count = total

    # -- state -------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Copies of all arrays by name, and the architecture."""
        arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in self._named().items()}
        arrays |= {
            "normalizer.mean": self.mean.copy(),
            "normalizer.var": self.var.copy(),
            "normalizer.count": np.asarray([self.count]),
        }
        if self.clip != CLIP:
            arrays["normalizer.clip"] = np.asarray([self.clip])
        arrays |= {} if self.widening is None else self.widening.arrays()
        head = "categorical" if self.discrete else "gaussian, state-independent log_std"
        activation = "tanh" if self.encoder is None else "relu"
        return arrays, {
            "network": self.network, "hidden": list(self.hidden), "activation": activation, "head": head,
            **({} if self.widening is None else self.widening.described()),
        }  # fmt: skip

    def acting_state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """`state`, without a widening that nothing was learnt from."""
        state = self.state()
        first = "actor.0.weight", "critic.0.weight"
        return state if self.widening is None else self.widening.left_out(*state, first)

    def load(self, arrays: dict[str, Array]) -> None:
        """Take over arrays made by `state`, in place; raises `PolicyError` when they do not fit."""
        now, _ = self.state()
        arrays, now["normalizer.clip"] = {"normalizer.clip": np.asarray([CLIP]), **arrays}, np.zeros(1)
        missing, extra = sorted(set(now) - set(arrays)), sorted(set(arrays) - set(now))
        if missing or extra:
            wrong = ("missing", missing), ("unknown", extra)
            raise PolicyError(
                "the policy's arrays are not those of this architecture",
                found="; ".join(f"{word}: {', '.join(them)}" for word, them in wrong if them),
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
        self.count, self.clip = (float(arrays[f"normalizer.{k}"][0]) for k in ("count", "clip"))
        if self.widening is not None:
            self.widening = self.widening.scaled(arrays)

    def copy(self) -> PPOPolicy:
        """An independent policy that acts alike."""
        return self.widened(None)

    def widened(self, further: Widening | None) -> PPOPolicy:
        """A copy that also takes the quantities `further`, with weights of 0: it acts and values alike, to the bit."""
        twin = PPOPolicy(
            self.observation_space, self.action_space, self.hidden, network=self.network,
            widening=further if self.widening is None else self.widening.extended(further),
        )  # fmt: skip
        arrays, added = self.state()[0], twin.obs_dim - self.obs_dim
        for name in ("actor.0.weight", "critic.0.weight") if added else ():
            arrays[name] = np.pad(arrays[name], ((0, 0), (0, added)))
        twin.load({**arrays, **({} if twin.widening is None else twin.widening.arrays())})
        return twin

    @property
    def _split(self) -> int | None:
        return None if self.widening is None else self.raw_dim

    def _named(self) -> dict[str, torch.Tensor]:
        named: dict[str, torch.Tensor] = {f"actor.{k}": p for k, p in self.actor.named_parameters()}
        named |= {f"critic.{k}": p for k, p in self.critic.named_parameters()}
        if self.encoder is not None:
            named |= {f"encoder.{k}": p for k, p in self.encoder.named_parameters()}
        return named if self.log_std is None else named | {"log_std": self.log_std}

    def _layers(self, which: str) -> list[tuple[F32, F32]]:
        cache: dict[str, list[tuple[F32, F32]]] = self.__dict__.setdefault("_views", {})
        if which not in cache:
            linear = [layer for layer in getattr(self, which) if isinstance(layer, nn.Linear)]
            cache[which] = [(layer.weight.detach().numpy().T, layer.bias.detach().numpy()) for layer in linear]
        return cache[which]

    def _log_std(self) -> FloatArray:
        assert self.log_std is not None
        return self.log_std.detach().cpu().numpy().astype(np.float64)

    @property
    def _spread(self) -> FloatArray:
        """Standard deviations `(raw_dim,)` observations are divided by."""
        if self.__dict__.get("_spread_of", (None,))[0] is not self.var:  # it is replaced, never changed in place
            self.__dict__["_spread_of"] = self.var, np.sqrt(self.var + 1e-8)
        return np.asarray(self.__dict__["_spread_of"][1])

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the numpy views: a copy must look at its own weights."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_views", "_spread_of")}

    def __repr__(self) -> str:
        inside = "nature_cnn" if self.encoder is not None else f"hidden={self.hidden}"
        inside += "" if self.widening is None else f", widening={self.widening}"
        return f"PPOPolicy(obs_dim={self.obs_dim}, action_dim={self.action_dim}, {inside})"


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
        raise PluginError("ppo takes Box observations only", found=observation_space, hint=TAKE_FLAT)
    discrete = isinstance(action_space, Discrete) and action_space.start == 0
    floats = np.issubdtype(action_space.dtype, np.floating)
    continuous = isinstance(action_space, Box) and len(action_space.shape) == 1 and floats
    if not (discrete or continuous):
        raise PluginError(
            "ppo takes Discrete actions that start at 0, or one-dimensional Box actions of floats",
            found=action_space,
            hint=TAKE_FLAT,
        )


def _network(wanted: str | None, space: gymnasium.Space[Any]) -> str:
    if wanted is None:
        return "nature_cnn" if is_image(space) else "mlp"
    if wanted not in ("mlp", "nature_cnn") or (wanted == "nature_cnn" and not is_image(space)):
        raise PolicyError(
            "the policy's network is unknown, or does not suit the observations",
            found=f"{wanted} for observations {space}",
            expected="mlp, or nature_cnn for screens of uint8",
        )
    return wanted
