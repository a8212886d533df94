"""Training by Stable-Baselines3, one rollout and its learning at a time, in the engine's loop."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.type_aliases import TrainFreq
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

from ultra_agents.contracts import Modulation, Trainer
from ultra_agents.errors import PluginError
from ultra_agents.records import Array
from ultra_agents.seeding import Streams

from .._episodes import RunningEpisodes
from .env import EngineVecEnv
from .models import OverriddenPolicy, Overrides, make
from .options import OnPolicyOptions, SB3Options
from .policy import SB3Policy
from .random_state import PrivateRandomness
from .state import counters, load_state, set_counters, take_state

LATEST = ("n_updates", "learning_rate", "exploration_rate", "clip_range", "clip_range_vf", "std", "ent_coef")
"""Metrics of which the last value of an update is told; of all others the mean over its rollouts."""


class SB3Trainer(Trainer):
    """Training in progress; see `Algorithm.trainer` for the arguments.

    Everything SB3 draws comes from generators of its own (`PrivateRandomness`). `state` is exact. Where the
    environments give no snapshots it ends the running episodes, for a replay buffer by a time limit: the next update
    starts new ones with seeds of its own, here as after `load_state`.
    """

    policy: SB3Policy

    def __init__(
        self,
        options: SB3Options,
        policy: SB3Policy,
        envs: gymnasium.vector.VectorEnv,
        total_steps: int,
        streams: Streams,
        modulation: Modulation | None,
        fresh: bool,
    ) -> None:
        torch.set_num_threads(1)  # networks this small only lose by sharing
        self.options, self.envs = options, envs
        self.total_steps, self.streams, self.modulation, self.fresh = total_steps, streams, modulation, fresh
        self.steps = self.updates = 0
        frozen = options.freeze_normalizer if options.freeze_normalizer is not None else not fresh
        n = envs.num_envs
        rollout = options.n_steps * n if isinstance(options, OnPolicyOptions) else n
        self._horizon = math.ceil(total_steps / n / max(1, math.ceil(total_steps / rollout)))
        lone = isinstance(options, OnPolicyOptions) and self._horizon * n >= total_steps
        self._warmup = 0 if fresh or lone else min(options.value_warmup_steps, total_steps // 4)
        seed = streams.integer("sb3")
        self.randomness = PrivateRandomness(seed)
        self.episodes = RunningEpisodes(envs, streams, modulation)
        self.engine = EngineVecEnv(envs, modulation, self.episodes)
        env, self.normalizer = _normalized(self.engine, options, policy, fresh, frozen)
        with self.randomness.active():
            self.model = make(options, policy.network, env, self.engine, total_steps, self._horizon, fresh)
        self.model.action_space.seed(seed)
        self.model.policy.load_state_dict(policy.module.state_dict())
        self.policy = SB3Policy(
            policy.network, self.model.policy, policy.observation_space, policy.action_space,
            policy.clip_obs, policy.epsilon,
        )  # fmt: skip
        self.policy.reward_scale = policy.reward_scale
        if self.normalizer is not None and self.normalizer.norm_obs:
            self.policy.rms = self.normalizer.obs_rms  # type: ignore[assignment]
        self.overrides = Overrides(self.engine)
        for taker in (self.model, self.model.policy):
            if isinstance(taker, OnPolicyAlgorithm | OverriddenPolicy):
                taker.overrides = self.overrides if modulation is not None else None  # type: ignore[union-attr]
        if isinstance(self.model, OffPolicyAlgorithm):
            self.model.engine = self.engine  # type: ignore[attr-defined]
        self._take_over_entropy(policy)
        self._callback: BaseCallback | None = None

    @property
    def exact_at_checkpoints_only(self) -> bool:
        """Taking the state changes what follows, so it must be taken at fixed steps; see the class."""
        return not self.episodes.can_save

    def update(self) -> dict[str, float]:
        """Rollouts and their learning, `steps_per_update` environment steps or a little more."""
        begun = self.steps
        rows: list[dict[str, float]] = []
        with self.randomness.active():
            if self.episodes.obs is None:
                self.start()
            while not rows or (self.steps - begun < self.options.steps_per_update and self.steps < self.total_steps):
                rows.append(self._cycle())
        self.updates += 1
        self._after()
        metrics = self.episodes.metrics() | _summary(rows)
        if self.modulation is not None:
            metrics |= {f"modulation/{name}": value for name, value in self.modulation.metrics().items()}
        return metrics

    def start(self) -> None:
        """Begin an episode everywhere; SB3 gets ready to learn, or to learn on."""
        self.engine.updates = self.updates
        counted = counters(self.model)
        self._callback = self.model._setup_learn(self.total_steps, None, True, "run", False)[1]
        set_counters(self.model, counted)

    # -- one rollout -------------------------------------------------------------------------------------------

    def _cycle(self) -> dict[str, float]:
        """One `collect_rollouts` and one `train` of SB3; what it logged, without the `train/` before the names."""
        progress = min(self.steps / self.total_steps, 1.0)
        if self.modulation is not None:
            self.modulation.set_progress(progress)
        self.model.logger.name_to_value.clear()
        self.overrides.clear()
        model = self.model
        warming = self.steps < self._warmup + (model.learning_starts if isinstance(model, OffPolicyAlgorithm) else 0)
        left = max(math.ceil((self.total_steps - self.steps) / self.envs.num_envs), 0) or self._horizon
        with _critic_only(self.model) if warming and self._warmup else _everything():
            if isinstance(model, OnPolicyAlgorithm):
                self._on_policy(model, min(self._horizon, left))
            elif isinstance(model, OffPolicyAlgorithm):
                self._off_policy(model, left)
        logged = self.model.logger.name_to_value
        return {name.split("/")[-1]: float(value) for name, value in logged.items() if not name.startswith("time/")}

    def _on_policy(self, model: OnPolicyAlgorithm, horizon: int) -> None:
        assert model.env is not None
        assert self._callback is not None
        model.rollout_buffer.buffer_size = horizon  # takes effect as the collection empties the buffer
        model.collect_rollouts(model.env, self._callback, model.rollout_buffer, horizon)
        self.steps = model.num_timesteps
        model._update_current_progress_remaining(min(self.steps, self.total_steps), self.total_steps)
        model.train()

    def _off_policy(self, model: OffPolicyAlgorithm, left: int) -> None:
        assert model.env is not None
        assert self._callback is not None
        assert model.replay_buffer is not None
        wanted: Any = model.train_freq
        rollout = model.collect_rollouts(
            model.env,
            self._callback,
            TrainFreq(min(wanted.frequency, left), wanted.unit),
            model.replay_buffer,
            model.action_noise,
            learning_starts=model.learning_starts if self.fresh else 0,
        )
        self.steps = model.num_timesteps
        if self.steps > model.learning_starts:
            gradient_steps = model.gradient_steps if model.gradient_steps >= 0 else rollout.episode_timesteps
            if gradient_steps:
                model.train(gradient_steps, model.batch_size)

    def _after(self) -> None:
        self.model.policy.set_training_mode(False)
        for name, parameter in self.model.policy.named_parameters():
            if not torch.isfinite(parameter).all():
                raise PluginError(
                    f"sb3-{self.policy.kind} diverged: the weights {name} are not finite",
                    found=f"NaN or infinity after {self.steps:,} environment steps",
                    hint="lower learning_rate; normalize_observations and normalize_reward help, too",
                )
        if self.normalizer is not None and self.normalizer.norm_reward:
            rms = self.normalizer.ret_rms
            self.policy.reward_scale = float(np.sqrt(rms.var + self.normalizer.epsilon))
        coefficient = getattr(self.model, "log_ent_coef", None)
        if coefficient is not None:
            self.policy.ent_coef = float(coefficient.detach().exp())

    def _take_over_entropy(self, policy: SB3Policy) -> None:
        """Go on with the entropy coefficient the policy had, where the options leave it to SB3."""
        coefficient = getattr(self.model, "log_ent_coef", None)
        if coefficient is not None and policy.ent_coef is not None and getattr(self.options, "ent_coef", 0) == "auto":
            with torch.no_grad():
                coefficient.fill_(math.log(policy.ent_coef))
            self.policy.ent_coef = policy.ent_coef

    # -- state -------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Weights, optimisers, replay buffer, generators, and running episodes by their snapshots."""
        return take_state(self)

    def load_state(self, arrays: dict[str, Array], rest: dict[str, Any]) -> None:
        """Go on from `state`; the trainer must have been built with the same arguments."""
        load_state(self, arrays, rest)


def _normalized(
    engine: EngineVecEnv, options: SB3Options, policy: SB3Policy, fresh: bool, frozen: bool
) -> tuple[VecEnv, VecNormalize | None]:
    """The environments in a `VecNormalize` with copies of the policy's statistics, where there is anything to do."""
    observations = policy.rms is not None
    rewards = options.normalize_reward if fresh else policy.reward_scale != 1.0
    if not (observations or rewards):
        return engine, None
    around = VecNormalize(
        engine,
        training=not frozen,
        norm_obs=observations,
        norm_reward=rewards,
        clip_obs=policy.clip_obs,
        clip_reward=options.clip_reward,
        gamma=options.gamma,
        epsilon=policy.epsilon,
    )
    if policy.rms is not None:
        around.obs_rms = policy.rms.copy()  # type: ignore[assignment]
        if policy.reward_scale != 1.0:
            around.ret_rms.count = policy.rms.count
    around.ret_rms.var = np.asarray(max(policy.reward_scale**2 - policy.epsilon, 0.0))
    return around, around


def fresh_statistics(options: SB3Options, space: gymnasium.Space[Any]) -> RunningMeanStd | None:
    """Statistics of no observation yet, where the options want them and the observations are no pictures."""
    if not options.normalize_observations or is_image_space(space):
        return None
    return RunningMeanStd(shape=space.shape or ())


def _summary(rows: list[dict[str, float]]) -> dict[str, float]:
    """One value of each metric over the rollouts of an update."""
    out: dict[str, float] = {}
    for name in sorted({name for row in rows for name in row}):
        values = [row[name] for row in rows if name in row]
        finite = [value for value in values if math.isfinite(value)]
        out[name] = values[-1] if name in LATEST else float(np.mean(finite)) if finite else math.nan
    return out


@contextmanager
def _everything() -> Iterator[None]:
    yield


@contextmanager
def _critic_only(model: BaseAlgorithm) -> Iterator[None]:
    """Within it, what acts gets no gradient: optimisers pass over parameters without one. `dqn` has no such part."""
    policy: Any = model.policy
    if isinstance(policy, OverriddenPolicy):
        critic = {id(p) for part in (policy.mlp_extractor.value_net, policy.value_net) for p in part.parameters()}
        held = [p for p in policy.parameters() if id(p) not in critic]
    else:
        held = list(policy.actor.parameters()) if hasattr(policy, "actor") else []
    coefficient: Any = getattr(model, "log_ent_coef", None)
    before = None if coefficient is None else coefficient.detach().clone()
    for parameter in held:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in held:
            parameter.requires_grad_(True)
        if before is not None:
            with torch.no_grad():
                coefficient.copy_(before)
