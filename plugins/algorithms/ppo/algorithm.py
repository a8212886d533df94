"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), under the engine's modulation.

Read top to bottom: `PPOOptions`, `PPO`, `PPOTrainer.update` = `rollout` -> `gae` -> `learn`. CleanRL's vocabulary
(obs, actions, logprobs, rewards, dones, values, mb for minibatch). What is kept of a rollout, and `gae`: `_rollout`.
The loss: `autograd.ppo_loss`; for tanh networks on the CPU the same gradient is written out in `mlp`.

Differs from the paper and from CleanRL's `ppo.py`:
  - Actor and critic share no weights, so their gradients are clipped separately; the value loss is not clipped.
    For screens they share a convolutional trunk (`_encoders`), clipped with the actor and left alone in the warm-up.
  - Termination and truncation are kept apart: a cut episode's last step bootstraps from the value of its final
    observation; no advantage flows over the end of an episode.
  - Observations are normalised by statistics kept in the policy. They change between updates, never within one, and
    are frozen when an existing policy is refined (as RICE does).
  - Refining a policy whose critic has learnt nothing (imported as actions only, distilled, begun from scratch) starts
    with `value_warmup_updates` that move only the critic: wrong advantages cost a good policy at once. A critic that
    came along needs none (on Hopper two such updates made the first ones after them overshoot), unless something acts
    beside the policy whose returns it does not know and asks for them (`Modulation.warmup_updates`).
  - An update ends early when the policy moved further than `target_kl`; the KL estimate uses only steps where the
    policy itself chose, because elsewhere the action is no sample of it.
  - Rollouts are shortened evenly so that the budget comes out within one vector step of `total_steps`.
  - Continuous actions: log-probabilities are of the unclipped sample; the environment gets it clipped to its bounds.
    The modulation sees and returns unclipped actions.
  - Overridden steps (ULTRA, improvement). The old log-probability of the ratio is that of the behaviour policy
    (`Modulation.behaviour_log_prob`), which alone makes `mixture` differ from `policy`. `mask` gives followed steps no
    policy loss and no entropy bonus, which alone would make the policy forget there what it does. `imitate` does the
    same and adds -imitate_coef * weight * log pi(suggested | s) at matched steps, followed or not: with a weight that
    falls to 0 that is kickstarting (Schmitt et al. 2018, arXiv 1803.03835) by a teacher of actions instead of chances.
    `own` keeps the policy's own action in place of the executed one and learns from it everywhere: what acts belongs
    to the environment then. All steps train the critic.

Metrics of one update:
  return_mean        mean undiscounted, unshaped environment return of the episodes that ended; NaN if none did
  episodes           how many ended
  length_mean        their mean length in environment steps; NaN if none
  learning_rate      Adam's step size in this update
  pg_loss            mean of max(-A r, -A clip(r, 1-eps, 1+eps)), r = pi(a|s) / mu(a|s), over participating steps
  v_loss             mean of (V(s) - R)^2 / 2, R = advantage + old value
  entropy            mean entropy of pi(.|s), nats, over participating steps; 0 where none does
  imitate_loss       mean over steps of matched * weight * -log pi(suggested | s); 0 unless learning by `imitate`
  approx_kl          mean of (q - 1) - log q, q = pi / pi_old, over steps the policy chose itself (Schulman's k3)
  clipfrac           share of participating steps with |r - 1| > eps
  explained_variance 1 - Var(R - V) / Var(R) over the rollout, V before the update
  epochs             passes over the rollout made before `target_kl` stopped it
  modulation/*       what the modulation engine reports
Losses are means over all minibatches of the update.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
import torch
from pydantic import Field

from ultra_agents.contracts import Algorithm, Demonstrations, Learn, Modulation, Policy, Trainer, Widening
from ultra_agents.contracts import Options as PluginOptions
from ultra_agents.contracts.vector import before_reset
from ultra_agents.errors import PluginError
from ultra_agents.records import Array, FloatArray
from ultra_agents.seeding import Streams

from .._episodes import RunningEpisodes
from .._networks import PPOPolicy
from .._rollout import Rollout, Stepper, Steps, flattened, gae
from .autograd import LOSSES
from .device import make_learner
from .imitation import imitate

WARMUP_UPDATES = 2
"""Critic-only updates for a critic that has learnt nothing."""


class PPOOptions(PluginOptions):
    """Defaults suit small tanh networks and 16 parallel environments."""

    hidden: tuple[int, ...] = Field((64, 64), description="units per hidden layer, actor and critic alike")
    learning_rate: float = Field(1e-3, gt=0, description="Adam's step size at the start")
    anneal_lr: bool = Field(True, description="lower the step size linearly to 0 over the budget")
    num_steps: int = Field(128, gt=0, description="environment steps per environment and rollout, at most")
    update_epochs: int = Field(4, gt=0, description="passes over each rollout")
    num_minibatches: int = Field(16, gt=0, description="minibatches per pass")
    gamma: float = Field(0.99, gt=0, le=1, description="discount per environment step")
    gae_lambda: float = Field(0.95, ge=0, le=1, description="lambda of generalised advantage estimation")
    clip_coef: float = Field(0.2, gt=0, description="eps of the clipped ratio")
    ent_coef: float = Field(0.01, ge=0, description="weight of the entropy bonus")
    vf_coef: float = Field(0.5, gt=0, description="weight of the value loss")
    max_grad_norm: float = Field(0.5, gt=0, description="gradient norm, per network, at most")
    target_kl: float | None = Field(0.03, gt=0, description="mean KL in nats at which an update ends; null: never")
    value_warmup_updates: int | None = Field(
        None,
        ge=0,
        description="critic-only updates first, when refining; null: 2 where the critic has learnt nothing, "
        "or as many as what acts beside the policy asks for",
    )
    imitate_coef: float = Field(0.1, ge=0, description="weight of the likelihood term of `imitate`")
    clone_steps: int = Field(3000, gt=0, description="minibatches of learning from demonstrations, before refining")
    clone_steps_max: int = Field(
        30_000, gt=0, description="at most so many where it is told when to end by steps held out"
    )
    clone_learning_rate: float = Field(
        1e-3, gt=0, description="Adam's step size there, falling linearly to 0 over `clone_steps`"
    )
    clone_anchor: float = Field(0.1, ge=0, description="weight there of acting as before elsewhere (KL divergence)")
    clone_spread: bool = Field(False, description="the spread of continuous actions is learnt there, too")
    log_std_floor: float = Field(-3.0, description="lowest log standard deviation, log of action units")
    freeze_normalizer: bool | None = Field(
        None, description="keep the observation statistics as they are; null: when refining"
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where learning happens; auto: an accelerator for screens, if there is one"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="what networks compute in while learning; weights and optimiser stay float32"
    )
    compile: bool = Field(False, description="compile the loss with torch.compile, which needs a C++ compiler")


class PPO(Algorithm):
    """Clipped-ratio PPO for `Discrete` and one-dimensional `Box` actions; see the module's docstring."""

    Options: ClassVar[type[PluginOptions]] = PPOOptions
    learns: ClassVar[frozenset[Learn]] = frozenset({"mixture", "policy", "mask", "imitate", "own"})
    not_carried: ClassVar[frozenset[str]] = frozenset({
        "hidden", "value_warmup_updates", "imitate_coef", "clone_steps", "clone_steps_max", "clone_learning_rate",
        "clone_anchor", "clone_spread", "freeze_normalizer", "device", "precision", "compile",
    })  # fmt: skip
    options: PPOOptions

    def create_policy(
        self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], seed: int
    ) -> PPOPolicy:
        """A fresh policy with `hidden` units per layer."""
        return PPOPolicy(observation_space, action_space, self.options.hidden, seed)

    def load_policy(
        self,
        arrays: dict[str, Array],
        description: dict[str, Any],
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
    ) -> PPOPolicy:
        """Rebuild a policy; its own `hidden` counts, not the option."""
        hidden, network = description.get("hidden", self.options.hidden), description.get("network")
        widening = Widening.restored(description, arrays)
        policy = PPOPolicy(observation_space, action_space, hidden, network=network, widening=widening)
        policy.load(arrays)
        return policy

    def trainer(
        self,
        policy: Policy,
        envs: gymnasium.vector.VectorEnv,
        total_steps: int,
        streams: Streams,
        modulation: Modulation | None = None,
        fresh: bool = False,
    ) -> PPOTrainer:
        """Start training a copy of `policy`."""
        own = _own(policy)
        if total_steps < 1:
            raise PluginError("ppo has no budget to train in", found=f"{total_steps} steps", expected="at least 1")
        return PPOTrainer(self.options, own.copy(), envs, total_steps, streams, modulation, fresh)

    def imitate(self, policy: Policy, demonstrations: Demonstrations, streams: Streams) -> PPOPolicy:
        """Clone the behaviour demonstrated; see `imitation`."""
        twin = _own(policy).copy()
        anchor = _own(policy if demonstrations.anchor is None else demonstrations.anchor)
        imitate(twin, demonstrations, anchor, self.options, streams.generator("clone"))
        return twin

    def widen(self, policy: Policy, widening: Widening) -> PPOPolicy:
        """Quantities as further inputs of tanh networks, not of screens; acts and values as before, to the bit."""
        return _own(policy).widened(widening)


class PPOTrainer(Trainer):
    """Training in progress; see `Algorithm.trainer` for the arguments.

    `state` is exact. Where the environments give no snapshots (`can_snapshot`, `snapshot`, `restore`) it ends the
    running episodes: the next update starts new ones with seeds of its own, here as after `load_state`.
    """

    policy: PPOPolicy

    def __init__(
        self,
        options: PPOOptions,
        policy: PPOPolicy,
        envs: gymnasium.vector.VectorEnv,
        total_steps: int,
        streams: Streams,
        modulation: Modulation | None,
        fresh: bool,
    ) -> None:
        torch.set_num_threads(1)  # networks this small only lose by sharing
        self.options, self.policy, self.envs = options, policy, envs
        self.total_steps, self.streams, self.modulation = total_steps, streams, modulation
        self.steps = self.updates = 0
        self._frozen = options.freeze_normalizer if options.freeze_normalizer is not None else not fresh
        wanted = options.value_warmup_updates
        unlearnt = WARMUP_UPDATES if policy.critic_is_untrained else 0
        asked = max(unlearnt, int(getattr(modulation, "warmup_updates", 0)))
        self._warmup = 0 if fresh else asked if wanted is None else wanted
        self._rng = streams.generator("ppo")
        self._learner = make_learner(policy, options)
        per_rollout = options.num_steps * envs.num_envs
        self._horizon = math.ceil(total_steps / envs.num_envs / max(1, math.ceil(total_steps / per_rollout)))
        self.episodes = RunningEpisodes(envs, streams, modulation)

    @property
    def exact_at_checkpoints_only(self) -> bool:
        """Taking the state changes what follows, so it must be taken at fixed steps; see the class."""
        return not self.episodes.can_save

    def update(self) -> dict[str, float]:
        """One rollout and its learning; metrics as defined in the module's docstring."""
        if self.episodes.obs is None:
            self.episodes.start(self.updates)
        progress = min(self.steps / self.total_steps, 1.0)
        if self.modulation is not None:
            self.modulation.set_progress(progress)
        learning_rate = self.options.learning_rate * (1.0 - progress if self.options.anneal_lr else 1.0)
        rollout = self.rollout()
        advantages = gae(rollout, self.options.gamma, self.options.gae_lambda)
        metrics = self.learn(rollout, advantages, learning_rate)
        if not self._frozen:
            self.policy.update_normalizer(rollout.raw_obs)
        self.updates += 1
        if self.modulation is not None:
            metrics |= {f"modulation/{name}": value for name, value in self.modulation.metrics().items()}
        return self.episodes.metrics() | metrics

    # -- rollout -----------------------------------------------------------------------------------------------

    def rollout(self) -> Rollout:
        """Act for one rollout under the modulation; counts steps and episodes.

        The environments are stepped in parts in turn (`_rollout.Stepper`): while one steps the others are acted for.
        """
        n, policy, modulation = self.envs.num_envs, self.policy, self.modulation
        own = modulation is not None and modulation.learn == "own"
        assert self.episodes.obs is not None
        left = math.ceil((self.total_steps - self.steps) / n)
        horizon = min(self._horizon, left) if left > 0 else self._horizon
        kept = Steps(horizon, self.episodes.obs, policy, modulation is not None)
        uniforms = policy.uniforms(self._rng, kept.horizon * n).reshape(kept.horizon, n, -1)
        stepper = Stepper(self.envs, modulation)
        for t in range(kept.horizon):
            for part, envs in enumerate(stepper.parts):
                if t:
                    self._receive(kept, stepper, part, t - 1)
                normalized = policy.normalize(kept.raw_obs[t, envs])
                outputs = kept.act(t, envs, normalized, policy)
                executed = action = policy.sample(outputs, uniforms[t, envs])
                if modulation is not None:
                    modulated = stepper.act(part, kept.raw_obs[t, envs], action)
                    kept.note(t, envs, modulated)
                    executed = modulated.actions
                kept.actions[t, envs] = action if own else executed
                stepper.send(part, policy.bounded(executed))
        for part in range(len(stepper.parts)):
            self._receive(kept, stepper, part, kept.horizon - 1)
        self.episodes.obs = kept.raw_obs[-1].copy()
        return kept.rollout(policy, modulation)

    def _receive(self, kept: Steps, stepper: Stepper, part: int, t: int) -> None:
        """Take in what step `t` brought the environments of one part."""
        envs = stepper.parts[part]
        obs, reward, terminated, truncated, infos = stepper.receive(part)
        kept.raw_obs[t + 1, envs], ended, next_obs = obs, terminated | truncated, obs
        self.steps += len(reward)
        self.episodes.count(reward, ended, infos, envs, t)
        if ended.any():
            next_obs = before_reset(obs, ended, infos)
            cut = np.flatnonzero(ended & ~terminated).tolist()
            kept.finals += [(t, envs.start + i, next_obs[i]) for i in cut]
        kept.dones[t, envs] = ended
        kept.rewards[t, envs] = stepper.reward(part, reward, next_obs, terminated, ended)

    # -- learning ----------------------------------------------------------------------------------------------

    def learn(self, rollout: Rollout, advantages: FloatArray, learning_rate: float) -> dict[str, float]:
        """Epochs of minibatches over one rollout."""
        way: Learn = "policy" if self.modulation is None else self.modulation.learn
        batch, size = flattened(rollout, advantages, way, self.policy.discrete), advantages.size
        learner, epochs = self._learner, 0
        learner.begin(batch, learning_rate, warmup=self.updates < self._warmup)
        while epochs < self.options.update_epochs:
            kl = learner.epoch(self._rng.permutation(size), min(self.options.num_minibatches, size))
            epochs += 1
            if self.options.target_kl is not None and kl > self.options.target_kl:
                break
        rows = learner.finish()
        if not np.isfinite(rows).all():
            raise PluginError(
                "the training diverged: a loss is no longer a finite number",
                found=f"update {self.updates}, step {self.steps}",
                hint="lower refine.algorithm.options.learning_rate",
            )
        spread = float((advantages + rollout.values).var())
        return {
            "learning_rate": learning_rate,
            **dict(zip(LOSSES, np.mean(rows, axis=0).tolist(), strict=True)),
            "explained_variance": 1.0 - float(advantages.var()) / spread if spread > 0 else 0.0,
            "epochs": float(epochs),
        }

    # -- state -------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Weights, Adam's moments, draws, and running episodes by their snapshots, which else end here."""
        arrays = {f"policy/{name}": array for name, array in self.policy.state()[0].items()}
        for which, adam in (("actor", self._learner.actor), ("critic", self._learner.critic)):
            arrays |= {f"adam/{which}/{name}": array for name, array in adam.state().items()}
        arrays |= self.episodes.state()
        rest = {
            "steps": self.steps,
            "updates": self.updates,
            "rng": self._rng.bit_generator.state,
            "modulation": None if self.modulation is None else self.modulation.state(),
        }
        return arrays, rest

    def load_state(self, arrays: dict[str, Array], rest: dict[str, Any]) -> None:
        """Go on from `state`; the trainer must have been built with the same arguments."""
        self.policy.load({k.removeprefix("policy/"): v for k, v in arrays.items() if k.startswith("policy/")})
        for which, adam in (("actor", self._learner.actor), ("critic", self._learner.critic)):
            adam.load_state({name: arrays[f"adam/{which}/{name}"] for name in ("mean", "square", "steps")})
        self.steps, self.updates = int(rest["steps"]), int(rest["updates"])
        self._rng.bit_generator.state = rest["rng"]
        if self.updates > 0:
            self.episodes.load(arrays, rest["modulation"], self.updates)


def _own(policy: Policy) -> PPOPolicy:
    if not isinstance(policy, PPOPolicy):
        raise PluginError("ppo trains its own policies only", found=type(policy).__name__, expected="PPOPolicy")
    return policy
