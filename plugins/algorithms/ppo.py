"""Proximal policy optimisation (Schulman et al. 2017, arXiv 1707.06347), under the engine's modulation.

Read top to bottom: `PPOOptions`, `PPO`, `PPOTrainer.update` = `rollout` -> `gae` -> `learn`. CleanRL's vocabulary
(obs, actions, logprobs, rewards, dones, values, mb for minibatch).

Differs from the paper and from CleanRL's `ppo.py`:
  - Actor and critic share no weights, so their gradients are clipped separately; the value loss is not clipped.
  - Termination and truncation are kept apart: a cut episode's last step bootstraps from the value of its final
    observation; no advantage flows over the end of an episode.
  - Observations are normalised by statistics kept in the policy. They change between updates, never within one, and
    are frozen when an existing policy is refined (as RICE does).
  - Refining starts with `value_warmup_updates` that move only the critic: its targets change with the data and the
    rewards, and wrong advantages cost a good policy at once.
  - An update ends early when the policy moved further than `target_kl`; the KL estimate uses only steps where the
    policy itself chose, because elsewhere the action is no sample of it.
  - Rollouts are shortened evenly so that the budget comes out within one vector step of `total_steps`.
  - Continuous actions: log-probabilities are of the unclipped sample; the environment gets it clipped to its bounds.
    The modulation sees and returns unclipped actions.
  - Overridden steps (ULTRA, improvement). The old log-probability of the ratio is that of the behaviour policy
    (`Modulation.behaviour_log_prob`), which alone makes `mixture` differ from `policy`. `mask` gives followed steps no
    policy loss. `imitate` does the same and adds -imitate_coef * weight * log pi(suggested | s) at matched steps. All
    steps train the critic.

Metrics of one update:
  return_mean        mean undiscounted, unshaped environment return of the episodes that ended; NaN if none did
  episodes           how many ended
  length_mean        their mean length in environment steps; NaN if none
  learning_rate      Adam's step size in this update
  pg_loss            mean of max(-A r, -A clip(r, 1-eps, 1+eps)), r = pi(a|s) / mu(a|s), over participating steps
  v_loss             mean of (V(s) - R)^2 / 2, R = advantage + old value
  entropy            mean entropy of pi(.|s), nats
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
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from pydantic import Field

from ultra_agents.contracts import Algorithm, Demonstrations, Learn, Modulation, Policy, Trainer
from ultra_agents.contracts import Options as PluginOptions
from ultra_agents.contracts.vector import before_reset
from ultra_agents.errors import EnvironmentFault, PluginError
from ultra_agents.records import Array, FloatArray
from ultra_agents.seeding import Streams

from ._imitation import clone
from ._networks import PPOPolicy
from ._rollout import Rollout, flattened, gae

LOSSES = ("pg_loss", "v_loss", "entropy", "imitate_loss", "approx_kl", "clipfrac")


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
    value_warmup_updates: int = Field(2, ge=0, description="critic-only updates first, when refining")
    imitate_coef: float = Field(0.1, ge=0, description="weight of the likelihood term of `imitate`")
    clone_steps: int = Field(3000, gt=0, description="minibatches of learning from demonstrations, before refining")
    clone_learning_rate: float = Field(1e-3, gt=0, description="Adam's step size there, falling linearly to 0")
    clone_anchor: float = Field(0.1, ge=0, description="weight there of acting as before elsewhere (KL divergence)")
    log_std_floor: float = Field(-3.0, description="lowest log standard deviation, log of action units")
    freeze_normalizer: bool | None = Field(
        None, description="keep the observation statistics as they are; null: when refining"
    )


class PPO(Algorithm):
    """Clipped-ratio PPO for `Discrete` and one-dimensional `Box` actions; see the module's docstring."""

    Options: ClassVar[type[PluginOptions]] = PPOOptions
    learns: ClassVar[frozenset[Learn]] = frozenset({"mixture", "policy", "mask", "imitate"})
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
        policy = PPOPolicy(observation_space, action_space, description.get("hidden", self.options.hidden))
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
        if not isinstance(policy, PPOPolicy):
            raise PluginError("ppo trains its own policies only", found=type(policy).__name__, expected="PPOPolicy")
        return PPOTrainer(self.options, policy.copy(), envs, total_steps, streams, modulation, fresh)

    def imitate(self, policy: Policy, demonstrations: Demonstrations, streams: Streams) -> PPOPolicy:
        """Clone the behaviour demonstrated; see `_imitation`."""
        if not isinstance(policy, PPOPolicy):
            raise PluginError("ppo trains its own policies only", found=type(policy).__name__, expected="PPOPolicy")
        twin, options = policy.copy(), self.options
        clone(
            twin,
            demonstrations,
            steps=options.clone_steps,
            learning_rate=options.clone_learning_rate,
            anchor=options.clone_anchor,
            rng=streams.generator("clone"),
        )
        return twin


class PPOTrainer(Trainer):
    """Training in progress; see `Algorithm.trainer` for the arguments.

    `state` is exact where the environments give snapshots (`can_snapshot`, `snapshot`, `restore`); elsewhere
    the running episodes start anew on resume, with fresh seeds, and everything else goes on.
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
        self._warmup = 0 if fresh else options.value_warmup_updates
        self._rng = streams.generator("ppo")
        self._actor_params, self._critic_params = policy.actor_parameters(), list(policy.critic.parameters())
        params = [*self._actor_params, *self._critic_params]
        self._adam = torch.optim.Adam(params, lr=options.learning_rate, eps=1e-5, fused=True)
        per_rollout = options.num_steps * envs.num_envs
        self._horizon = math.ceil(total_steps / envs.num_envs / max(1, math.ceil(total_steps / per_rollout)))
        self._obs: Array | None = None
        self._returns, self._lengths = np.zeros(envs.num_envs), np.zeros(envs.num_envs, dtype=np.int64)
        self._ended: list[tuple[float, int]] = []

    def update(self) -> dict[str, float]:
        """One rollout and its learning; metrics as defined in the module's docstring."""
        if self._obs is None:
            self._start()
        progress = min(self.steps / self.total_steps, 1.0)
        if self.modulation is not None:
            self.modulation.set_progress(progress)
        learning_rate = self.options.learning_rate * (1.0 - progress if self.options.anneal_lr else 1.0)
        self._ended = []
        rollout = self.rollout()
        advantages = gae(rollout, self.options.gamma, self.options.gae_lambda)
        metrics = self.learn(rollout, advantages, learning_rate)
        if not self._frozen:
            self.policy.update_normalizer(rollout.raw_obs)
        self.updates += 1
        if self.modulation is not None:
            metrics |= {f"modulation/{name}": value for name, value in self.modulation.metrics().items()}
        ended = np.asarray(self._ended, dtype=np.float64).reshape(-1, 2)
        return {
            "return_mean": float(ended[:, 0].mean()) if len(ended) else math.nan,
            "episodes": float(len(ended)),
            "length_mean": float(ended[:, 1].mean()) if len(ended) else math.nan,
            **metrics,
        }

    # -- rollout -----------------------------------------------------------------------------------------------

    def rollout(self) -> Rollout:
        """Act for one rollout under the modulation; counts steps and episodes."""
        n, policy, obs = self.envs.num_envs, self.policy, self._obs
        assert obs is not None
        left = math.ceil((self.total_steps - self.steps) / n)
        horizon = min(self._horizon, left) if left > 0 else self._horizon
        raw_obs = np.zeros((horizon, n, *obs.shape[1:]), dtype=obs.dtype)
        normalized = np.zeros((horizon, n, policy.obs_dim), dtype=np.float32)
        logprobs, behaviour, rewards = (np.zeros((horizon, n)) for _ in range(3))
        dones, followed = (np.zeros((horizon, n), dtype=bool) for _ in range(2))
        weight = np.zeros((horizon, n))
        actions, suggested, finals = [], [], []
        uniforms = policy.uniforms(self._rng, horizon * n).reshape(horizon, n, -1)
        for t in range(horizon):
            raw_obs[t], normalized[t] = obs, policy.normalize(obs)
            outputs = policy.actor_outputs(normalized[t])
            action = policy.sample(outputs, uniforms[t])
            if self.modulation is not None:
                modulated = self.modulation.act(raw_obs[t], action)
                action = modulated.actions
                followed[t], weight[t] = modulated.followed, np.where(modulated.matched, modulated.weight, 0.0)
                suggested.append(modulated.suggested)
            logprobs[t] = behaviour[t] = policy.log_prob(outputs, action)
            obs, reward, terminated, truncated, infos = self.envs.step(policy.bounded(action))
            ended = terminated | truncated
            next_obs = obs
            if ended.any():
                next_obs = before_reset(obs, ended, infos)
                finals += [(t, i, next_obs[i]) for i in np.flatnonzero(truncated & ~terminated)]
            self._count(reward, ended)
            rewards[t] = reward
            if self.modulation is not None:
                behaviour[t] = self.modulation.behaviour_log_prob(logprobs[t], modulated)
                rewards[t] = self.modulation.reward(rewards[t], modulated, next_obs, ended)
            dones[t] = ended
            actions.append(action)
        self._obs = np.array(obs)
        if not (np.isfinite(normalized).all() and np.isfinite(rewards).all() and np.isfinite(self._obs).all()):
            raise EnvironmentFault("the environment gave an observation or a reward that is not a finite number")
        values = policy.critic_values(normalized.reshape(horizon * n, -1)).reshape(horizon, n)
        next_values = np.concatenate([values[1:], policy.value(self._obs)[None]])
        next_values[dones] = 0.0
        if finals:
            when, who, last_obs = zip(*finals, strict=True)
            next_values[when, who] = policy.value(np.stack(last_obs))
        executed = np.stack(actions)
        return Rollout(
            raw_obs, normalized, executed, logprobs, behaviour, rewards, next_values, dones, values, followed,
            np.stack(suggested) if suggested else executed, weight,
        )  # fmt: skip

    def _start(self) -> None:
        seeds = self.streams.integers(self.envs.num_envs, "envs", self.updates)
        self._obs = np.array(self.envs.reset(seed=seeds)[0])  # type: ignore[arg-type]
        self._returns[:], self._lengths[:] = 0.0, 0
        if self.modulation is not None:
            self.modulation.begin(self.envs.num_envs)

    def _count(self, rewards: FloatArray, ended: Array) -> None:
        self._returns += rewards
        self._lengths += 1
        self.steps += len(rewards)
        if ended.any():
            self._ended += zip(self._returns[ended].tolist(), self._lengths[ended].tolist(), strict=True)
            self._returns[ended], self._lengths[ended] = 0.0, 0

    # -- learning ----------------------------------------------------------------------------------------------

    def learn(self, rollout: Rollout, advantages: FloatArray, learning_rate: float) -> dict[str, float]:
        """Epochs of minibatches over one rollout."""
        way: Learn = "policy" if self.modulation is None else self.modulation.learn
        batch, size = flattened(rollout, advantages, way, self.policy.discrete), advantages.size
        self._adam.param_groups[0]["lr"] = learning_rate
        rows: list[list[float]] = []
        epochs = 0
        while epochs < self.options.update_epochs:
            start = len(rows)
            for mb in np.array_split(self._rng.permutation(size), min(self.options.num_minibatches, size)):
                index = torch.from_numpy(mb)
                loss, parts = self._loss({name: column[index] for name, column in batch.items()})
                self._adam.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
                for params in (self._actor_params, self._critic_params):
                    torch.nn.utils.clip_grad_norm_(params, self.options.max_grad_norm)
                self._adam.step()
                if self.policy.log_std is not None:
                    self.policy.log_std.data.clamp_(min=self.options.log_std_floor)
                rows.append(parts.tolist())
            epochs += 1
            kl = np.mean(rows[start:], axis=0)[LOSSES.index("approx_kl")]
            if self.options.target_kl is not None and kl > self.options.target_kl:
                break
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

    def _loss(self, mb: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss of one minibatch, and the figures named by `LOSSES`."""
        options, zero = self.options, torch.zeros(())
        v_loss = 0.5 * (self.policy.critic(mb["obs"]).squeeze(1) - mb["returns"]).square().mean()
        if self.updates < self._warmup:
            return options.vf_coef * v_loss, torch.stack([zero, v_loss.detach(), zero, zero, zero, zero])
        wanted = [mb[name] for name in ("actions", "suggested") if name in mb]
        newlogprobs, entropies = self.policy.log_prob_and_entropy(mb["obs"], *wanted)
        mb_advantages = _standardise(mb["advantages"], mb["part"])
        # The bound keeps exp finite where an override chose what the policy finds all but impossible.
        ratio = (newlogprobs[0] - mb["behaviour"]).clamp(-20.0, 20.0).exp()
        clipped = ratio.clamp(1 - options.clip_coef, 1 + options.clip_coef)
        pg_loss = _mean(torch.max(-mb_advantages * ratio, -mb_advantages * clipped), mb["part"])
        entropy = entropies.mean()
        imitate_loss = -(mb["imitate"] * newlogprobs[1]).mean() if "imitate" in mb else zero
        loss = pg_loss - options.ent_coef * entropy + options.vf_coef * v_loss + options.imitate_coef * imitate_loss
        with torch.no_grad():
            logratio = newlogprobs[0] - mb["logprobs"]
            approx_kl = _mean(logratio.clamp(-20.0, 20.0).exp() - 1 - logratio, mb["own"])
            clipfrac = _mean(((ratio - 1).abs() > options.clip_coef).float(), mb["part"])
            return loss, torch.stack([pg_loss, v_loss, entropy, imitate_loss, approx_kl, clipfrac])

    # -- state -------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Weights, Adam's moments, draws, running episodes, and simulator snapshots where there are any."""
        arrays = {f"policy/{name}": array for name, array in self.policy.state()[0].items()}
        moments = self._adam.state_dict()["state"]
        for index, slots in moments.items():
            arrays |= {f"adam/{index}/{slot}": np.array(value.numpy()) for slot, value in slots.items()}
        arrays |= {"episode/returns": self._returns.copy(), "episode/lengths": self._lengths.copy()}
        if self._obs is not None and getattr(self.envs, "can_snapshot", False):
            taken = self.envs.snapshot(range(self.envs.num_envs))  # type: ignore[attr-defined]
            arrays |= {f"snapshot/{i}": np.frombuffer(data, dtype=np.uint8).copy() for i, data in enumerate(taken)}
            arrays["obs"] = self._obs.copy()
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
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, array in arrays.items():
            if name.startswith("adam/"):
                _, index, slot = name.split("/")
                slots.setdefault(int(index), {})[slot] = torch.from_numpy(np.array(array))
        self._adam.load_state_dict({"state": slots, "param_groups": self._adam.state_dict()["param_groups"]})
        self.steps, self.updates = int(rest["steps"]), int(rest["updates"])
        self._rng.bit_generator.state = rest["rng"]
        if self.updates == 0:
            return
        self._start()
        if self.modulation is not None and rest["modulation"] is not None:
            self.modulation.load_state(rest["modulation"])
        if "obs" in arrays and getattr(self.envs, "can_snapshot", False):
            n = self.envs.num_envs
            self.envs.restore(range(n), [arrays[f"snapshot/{i}"].tobytes() for i in range(n)])  # type: ignore[attr-defined]
            self._obs = np.array(arrays["obs"])
            self._returns, self._lengths = np.array(arrays["episode/returns"]), np.array(arrays["episode/lengths"])
        elif self.modulation is not None:
            self.modulation.begin(self.envs.num_envs)


def _mean(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (rows * weights).sum() / weights.sum().clamp(min=1.0)


def _standardise(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    centred = rows - _mean(rows, weights)
    return centred / (_mean(centred.square(), weights).sqrt() + 1e-8)
