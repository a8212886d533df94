"""RICE (Cheng et al., ICML 2024, arXiv 2405.03064): start at critical states, seek what is new.

1. A mask network is trained on the starting policy (`mask`, objective *bonus*), charged to the budget.
2. Mixed starts: with chance p an episode begins at a critical state, else where the environment begins one.
3. PPO on R + lambda x novelty (`novelty`, random network distillation of the states reached).

The critical states stay fresh at no cost: every training episode that began at a reset *is* a trajectory of the policy
as it is. While it runs, the simulator is saved whenever P(keep) beats the episode's best so far; when it ends, that
state goes into a pool of the `pool` latest, from which starts are drawn evenly. Episodes that began at a critical
state give none, or the pool would drift away from where episodes begin. The pool begins with the critical states of
the run's collected episodes, which are of the same policy and charged: long games need not wait for a first end.

Differs from the paper:
  - It plays a trajectory of its own for every start at a critical state; here training episodes serve, see above, and
    a start may lie up to `pool` episodes back.
  - Novelty is normalised as its inventors do (see `novelty`). Where the released code differs from the paper, the
    paper is followed: p is the chance of a critical start, not of the other; a restored state carries the time its
    episode had left; the bonus is not rescaled to [0, 1] within each step, which would never let it fall.
  - The refining algorithm is the run's, whatever it is.

What the paper used, for whom to repeat it (Table 1): refining for 1e6 steps after 3e5 of mask training with 20
environments, a learning rate of 1e-5, `rice.mask.alpha` 1e-4 (its prose and code say 0.01), and

| task | `rice.probability` | `rice.bonus` |
|---|---|---|
| Hopper | 0.25 | 0.001 |
| Walker2d | 0.25 | 0.01 |
| Reacher | 0.5 | 0.001 |
| HalfCheetah | 0.5 | 0.01 |

Those values of lambda belong to a bonus scaled to [0, 1] in every step; here it is divided by the running deviation of
its own discounted sum, as its inventors have it, so that the same lambda weighs less at first and falls with novelty.
"""

from __future__ import annotations

import base64
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from ultra_agents.contracts import Learn, Method, Modulated, Options, Prepared, Setting, Simulators, Terms
from ultra_agents.records import Array, FloatArray

from ._mask import LIMIT, MaskNetwork, MaskOptions, inputs_of, mask_missing, train_mask
from ._novelty import Novelty

RECORD = 1e-4
"""Log-odds by which a state must beat its episode's best so far to take its place."""


class RiceOptions(Options):
    """The `rice` section of a configuration."""

    mask: MaskOptions = MaskOptions()
    probability: float = Field(0.25, ge=0, le=1, description="chance p that an episode starts at a critical state")
    pool: int = Field(16, gt=0, description="latest episodes whose critical states are started from")
    bonus: float = Field(0.01, ge=0, description="lambda, weight of the normalised novelty, environment reward units")
    features: int = Field(64, gt=0, description="width of the random and of the predicting network")
    learning_rate: float = Field(1e-4, gt=0, description="Adam's step size of the predicting network")
    discount: float = Field(0.99, gt=0, lt=1, description="of novelty, in the sum whose deviation it is divided by")


class CriticalStates:
    """The pool of critical states of the latest training episodes.

    Args:
        mask: Says what is critical.
        size: Episodes kept.

    Attributes:
        pool: Simulator states, the latest last.
    """

    def __init__(self, mask: MaskNetwork, size: int) -> None:
        self._mask = mask
        self.pool: deque[bytes] = deque(maxlen=size)
        self._simulators: Simulators | None = None
        self._restored: Callable[[], Array] = lambda: np.zeros(0, np.bool_)
        self.begin(0)

    def watch(self, simulators: Simulators, restored: Callable[[], Array]) -> None:
        """Save states of `simulators`; `restored` says `(n,)` which running episodes began at a restored state."""
        self._simulators, self._restored = simulators, restored

    def begin(self, num_envs: int) -> None:
        """Episodes start everywhere."""
        self._best, self._found = np.full(num_envs, -np.inf), [b""] * num_envs
        self._skip = np.array(self._restored(), np.bool_) if num_envs else np.zeros(0, np.bool_)

    def look(self, observations: Array) -> None:
        """Save the states `(n, ...)` that are the most critical of their episodes so far."""
        assert self._simulators is not None, "`watch` comes first"
        bar = self._best + RECORD
        asked = ~self._skip & (bar < LIMIT)
        if not asked.any():
            return
        better = np.zeros(len(bar), np.bool_)
        better[asked] = self._mask.beats(observations[asked], np.maximum(bar[asked], -LIMIT))
        which = np.flatnonzero(better | (asked & np.isneginf(self._best)))
        if len(which):
            self._best[which] = self._mask.log_odds(observations[which])
            for index, state in zip(which.tolist(), self._simulators.snapshot(which.tolist()), strict=True):
                self._found[index] = state

    def end(self, ended: Array) -> None:
        """Episodes ended `(n,)`, and the next ones have begun."""
        if not ended.any():
            return
        self.pool.extend(self._found[index] for index in np.flatnonzero(ended & ~self._skip))
        self._best[ended] = -np.inf
        self._skip[ended] = np.asarray(self._restored())[ended]

    def state(self) -> dict[str, Any]:
        """JSON-able state for exact resume."""
        return {
            "pool": [_text(one) for one in self.pool], "found": [_text(one) for one in self._found],
            "best": [None if np.isneginf(one) else float(one) for one in self._best], "skip": self._skip.tolist(),
        }  # fmt: skip

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self.pool = deque(map(base64.b64decode, state["pool"]), maxlen=self.pool.maxlen)
        self._found = [base64.b64decode(one) for one in state["found"]]
        self._best = np.array([-np.inf if one is None else one for one in state["best"]])
        self._skip = np.array(state["skip"], np.bool_)


class Explorer:
    """RICE's part in the rollouts, as a `Modulation`: actions stay as they are, rewards get the bonus.

    Args:
        novelty: The bonus, normalised.
        weight: lambda.
        inputs: Observations `(n, ...)` -> what novelty is judged by.
        states: Kept up to date on the way.
        learn: Any way the algorithm knows; nothing is overridden.
    """

    def __init__(
        self, novelty: Novelty, weight: float, inputs: Callable[[Array], FloatArray], states: CriticalStates,
        learn: Learn = "policy",
    ) -> None:  # fmt: skip
        self.learn: Learn = learn
        self._novelty, self._weight, self._inputs, self._critical = novelty, weight, inputs, states
        self._bonus, self._states = 0.0, 0

    def begin(self, num_envs: int) -> None:
        """Episodes start everywhere."""
        self._novelty.begin(num_envs)
        self._critical.begin(num_envs)

    def set_progress(self, progress: float) -> None:
        """Nothing here follows a schedule."""

    def act(self, observations: Array, actions: Array) -> Modulated:
        """The policy's actions as they are; the pool looks at the states."""
        self._critical.look(observations)
        none, zeros = np.zeros(len(actions), np.bool_), np.zeros(len(actions))
        return Modulated(actions, none, none, zeros, actions, zeros)

    def behaviour_log_prob(self, policy_log_prob: FloatArray, modulated: Modulated) -> FloatArray:
        """The policy's own: it acted."""
        return policy_log_prob

    def reward(self, rewards: FloatArray, modulated: Modulated, next_observations: Array, ended: Array) -> FloatArray:
        """R + lambda x novelty of the states reached."""
        bonus = self._weight * self._novelty.bonus(self._inputs(next_observations))
        self._critical.end(np.asarray(ended))
        self._bonus += float(bonus.sum())
        self._states += len(rewards)
        return np.asarray(rewards + bonus)

    def metrics(self) -> dict[str, float]:
        """Since the last call: `bonus_mean`; `critical_states` in the pool."""
        found = {"bonus_mean": self._bonus / max(self._states, 1), "critical_states": float(len(self._critical.pool))}
        self._bonus, self._states = 0.0, 0
        return found

    def state(self) -> dict[str, Any]:
        """JSON-able state for exact resume."""
        return {"novelty": self._novelty.state(), "critical": self._critical.state()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self._novelty.load_state(state["novelty"])
        self._critical.load_state(state["critical"])


def _text(state: bytes) -> str:
    return base64.b64encode(state).decode()


class RICE(Method):
    """Mixed starts and novelty."""

    Options: ClassVar[type[Options]] = RiceOptions
    options: RiceOptions
    name: ClassVar[str] = "rice"
    label: ClassVar[str] = "RICE"
    about: ClassVar[str] = "RICE: episodes begin at critical states at times, and what is new earns a bonus"
    needs: ClassVar[dict[str, str]] = {"snapshot": "episodes start at critical states"}

    def missing(self, terms: Terms) -> list[str]:
        """What a mask network needs, and an algorithm that lets rewards be changed."""
        found = super().missing(terms)
        if not terms.algorithm.learns:
            found.append(f"the algorithm {terms.algorithm_name!r} takes no modulation (the bonus comes by it)")
        return found + mask_missing(terms, self.options.mask)

    def prepare(self, setting: Setting) -> Prepared:
        """Mask, pool, novelty."""
        options, streams = self.options, setting.streams.child("rice")
        mask = train_mask(setting, self.name, options.mask)
        states = CriticalStates(mask, options.pool)
        played = [one for one in setting.trajectories if one.snapshots is not None]
        states.pool.extend((one.snapshots or ())[mask.critical_step(one)] for one in played)
        spent = {"collect": sum(map(len, played))} if played else {}
        novelty = Novelty(
            mask.seen, options.features, options.learning_rate, options.discount, streams.generator("rnd")
        )
        learns = setting.terms.algorithm.learns
        learn: Learn = "policy" if "policy" in learns else sorted(learns)[0]
        explorer = Explorer(novelty, options.bonus, inputs_of(setting.terms.environment), states, learn)
        return Prepared(
            setting.start,
            explorer,
            setting.services.starts(
                lambda: tuple(states.pool), options.probability, streams.child("starts"), states.watch
            ),
            spent={**spent, "rice mask": mask.env_steps},
            note=f"mask trained for {mask.env_steps:,} steps",
            metrics=setting.services.fidelity(setting.trajectories, lambda one: mask.keep(one.observations)),
        )
