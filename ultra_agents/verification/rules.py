"""A set of rules is one hypothesis about many states, so it is tested as it will act: in force, in whole episodes.

1. *Race*. Several sets (of several episodes, samples, models, revisions) are compared: first in windows from stored
   states where any of them would act otherwise than the policy did, which cost no reset and see many states for few
   steps, then in whole episodes by successive halving.
2. *Tuning*, where it is asked for (`tuning.py`), of the few best sets at once.
3. *Confirmation*. The set plays against the policy alone on seeds that chose nothing, for the best of many is best by
   luck in part. A group-sequential test with the error rate asked for says accepted, rejected or undecided.
4. *Leaving out* (`leaving.py`), of a set that did not hold: it plays against itself without each of its rules, what
   does not carry its weight goes, and the rest is confirmed on fresh seeds with the part of the error that was kept
   back for it. To take a set apart that holds costs more than it brings (docs/parts.md).

Windows only choose. At their end the value function stands for the rest, and that of a policy which never reached the
goal knows nothing of it: on MountainCar it would refuse every rule that works. Not part of the ULTRA paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np

from ultra_agents.config import RuleTestConfig
from ultra_agents.config.engine import RunEngineConfig
from ultra_agents.contracts import Environment, Policy, capabilities
from ultra_agents.records import Trajectory
from ultra_agents.rules import RuleSet
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.seeding import Streams
from ultra_agents.verification.halving import KEPT, halve
from ultra_agents.verification.leaving import Left, leave_out, some_of, whole
from ultra_agents.verification.paired import (
    Budget,
    Entrant,
    Episodes,
    Horizon,
    WavePool,
    Windows,
    make_wave_pool,
    states_of_interest,
)
from ultra_agents.verification.saturation import Saturation
from ultra_agents.verification.sequential import Rule, decide, interval, looks, returns_spread
from ultra_agents.verification.surface import FINALISTS
from ultra_agents.verification.tuning import settle, tune
from ultra_agents.verification.validity import snapshot_of

RuleVerdict: TypeAlias = Literal["accepted", "rejected", "undecided"]
CHOOSING = 0.5
"""Share of the budget that may go into choosing; the rest is for the confirmation."""
LOOKING, FEWEST_WINDOWS = 0.5, 4
"""Share of that for windows; the rest is for whole episodes. Windows of each set below which there are none."""
TUNED = 3
"""Sets that are tuned, at most."""
TUNING, SETTLING = ("tune", "settle"), 0.25
"""Purposes that have a budget of their own, and the share of it that is kept for the second at most."""
SATURATED = 0.5
"""Share of actions at their bounds above which gains are said to saturate them."""
RACE_HEATS = 4
"""The last heat of a race has this many times the pairs of its first."""
WHOLE, REST = "confirm", "confirm the rest"
"""Purposes of the two confirmations: of a set as it is, and of what is left of one that did not hold."""
ERROR = {WHOLE: 0.75, REST: 0.25}
"""Share of the error that each may make, where a set may be taken apart; both together make no more than was asked."""


@dataclass(frozen=True)
class RuleTest:
    """Outcome of testing sets of rules, of which one was chosen.

    Attributes:
        verdict: `accepted`: the gain is positive with the confidence asked; `rejected`: it is negative, or too small
            to be worth finding; `undecided`: neither is known.
        gain: Mean paired difference of return per episode of at most `horizon` steps: rules in force minus policy.
        low: Lower end of its interval.
        high: Upper end.
        pairs: Paired episodes of the confirmation.
        coverage: Share of its steps, with the rules in force, at which a rule acted; None without any.
        env_steps: Environment steps spent on everything.
        rules: What was confirmed or not, as YAML: without the rules that went, with the constants as tuned.
        chosen: Position of the set it came from.
        stopped: `good`, `bad`, `hopeless`, `pairs` (all were played) or `steps` (the budget was spent).
        policy_return: Mean return of the policy alone in these pairs; None without any.
        rules_return: The same with the rules in force.
        weights: By rule of the set chosen, what leaving it out cost per episode; None where it was not measured.
        dropped: Positions of the rules that went.
        constants: Those that tuning moved, as they are now.
        cut: Episodes of the confirmation, of the policy and with rules, that reached `horizon`: value at the cut.
        horizon: Environment steps of an episode, at most.
        returns: By pair, of the policy alone and with the rules in force.
        spread: Standard deviation of the returns-to-go along the policy's first episode: what gains are measured by.
        spent: Environment steps by purpose: `windows`, `race`, `tune`, `settle`, `confirm`, `leave out`, `confirm the
            rest`.
        pairs_of: The purpose whose episodes `returns` are of, one of the two that confirm.
        saturated: Share of the components of continuous actions at a bound, with the rules in force; None where
            nothing was counted.
        saturated_alone: The same of the policy alone.
    """

    verdict: RuleVerdict
    gain: float
    low: float
    high: float
    pairs: int
    coverage: float | None
    env_steps: int
    rules: str
    chosen: int = 0
    stopped: str = ""
    policy_return: float | None = None
    rules_return: float | None = None
    weights: tuple[float | None, ...] = ()
    dropped: tuple[int, ...] = ()
    constants: Mapping[str, float] = field(default_factory=dict)
    cut: int = 0
    horizon: int = 0
    returns: tuple[tuple[float, float], ...] = ()
    spread: float = 0.0
    spent: Mapping[str, int] = field(default_factory=dict)
    saturated: float | None = None
    saturated_alone: float | None = None
    pairs_of: str = WHOLE

    @property
    def saturates(self) -> bool:
        """The rules drive most actions to their bounds, and the policy alone does not: their gains are too large."""
        alone = self.saturated_alone or 0.0
        return self.saturated is not None and self.saturated > max(SATURATED, alone + SATURATED / 2)

    def __repr__(self) -> str:
        measured = f"{self.gain:+.3g} [{self.low:+.3g}, {self.high:+.3g}], {self.pairs} pairs"
        return f"RuleTest({self.verdict}: {measured}, {self.env_steps:,} steps)"


class RuleTester:
    """Tests sets of rules over one policy; the result depends on seed, sets and settings only, not on workers.

    Args:
        environment: Names quantities; windows need snapshots as well.
        policy: What the rules are in force over.
        config: Pairs, horizon, confidence, caps, tuning.
        streams: Source of the seeds, of the common random numbers and of the settings that are tried.
        trajectories: Episodes of the policy with simulator states, for windows; without them there are none.
        workers: Processes that step the simulators.
        engine: Of kind `ray`, waves of episodes are played on its cluster, with the same result.
        progress: Told what is being done and the environment steps so far.
    """

    def __init__(
        self,
        environment: Environment,
        policy: Policy,
        config: RuleTestConfig,
        streams: Streams,
        *,
        trajectories: Sequence[Trajectory] = (),
        workers: int = 0,
        engine: RunEngineConfig | None = None,
        progress: Callable[[str, int], object] = lambda what, steps: None,
    ) -> None:
        self._environment, self._policy, self._config, self._streams = environment, policy, config, streams
        self._trajectories = [one for one in trajectories if one.snapshots is not None]
        self._workers, self._engine, self._progress = workers, engine, progress
        self._pool: WavePool | None = None
        self._spent: dict[str, Budget] = {}

    @property
    def env_steps(self) -> int:
        """Environment steps of the last test."""
        return sum(budget.spent for budget in self._spent.values())

    def test(self, candidates: Sequence[RuleSet]) -> RuleTest:
        """Choose among sets, improve what was chosen, and confirm it.

        Raises:
            ValueError: There are no sets.
            RuleError: A set does not fit the environment, or has no rules.
        """
        if not candidates:
            raise ValueError("no sets of rules to test")
        self._spent = {}
        self._pool = make_wave_pool(self._environment, self._policy, self._engine)
        try:
            return self._tested(candidates)
        finally:
            if self._pool is not None:
                self._pool.close()

    def _tested(self, candidates: Sequence[RuleSet]) -> RuleTest:
        layers = [self._over(rules) for rules in candidates]
        best = self._best(layers, TUNED if self._config.tune else 1)
        chosen, rules = best[0], layers[best[0]].rules
        if self._config.tune:
            place, rules = self._tuned([layers[index].rules for index in best])
            chosen = best[place]
        found, left = self._confirmed_in_part(rules)
        written = layers[chosen].rules.constants
        return replace(
            found,
            chosen=chosen,
            weights=left.weights,
            dropped=left.dropped,
            constants={name: at[0] for name, at in rules.constants.items() if at != written[name]},
            env_steps=self.env_steps,
            spent={purpose: budget.spent for purpose, budget in self._spent.items()},
        )

    # -- choosing ----------------------------------------------------------------------------------------------

    def _best(self, layers: Sequence[RulePolicy], wanted: int) -> list[int]:
        """Positions of the best sets, the best first; of those that differ in constants alone the first."""
        order = list(range(len(layers)))
        if len(layers) > wanted:
            if self._config.windows and self._trajectories and "snapshot" in capabilities(self._environment):
                order = self._by_windows(layers, max(wanted, 2))
            entrants = [Entrant(layers[index]) for index in order]
            with self._episodes("race", self._choosing, first := self._config.race_pairs) as episodes:
                best = halve(episodes, entrants, first, RACE_HEATS * first, wanted)
            order = [order[entrants.index(one)] for one in best] or order
        structures = {_structure(layers[index].rules): index for index in reversed(order)}
        return [index for index in order if index in structures.values()][:wanted]

    def _by_windows(self, layers: Sequence[RulePolicy], fewest: int) -> list[int]:
        """Positions of the better sets, so many at least, the best first: all play the same windows."""
        config, streams = self._config, self._streams.child("windows")
        everyone = list(range(len(layers)))
        limit = int(LOOKING * self._choosing)
        affordable = min(config.windows, limit // (len(layers) * config.window_steps))
        if affordable < FEWEST_WINDOWS:  # a comparison of a few states would only cost the race its episodes
            return everyone
        states = states_of_interest(self._trajectories, layers, affordable, streams.generator("states"))
        snapshots = [snapshot_of(self._trajectories[episode], step) for episode, step in states]
        if not states:
            return everyone
        entrants = [Entrant(layer) for layer in layers]
        budget, horizon = self._budget("windows", limit), Horizon(config.window_steps, config.discount)
        settings = self._environment, self._policy, streams, horizon, budget
        width = min(8, len(states))
        with Windows(*settings, snapshots=snapshots, width=width, workers=self._workers, pool=self._pool) as windows:
            paid = windows.extend(entrants, len(states))
        order = sorted(everyone, key=lambda index: -entrants[index].mean()) if paid else everyone
        return order[: max(math.ceil(KEPT * len(order)), fewest)] if paid else everyone

    def _tuned(self, sets: Sequence[RuleSet]) -> tuple[int, RuleSet]:
        """The best of these sets with its best constants, and its position."""
        config, streams = self._config, self._streams.child("settings")
        settling = min((1 + FINALISTS) * config.settle_pairs * config.horizon, int(SETTLING * config.tune_max_steps))
        with self._episodes("tune", config.tune_max_steps - settling, config.tune_pairs) as episodes:
            finalists = tune(sets, self._over, episodes, streams, config)
        left = config.tune_max_steps - self._spent["tune"].spent
        with self._episodes("settle", left, min(config.settle_pairs, 4)) as episodes:
            chosen = settle(sets[0], [one for _, one in finalists], self._over, episodes, config.settle_pairs)
        return next(((place, one) for place, one in finalists if one is chosen), (0, sets[0]))

    # -- confirming --------------------------------------------------------------------------------------------

    def _confirmed_in_part(self, rules: RuleSet) -> tuple[RuleTest, Left]:
        """The set as it is; where it does not hold, what is left of it without the rules that carry no weight."""
        if len(rules.document.rules) < 2 or not self._config.weigh_pairs:
            return self._confirmed(rules, WHOLE, 1.0), whole(rules)
        found, left = self._confirmed(rules, WHOLE, ERROR[WHOLE]), whole(rules)
        if found.verdict == "accepted" or not found.coverage:
            return found, left
        pairs = self._config.weigh_pairs
        half = (self._taken + self._config.max_steps) // 2  # of what remains; the other half confirms what is left
        with self._episodes("leave out", half, pairs) as episodes:
            left = leave_out(rules, self._over, episodes, pairs, lambda pairs, one: self._rule((pairs,), one))
        if left.dropped:
            rest = self._confirmed(some_of(rules, left.kept), REST, ERROR[REST])
            if rest.verdict == "accepted":
                return rest, left
        return found, Left(whole(rules).kept, left.weights)

    def _confirmed(self, rules: RuleSet, purpose: str, error: float) -> RuleTest:
        """A set in force against the policy alone, on episodes that chose nothing, with a share of the error."""
        config = self._config
        counts = [Saturation(self._environment.action_space) for _ in range(2)]
        layer, alone = Entrant(self._over(rules), watch=counts[0]), Entrant(self._policy, watch=counts[1])
        at, found, stopped = looks(config.min_pairs, config.pairs), list[float](), "steps"
        rule = self._rule(at, alone, error)
        with self._episodes(purpose, config.max_steps, at[0]) as episodes:
            for look in at:
                if not episodes.extend([alone, layer], look):
                    break
                found = np.subtract(layer.returns, alone.returns).tolist()
                rule = self._rule(at, alone, error)
                verdict = decide(found, rule)
                if verdict is not None or look == at[-1]:
                    stopped = verdict or "pairs"
                    break
        self._progress(purpose, self.env_steps)
        answers: dict[str, RuleVerdict] = {"good": "accepted", "bad": "rejected", "hopeless": "rejected"}
        ends, pairs = interval(found, rule), len(found)
        return RuleTest(
            verdict=answers.get(stopped, "undecided"),
            gain=ends.mean,
            low=ends.low,
            high=ends.high,
            pairs=pairs,
            coverage=layer.covered / layer.steps if layer.steps else None,
            env_steps=self.env_steps,
            rules=rules.to_yaml(),
            stopped=stopped,
            policy_return=alone.mean(pairs) if pairs else None,
            rules_return=layer.mean(pairs) if pairs else None,
            cut=alone.cut + layer.cut,
            horizon=config.horizon,
            returns=tuple(zip(alone.returns[:pairs], layer.returns[:pairs], strict=True)),
            spread=returns_spread(alone.rewards, config.discount) if pairs else 0.0,
            saturated=counts[0].share,
            saturated_alone=counts[1].share,
            pairs_of=purpose,
        )

    # -- parts -------------------------------------------------------------------------------------------------

    @property
    def _taken(self) -> int:
        """Environment steps so far, those of tuning apart."""
        return sum(budget.spent for purpose, budget in self._spent.items() if purpose not in TUNING)

    @property
    def _choosing(self) -> int:
        """Environment steps that choosing may take."""
        return int(CHOOSING * self._config.max_steps)

    def _rule(self, at: tuple[int, ...], measure: Entrant, error: float = 1.0) -> Rule:
        """When to stop; the rewards of an entrant say what a gain is measured by."""
        return rule_of(self._config, at, returns_spread(measure.rewards, self._config.discount), error)

    def _over(self, rules: RuleSet) -> RulePolicy:
        return RulePolicy(self._policy, rules, self._environment)

    def _budget(self, purpose: str, limit: int) -> Budget:
        """What a purpose may spend: `limit` less what was spent for others, tuning apart."""
        self._progress(purpose, self.env_steps)
        self._spent[purpose] = Budget(limit - (0 if purpose in TUNING else self._taken))
        return self._spent[purpose]

    def _episodes(self, purpose: str, limit: int, width: int) -> Episodes:
        streams, horizon = episodes_of(self._config, self._streams, purpose)
        settings = self._environment, self._policy, streams, horizon, self._budget(purpose, limit)
        return Episodes(*settings, width=width, workers=self._workers, pool=self._pool)


def episodes_of(config: RuleTestConfig, streams: Streams, purpose: str = WHOLE) -> tuple[Streams, Horizon]:
    """Where a tester with `streams` draws the episodes of a purpose from, and how far they go.

    Whoever plays them again, with other policies, continues the pairs of its test.
    """
    return streams.child(purpose), Horizon(config.horizon, config.discount, value_at_truncation=False)


def rule_of(config: RuleTestConfig, at: tuple[int, ...], spread: float, error: float = 1.0) -> Rule:
    """When to stop, looking at the numbers of pairs `at`; gains are measured by `spread`, in units of return.

    `error` is the share of the error asked for that this test may make.
    """
    return Rule(at, 1 - error * (1 - config.confidence), config.noise * spread, config.min_gain * spread)


def _structure(rules: RuleSet) -> str:
    """What is the same of sets that differ in the values of their constants alone."""
    return rules.with_constants({name: low for name, (_, low, _) in rules.constants.items()}).to_yaml()
