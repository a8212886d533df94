"""The shared modulation engine: overrides actions and adds rewards at critical states, for any algorithm.

In refinement `a_true = a_LLM if s_t is critical else a_t ~ pi(.|s_t)`, and at critical states the agent receives the
LLM's reward (ULTRA section 3). Not stated by the paper, hence options here: the table is followed with a chance p that
falls to 0 over training, so that the final policy stands alone; a suggestion is held for as long as the advisor said;
the update knows the policy that really acted (`mixture`).

The engine works on batches and knows no algorithm and no environment beyond features and arrays. A vector step may
come in parts; what is made of it does not depend on them, so every covered state draws its own random numbers, in
order, and what is learnt from all of them (the radius) moves when the step is whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from ultra_agents.advice import AdviceTable
from ultra_agents.advice.table import SAME
from ultra_agents.config import ModulationConfig
from ultra_agents.contracts import Learn, Modulated
from ultra_agents.modulation.schedule import strength
from ultra_agents.records import Array, FloatArray, Variant

RADIUS_RATE = 0.005
"""How fast the matching radius follows the visited states: log-radius per vector step with no hit at all.

Relative to the share of hits asked for, so that a table that shall act rarely is followed as fast as one that acts
often.
"""
WINDOW = 100
"""Vector steps over which the share of hits is averaged: a single step of few environments says little of it."""
ALL = slice(None)


class ModulationEngine:
    """Implements `ultra_agents.contracts.Modulation` over an `AdviceTable`.

    Args:
        table: Accepted advice.
        features: Observations `(n, ...)` -> features `(n, k)`, the environment's.
        variant: `a` overrides actions, `r` gives rewards, `ra` does both.
        config: Strength, schedule, holding, reward and learning options.
        rng: Source of the coins and of the spread of followed continuous suggestions.
        continuous: The actions are vectors; a followed suggestion is then drawn from N(a_LLM, action_noise), so that
            the behaviour policy has a density.
    """

    partwise = True
    ends_apart = True

    def __init__(
        self,
        table: AdviceTable,
        features: Callable[[Array], FloatArray],
        variant: Variant,
        config: ModulationConfig,
        rng: np.random.Generator,
        continuous: bool = False,
    ) -> None:
        self.learn: Learn = config.learn
        self._table = table
        self._features = features
        self._overrides = "a" in variant
        self._rewards = "r" in variant
        self._config = config
        self._rng = rng
        self._continuous = continuous
        self._progress = 0.0
        self._strength = strength(config, 0.0)
        self._radius = table.radius
        self._share = table.target or 0.0
        self.begin(0)

    def begin(self, num_envs: int) -> None:
        """Forget held suggestions; `num_envs` parallel environments follow."""
        self._left = np.zeros(num_envs, dtype=np.int64)
        self._held = np.full(num_envs, -1, dtype=np.int64)
        self._fresh = np.full(num_envs, -1, dtype=np.int64)
        self._covering = self._fresh.copy()
        self._seen = self._found = 0
        self._clear_counts()

    def set_progress(self, progress: float) -> None:
        """Set the strength of advice from the share of the budget spent, in [0, 1]."""
        self._progress = progress
        self._strength = strength(self._config, progress)

    def act(self, observations: Array, actions: Array, envs: slice = ALL) -> Modulated:
        """Observations `(n, ...)` and the policy's actions `(n, ...)` of `envs` -> what is executed."""
        num, table = len(actions), self._table
        rows = table.lookup(self._features(observations), self._radius)
        self._follow_visited_states(rows)
        self._covering[envs] = rows
        left, held = self._left[envs], self._held[envs]
        holding = left > 0
        any_held = bool(holding.any())
        self._fresh[envs] = np.where(holding, -1, rows) if any_held else rows
        active = np.where(holding, held, rows) if any_held else rows
        matched = active >= 0
        where = matched.nonzero()[0]
        self._states += num
        self._hits += len(where)
        probability, weight, followed = np.zeros(num), np.zeros(num), np.zeros(num, np.bool_)
        if not len(where):
            return Modulated(actions, matched, followed, probability, actions, weight)
        which, runs = active[where], holding[where]
        chances = np.where(runs, 1.0, self._strength) if self._overrides else np.zeros(len(where))
        draws = self._rng.random((len(where), 1 + (actions[0].size if self._continuous else 0)))
        taken = draws[:, 0] < chances
        plans = table.plans[which, np.where(runs, table.holds[which] - left[where], 0) if any_held else 0]
        suggested, executed = np.array(actions), np.array(actions)
        suggested[where], weight[where], probability[where] = plans, table.weights[which], chances
        if taken.any():
            chosen = where[taken]
            followed[chosen] = True
            executed[chosen] = self._spread(plans[taken], draws[taken, 1:])
            self._overridden += len(chosen)
            if self._config.hold:
                fresh = taken & ~runs
                begun, its = where[fresh], which[fresh]
                # Not lowered on the starting step itself: only the holds that ran before it are.
                held[begun], left[begun] = its, table.holds[its] - 1
        left[holding] -= 1
        return Modulated(executed, matched, followed, probability, suggested, weight)

    def behaviour_log_prob(self, policy_log_prob: FloatArray, modulated: Modulated) -> FloatArray:
        """Log-probability `(n,)` of the executed actions under what really acted (`mixture`), else pi's own."""
        if self.learn != "mixture" or not modulated.probability.any():
            return policy_log_prob
        with np.errstate(divide="ignore"):
            own = np.log1p(-modulated.probability) + policy_log_prob
            advised = np.log(modulated.probability) + self._advised_log_prob(modulated)
        return np.asarray(np.logaddexp(own, advised), dtype=policy_log_prob.dtype)

    def reward(
        self,
        rewards: FloatArray,
        modulated: Modulated,
        next_observations: Array,
        ended: Array,
        envs: slice = ALL,
        terminated: Array | None = None,
    ) -> FloatArray:
        """Environment rewards `(n,)` -> the rewards to learn from; also lets go where episodes ended.

        `add`: r + beta * implicit; `replace`: beta * implicit wherever the table has a word on the executed action
        (Fig. 1 read literally); `potential`: r + gamma Phi(s') - Phi(s), Phi(s) = beta * the suggestion's reward at a
        covered state (Ng et al. 1999), also while a plan is held, which leaves the optimal policy alone.
        """
        if ended.any():
            self._left[envs][ended] = 0
        if not self._rewards:
            return rewards
        covering = self._fresh[envs]
        fresh = covering >= 0
        if self._config.reward == "potential":
            covered = self._table.lookup(self._features(next_observations), self._radius)
            after = np.where(ended if terminated is None else terminated, 0.0, self._potential(covered))
            bonus = self._config.shaping_discount * after - self._potential(self._covering[envs])
            self._bonus[envs] += bonus
            return np.asarray(rewards + bonus)
        if not fresh.any():
            return rewards
        where = np.flatnonzero(fresh)
        rows, executed, table = covering[where], modulated.actions[where], self._table
        as_taken = self._same(executed, table.taken_actions[rows])
        as_suggested = self._same(executed, table.actions[rows])
        earned = self._config.beta * np.where(
            as_suggested, table.rewards[rows], np.where(as_taken, table.taken_rewards[rows], 0.0)
        )
        self._bonus[envs][where] += earned
        out = np.array(rewards, dtype=np.float64)
        if self._config.reward == "replace":
            judged = as_suggested | as_taken
            out[where[judged]] = earned[judged]
        else:
            out[where] += earned
        return out

    def metrics(self) -> dict[str, float]:
        """Since the last call: `hit_rate`, `override_rate` (shares of states), `bonus_mean`; `strength`, `radius`."""
        states = max(self._states, 1)
        out = {
            "hit_rate": self._hits / states,
            "override_rate": self._overridden / states,
            "bonus_mean": float(self._bonus.sum()) / states,
            "strength": self._strength,
            "radius": self._radius,
        }
        self._clear_counts()
        return out

    def state(self) -> dict[str, Any]:
        """JSON-able state for exact resume."""
        return {
            "left": self._left.tolist(),
            "held": self._held.tolist(),
            "progress": self._progress,
            "radius": self._radius,
            "share": self._share,
            "rng": self._rng.bit_generator.state,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self.begin(len(state["left"]))
        self._left = np.asarray(state["left"], dtype=np.int64)
        self._held = np.asarray(state["held"], dtype=np.int64)
        self._rng.bit_generator.state = state["rng"]
        self._radius, self._share = state["radius"], state["share"]
        self.set_progress(state["progress"])

    def _clear_counts(self) -> None:
        self._states = self._hits = self._overridden = 0
        self._bonus = np.zeros(len(self._left))

    def _follow_visited_states(self, rows: npt.NDArray[np.int64]) -> None:
        """Move the radius so that the table goes on hitting the share of visited states it was calibrated to.

        A refined policy leaves the states its predecessor was explained in; a fixed radius then soon hits nothing.
        """
        if not self._table.target:  # an empty table aims at nothing
            return
        self._seen += len(rows)
        self._found += int(np.count_nonzero(rows >= 0))
        if self._seen >= len(self._left):
            self._share += (self._found / self._seen - self._share) / WINDOW
            missing = max(1.0 - self._share / self._table.target, -1.0)
            limit = math.inf if self._table.reach is None else self._table.radius  # never beyond what was tested
            self._radius = max(min(self._radius * math.exp(RADIUS_RATE * missing), limit), SAME)
            self._seen = self._found = 0

    def _spread(self, suggested: Array, draws: FloatArray) -> Array:
        """Followed suggestions `(m, ...)` as executed: continuous ones with noise from `(m, size)` uniforms."""
        if not self._continuous:
            return suggested
        noise = ndtri(np.clip(draws, 1e-12, 1.0 - 1e-12)).reshape(suggested.shape) * self._config.action_noise
        return np.asarray(suggested + noise, dtype=suggested.dtype)

    def _advised_log_prob(self, modulated: Modulated) -> FloatArray:
        if not self._continuous:
            return np.where(modulated.actions == modulated.suggested, 0.0, -np.inf)
        scale = self._config.action_noise
        z = (modulated.actions - modulated.suggested).astype(np.float64) / scale
        return np.asarray(-0.5 * (z**2 + np.log(2 * np.pi * scale**2)).sum(axis=-1))

    def _same(self, left: Array, right: Array) -> npt.NDArray[np.bool_]:
        if not self._continuous:
            return np.asarray(left == right)
        return np.asarray(np.abs(left - right).max(axis=-1) <= 2 * self._config.action_noise)

    def _potential(self, rows: npt.NDArray[np.int64]) -> FloatArray:
        if not len(self._table):
            return np.zeros(len(rows))
        return np.where(rows >= 0, self._config.beta * self._table.rewards[rows], 0.0)
