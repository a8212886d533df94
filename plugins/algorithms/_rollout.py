"""One rollout of parallel environments, and what follows from it for any on-policy algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch

from ultra_agents.contracts import Learn, Modulated, Modulation, learning_rewards
from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array, FloatArray

from ._networks import PPOPolicy


@dataclass(frozen=True, eq=False)
class Rollout:
    """One rollout of `T` steps in `n` environments; arrays `(T, n)` unless said otherwise.

    Attributes:
        raw_obs: `(T, n, *observation_shape)` as the environments gave them.
        obs: `(T, n, obs_dim)` normalised, float32; screens as they are, uint8.
        actions: `(T, n, ...)` executed, or learning by `own` the policy's; unclipped.
        logprobs: Of `actions` under the policy.
        behaviour_logprobs: Of `actions` under what really acted.
        rewards: To learn from.
        next_values: Value of what followed each step; 0 after termination, of the final observation after truncation.
        dones: Terminated or truncated.
        values: The critic's, before the update.
        followed: The engine chose the action.
        suggested: `(T, n, ...)`.
        imitate_weight: Weight where matched, 0 elsewhere.
    """

    raw_obs: Array
    obs: Array
    actions: Array
    logprobs: FloatArray
    behaviour_logprobs: FloatArray
    rewards: FloatArray
    next_values: FloatArray
    dones: Array
    values: FloatArray
    followed: Array
    suggested: Array
    imitate_weight: FloatArray


class Stepper:
    """Environments and modulation, in parts that take turns; what comes out does not depend on who steps them where.

    Simulators in worker processes step one half while the other is acted for. Elsewhere all step at once.

    Attributes:
        parts: The environments of each part.
    """

    def __init__(self, envs: gymnasium.vector.VectorEnv, modulation: Modulation | None) -> None:
        self._envs: Any = envs
        self._modulation: Any = modulation
        self._partwise = bool(getattr(modulation, "partwise", False))
        self._halves = hasattr(envs, "send_half") and (modulation is None or self._partwise)
        whole = (slice(0, envs.num_envs),)
        self.parts: tuple[slice, ...] = getattr(envs, "halves", whole) if self._halves else whole
        self._result: Any = None
        self._modulated: list[Modulated | None] = [None] * len(self.parts)

    def act(self, part: int, observations: Array, actions: Array) -> Modulated:
        """What the modulation makes of the policy's actions for one part."""
        where = (self.parts[part],) if self._partwise else ()
        modulated: Modulated = self._modulation.act(observations, actions, *where)
        self._modulated[part] = modulated
        return modulated

    def reward(
        self, part: int, rewards: FloatArray, next_observations: Array, terminated: Array, ended: Array
    ) -> FloatArray:
        """What to learn from, after `act`: the modulation's rewards, or the environments' own."""
        if self._modulation is None:
            return rewards
        where = (self.parts[part],) if self._partwise else ()
        modulated = self._modulated[part]
        assert modulated is not None, "act comes first"
        return learning_rewards(self._modulation, rewards, modulated, next_observations, terminated, ended, *where)

    def send(self, part: int, actions: Array) -> None:
        """Let one part step."""
        if self._halves:
            self._envs.send_half(part, actions)
            return
        self._result = self._envs.step(actions)

    def receive(self, part: int) -> tuple[Array, FloatArray, Array, Array, dict[str, Any]]:
        """What the last `send` of this part led to; information is `final_obs` and `restarted` only."""
        if self._halves:
            found: tuple[Array, FloatArray, Array, Array, dict[str, Any]] = self._envs.receive_half(part)
            return found
        *result, infos = self._result
        return (*result, {name: infos[name] for name in ("final_obs", "restarted") if name in infos})


class Steps:
    """What is kept of a rollout while it is made; arrays `(T, n)` or `(T, n, ...)`, as in `Rollout`.

    Args:
        horizon: Steps in each environment, `T`.
        obs: `(n, *observation_shape)` the first observations.
        policy: That acts.
        modulated: There is a modulation.

    Attributes:
        raw_obs: `(T + 1, n, *observation_shape)`.
        finals: Step, environment and last observation of every episode that was cut.
    """

    def __init__(self, horizon: int, obs: Array, policy: PPOPolicy, modulated: bool) -> None:
        n, shape = len(obs), policy.action_space.shape or ()
        self.horizon = horizon
        self.raw_obs = np.zeros((horizon + 1, *obs.shape), dtype=obs.dtype)
        self.raw_obs[0] = obs
        # Screens are learnt from as they are: keeping them twice would double what a rollout takes.
        self._screens = policy.encoder is not None
        self._obs = np.zeros((0 if self._screens else horizon, n, policy.obs_dim), dtype=np.float32)
        self._outputs = np.zeros((horizon, n, policy.action_dim), dtype=np.float32)
        self._values = np.zeros((horizon, n))
        self.actions = np.zeros((horizon, n, *shape), dtype=np.int64 if policy.discrete else np.float32)
        self.rewards, self.dones = np.zeros((horizon, n)), np.zeros((horizon, n), dtype=bool)
        self.finals: list[tuple[int, int, Array]] = []
        self._matched, self._followed = (np.zeros((horizon, n), dtype=bool) for _ in range(2))
        self._probability, self._weight = (np.zeros((horizon, n)) for _ in range(2))
        self._suggested = np.zeros_like(self.actions) if modulated else self.actions

    def act(self, t: int, envs: slice, normalized: Array, policy: PPOPolicy) -> Array:
        """The actor's outputs for normalised observations; for screens the critic's come from the same pass."""
        if self._screens:
            self._outputs[t, envs], self._values[t, envs] = policy.outputs_and_values(normalized)
        else:
            self._obs[t, envs] = normalized
            self._outputs[t, envs] = policy.actor_outputs(normalized)
        return np.asarray(self._outputs[t, envs])

    def note(self, t: int, envs: slice, modulated: Modulated) -> None:
        """Keep what the modulation said."""
        self._matched[t, envs], self._followed[t, envs] = modulated.matched, modulated.followed
        self._probability[t, envs], self._weight[t, envs] = modulated.probability, modulated.weight
        self._suggested[t, envs] = modulated.suggested

    def rollout(self, policy: PPOPolicy, modulation: Modulation | None) -> Rollout:
        """Everything that can be computed for all steps at once."""
        shape, total = self.rewards.shape, self.rewards.size
        raw_obs = self.raw_obs[:-1]
        obs = raw_obs.reshape(*shape, -1) if self._screens else self._obs
        if not all(np.isfinite(part).all() for part in (self._obs, self.rewards, self.raw_obs[-1])):
            raise EnvironmentFault("the environment gave an observation or a reward that is not a finite number")
        values = self._values if self._screens else policy.critic_values(obs.reshape(total, -1)).reshape(shape)
        next_values = np.concatenate([values[1:], policy.value(self.raw_obs[-1])[None]])
        next_values[self.dones] = 0.0
        if self.finals:
            when, who, last_obs = zip(*sorted(self.finals, key=lambda final: final[:2]), strict=True)
            next_values[when, who] = policy.value(np.stack(last_obs))

        def flat(array: Array) -> Array:
            return array.reshape(total, *array.shape[2:])

        logprobs = policy.log_prob(flat(self._outputs), flat(self.actions))
        behaviour = logprobs
        if modulation is not None:
            columns = (self.actions, self._matched, self._followed, self._probability, self._suggested, self._weight)
            behaviour = modulation.behaviour_log_prob(logprobs, Modulated(*(flat(column) for column in columns)))
        return Rollout(
            raw_obs, obs, self.actions, logprobs.reshape(shape), behaviour.reshape(shape), self.rewards, next_values,
            self.dones, values, self._followed, self._suggested, np.where(self._matched, self._weight, 0.0),
        )  # fmt: skip


def gae(rollout: Rollout, gamma: float, gae_lambda: float) -> FloatArray:
    """Generalised advantage estimates `(T, n)`; nothing flows over the end of an episode."""
    advantages = np.zeros_like(rollout.rewards)
    carried = np.zeros(rollout.rewards.shape[1])
    deltas = rollout.rewards + gamma * rollout.next_values - rollout.values
    for t in reversed(range(len(deltas))):
        carried = deltas[t] + gamma * gae_lambda * np.where(rollout.dones[t], 0.0, carried)
        advantages[t] = carried
    return advantages


def flattened(rollout: Rollout, advantages: FloatArray, way: Learn, discrete: bool) -> dict[str, torch.Tensor]:
    """The rollout as `(T * n, ...)`, for minibatches; `part`: has a policy loss, `own`: the policy chose the action.

    Args:
        rollout: What was met.
        advantages: `(T, n)`.
        way: How overridden steps are learnt from.
        discrete: Actions are integers.
    """
    kind = torch.int64 if discrete else torch.float32

    def flat(array: Array, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array.reshape(-1, *array.shape[2:]))).to(dtype)

    own = flat(~rollout.followed) if way != "own" else torch.ones(rollout.followed.size)
    batch = {
        "obs": flat(rollout.obs, torch.uint8 if rollout.obs.dtype == np.uint8 else torch.float32),
        "actions": flat(rollout.actions, kind),
        "logprobs": flat(rollout.logprobs),
        "behaviour": flat(rollout.behaviour_logprobs),
        "advantages": flat(advantages),
        "returns": flat(advantages + rollout.values),
        "own": own,
        "part": torch.ones_like(own) if way in ("mixture", "policy") else own,
    }
    if way == "imitate" and rollout.imitate_weight.any():
        batch |= {"suggested": flat(rollout.suggested, kind), "imitate": flat(rollout.imitate_weight)}
    return batch
