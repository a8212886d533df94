"""A Stable-Baselines3 policy network with its observation statistics, as the engine's `Policy`.

Weights, names and layout are SB3's own: the arrays of `state` are the network's `state_dict`, beside them
`normalizer/mean`, `normalizer/var` and `normalizer/count` (a `VecNormalize`'s `obs_rms`) where there are any.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from scipy.special import ndtri
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.running_mean_std import RunningMeanStd

from ultra_agents.contracts import Policy
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array, FloatArray

from .networks import Network, build
from .options import Kind

BLOCK = 16
"""Rows per forward pass. A product's last bits depend on its shape, so every batch is padded to whole blocks of one
shape: what a row gets does not depend on how many rows come with it."""
_NORMALIZER = "normalizer/"


class SB3Policy(Policy):
    """One of SB3's five networks, the spaces it acts in, and what it needs to act alike elsewhere.

    `ppo`, `a2c`: a categorical or diagonal Gaussian policy; the Gaussian's sample is clipped to the bounds. `sac`: a
    Gaussian squashed by tanh. `td3`, `dqn`: deterministic, for `act` and `act_with_uniforms` too; their exploration
    belongs to training.

    Args:
        network: Architecture, in plain data.
        module: SB3's policy of that architecture.
        observation_space: As the environment has it; a `Box`.
        action_space: Likewise.
        clip_obs: Largest normalised observation.
        epsilon: Added to the variance.

    Attributes:
        rms: Observation statistics; None leaves observations as they are.
        reward_scale: What rewards were divided by in training; `value` is multiplied by it.
        ent_coef: The entropy coefficient that `sac` ended with; None if unknown.
    """

    def __init__(
        self,
        network: Network,
        module: BasePolicy,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        clip_obs: float = 10.0,
        epsilon: float = 1e-8,
    ) -> None:
        self.network, self.module = network, module
        self.observation_space, self.action_space = observation_space, action_space
        self.clip_obs, self.epsilon = clip_obs, epsilon
        self.stochastic = network.kind not in ("td3", "dqn")
        self.rms: RunningMeanStd | None = None
        self.reward_scale = 1.0
        self.ent_coef: float | None = None

    @property
    def kind(self) -> Kind:
        """Which of the five."""
        return self.network.kind

    # -- acting ------------------------------------------------------------------------------------------------

    def act(self, observations: Array, rng: np.random.Generator | None = None, deterministic: bool = False) -> Array:
        """Raw observations `(n, ...)` -> actions `(n, ...)`, within bounds; without `rng` the draws are unseeded."""
        if deterministic or not self.stochastic:
            return self._actions(observations, None)
        rng = np.random.default_rng() if rng is None else rng
        shape = self.action_space.shape or (1,)
        return self._actions(observations, rng.random((len(observations), *shape)))

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        """Inverse distribution function at `uniforms`; `td3` and `dqn` act as ever."""
        return self._actions(observations, uniforms if self.stochastic else None)

    def value(self, observations: Array) -> FloatArray:
        """Estimated discounted return `(n,)`: V(s); the least Q(s, mode) of `sac` and `td3`; max Q(s, a) of `dqn`."""
        values = self._forward(observations, self._values)[:, 0]
        return np.asarray(values * self.reward_scale, dtype=np.float64)

    def normalize(self, observations: Array) -> Array:
        """Raw observations `(n, ...)` as the network takes them, the way `VecNormalize` does it."""
        if self.rms is None:
            return observations
        scaled = (observations - self.rms.mean) / np.sqrt(self.rms.var + self.epsilon)
        return np.asarray(np.clip(scaled, -self.clip_obs, self.clip_obs), dtype=np.float32)

    def _actions(self, observations: Array, uniforms: FloatArray | None) -> Array:
        outputs = self._forward(observations, self._outputs)
        if isinstance(self.action_space, Discrete):
            if uniforms is None:
                return np.asarray(outputs.argmax(axis=1))
            shares = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            cdf = np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1)
            return np.asarray((uniforms[:, :1] > cdf[:, :-1]).sum(axis=1), dtype=np.int64)
        space = self.action_space
        assert isinstance(space, Box)
        width = outputs.shape[1] if self.kind == "td3" else outputs.shape[1] // 2
        actions, log_std = outputs[:, :width], outputs[:, width:]
        if uniforms is not None:
            z = ndtri(np.clip(uniforms, 1e-12, 1.0 - 1e-12))
            actions = actions + np.exp(log_std) * z
        if self.kind == "sac":
            actions = np.tanh(actions)
        if self.module.squash_output:
            actions = space.low + 0.5 * (actions + 1.0) * (space.high - space.low)
        return np.asarray(np.clip(actions, space.low, space.high), dtype=space.dtype)

    def _forward(self, observations: Array, function: Any) -> FloatArray:
        n = len(observations)
        prepared = np.asarray(self.normalize(observations))
        padded = np.concatenate([prepared, np.zeros((-n % BLOCK, *prepared.shape[1:]), prepared.dtype)])
        with torch.no_grad():
            blocks = [
                function(self.module.obs_to_tensor(padded[i : i + BLOCK])[0]) for i in range(0, len(padded), BLOCK)
            ]
        if not blocks:
            return np.zeros((0, 2 * int(np.prod(self.action_space.shape or (1,)))))
        return np.asarray(torch.cat(blocks)[:n].cpu().numpy(), dtype=np.float64)

    def _outputs(self, obs: torch.Tensor) -> torch.Tensor:
        """Logits, Q-values, squashed actions, or means and log standard deviations, `(n, ...)`."""
        module: Any = self.module
        if self.kind == "dqn":
            return torch.as_tensor(module.q_net(obs))
        if self.kind == "td3":
            return torch.as_tensor(module.actor(obs))
        if self.kind == "sac":
            mean, log_std, _ = module.actor.get_action_dist_params(obs)
            return torch.cat([mean, log_std], dim=1)
        features = BaseModel.extract_features(module, obs, module.pi_features_extractor)
        outputs: torch.Tensor = module.action_net(module.mlp_extractor.forward_actor(features))
        if isinstance(self.action_space, Discrete):
            return outputs
        return torch.cat([outputs, module.log_std.expand_as(outputs)], dim=1)

    def _values(self, obs: torch.Tensor) -> torch.Tensor:
        module: Any = self.module
        if self.kind == "dqn":
            return torch.as_tensor(module.q_net(obs).max(dim=1, keepdim=True).values)
        if self.kind in ("td3", "sac"):
            actions = module.actor(obs, deterministic=True) if self.kind == "sac" else module.actor(obs)
            return torch.cat(module.critic(obs, actions), dim=1).min(dim=1, keepdim=True).values
        return torch.as_tensor(module.predict_values(obs))

    # -- state -------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """The network's `state_dict` and the statistics; the architecture."""
        arrays = {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.module.state_dict().items()}
        description: dict[str, Any] = self.network.description()
        if self.rms is not None:
            arrays |= {
                f"{_NORMALIZER}mean": np.array(self.rms.mean, dtype=np.float64),
                f"{_NORMALIZER}var": np.array(self.rms.var, dtype=np.float64),
                f"{_NORMALIZER}count": np.asarray([float(self.rms.count)]),
            }
            description |= {"clip_obs": self.clip_obs, "epsilon": self.epsilon}
        if self.reward_scale != 1.0:
            description["reward_scale"] = self.reward_scale
        if self.ent_coef is not None:
            description["ent_coef"] = self.ent_coef
        return arrays, description

    def load(self, arrays: dict[str, Array], description: dict[str, Any]) -> None:
        """Take over what `state` gave, in place; raises `PolicyError` when it does not fit."""
        weights = {name: array for name, array in arrays.items() if not name.startswith(_NORMALIZER)}
        known = {name: tuple(tensor.shape) for name, tensor in self.module.state_dict().items()}
        statistics = {name: array for name, array in arrays.items() if name.startswith(_NORMALIZER)}
        if statistics:
            shape = tuple(self.observation_space.shape or ())
            known |= {f"{_NORMALIZER}{part}": shape for part in ("mean", "var")} | {f"{_NORMALIZER}count": (1,)}
        _check_names(known, arrays)
        for name, array in arrays.items():
            if np.shape(array) != known[name] and not (name == f"{_NORMALIZER}count" and np.size(array) == 1):
                raise PolicyError(
                    f"the policy's array {name!r} has the wrong shape", found=np.shape(array), expected=known[name]
                )
            if not np.isfinite(array).all():
                raise PolicyError(f"the policy's array {name!r} is not finite", found="NaN or infinity")
        self.module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
        self.rms = None
        if statistics:
            self.rms = RunningMeanStd(shape=self.observation_space.shape or ())
            self.rms.mean, self.rms.var = (np.array(arrays[f"{_NORMALIZER}{k}"], np.float64) for k in ("mean", "var"))
            self.rms.count = float(np.ravel(arrays[f"{_NORMALIZER}count"])[0])
            if (self.rms.var < 0).any():
                raise PolicyError("the policy's observation statistics are damaged", found="a negative variance")
        self.clip_obs = _positive(description, "clip_obs", 10.0)
        self.epsilon = _positive(description, "epsilon", 1e-8)
        self.reward_scale = _positive(description, "reward_scale", 1.0)
        self.ent_coef = _positive(description, "ent_coef", 1.0) if description.get("ent_coef") is not None else None

    def copy(self) -> SB3Policy:
        """An independent policy that acts alike."""
        module = build(self.network, self.observation_space, self.action_space)
        twin = SB3Policy(self.network, module, self.observation_space, self.action_space)
        twin.load(*self.state())
        return twin


def _check_names(known: dict[str, Any], arrays: dict[str, Array]) -> None:
    missing, extra = sorted(set(known) - set(arrays)), sorted(set(arrays) - set(known))
    if missing or extra:
        parts = [f"{word}: {', '.join(names)}" for word, names in (("missing", missing), ("unknown", extra)) if names]
        raise PolicyError(
            "the policy's arrays are not those of this architecture",
            found="; ".join(parts),
            expected=", ".join(sorted(known)),
        )


def _positive(description: dict[str, Any], name: str, default: float) -> float:
    value = description.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value) or value <= 0:
        raise PolicyError(f"the policy's {name} is not usable", found=repr(value), expected="a number above 0")
    return float(value)
