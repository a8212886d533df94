"""Rules in training: they act where they cover a state, show the policy what they would do, and give a reward.

Three things a set of rules can do while a policy trains on, as `ultra_agents.contracts.Modulation`:

* *act* (a layer): a covered state gets the rule's action. No policy loss there, the critic learns everywhere, and
  where the algorithm can it learns to do the same by itself (an imitation term that falls to 0); one that can do
  neither is told that the rule's action was certain (`mixture`, with a probability of 1). Rules that correct the
  policy's own action belong to the environment instead, where the algorithm can learn so (`own`);
* *show* (kickstarting: Schmitt et al. 2018, arXiv 1803.03835): the policy acts, and is pulled towards what the rules
  would do in covered states, ever less;
* *reward*: the implicit reward of the rules' expression, clipped to [-1, 1] times beta, or their potential Phi as
  gamma Phi(s') - Phi(s) (Ng et al. 1999), which leaves the optimal policy alone: gamma is the algorithm's own, Phi
  is 0 in terminal states and its own value in those that a time limit cut. Falls to 0 as everything else.

Nothing is drawn at random. This is the counterpart of the ULTRA paper's table for advice with reach.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from ultra_agents.config import ModulationConfig
from ultra_agents.contracts import Learn, Modulated
from ultra_agents.modulation.schedule import strength
from ultra_agents.records import Array, FloatArray
from ultra_agents.rules import RuleSet
from ultra_agents.rules.layer import RulePolicy

ALL = slice(None)


def way_to_learn(learns: Collection[Learn], corrects: bool) -> Learn:
    """How an algorithm that learns in the ways `learns` takes what rules did; the best of them first.

    What rules that correct make of an action is nothing to pull that action towards, for it would be corrected again:
    they belong to the environment as long as they act.
    """
    order: tuple[Learn, ...] = ("own", "mask", "mixture") if corrects else ("imitate", "mask", "mixture")
    return next((way for way in order if way in learns), "policy")


class RuleModulation:
    """Implements `ultra_agents.contracts.Modulation` over a set of rules.

    Args:
        layer: Rules over any policy: only what they decide is asked of it. None acts and shows nothing.
        reward: Rules whose potential or reward is given, bound to the environment; None gives none.
        quantities: The environment's.
        config: Schedule, beta, discount, warm-up of the critic.
        acts: Rules are in force; else they only show.
        learn: How what the rules did enters the update; `way_to_learn` chooses.
    """

    partwise = True
    ends_apart = True

    def __init__(
        self,
        layer: RulePolicy | None,
        reward: RuleSet | None,
        quantities: Callable[[Array], Mapping[str, Array]],
        config: ModulationConfig,
        *,
        acts: bool,
        learn: Learn,
    ) -> None:
        self.learn: Learn = learn
        self.warmup_updates = config.warmup_updates if acts and layer is not None else 0
        self._layer, self._reward, self._quantities, self._acts = layer, reward, quantities, acts
        self._full = config.model_copy(update={"probability": 1.0})
        self._beta, self._discount = config.beta, config.shaping_discount
        self.set_progress(0.0)
        self.begin(0)

    def begin(self, num_envs: int) -> None:
        """`num_envs` parallel environments follow."""
        self._num = num_envs
        self._seen: dict[str, FloatArray] = {}
        self._clear_counts()

    def set_progress(self, progress: float) -> None:
        """Set the strength of showing and rewarding; rules that act always act."""
        self._progress = progress
        self._strength = strength(self._full, progress)

    @property
    def _rewarding(self) -> bool:
        return self._reward is not None and bool(self._strength)

    @property
    def imitation_strength(self) -> float:
        """How much of showing is left, 1 to 0."""
        return self._strength

    def act(self, observations: Array, actions: Array, envs: slice = ALL) -> Modulated:
        """Observations `(n, ...)` and the policy's actions `(n, ...)` of `envs` -> what is executed."""
        num = len(actions)
        quantities = self._quantities(observations) if self._layer is not None or self._rewarding else {}
        if self._rewarding:
            for name, column in quantities.items():
                self._seen.setdefault(name, np.full(self._num, np.nan))[envs] = column
        self._states += num
        nothing = np.zeros(num, dtype=bool)
        if self._layer is None:
            return Modulated(actions, nothing, nothing, np.zeros(num), actions, np.zeros(num))
        suggested, decision = self._layer.over(observations, actions, quantities)
        covered = decision.covered
        self._hits += int(np.count_nonzero(covered))
        weight = np.where(covered, self._strength, 0.0)
        if not self._acts:
            return Modulated(actions, covered, nothing, np.zeros(num), suggested, weight)
        return Modulated(suggested, covered, covered, covered.astype(np.float64), suggested, weight)

    def behaviour_log_prob(self, policy_log_prob: FloatArray, modulated: Modulated) -> FloatArray:
        """The policy's own; learning by `mixture`, that of certainty where rules acted."""
        if self.learn != "mixture":
            return policy_log_prob
        return np.where(modulated.followed, np.zeros_like(policy_log_prob), policy_log_prob)

    def reward(
        self,
        rewards: FloatArray,
        modulated: Modulated,
        next_observations: Array,
        ended: Array,
        envs: slice = ALL,
        terminated: Array | None = None,
    ) -> FloatArray:
        """Environment rewards `(n,)` -> the rewards to learn from; without `terminated` every end is terminal."""
        if self._reward is None or not self._rewarding:
            return rewards
        rules = self._reward
        before = {name: column[envs] for name, column in self._seen.items()}  # of the states that `act` was given
        after = self._quantities(next_observations)
        if rules.document.potential is not None:
            later = np.where(
                ended if terminated is None else terminated, 0.0, np.clip(rules.potential(after), -1.0, 1.0)
            )
            earned = self._discount * later - np.clip(rules.potential(before), -1.0, 1.0)
        else:
            earned = np.clip(rules.reward(before, after), -1.0, 1.0)
        bonus = self._strength * self._beta * earned
        self._bonus += float(bonus.sum())
        return np.asarray(rewards + bonus)

    def metrics(self) -> dict[str, float]:
        """Since the last call: `hit_rate`, `override_rate` (shares of states), `bonus_mean`; `strength`."""
        states = max(self._states, 1)
        out = {
            "hit_rate": self._hits / states,
            "override_rate": self._hits / states if self._acts else 0.0,
            "bonus_mean": self._bonus / states,
            "strength": self._strength,
        }
        self._clear_counts()
        return out

    def state(self) -> dict[str, Any]:
        """JSON-able state for exact resume; what was seen last is seen again before it is needed."""
        return {"num_envs": self._num, "progress": self._progress}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.begin(int(state["num_envs"]))
        self.set_progress(float(state["progress"]))

    def _clear_counts(self) -> None:
        self._states = self._hits = 0
        self._bonus = 0.0
