"""Options of the Stable-Baselines3 plugins: SB3's names and defaults, in types a configuration file can hold.

Not offered, because they are Python objects or change the file format of a policy: `use_sde`, custom feature
extractors, buffers and callbacks, `optimize_memory_usage`, episodes as the unit of `train_freq`. What is not SB3's own
stands in `SB3Options`, `noise_std` and the notes at the top of `sb3.py`.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, Field

from ultra_agents.contracts import Options

Kind: TypeAlias = Literal["ppo", "a2c", "sac", "td3", "dqn"]
Activation: TypeAlias = Literal["tanh", "relu", "leaky_relu", "elu", "gelu", "silu"]
Widths: TypeAlias = tuple[Annotated[int, Field(gt=0)], ...]


def _rate(value: float | str) -> float | str:
    if scheduled(value)[0] <= 0:
        raise ValueError("a number above 0, or such a number that falls linearly to 0 over the budget: lin_3e-4")
    return value


def _entropy(value: float | str) -> float | str:
    if not (entropy_start(value) > 0 or _number(value) == 0):
        raise ValueError("a number of 0 or more, auto, or auto with its first value: auto_0.1")
    return value


def entropy_start(value: float | str) -> float:
    """`0.1`, `"auto"` (1) or `"auto_0.1"` -> the first entropy coefficient; NaN for anything else."""
    if isinstance(value, str) and value.startswith("auto"):
        return 1.0 if value == "auto" else _number(value.removeprefix("auto_"))
    return _number(value)


def _number(text: float | str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def scheduled(value: float | str) -> tuple[float, bool]:
    """`3e-4` or `"lin_3e-4"` -> the number at the start (-1 for anything else), and whether it falls to 0."""
    linear = isinstance(value, str) and value.startswith("lin_")
    number = _number(value.removeprefix("lin_") if isinstance(value, str) else value)
    return (number if number > 0 else -1.0), linear


Rate: TypeAlias = Annotated[float | str, AfterValidator(_rate)]
EntropyCoefficient: TypeAlias = Annotated[float | str, AfterValidator(_entropy)]


class PolicyKwargs(Options):
    """`policy_kwargs`, as far as they are plain data; they shape fresh policies only."""

    net_arch: Widths | dict[str, Widths] | None = Field(
        None, description="units per hidden layer, or {pi: [...], vf: [...]} (qf for sac, td3); null: SB3's own"
    )
    activation_fn: Activation | None = Field(None, description="null: SB3's own (tanh for ppo, a2c; else relu)")


class ActorCriticKwargs(PolicyKwargs):
    """`policy_kwargs` of the on-policy algorithms."""

    log_std_init: float = Field(0.0, description="log standard deviation of a fresh policy, action units")
    ortho_init: bool = Field(True, description="orthogonal initial weights")


class SB3Options(Options):
    """What all five share."""

    policy: Literal["MlpPolicy", "CnnPolicy"] = Field("MlpPolicy", description="network of a fresh policy")
    learning_rate: Rate = Field(3e-4, description="step size of the optimisers; lin_3e-4: falls linearly to 0")
    gamma: float = Field(0.99, gt=0, le=1, description="discount per environment step")
    policy_kwargs: PolicyKwargs = PolicyKwargs()
    normalize_observations: bool = Field(
        False,
        description="VecNormalize for a fresh policy's observations; a policy that comes with statistics keeps them",
    )
    clip_obs: float = Field(10.0, gt=0, description="largest normalised observation of a fresh policy")
    normalize_reward: bool = Field(False, description="VecNormalize for the rewards a fresh policy learns from")
    clip_reward: float = Field(10.0, gt=0, description="largest normalised reward")
    freeze_normalizer: bool | None = Field(None, description="keep the statistics as they are; null: when refining")
    value_warmup_steps: int = Field(
        4096, ge=0, description="steps, in whole rollouts, that move only the critic when refining; a quarter at most"
    )
    steps_per_update: int = Field(
        1024, gt=0, description="environment steps per report, at least one rollout; changes no result"
    )


class OnPolicyOptions(SB3Options):
    """PPO and A2C."""

    policy_kwargs: ActorCriticKwargs = ActorCriticKwargs()
    normalize_observations: bool = Field(
        True, description=SB3Options.model_fields["normalize_observations"].description
    )
    n_steps: int = Field(2048, gt=0, description="environment steps per environment and rollout, at most")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="lambda of generalised advantage estimation")
    normalize_advantage: bool = Field(True, description="standardise advantages, in PPO per minibatch")
    ent_coef: float = Field(0.0, ge=0, description="weight of the entropy bonus")
    vf_coef: float = Field(0.5, ge=0, description="weight of the value loss")
    max_grad_norm: float = Field(0.5, gt=0, description="gradient norm at most")


class SB3PPOOptions(OnPolicyOptions):
    """`stable_baselines3.PPO`."""

    batch_size: int = Field(64, gt=1, description="minibatch size")
    n_epochs: int = Field(10, gt=0, description="passes over each rollout")
    clip_range: Rate = Field(0.2, description="eps of the clipped ratio; lin_0.2: falls linearly to 0")
    clip_range_vf: Rate | None = Field(None, description="largest change of the value, reward units; null: no limit")
    target_kl: float | None = Field(None, gt=0, description="an update ends at 1.5 times this mean KL; null: never")


class SB3A2COptions(OnPolicyOptions):
    """`stable_baselines3.A2C`."""

    learning_rate: Rate = Field(7e-4, description="step size of the optimiser; lin_7e-4: falls linearly to 0")
    n_steps: int = Field(5, gt=0, description="environment steps per environment and rollout, at most")
    gae_lambda: float = Field(1.0, ge=0, le=1, description="lambda of generalised advantage estimation")
    normalize_advantage: bool = Field(False, description="standardise advantages")
    use_rms_prop: bool = Field(True, description="RMSprop instead of Adam")
    rms_prop_eps: float = Field(1e-5, gt=0, description="RMSprop's epsilon")


class OffPolicyOptions(SB3Options):
    """SAC, TD3 and DQN."""

    buffer_size: int = Field(1_000_000, gt=0, description="transitions kept for replay")
    learning_starts: int = Field(100, ge=0, description="environment steps before learning; random actions when fresh")
    batch_size: int = Field(256, gt=0, description="transitions per gradient step")
    tau: float = Field(0.005, gt=0, le=1, description="share by which target networks follow")
    train_freq: int = Field(1, gt=0, description="steps of every environment between two trainings")
    gradient_steps: int = Field(1, ge=-1, description="gradient steps per training; -1: as many as environment steps")
    n_steps: int = Field(
        1, gt=0, description="steps of reward before bootstrapping; above 1 takes no notice of overrides"
    )


class SB3SACOptions(OffPolicyOptions):
    """`stable_baselines3.SAC`."""

    ent_coef: EntropyCoefficient = Field("auto", description="entropy coefficient; auto, or auto_0.1 to start there")
    target_entropy: float | Literal["auto"] = Field("auto", description="wanted entropy in nats; auto: -action_dim")
    target_update_interval: int = Field(1, gt=0, description="gradient steps between two steps of the targets")
    noise_std: float = Field(0.0, ge=0, description="Gaussian exploration noise on top, actions scaled to [-1, 1]")


class SB3TD3Options(OffPolicyOptions):
    """`stable_baselines3.TD3`."""

    learning_rate: Rate = Field(1e-3, description="Adam's step size; lin_1e-3: falls linearly to 0")
    policy_delay: int = Field(2, gt=0, description="critic steps per step of the actor and of the targets")
    target_policy_noise: float = Field(0.2, ge=0, description="noise on the target's actions, scaled to [-1, 1]")
    target_noise_clip: float = Field(0.5, ge=0, description="largest such noise")
    noise_std: float = Field(0.1, ge=0, description="Gaussian exploration noise, actions scaled to [-1, 1]")


class SB3DQNOptions(OffPolicyOptions):
    """`stable_baselines3.DQN`."""

    learning_rate: Rate = Field(1e-4, description="Adam's step size; lin_1e-4: falls linearly to 0")
    batch_size: int = Field(32, gt=0, description="transitions per gradient step")
    tau: float = Field(1.0, gt=0, le=1, description="share by which the target network follows")
    train_freq: int = Field(4, gt=0, description="steps of every environment between two trainings")
    target_update_interval: int = Field(10_000, gt=0, description="environment steps between two steps of the target")
    exploration_fraction: float = Field(
        0.1, gt=0, le=1, description="share of the budget over which exploration falls"
    )
    exploration_initial_eps: float = Field(1.0, ge=0, le=1, description="chance of a random action at the start")
    exploration_final_eps: float = Field(0.05, ge=0, le=1, description="chance of a random action in the end")
    max_grad_norm: float = Field(10.0, gt=0, description="gradient norm at most")
