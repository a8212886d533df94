"""What an algorithm sees of the modulation engine: batch in, batch out.

In refinement `a_true = a_LLM if s_t is critical else a_t ~ pi(.|s_t)` (ULTRA section 3, improvement). The engine
decides which states of a batch are critical and what is executed there; the algorithm decides how it learns from that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from ultra_agents.records import Array, FloatArray

Learn: TypeAlias = Literal["mixture", "policy", "mask", "imitate", "own"]
"""How a trainer takes steps in which something else acted. By `own` what acts belongs to the environment, and the
policy's own action is learnt from in every state: right where what is executed depends on it, as a correction does."""


@dataclass(frozen=True, eq=False)
class Modulated:
    """What the engine made of one batch of proposed actions; every array has length `n`.

    Attributes:
        actions: `(n, ...)` actions to execute.
        matched: `(n,)` bool: the state is covered by the table (or a held suggestion is running).
        followed: `(n,)` bool: the executed action is the suggestion because the engine chose it.
        probability: `(n,)` chance with which the engine follows here: 0 unmatched, p at a match, 1 while holding.
        suggested: `(n, ...)` the suggestion where matched; the policy's own action elsewhere.
        weight: `(n,)` how strongly `imitate` pulls here: the measured gain clipped to [0, 1], 1 for untested advice.
    """

    actions: Array
    matched: Array
    followed: Array
    probability: FloatArray
    suggested: Array
    weight: FloatArray


class Modulation(Protocol):
    """The engine's face towards an algorithm. It must be given every vector step, in order.

    One with an attribute `partwise` that is true also takes a slice of the environments as the last argument of `act`
    and `reward` (`envs`), so that they can be stepped in parts, in order; its answers must not depend on the parts.

    One that lets something else act than the policy's critic has seen may ask with `warmup_updates` (int) for so many
    updates first in which only the critic learns. One whose weights for `imitate` fall over training says by
    `imitation_strength` (float from 1 to 0, by `set_progress`) how much of them is left: weights include it already,
    and a learner that remembers steps scales what it remembers.

    One with an attribute `ends_apart` that is true is also told, by `reward(..., terminated=)`, which of the episodes
    that ended reached a terminal state: what follows it is worth nothing, what follows a time limit is not, and a
    potential must know. `learning_rewards` calls `reward` as the modulation has it.
    """

    learn: Learn

    def begin(self, num_envs: int) -> None:
        """Forget held suggestions; `num_envs` parallel environments follow."""
        ...

    def set_progress(self, progress: float) -> None:
        """Tell how much of the budget is spent, in [0, 1]; sets the strength of advice."""
        ...

    def act(self, observations: Array, actions: Array) -> Modulated:
        """Observations `(n, ...)` and the policy's actions `(n, ...)` -> what is executed."""
        ...

    def behaviour_log_prob(self, policy_log_prob: FloatArray, modulated: Modulated) -> FloatArray:
        """Log-probability `(n,)` with which the executed actions were really chosen.

        `mixture`: mu(a|s) = (1 - p) pi(a|s) + p [a = a_LLM] at a match, for followed and not followed ones; the other
        ways of learning return `policy_log_prob` as it is. `policy_log_prob` is of the *executed* actions, learning by
        `own` of the policy's.
        """
        ...

    def reward(self, rewards: FloatArray, modulated: Modulated, next_observations: Array, ended: Array) -> FloatArray:
        """Environment rewards `(n,)` -> the rewards to learn from.

        `next_observations` are those before any reset; `ended` is terminated or truncated. Call once after each
        `act`: it also lets go of suggestions held in episodes that ended.
        """
        ...

    def metrics(self) -> dict[str, float]:
        """What happened since the last call: `hit_rate`, `override_rate`, `bonus_mean`, `strength`."""
        ...

    def state(self) -> dict[str, Any]:
        """JSON-able state for exact resume."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        ...


def learning_rewards(
    modulation: Modulation,
    rewards: FloatArray,
    modulated: Modulated,
    next_observations: Array,
    terminated: Array,
    ended: Array,
    *envs: slice,
) -> FloatArray:
    """The rewards `(n,)` to learn from, whatever the modulation takes.

    Args:
        modulation: Of whichever kind.
        rewards: `(n,)` the environment's.
        modulated: What its `act` gave for this step.
        next_observations: `(n, ...)` before any reset.
        terminated: `(n,)` bool, a terminal state was reached; the learner takes its value for 0.
        ended: `(n,)` bool, terminated or truncated; the value after a truncation is the critic's.
        envs: The environments these are, for one that is `partwise`.
    """
    give: Any = modulation.reward
    apart = {"terminated": terminated} if getattr(modulation, "ends_apart", False) else {}
    made: FloatArray = give(rewards, modulated, next_observations, ended, *envs, **apart)
    return made
