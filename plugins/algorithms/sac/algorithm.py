"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905), under the engine's modulation.

Read top to bottom: `SACOptions`, `SAC`, `SACTrainer.update` = (`rollout` -> `learn` (`targets`, `critic_loss`,
`actor_loss`))*. CleanRL's vocabulary (obs, actions, rewards, q, alpha, target).

Differs from the paper and from SB3's `SAC`:
  - Parallel environments: `replay_ratio` gradient steps per environment step, made every `train_every` vector steps
    in one go (their minibatches and noise are drawn together); SB3 with one environment is 1 and 1.
  - Termination and truncation are kept apart: a cut episode bootstraps from its final observation.
  - Refining an existing policy draws no uniformly random actions: the policy fills the buffer itself, then
    `value_warmup_steps` gradient steps move only the critics, because wrong values cost a good policy at once; the
    temperature goes on from where it was.
  - Observations may be normalised by statistics kept in the policy (off by default, as in the paper). They change
    between updates, never within one, and are frozen when an existing policy is refined; the buffer holds raw ones.
  - The log standard deviation stays in [-5, 2] (SB3: [-20, 2]), the bounds are part of the policy.
  - Overridden steps (ULTRA, improvement). The *executed* action and the modulated reward go into the buffer. Learning
    off-policy, that is right whatever acted, so there is no ratio to correct (`mixture`) and `policy` and `mask` would
    mean nothing: the critics judge the policy's own actions everywhere, as if it acted alone. `imitate` adds
    imitate_coef * weight * |tanh(mean) - suggested|^2 (unit actions) at matched steps, to the actor's loss and to
    nothing else; a weight that falls over training (`Modulation.imitation_strength`) falls for remembered steps, too.

Metrics of one update:
  return_mean      mean undiscounted, unshaped environment return of the episodes that ended; NaN if none did.
                   Episodes begun at a restored state do not count here nor in the next two
  episodes         how many ended
  length_mean      their mean length in environment steps; NaN if none
  q_loss           mean of (Q1(s, a) - y)^2 / 2 + (Q2(s, a) - y)^2 / 2,
                   y = r + gamma (1 - terminated) (min Q_target(s', a') - alpha log pi(a'|s'))
  q_mean           mean of (Q1 + Q2) / 2 over the minibatches
  actor_loss       mean of alpha log pi(a|s) - min Q(s, a), a ~ pi(.|s); NaN during the warm-up
  entropy          mean of -log pi(a|s), nats, density of unit actions; NaN during the warm-up
  alpha            temperature after the update
  imitate_loss     mean over the minibatches of weight * |tanh(mean) - suggested|^2; only when learning by `imitate`
  gradient_steps   gradient steps so far
  buffer           transitions held
  modulation/*     what the modulation engine reports
Means are over all minibatches of the update; NaN before `learning_starts`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from pydantic import Field

from ultra_agents.contracts import (
    Algorithm,
    Demonstrations,
    Learn,
    Modulation,
    Policy,
    Trainer,
    Widening,
    learning_rewards,
)
from ultra_agents.contracts import Options as PluginOptions
from ultra_agents.contracts.vector import before_reset
from ultra_agents.errors import EnvironmentFault, PluginError
from ultra_agents.records import Array
from ultra_agents.seeding import Streams

from .._episodes import RunningEpisodes
from .buffer import ReplayBuffer
from .imitation import imitate
from .networks import LOG_STD, SACPolicy, critics_like, least, shared_copy
from .optimiser import adam_of, below, load_moments, moments

LOSSES = ("q_loss", "q_mean", "actor_loss", "entropy", "imitate_loss")


class SACOptions(PluginOptions):
    """The paper's and SB3's defaults, but for `num_steps`."""

    hidden: tuple[int, ...] = Field((256, 256), description="units per hidden layer, actor and critics alike")
    learning_rate: float = Field(3e-4, gt=0, description="Adam's step size: actor, critics and temperature")
    num_steps: int = Field(32, gt=0, description="vector steps per update (between two lines of metrics)")
    train_every: int = Field(1, gt=0, description="vector steps between two rounds of gradient steps")
    replay_ratio: float = Field(1.0, gt=0, description="gradient steps per environment step")
    batch_size: int = Field(256, gt=0, description="transitions per gradient step")
    buffer_size: int = Field(1_000_000, gt=0, description="transitions remembered, at most")
    learning_starts: int = Field(100, ge=0, description="environment steps before the first gradient step")
    gamma: float = Field(0.99, gt=0, le=1, description="discount per environment step")
    tau: float = Field(0.005, gt=0, le=1, description="share by which the target critics follow, per gradient step")
    init_alpha: float = Field(1.0, gt=0, description="temperature of a fresh policy")
    tune_alpha: bool = Field(True, description="adapt the temperature to `target_entropy`; else it stays")
    target_entropy: float | None = Field(None, description="nats, density of unit actions; null: -action_dim")
    value_warmup_steps: int = Field(1000, ge=0, description="critic-only gradient steps first, when refining")
    imitate_coef: float = Field(1.0, ge=0, description="weight of the squared distance of `imitate`")
    clone_steps: int = Field(3000, gt=0, description="minibatches of learning from demonstrations, before refining")
    clone_steps_max: int = Field(
        30_000, gt=0, description="at most so many where it is told when to end by steps held out"
    )
    clone_learning_rate: float = Field(
        1e-3, gt=0, description="Adam's step size there, falling linearly to 0 over `clone_steps`"
    )
    clone_anchor: float = Field(1.0, ge=0, description="weight there of acting as before elsewhere")
    normalize: bool = Field(False, description="normalise observations by running statistics")
    freeze_normalizer: bool | None = Field(
        None, description="keep the observation statistics as they are; null: when refining"
    )


class SAC(Algorithm):
    """Soft actor-critic for one-dimensional `Box` actions with finite bounds; see the module's docstring."""

    Options: ClassVar[type[PluginOptions]] = SACOptions
    learns: ClassVar[frozenset[Learn]] = frozenset({"mixture", "imitate"})
    not_carried: ClassVar[frozenset[str]] = frozenset({
        "hidden", "init_alpha", "value_warmup_steps", "imitate_coef", "clone_steps", "clone_steps_max",
        "clone_learning_rate", "clone_anchor", "freeze_normalizer",
    })  # fmt: skip
    options: SACOptions

    def create_policy(
        self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], seed: int
    ) -> SACPolicy:
        """A fresh policy with `hidden` units per layer."""
        return SACPolicy(observation_space, action_space, self.options.hidden, seed, self.options.init_alpha)

    def load_policy(
        self,
        arrays: dict[str, Array],
        description: dict[str, Any],
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
    ) -> SACPolicy:
        """Rebuild a policy; its own `hidden` and `log_std` count, not the options."""
        hidden, log_std = description.get("hidden", self.options.hidden), description.get("log_std", LOG_STD)
        widening = Widening.restored(description, arrays)
        policy = SACPolicy(observation_space, action_space, hidden, log_std=tuple(log_std), widening=widening)
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
    ) -> SACTrainer:
        """Start training a copy of `policy`."""
        return SACTrainer(self.options, _own(policy).copy(), envs, total_steps, streams, modulation, fresh)

    def imitate(self, policy: Policy, demonstrations: Demonstrations, streams: Streams) -> SACPolicy:
        """Clone the behaviour demonstrated; see `imitation`."""
        twin = _own(policy).copy()
        anchor = _own(policy if demonstrations.anchor is None else demonstrations.anchor)
        imitate(twin, demonstrations, anchor, self.options, streams.generator("clone"))
        return twin

    def widen(self, policy: Policy, widening: Widening) -> SACPolicy:
        """Quantities as further inputs of actor and critics; acts and values as before but for rounding."""
        return _own(policy).widened(widening)


class SACTrainer(Trainer):
    """Training in progress; see `Algorithm.trainer` for the arguments.

    `state` is exact, the replay buffer included. Where the environments give no snapshots (`can_snapshot`, `snapshot`,
    `restore`) it ends the running episodes: the next update starts new ones with seeds of its own, here as after
    `load_state`.
    """

    policy: SACPolicy

    def __init__(
        self,
        options: SACOptions,
        policy: SACPolicy,
        envs: gymnasium.vector.VectorEnv,
        total_steps: int,
        streams: Streams,
        modulation: Modulation | None,
        fresh: bool,
    ) -> None:
        torch.set_num_threads(1)  # networks this small only lose by sharing
        self.options, self.policy, self.envs, self.fresh = options, policy, envs, fresh
        self.total_steps, self.streams, self.modulation = total_steps, streams, modulation
        self.steps = self.updates = self.gradient_steps = 0
        self._imitates = modulation is not None and modulation.learn == "imitate"
        frozen = options.freeze_normalizer if options.freeze_normalizer is not None else not fresh
        self._normalizes = options.normalize and not frozen
        asked = getattr(modulation, "warmup_updates", 0) * options.num_steps * envs.num_envs * options.replay_ratio
        self._warmup = 0 if fresh else max(options.value_warmup_steps, int(asked))
        self._target_entropy = -policy.action_dim if options.target_entropy is None else options.target_entropy
        self._rng = streams.generator("sac")
        self._critic_params: list[torch.Tensor] = list(policy.critics.parameters())
        self._adams = {
            "actor": adam_of(policy.actor.parameters(), options.learning_rate),
            "critic": adam_of(self._critic_params, options.learning_rate),
            "alpha": adam_of([policy.log_alpha], options.learning_rate),
        }
        self._targets, self._still = critics_like(policy), shared_copy(policy.critics, critics_like(policy))
        self._targets.load_state_dict(policy.critics.state_dict())
        self._target_params: list[torch.Tensor] = [p.requires_grad_(False) for p in self._targets.parameters()]
        capacity = min(options.buffer_size, max(total_steps, 1) + envs.num_envs)
        screens = envs.single_observation_space.dtype == np.uint8
        self.buffer = ReplayBuffer(
            max(capacity, envs.num_envs), policy.raw_dim, policy.action_dim, screens, self._imitates
        )
        self.episodes = RunningEpisodes(envs, streams, modulation)

    @property
    def exact_at_checkpoints_only(self) -> bool:
        """Taking the state changes what follows, so it must be taken at fixed steps; see the class."""
        return not self.episodes.can_save

    def update(self) -> dict[str, float]:
        """`num_steps` vector steps with the gradient steps due; metrics as defined in the module's docstring."""
        if self.episodes.obs is None:
            self.episodes.start(self.updates)
        n, options = self.envs.num_envs, self.options
        if self.modulation is not None:
            self.modulation.set_progress(min(self.steps / self.total_steps, 1.0))
        rows: list[torch.Tensor] = []
        left = math.ceil((self.total_steps - self.steps) / n)
        horizon = min(options.num_steps, left) if left > 0 else options.num_steps
        for t in range(horizon):
            self.rollout()
            if (t + 1) % options.train_every == 0 or t + 1 == horizon:
                due = int((self.steps - options.learning_starts) * options.replay_ratio) - self.gradient_steps
                rows += self.learn(due) if due > 0 else []
        self.updates += 1
        metrics = {"alpha": float(self.policy.log_alpha.detach().exp()), **self._means(rows)}
        if self.modulation is not None:
            metrics |= {f"modulation/{name}": value for name, value in self.modulation.metrics().items()}
        return {
            **self.episodes.metrics(),
            **metrics,
            "gradient_steps": float(self.gradient_steps),
            "buffer": float(self.buffer.size),
        }

    # -- rollout -----------------------------------------------------------------------------------------------

    def rollout(self) -> None:
        """One vector step under the modulation, into the buffer."""
        n, policy, obs = self.envs.num_envs, self.policy, self.episodes.obs
        assert obs is not None
        if self.fresh and self.steps < self.options.learning_starts:
            unit = self._rng.uniform(-1.0, 1.0, (n, policy.action_dim)).astype(np.float32)
        else:
            unit = policy.sample(obs, self._rng.standard_normal((n, policy.action_dim)))
        action = policy.stretched(unit)
        if self.modulation is not None:
            modulated = self.modulation.act(obs, action)
            unit = policy.unit(modulated.actions)
            action = policy.stretched(unit)
        after, reward, terminated, truncated, infos = self.envs.step(action)
        ended = terminated | truncated
        next_obs = before_reset(after, ended, infos)
        self.steps += n
        self.episodes.count(reward, ended, infos)
        if self.modulation is not None:
            reward = learning_rewards(self.modulation, reward, modulated, next_obs, terminated, ended)
        if not (math.isfinite(float(np.sum(reward))) and math.isfinite(float(np.sum(next_obs)))):
            raise EnvironmentFault("the environment gave an observation or a reward that is not a finite number")
        rows = self.buffer.add(obs, next_obs, unit, reward, terminated)
        if self._imitates:
            self.buffer.suggested[rows] = policy.unit(modulated.suggested)
            strength = self._imitation_strength or 1.0
            self.buffer.weight[rows] = np.where(modulated.matched, modulated.weight, 0.0) / strength
        if self._normalizes:
            policy.update_normalizer(obs)
        self.episodes.obs = np.array(after)

    @property
    def _imitation_strength(self) -> float:
        return float(getattr(self.modulation, "imitation_strength", 1.0))

    # -- learning ----------------------------------------------------------------------------------------------

    def learn(self, count: int) -> list[torch.Tensor]:
        """`count` gradient steps; of each the figures named by `LOSSES`."""
        buffer, size = self.buffer, self.options.batch_size
        picked = self._rng.integers(0, buffer.size, count * size)
        normals = torch.from_numpy(
            self._rng.standard_normal((count, 2, size, self.policy.action_dim), dtype=np.float32)
        )
        obs, next_obs = (self.policy.normalize(rows[picked]) for rows in (buffer.obs, buffer.next_obs))
        columns = [obs, next_obs, buffer.actions[picked], buffer.rewards[picked], buffer.terminated[picked]]
        if self._imitates:
            strength = np.float32(self._imitation_strength)
            columns += [buffer.suggested[picked], buffer.weight[picked] * strength]
        batches = zip(*(torch.split(torch.from_numpy(column), size) for column in columns), strict=True)
        rows = []
        for mb, noise in zip(batches, normals, strict=True):
            alpha = self.policy.log_alpha.detach().exp()
            y = self.targets(mb[1], mb[3], mb[4], alpha, noise[0])
            parts = self._descend("critic", *self.critic_loss(mb[0], mb[2], y))
            if self.gradient_steps >= self._warmup:
                parts += self._descend("actor", *self.actor_loss(mb[0], alpha, noise[1], mb[5:]))
            else:
                parts += [torch.full((), math.nan)] * 3
            torch._foreach_lerp_(self._target_params, self._critic_params, self.options.tau)
            self.gradient_steps += 1
            rows.append(torch.stack(parts))
        return rows

    @torch.no_grad()
    def targets(
        self, next_obs: torch.Tensor, rewards: torch.Tensor, terminated: torch.Tensor, alpha: torch.Tensor,
        noise: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """What the critics should say `(m,)`: reward, and the soft value of what follows unless the episode ended."""
        next_actions, next_logprobs = self.policy.sampled(next_obs, noise)
        q = least(self._targets, next_obs, next_actions)
        return rewards + self.options.gamma * (1.0 - terminated) * (q - alpha * next_logprobs)

    def critic_loss(
        self, obs: torch.Tensor, actions: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The critics' loss; it and the mean value, detached."""
        rows = torch.cat([obs, actions], dim=1)
        q1, q2 = (critic(rows).squeeze(1) for critic in self.policy.critics)
        loss = 0.5 * ((q1 - y).square().mean() + (q2 - y).square().mean())
        return loss, [loss.detach(), 0.5 * (q1.detach().mean() + q2.detach().mean())]

    def actor_loss(
        self, obs: torch.Tensor, alpha: torch.Tensor, noise: torch.Tensor, advised: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The actor's loss, after a step of the temperature; it, entropy and imitation loss, detached."""
        actions, logprobs = self.policy.sampled(obs, noise)
        if self.options.tune_alpha:
            surplus = (logprobs.detach() + self._target_entropy).mean()
            self._descend("alpha", -self.policy.log_alpha * surplus, [])
        pg_loss = (alpha * logprobs - least(self._still, obs, actions)).mean()
        imitate_loss = torch.zeros(())
        if advised:
            suggested, weight = advised
            mode = torch.tanh(self.policy.actor(obs)[:, : self.policy.action_dim])
            imitate_loss = (weight * (mode - suggested).square().sum(dim=1)).mean()
        figures = [pg_loss.detach(), -logprobs.detach().mean(), imitate_loss.detach()]
        return pg_loss + self.options.imitate_coef * imitate_loss, figures

    def _descend(self, whose: str, loss: torch.Tensor, figures: list[torch.Tensor]) -> list[torch.Tensor]:
        adam = self._adams[whose]
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call,unused-ignore]
        adam.step()
        return figures

    def _means(self, rows: list[torch.Tensor]) -> dict[str, float]:
        named = [name for name in LOSSES if self._imitates or name != "imitate_loss"]
        if not rows:
            return dict.fromkeys(named, math.nan)
        table = torch.stack(rows).numpy().astype(np.float64)
        learnt = table[max(self._warmup - self.gradient_steps + len(table), 0) :]
        if not (np.isfinite(table[:, :2]).all() and np.isfinite(learnt).all()):
            raise PluginError(
                "the training diverged: a loss is no longer a finite number",
                found=f"update {self.updates}, step {self.steps}",
                hint="lower refine.algorithm.options.learning_rate",
            )
        means = [*table[:, :2].mean(axis=0), *(learnt[:, 2:].mean(axis=0) if len(learnt) else [math.nan] * 3)]
        return {name: float(means[LOSSES.index(name)]) for name in named}

    # -- state -------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Weights, moments, draws, the replay buffer, and running episodes by their snapshots, which else end here."""
        arrays = {f"policy/{name}": array for name, array in self.policy.state()[0].items()}
        arrays |= {f"target/{name}": np.array(t.numpy()) for name, t in self._targets.state_dict().items()}
        for whose, adam in self._adams.items():
            arrays |= {f"adam/{whose}/{name}": array for name, array in moments(adam).items()}
        arrays |= {f"buffer/{name}": array for name, array in self.buffer.state().items()}
        arrays |= self.episodes.state()
        return arrays, {
            "steps": self.steps,
            "updates": self.updates,
            "gradient_steps": self.gradient_steps,
            "rng": self._rng.bit_generator.state,
            "modulation": None if self.modulation is None else self.modulation.state(),
        }

    def load_state(self, arrays: dict[str, Array], rest: dict[str, Any]) -> None:
        """Go on from `state`; the trainer must have been built with the same arguments."""
        self.policy.load(below("policy/", arrays))
        targets = {name: torch.from_numpy(np.array(array)) for name, array in below("target/", arrays).items()}
        self._targets.load_state_dict(targets)
        for whose, adam in self._adams.items():
            load_moments(adam, below(f"adam/{whose}/", arrays))
        self.buffer.load(below("buffer/", arrays))
        self.steps, self.updates = int(rest["steps"]), int(rest["updates"])
        self.gradient_steps = int(rest["gradient_steps"])
        self._rng.bit_generator.state = rest["rng"]
        if self.updates > 0:
            self.episodes.load(arrays, rest["modulation"], self.updates)


def _own(policy: Policy) -> SACPolicy:
    if not isinstance(policy, SACPolicy):
        raise PluginError("sac trains its own policies only", found=type(policy).__name__, expected="SACPolicy")
    return policy
