"""PPO, A2C, SAC, TD3 and DQN, trained by Stable-Baselines3 itself (Raffin et al. 2021, JMLR 22(268); extra `sb3`).

For policies that were made with SB3 and shall go on in it. The code that learns is SB3's, its papers are the
algorithms': PPO (Schulman et al. 2017, arXiv 1707.06347), A2C (Mnih et al. 2016, arXiv 1602.01783), SAC (Haarnoja et
al. 2018, arXiv 1812.05905), TD3 (Fujimoto et al. 2018, arXiv 1802.09477), DQN (Mnih et al. 2015, Nature 518). Options
have SB3's names and defaults (`options`). One update here is `collect_rollouts` and `train` of SB3, as often as
`steps_per_update` asks for; without a modulation, normalisation off, the weights are those of SB3's own `learn`.

Where overridden steps go (`models`):
  - `ppo`: the rollout buffer holds the executed action and, learning by `mixture`, its log-probability under what
    really acted, so SB3's ratio is pi(a|s) / mu(a|s); by `policy`, its log-probability under pi. `target_kl` measures
    the policy's own movement, between passes, over the steps it chose itself.
  - `a2c` has no ratio. By `mixture` each step's advantage is weighted by pi(a|s) / mu(a|s), which makes the gradient
    that of pi; by `policy` it is not weighted. With `normalize_advantage` SB3 standardises what has been weighted.
  - `sac`, `td3`, `dqn`: the executed action is stored for replay. A one-step update needs no log-probability to be
    right whoever acted, so `mixture` is what they do and all they offer; `n_steps` above 1 is not corrected.
  - `mask` and `imitate` would need other losses than SB3's and are not offered.

Differs from SB3, whose word is the last otherwise:
  - `normalize_observations` is on for `ppo` and `a2c`. The statistics are in the policy and frozen when one is
    refined; so is the scale of rewards (`normalize_reward`), which a policy takes along as `reward_scale`.
  - Refining (not `fresh`): for `value_warmup_steps`, at most a quarter of the budget and never a lone rollout, only
    the critic moves, the actor getting no gradient (all but `dqn`, where Q-values are the policy); `learning_starts`
    waits without acting at random; `dqn` explores from the start as little as in the end unless
    `exploration_initial_eps` is given; `sac` goes on with the entropy coefficient that the policy came with, if
    `ent_coef` is `auto`.
  - On-policy rollouts are shortened evenly, and the last of an off-policy training is cut, so that the budget comes
    out within one vector step of `total_steps`. A replay buffer is never larger than the budget.
  - `td3` explores with `noise_std` 0.1 (SB3: none unless a noise object is given).
  - `act` of `td3` and `dqn` policies never explores. Random draws never touch the process's global generators.

Metrics of one update, means over its rollouts unless said otherwise:
  return_mean, episodes, length_mean   mean undiscounted return before any modulation or normalisation of the episodes
                         that ended, how many those were, their mean length in environment steps; NaN if none ended
  learning_rate          step size of all optimisers (last value)
  n_updates              gradient steps so far; for ppo passes over rollouts (last value)
  value_loss             ppo, a2c: mean of (V(s) - R)^2, R = advantage + old value
  entropy_loss           ppo, a2c: minus the mean entropy of pi(.|s), nats
  policy_gradient_loss   ppo: minus the mean of min(A r, A clip(r, 1-eps, 1+eps)), r = pi(a|s) / stored probability
  policy_loss            a2c: minus the mean of A log pi(a|s), A weighted as above
  approx_kl              ppo: mean of (r - 1) - log r in the last pass; with `target_kl` and a modulation see above
  clip_fraction          ppo: share of steps with |r - 1| > eps
  clip_range, clip_range_vf  ppo: eps and the largest change of the value (last value)
  explained_variance     ppo, a2c: 1 - Var(R - V) / Var(R) over the rollout, V before the update
  std                    ppo, a2c, continuous: mean standard deviation (last value)
  loss                   ppo: loss of the last minibatch; dqn: mean Huber loss of Q(s, a) against its target
  actor_loss             sac: mean of alpha log pi(a|s) - min Q(s, a); td3: minus the mean of Q1(s, pi(s))
  critic_loss            sac: half the sum, td3: the sum over critics of the mean of (Q(s, a) - target)^2
  ent_coef, ent_coef_loss  sac: alpha (last value), and minus the mean of log(alpha) (log pi(a|s) + target_entropy)
  exploration_rate       dqn: chance of a random action (last value)
  modulation/*           what the modulation engine reports
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium

from ultra_agents.contracts import Algorithm, Learn, Modulation, Policy
from ultra_agents.contracts import Options as PluginOptions
from ultra_agents.errors import PluginError
from ultra_agents.records import Array
from ultra_agents.seeding import Streams

from .options import (
    Kind,
    SB3A2COptions,
    SB3DQNOptions,
    SB3Options,
    SB3PPOOptions,
    SB3SACOptions,
    SB3TD3Options,
)

if TYPE_CHECKING:
    from .policy import SB3Policy
    from .trainer import SB3Trainer


class _SB3(Algorithm):
    """What the five share; nothing of SB3 is imported before one of them is built."""

    kind: ClassVar[Kind]
    not_carried: ClassVar[frozenset[str]] = frozenset({
        "policy", "policy_kwargs", "freeze_normalizer", "value_warmup_steps", "steps_per_update",
    })  # fmt: skip
    options: SB3Options

    def __init__(self, options: Any) -> None:
        if importlib.util.find_spec("stable_baselines3") is None:
            raise PluginError(
                f"the algorithm 'sb3-{self.kind}' needs Stable-Baselines3",
                found="the package stable_baselines3 is not installed",
                hint="pip install 'ultra-agents[sb3]'  (or: pip install stable-baselines3)",
            )
        super().__init__(options)

    def create_policy(
        self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], seed: int
    ) -> SB3Policy:
        """A fresh policy as `policy` and `policy_kwargs` say."""
        from .networks import build, fresh
        from .policy import SB3Policy
        from .trainer import fresh_statistics

        network = fresh(self.kind, self.options.policy, self.options.policy_kwargs)
        module = build(network, observation_space, action_space, seed)
        policy = SB3Policy(network, module, observation_space, action_space, self.options.clip_obs)
        policy.rms = fresh_statistics(self.options, observation_space)
        return policy

    def load_policy(
        self,
        arrays: dict[str, Array],
        description: dict[str, Any],
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
    ) -> SB3Policy:
        """Rebuild a policy; its own architecture counts, not the options'. `ppo` and `a2c` share theirs."""
        from .networks import build, described
        from .policy import SB3Policy

        network = described(self.kind, description, arrays)
        policy = SB3Policy(network, build(network, observation_space, action_space), observation_space, action_space)
        policy.load(arrays, description)
        return policy

    def trainer(
        self,
        policy: Policy,
        envs: gymnasium.vector.VectorEnv,
        total_steps: int,
        streams: Streams,
        modulation: Modulation | None = None,
        fresh: bool = False,
    ) -> SB3Trainer:
        """Start training a copy of `policy`."""
        from .networks import check_spaces
        from .policy import SB3Policy
        from .trainer import SB3Trainer

        if not isinstance(policy, SB3Policy) or policy.kind != self.kind:
            found = f"sb3-{policy.kind}" if isinstance(policy, SB3Policy) else type(policy).__name__
            raise PluginError(
                f"sb3-{self.kind} trains its own policies only",
                found=f"a policy of {found}",
                expected=f"a policy of sb3-{self.kind}",
                hint=f"start from a fresh one, or import an SB3 {self.kind.upper()} zip: ultra policy import",
            )
        check_spaces(self.kind, policy.network.policy, policy.observation_space, policy.action_space)
        return SB3Trainer(self.options, policy, envs, total_steps, streams, modulation, fresh)


class SB3PPO(_SB3):
    """Proximal policy optimisation by Stable-Baselines3; `Discrete` and bounded one-dimensional `Box` actions."""

    kind: ClassVar[Kind] = "ppo"
    Options: ClassVar[type[PluginOptions]] = SB3PPOOptions
    learns: ClassVar[frozenset[Learn]] = frozenset({"mixture", "policy"})


class SB3A2C(_SB3):
    """Advantage actor-critic by Stable-Baselines3; `Discrete` and bounded one-dimensional `Box` actions."""

    kind: ClassVar[Kind] = "a2c"
    Options: ClassVar[type[PluginOptions]] = SB3A2COptions
    learns: ClassVar[frozenset[Learn]] = frozenset({"mixture", "policy"})


class SB3SAC(_SB3):
    """Soft actor-critic by Stable-Baselines3; bounded one-dimensional `Box` actions."""

    kind: ClassVar[Kind] = "sac"
    Options: ClassVar[type[PluginOptions]] = SB3SACOptions
    learns: ClassVar[frozenset[Learn]] = frozenset({"mixture"})


class SB3TD3(_SB3):
    """Twin delayed DDPG by Stable-Baselines3; bounded one-dimensional `Box` actions."""

    kind: ClassVar[Kind] = "td3"
    Options: ClassVar[type[PluginOptions]] = SB3TD3Options
    learns: ClassVar[frozenset[Learn]] = frozenset({"mixture"})


class SB3DQN(_SB3):
    """Deep Q-network by Stable-Baselines3; `Discrete` actions."""

    kind: ClassVar[Kind] = "dqn"
    Options: ClassVar[type[PluginOptions]] = SB3DQNOptions
    learns: ClassVar[frozenset[Learn]] = frozenset({"mixture"})
