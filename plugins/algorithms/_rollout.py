"""One rollout of parallel environments, and what follows from it for any on-policy algorithm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ultra_agents.contracts import Learn
from ultra_agents.records import Array, FloatArray


@dataclass(frozen=True, eq=False)
class Rollout:
    """One rollout of `T` steps in `n` environments; arrays `(T, n)` unless said otherwise.

    Attributes:
        raw_obs: `(T, n, *observation_shape)` as the environments gave them.
        obs: `(T, n, obs_dim)` normalised.
        actions: `(T, n, ...)` executed, unclipped.
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
    obs: npt.NDArray[np.float32]
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

    own = flat(~rollout.followed)
    batch = {
        "obs": flat(rollout.obs),
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
