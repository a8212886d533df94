"""Short tests of sets of rules, for those who write them: what was gained, how episodes ended, two of them in full.

A few paired whole episodes from starts of their own, the same for every set of a run, so that the policy alone is
played once and sets can be compared with one another. Nothing is decided here: that is the test's part
(`verification.rules`), on other seeds. Not part of the ULTRA paper.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from ultra_agents.config import RuleTestConfig
from ultra_agents.contracts import Environment, Policy
from ultra_agents.records import Array, Endings, FloatArray, RuleTrial, Trace, Trajectory
from ultra_agents.rules import RuleSet
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.seeding import Streams
from ultra_agents.verification.paired import Budget, Entrant, Episodes, Horizon
from ultra_agents.verification.sequential import Rule, interval, returns_spread

FEWEST = 4
"""Pairs below which no interval is told: it would say nothing, in numbers that look as if they did."""


class RuleTrials:
    """Short tests over one policy; safe to call from several threads, one of which plays at a time.

    What is paid is bounded beforehand: episodes are cut where the run's share for one of them ends, so that a trial
    says the same whenever it comes.

    Args:
        environment: Names quantities.
        policy: What the rules are in force over.
        config: Pairs, horizon, confidence, and the environment steps for all trials.
        streams: Source of the starts and of the policies' randomness.
        trials: Trials there will be, at most.
        workers: Processes that step the simulators.
    """

    def __init__(
        self,
        environment: Environment,
        policy: Policy,
        config: RuleTestConfig,
        streams: Streams,
        *,
        trials: int,
        workers: int = 0,
    ) -> None:
        self._environment, self._policy, self._config, self._streams = environment, policy, config, streams
        self._workers, self._playing = workers, threading.Lock()
        self._steps = min(config.horizon, config.trial_steps // ((1 + trials) * config.trial_pairs))
        self._alone: _Side | None = None

    def try_out(self, rules: RuleSet, episode: int) -> RuleTrial | None:
        """Play a set of rules, which came of collected episode `episode`; None where nothing may be spent.

        Raises:
            RuleError: The set does not fit the environment, or has no rules.
        """
        if self._steps == 0:
            return None
        with self._playing:
            if self._alone is None:
                self._alone = self._played(self._policy)
            ruled = self._played(layer := _Watched(self._policy, rules, self._environment), layer)
        return self._told(self._alone, ruled, layer)

    def _played(self, policy: Policy, layer: _Watched | None = None) -> _Side:
        pairs, config = self._config.trial_pairs, self._config
        horizon = Horizon(self._steps, config.discount, value_at_truncation=False)
        watch = _Watching(pairs, layer)
        side = Entrant(policy, watch=watch)
        settings = self._environment, self._policy, self._streams, horizon, Budget(pairs * self._steps)
        with Episodes(*settings, width=pairs, workers=self._workers) as episodes:
            paid = episodes.extend([side], pairs)
        assert paid, "a share pays for its own episodes"
        return _Side(side, watch)

    def _told(self, alone: _Side, ruled: _Side, layer: _Watched) -> RuleTrial:
        config, pairs = self._config, self._config.trial_pairs
        differences = np.subtract(ruled.entrant.returns, alone.entrant.returns)
        low = high = None
        if pairs >= FEWEST:
            spread = returns_spread(alone.entrant.rewards, config.discount)
            found = interval(differences.tolist(), Rule((pairs,), config.confidence, config.noise * spread, 0.0))
            low, high = float(found.low), float(found.high)
        worst, best = int(np.argmin(differences)), int(np.argmax(differences))
        acted = np.concatenate([ruled.watch.column("rule", pair) for pair in range(pairs)])
        return RuleTrial(
            gain=float(differences.mean()),
            low=low,
            high=high,
            pairs=pairs,
            env_steps=ruled.entrant.steps,
            alone_steps=alone.entrant.steps,
            horizon=self._steps,
            alone=alone.endings(),
            ruled=ruled.endings(),
            coverage=tuple(float(np.mean(acted == rule)) for rule in range(len(layer.rules.document.rules))),
            worst=ruled.trace(worst),
            best=ruled.trace(best) if differences[best] > differences[worst] else None,
        )


class _Watched(RulePolicy):
    """Rules in force that remember what the policy would have done in the last states, and which rule acted."""

    own: Array
    rule: Array

    def act_and_cover(self, observations: Array, uniforms: FloatArray) -> tuple[Array, Array]:
        self.own = np.asarray(self.alone.act_with_uniforms(observations, uniforms))
        actions, decision = self.over(observations, self.own)
        self.rule = decision.rule
        return actions, decision.covered


@dataclass
class _Watching:
    """Writes down the episodes of one wave."""

    pairs: int
    layer: _Watched | None = None
    rows: dict[str, list[Array]] = field(default_factory=dict)

    def __call__(
        self, observations: Array, actions: Array, rewards: Array, terminated: Array, truncated: Array, alive: Array
    ) -> None:
        seen = {"rewards": rewards, "terminated": terminated, "truncated": truncated, "alive": alive}
        if self.layer is not None:
            seen |= {"observations": observations, "actions": actions}
            seen |= {"own": self.layer.own, "rule": self.layer.rule}
        for name, value in seen.items():
            self.rows.setdefault(name, []).append(np.array(value))

    def column(self, name: str, pair: int) -> Array:
        """What was noted in the steps of one pair, `(T, ...)`."""
        alive = np.array([row[pair] for row in self.rows["alive"]])
        column: Array = np.array([row[pair] for row in self.rows[name]])[alive]
        return column


@dataclass(frozen=True)
class _Side:
    """The policy alone or with rules, in all pairs."""

    entrant: Entrant
    watch: _Watching

    def endings(self) -> Endings:
        """How its episodes ended."""
        last = [
            [bool(self.watch.column(name, pair)[-1]) for name in ("terminated", "truncated")] for pair in self._all
        ]
        return Endings(
            returns=tuple(float(value) for value in self.entrant.returns),
            lengths=tuple(len(self.watch.column("rewards", pair)) for pair in self._all),
            terminated=sum(terminated for terminated, _ in last),
            truncated=sum(truncated and not terminated for terminated, truncated in last),
            cut=sum(not terminated and not truncated for terminated, truncated in last),
        )

    def trace(self, pair: int) -> Trace:
        """One episode, step by step."""
        column = {
            name: self.watch.column(name, pair) for name in ("observations", "actions", "rewards", "own", "rule")
        }
        terminated, truncated = (bool(self.watch.column(name, pair)[-1]) for name in ("terminated", "truncated"))
        rewards = column["rewards"].astype(np.float64)
        made = Trajectory(
            pair, pair, column["observations"], column["actions"], rewards, np.zeros(len(rewards)),
            ({},) * len(rewards), terminated, truncated,
        )  # fmt: skip
        return Trace(pair, made, column["own"], column["rule"])

    @property
    def _all(self) -> range:
        return range(self.watch.pairs)
