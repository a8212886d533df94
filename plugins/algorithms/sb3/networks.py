"""The architecture of a Stable-Baselines3 policy in plain data, and the network SB3 builds from it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args

import gymnasium
import torch
from gymnasium.spaces import Box, Discrete
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.preprocessing import is_image_space, is_image_space_channels_first
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from stable_baselines3.common.vec_env import VecTransposeImage
from stable_baselines3.dqn.policies import DQNPolicy
from stable_baselines3.sac.policies import SACPolicy
from stable_baselines3.td3.policies import TD3Policy

from ultra_agents.contracts.spaces import TAKE_FLAT
from ultra_agents.errors import PluginError, PolicyError
from ultra_agents.records import Array

from .options import Activation, Kind, PolicyKwargs

ACTIVATIONS: dict[Activation, type[torch.nn.Module]] = {
    "tanh": torch.nn.Tanh,
    "relu": torch.nn.ReLU,
    "leaky_relu": torch.nn.LeakyReLU,
    "elu": torch.nn.ELU,
    "gelu": torch.nn.GELU,
    "silu": torch.nn.SiLU,
}
POLICIES: dict[Kind, type[BasePolicy]] = {
    "ppo": ActorCriticPolicy,
    "a2c": ActorCriticPolicy,
    "sac": SACPolicy,
    "td3": TD3Policy,
    "dqn": DQNPolicy,
}
ON_POLICY = ("ppo", "a2c")
# Where a network's hidden layers stand in its state_dict; the last linear layer of those marked is an output.
_LAYERS: dict[Kind, dict[str, tuple[str, bool]]] = {
    "ppo": {"pi": ("mlp_extractor.policy_net.", False), "vf": ("mlp_extractor.value_net.", False)},
    "a2c": {"pi": ("mlp_extractor.policy_net.", False), "vf": ("mlp_extractor.value_net.", False)},
    "sac": {"pi": ("actor.latent_pi.", False), "qf": ("critic.qf0.", True)},
    "td3": {"pi": ("actor.mu.", True), "qf": ("critic.qf0.", True)},
    "dqn": {"q": ("q_net.q_net.", True)},
}
NetArch = tuple[int, ...] | dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Network:
    """What SB3 needs to know to build a policy's network.

    Attributes:
        kind: Which of the five algorithms.
        policy: `MlpPolicy` or `CnnPolicy`.
        net_arch: Units per hidden layer, after any encoder, of all networks or by SB3's names; None: SB3's own.
        activation_fn: None: SB3's own.
        n_critics: Q-networks of `sac` and `td3`.
        log_std_init: Of a fresh Gaussian `ppo` or `a2c` policy.
        ortho_init: Of a fresh `ppo` or `a2c` policy.
    """

    kind: Kind
    policy: str = "MlpPolicy"
    net_arch: NetArch | None = None
    activation_fn: Activation | None = None
    n_critics: int = 2
    log_std_init: float = 0.0
    ortho_init: bool = True

    def kwargs(self) -> dict[str, Any]:
        """SB3's `policy_kwargs`."""
        given: dict[str, Any] = {}
        if self.net_arch is not None:
            arch = self.net_arch
            given["net_arch"] = {k: list(v) for k, v in arch.items()} if isinstance(arch, dict) else list(arch)
        if self.activation_fn is not None:
            given["activation_fn"] = ACTIVATIONS[self.activation_fn]
        if self.kind in ON_POLICY:
            given |= {"log_std_init": self.log_std_init, "ortho_init": self.ortho_init}
        elif self.kind != "dqn":
            given["n_critics"] = self.n_critics
        given["features_extractor_class"] = NatureCNN if self.policy == "CnnPolicy" else FlattenExtractor
        return given

    def description(self) -> dict[str, Any]:
        """JSON-able; `described` reads it."""
        kwargs: dict[str, Any] = {}
        if self.net_arch is not None:
            arch = self.net_arch
            kwargs["net_arch"] = {k: list(v) for k, v in arch.items()} if isinstance(arch, dict) else list(arch)
        if self.activation_fn is not None:
            kwargs["activation_fn"] = self.activation_fn
        if self.n_critics != 2:
            kwargs["n_critics"] = self.n_critics
        return {
            "library": "stable-baselines3",
            "algorithm": self.kind,
            "policy": self.policy,
            "policy_kwargs": kwargs,
        }


def fresh(kind: Kind, policy: str, wanted: PolicyKwargs) -> Network:
    """The network that the options ask for; raises `PluginError` for layers of networks that `kind` has not."""
    needed = set(_LAYERS[kind])
    if isinstance(wanted.net_arch, dict) and (kind == "dqn" or set(wanted.net_arch) != needed):
        raise PluginError(
            f"policy_kwargs.net_arch does not fit sb3-{kind}",
            found=f"layers for {', '.join(wanted.net_arch) or 'nothing'}",
            expected="a list of units" + ("" if kind == "dqn" else f", or layers for {' and '.join(sorted(needed))}"),
        )
    return Network(
        kind,
        policy,
        wanted.net_arch,
        wanted.activation_fn,
        log_std_init=getattr(wanted, "log_std_init", 0.0),
        ortho_init=getattr(wanted, "ortho_init", True),
    )


def described(kind: Kind, description: dict[str, Any], arrays: dict[str, Array]) -> Network:
    """The network of a stored policy; what the description leaves out is read off the arrays.

    Raises:
        PolicyError: The description is of another algorithm, or of something that is not offered.
    """
    made_by = description.get("algorithm", kind)
    alike = ON_POLICY if kind in ON_POLICY else (kind,)
    if made_by not in alike:
        found = f"sb3-{made_by}" if made_by in get_args(Kind) else repr(made_by)
        raise PolicyError("the policy is of another algorithm", found=found, expected=f"sb3-{kind}")
    policy = description.get("policy") or ("CnnPolicy" if any(".cnn." in name for name in arrays) else "MlpPolicy")
    kwargs = description.get("policy_kwargs") or {}
    critics = {int(match[1]) for name in arrays if (match := re.match(r"critic\.qf(\d+)\.", name))}
    try:
        known = PolicyKwargs(activation_fn=kwargs.get("activation_fn")).activation_fn
    except (ValueError, AttributeError) as error:
        raise PolicyError("the policy's architecture is not known", found=kwargs) from error
    if policy not in ("MlpPolicy", "CnnPolicy"):
        raise PolicyError("the policy's network is not offered", found=policy, expected="MlpPolicy or CnnPolicy")
    return Network(kind, policy, _arch(kwargs.get("net_arch")) or _read_off(kind, arrays), known, len(critics) or 2)


def _arch(told: Any) -> NetArch | None:
    try:
        return PolicyKwargs(net_arch=told).net_arch
    except ValueError:  # a form of older versions of SB3
        return None


def _read_off(kind: Kind, arrays: dict[str, Array]) -> NetArch | None:
    widths = {name: _widths(arrays, *where) for name, where in _LAYERS[kind].items()}
    return widths["q"] if kind == "dqn" else widths


def _widths(arrays: dict[str, Array], prefix: str, output: bool) -> tuple[int, ...]:
    pattern = re.compile(re.escape(prefix) + r"(\d+)\.weight")
    found = sorted((int(match[1]), len(arrays[name])) for name in arrays if (match := pattern.fullmatch(name)))
    widths = tuple(units for _, units in found)
    return widths[:-1] if output else widths


def check_spaces(
    kind: Kind, policy: str, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]
) -> None:
    """Raise `PluginError` for spaces the algorithm cannot have."""
    if not isinstance(observation_space, Box) or not observation_space.shape:
        raise PluginError(f"sb3-{kind} takes Box observations only", found=observation_space, hint=TAKE_FLAT)
    if policy == "CnnPolicy" and not is_image_space(observation_space):
        raise PluginError(
            "CnnPolicy takes pictures only",
            found=observation_space,
            expected="a Box of uint8 from 0 to 255 with three dimensions",
            hint="set policy: MlpPolicy",
        )
    if isinstance(action_space, Discrete) and kind in (*ON_POLICY, "dqn"):
        if action_space.start == 0:
            return
        raise PluginError(f"sb3-{kind} takes Discrete actions that start at 0", found=action_space, hint=TAKE_FLAT)
    if isinstance(action_space, Box) and kind != "dqn":
        floats = action_space.dtype is not None and action_space.dtype.kind == "f"
        if floats and len(action_space.shape) == 1 and action_space.is_bounded():
            return
        raise PluginError(
            f"sb3-{kind} takes bounded one-dimensional Box actions of floats only", found=action_space, hint=TAKE_FLAT
        )
    kinds: Iterable[str] = {"dqn": ("Discrete",), "sac": ("Box",), "td3": ("Box",)}.get(kind, ("Discrete", "Box"))
    others = (
        "sb3-ppo, sb3-a2c or sb3-dqn" if isinstance(action_space, Discrete) else "sb3-ppo, sb3-a2c, sb3-sac or sb3-td3"
    )
    raise PluginError(
        f"sb3-{kind} takes {' or '.join(kinds)} actions only",
        found=action_space,
        hint=f"use {others}" if isinstance(action_space, Discrete | Box) else TAKE_FLAT,
    )


def build(
    network: Network, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], seed: int = 0
) -> BasePolicy:
    """SB3's policy with weights drawn from `seed`; raises `PluginError` for spaces it cannot have."""
    check_spaces(network.kind, network.policy, observation_space, action_space)
    assert isinstance(observation_space, Box)
    if is_image_space(observation_space) and not is_image_space_channels_first(observation_space):
        turned = VecTransposeImage.transpose_space(observation_space)
        assert isinstance(turned, Box)
        observation_space = turned
    make: Any = POLICIES[network.kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module: BasePolicy = make(observation_space, action_space, lambda _: 0.0, **network.kwargs())
    module.set_training_mode(False)
    return module
