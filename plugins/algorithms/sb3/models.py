"""Stable-Baselines3's five algorithms with the modulation in their rollout collection, each overridden at one place.

On-policy, the network's `forward`, which `collect_rollouts` calls once a step: it answers with the executed action and
the log-probability with which that was chosen, and SB3 steps, clips, stores and learns as ever. Off-policy,
`_sample_action`: the executed action goes to the environment and into the replay buffer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import ActionNoise, NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecEnv

from ultra_agents.records import Array, FloatArray

from .env import EngineVecEnv
from .networks import Network
from .options import (
    Kind,
    OffPolicyOptions,
    OnPolicyOptions,
    SB3A2COptions,
    SB3DQNOptions,
    SB3Options,
    SB3PPOOptions,
    SB3SACOptions,
    SB3TD3Options,
    scheduled,
)


class Overrides:
    """What the modulation did in one on-policy rollout.

    Args:
        env: Where it acts.

    Attributes:
        log_probs: `(n,)` a step: of the executed actions, under the policy.
        behaviour: Likewise, under what really acted.
        followed: Likewise, whether the engine chose.
    """

    def __init__(self, env: EngineVecEnv) -> None:
        self.env = env
        self.log_probs: list[FloatArray] = []
        self.behaviour: list[FloatArray] = []
        self.followed: list[Array] = []

    def clear(self) -> None:
        """A rollout begins."""
        for rows in (self.log_probs, self.behaviour, self.followed):
            rows.clear()

    def __call__(
        self, policy: ActorCriticPolicy, actions: torch.Tensor, log_probs: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Proposed actions `(n, ...)` -> executed ones, and the log-probabilities `(n,)` to store."""
        modulated = self.env.override(actions.cpu().numpy())
        if modulated is None:
            return actions, log_probs
        assert self.env.modulation is not None
        executed = torch.as_tensor(modulated.actions).to(actions)
        own = policy.action_dist.log_prob(executed)
        known: FloatArray = own.double().cpu().numpy()
        behaviour = self.env.modulation.behaviour_log_prob(known, modulated)
        self.log_probs.append(known)
        self.behaviour.append(np.asarray(behaviour))
        self.followed.append(np.asarray(modulated.followed))
        return executed, torch.as_tensor(behaviour).to(own)


class OverriddenPolicy(ActorCriticPolicy):
    """SB3's actor and critic; `overrides` decides what is executed while a rollout is collected."""

    overrides: Callable[..., tuple[torch.Tensor, torch.Tensor]] | None = None

    def forward(
        self, obs: torch.Tensor, deterministic: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Observations `(n, ...)` -> actions to execute, values and the log-probabilities to store."""
        actions, values, log_probs = super().forward(obs, deterministic)
        if self.overrides is not None:
            actions, log_probs = self.overrides(self, actions, log_probs)
        return actions, values, log_probs


class OverriddenPPO(PPO):
    """PPO whose `target_kl` still measures the policy's own movement when others act, too.

    SB3 estimates the divergence from the log-probabilities stored. Under a modulation these are the behaviour's, so
    here each pass over the rollout is one `train` of SB3's, and the estimate between two passes is over the steps that
    the policy chose itself, against what it was.
    """

    overrides: Overrides | None = None

    def train(self) -> None:
        """Passes of SB3's `train` over the rollout."""
        target, epochs = self.target_kl, self.n_epochs
        if target is None or self.overrides is None:
            super().train()
            return
        buffer, kl = self.rollout_buffer, 0.0
        before = torch.from_numpy(buffer.swap_and_flatten(np.stack(self.overrides.log_probs))).flatten()
        own = ~torch.from_numpy(buffer.swap_and_flatten(np.stack(self.overrides.followed))).flatten()
        self.target_kl, self.n_epochs = None, 1
        try:
            for _ in range(epochs):
                super().train()
                with torch.no_grad():
                    actions = buffer.to_torch(buffer.actions.astype(np.float32))
                    discrete = not isinstance(self.action_space, Box)
                    _, now, _ = self.policy.evaluate_actions(
                        buffer.to_torch(buffer.observations), actions.long().flatten() if discrete else actions
                    )
                moved = (now.double() - before)[own].clamp(-20.0, 20.0)
                kl = float((moved.exp() - 1 - moved).mean()) if len(moved) else 0.0
                if kl > 1.5 * target:
                    break
        finally:
            self.target_kl, self.n_epochs = target, epochs
        self.logger.record("train/approx_kl", kl)


class OverriddenA2C(A2C):
    """A2C whose policy gradient weighs each step by pi(a|s) / mu(a|s), mu being what really acted."""

    overrides: Overrides | None = None

    def train(self) -> None:
        """SB3's `train` on weighted advantages: one step on what this very policy met, so the weight is exact."""
        if self.overrides is not None:
            log_ratio = np.stack(self.overrides.log_probs) - np.stack(self.overrides.behaviour)
            self.rollout_buffer.advantages *= np.exp(log_ratio).astype(np.float32)
        super().train()


class _Overridden(OffPolicyAlgorithm):
    """The executed action is stored; needs the attribute `engine`."""

    engine: EngineVecEnv

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[Array, Array]:
        """Actions to execute `(n, ...)`, and as they are stored: scaled to [-1, 1] when continuous."""
        actions, stored = super()._sample_action(learning_starts, action_noise, n_envs)
        modulated = self.engine.override(actions)
        if modulated is None:
            return actions, stored
        if not isinstance(self.action_space, Box):
            return modulated.actions, modulated.actions
        executed = np.clip(modulated.actions, self.action_space.low, self.action_space.high)
        return executed, np.asarray(self.policy.scale_action(executed))


class OverriddenSAC(_Overridden, SAC):
    """SAC that stores what was executed."""


class OverriddenTD3(_Overridden, TD3):
    """TD3 that stores what was executed."""


class OverriddenDQN(_Overridden, DQN):
    """DQN that stores what was executed."""


_CLASSES: dict[Kind, type[BaseAlgorithm]] = {
    "ppo": OverriddenPPO,
    "a2c": OverriddenA2C,
    "sac": OverriddenSAC,
    "td3": OverriddenTD3,
    "dqn": OverriddenDQN,
}


def make(
    options: SB3Options,
    network: Network,
    env: VecEnv,
    engine: EngineVecEnv,
    total_steps: int,
    horizon: int,
    fresh: bool,
) -> BaseAlgorithm:
    """SB3's algorithm, untrained, on the CPU; its random draws come from the global generators as they are.

    Args:
        options: The plugin's.
        network: Of the policy to be trained.
        env: What SB3 sees: `engine`, normalised or not.
        engine: The environments themselves.
        total_steps: Budget in environment steps; a replay buffer is never larger.
        horizon: Steps of an on-policy rollout.
        fresh: The policy is new; else `dqn` explores from the start as little as in the end.
    """
    given: dict[str, Any] = {
        "learning_rate": _schedule(options.learning_rate),
        "gamma": options.gamma,
        "policy_kwargs": network.kwargs(),
        "device": "cpu",
    }
    policy: Any = OverriddenPolicy if isinstance(options, OnPolicyOptions) else network.policy
    if isinstance(options, OnPolicyOptions):
        given |= _picked(options, "gae_lambda", "normalize_advantage", "ent_coef", "vf_coef", "max_grad_norm")
        given["n_steps"] = horizon
    if isinstance(options, SB3PPOOptions):
        given |= _picked(options, "batch_size", "n_epochs", "target_kl")
        given["clip_range"] = _schedule(options.clip_range)
        given["clip_range_vf"] = None if options.clip_range_vf is None else _schedule(options.clip_range_vf)
    if isinstance(options, SB3A2COptions):
        given |= _picked(options, "use_rms_prop", "rms_prop_eps")
    if isinstance(options, OffPolicyOptions):
        names = ("learning_starts", "batch_size", "tau", "train_freq", "gradient_steps", "n_steps")
        given |= _picked(options, *names)
        needed = (total_steps // engine.num_envs + options.train_freq + 1) * engine.num_envs
        given["buffer_size"] = min(options.buffer_size, needed)
    if isinstance(options, SB3SACOptions):
        given |= _picked(options, "ent_coef", "target_entropy", "target_update_interval")
    if isinstance(options, SB3TD3Options):
        given |= _picked(options, "policy_delay", "target_policy_noise", "target_noise_clip")
    if isinstance(options, SB3SACOptions | SB3TD3Options) and options.noise_std:
        width = np.ones(engine.action_space.shape or (1,))
        given["action_noise"] = NormalActionNoise(0.0 * width, options.noise_std * width)
    if isinstance(options, SB3DQNOptions):
        given |= _picked(options, "target_update_interval", "exploration_fraction", "exploration_initial_eps")
        given |= _picked(options, "exploration_final_eps", "max_grad_norm")
        if not fresh and "exploration_initial_eps" not in options.model_fields_set:
            given["exploration_initial_eps"] = options.exploration_final_eps
    kind: Any = _CLASSES[network.kind]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on sizes that do not divide each other, and on memory
        model: BaseAlgorithm = kind(policy, env, **given)
    model.set_logger(Logger(folder=None, output_formats=[]))
    return model


def _picked(options: SB3Options, *names: str) -> dict[str, Any]:
    return {name: getattr(options, name) for name in names}


def _schedule(rate: float | str) -> Any:
    start, linear = scheduled(rate)
    return (lambda left: start * max(left, 0.0)) if linear else start
