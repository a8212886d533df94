"""The simulator searches plans from a stored state: what to do there, found by playing and not by asking.

`find` is the cross-entropy method over plans (`plan_space.py`), with no model at all; `improve` races the holds and
torques around a given plan by successive halving. Both play short rollouts with the policy's value at the cut, paired
with the policy alone under common random numbers, which the later test does not use: what chose a plan does not score
it. Every environment step is charged, a search ends where its share of the budget does. Not part of the ULTRA paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from ultra_agents.config import SearchConfig
from ultra_agents.config.engine import RunEngineConfig
from ultra_agents.contracts import Environment, Policy
from ultra_agents.records import FloatArray, Plan, Searched, Suggestion, Trajectory
from ultra_agents.records.plans import NO_STATE, NOTHING, TOO_LITTLE
from ultra_agents.seeding import Streams
from ultra_agents.verification.candidates import Candidate, CandidatePlayer, RestoredState
from ultra_agents.verification.halving import KEPT
from ultra_agents.verification.jobs import Terms
from ultra_agents.verification.plan_space import Drawn, PlanSpace, continuous
from ultra_agents.verification.pool import make_pool
from ultra_agents.verification.sequential import returns_spread
from ultra_agents.verification.validity import refusal, snapshot_of


@dataclass(frozen=True)
class SearchTerms:
    """What a search takes from the rest of the configuration.

    Attributes:
        config: `agents.search`.
        moves: Moves of a plan, at most.
        min_hold: Least hold, environment steps.
        max_hold: Greatest hold.
        plan_steps: Of all moves together, at most; None: no limit beyond those of moves and holds.
        discount: Of rewards within a rollout, and of the value at its cut.
        min_gain: Gain not worth finding, in spreads of the episode's returns-to-go.
        searches: How many searches the run can need; the budget is shared out evenly among them.
    """

    config: SearchConfig
    moves: int
    min_hold: int
    max_hold: int
    plan_steps: int | None
    discount: float
    min_gain: float
    searches: int

    @property
    def budget(self) -> int:
        """Environment steps of one search."""
        return min(self.config.max_steps, self.config.total_steps // max(self.searches, 1))


class PlanSearch:
    """Searches plans; safe to call from several threads; a context manager that owns its simulators.

    What is found depends on the seed, the state and the settings only.

    Args:
        environment: Must be able to restore.
        policy: Acts after the plans, and alone; its value function stands for what follows a cut.
        terms: Numbers.
        streams: Source of what is drawn and of the common random numbers; not those of the test.
        workers: Processes that play; 0 plays in a thread of this one.
        slots: Rollouts played side by side, in each process.
        engine: Where the workers are: see `make_pool`.
    """

    def __init__(
        self,
        environment: Environment,
        policy: Policy,
        terms: SearchTerms,
        streams: Streams,
        *,
        workers: int = 0,
        slots: int = 32,
        engine: RunEngineConfig | None = None,
    ) -> None:
        self._environment, self._policy = environment, policy
        self._terms, self._streams = terms, streams
        slots = max(slots, 2)
        self._pool = make_pool(environment, policy, Terms(streams, terms.discount), workers, slots, engine)
        self._player = CandidatePlayer(self._pool, slots)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.close()

    @property
    def env_steps(self) -> int:
        """Environment steps taken so far."""
        return self._player.spent

    def find(self, trajectory: Trajectory, step: int) -> Searched:
        """The plan that earned most at `step`, of all that the budget paid for.

        Raises:
            EnvironmentFault: The plugin failed, or a worker died.
        """
        race = self._race(trajectory, step)
        if race is None:
            return Searched(reason=NO_STATE)
        config, rng = self._terms.config, self._streams.generator("plans", trajectory.episode, step)
        space = self._space(trajectory, step)
        for number in range(config.rounds):
            allowed = race.spent + (race.budget - race.spent) // (config.rounds - number)
            fresh = race.enter(space.draw(config.population, rng, race.played))
            if not race.play(fresh, 1, allowed):
                continue  # what is left is shared out among fewer rounds
            best = race.best(1)[: config.elites]
            if best[0].mean(1) <= 0:
                break  # nothing that was drawn does better than the policy: here is little to find
            race.play(best, config.pairs, allowed if number + 1 < config.rounds else race.budget)
            space.learn([one.drawn for one in race.best()[: config.elites]])
        found = race.best()
        if not found:
            return Searched(reason=TOO_LITTLE, env_steps=race.spent)
        if found[0].mean() <= self._worth(trajectory):
            return Searched(None, None, found[0].mean(), len(race.played), race.spent, NOTHING)
        return Searched(found[0].drawn.plan, None, found[0].mean(), len(race.played), race.spent)

    def improve(self, trajectory: Trajectory, suggestion: Suggestion) -> Searched:
        """The same suggestion with the holds and torques that earned most; as it was where none earned clearly more.

        Raises:
            EnvironmentFault: The plugin failed, or a worker died.
        """
        plan, step = suggestion.plan, suggestion.step
        race = self._race(trajectory, step)
        if race is None or refusal(self._environment, trajectory, suggestion) is not None:
            return Searched(plan, plan, reason=NO_STATE if race is None else "")
        config, rng = self._terms.config, self._streams.generator("around", trajectory.episode, step, str(plan))
        space = self._space(trajectory, step, max(self._moves, len(plan.moves)))
        live = race.enter(space.around(plan, config.population, rng))
        written, pairs = live[0], 1
        while len(live) > 1 and race.play(live, pairs, race.budget):
            ranked = sorted((one for one in live if one.pairs >= pairs), key=lambda one: -one.mean(pairs))
            live = list(dict.fromkeys([written, *ranked[: math.ceil(KEPT * len(ranked))]]))
            if pairs >= config.pairs:
                break
            pairs = min(2 * pairs, config.pairs)
        if not written.pairs:
            return Searched(plan, plan, reason=TOO_LITTLE, env_steps=race.spent)
        best = max(live, key=lambda one: (one.pairs, one.mean(), one is written))
        better = best.mean(written.pairs) - written.mean(best.pairs) > self._worth(trajectory)
        chosen = best if better else written
        return Searched(chosen.drawn.plan, plan, chosen.mean(), len(race.played), race.spent)

    # -- parts -------------------------------------------------------------------------------------------------

    @property
    def _moves(self) -> int:
        return self._terms.config.moves or self._terms.moves

    def _worth(self, trajectory: Trajectory) -> float:
        """Gain below which the first look of the test would call a plan hopeless."""
        return self._terms.min_gain * returns_spread(trajectory.rewards, self._terms.discount) / 2

    def _space(self, trajectory: Trajectory, step: int, moves: int = 0) -> PlanSpace:
        """Plans as the configuration bounds them, around what the policy would do without its noise where it went."""
        terms, moves = self._terms, moves or self._moves
        high = max(terms.config.max_hold or terms.max_hold, terms.min_hold)
        longest = min(moves * high, terms.plan_steps or moves * high)
        own: FloatArray = np.zeros((longest, 0))
        if continuous(self._environment):
            met = np.minimum(step + np.arange(longest), len(trajectory) - 1)
            own = np.asarray(self._policy.act(trajectory.observations[met], deterministic=True), np.float64)
        return PlanSpace(self._environment, moves, terms.min_hold, high, own, terms.plan_steps)

    def _race(self, trajectory: Trajectory, step: int) -> _Race | None:
        if trajectory.snapshots is None or not 0 <= step < len(trajectory.snapshots):
            return None
        state = RestoredState((trajectory.episode, step), snapshot_of(trajectory, step))
        encode = self._environment.actions.encode_plan
        return _Race(state, self._player, self._terms.config.horizon, self._terms.budget, lambda p: encode(p.moves))


@dataclass(eq=False)
class _Entrant:
    """A plan in a race; `differences` by pair from the policy alone."""

    drawn: Drawn
    candidate: Candidate
    differences: list[float] = field(default_factory=list)

    @property
    def pairs(self) -> int:
        return len(self.differences)

    def mean(self, pairs: int | None = None) -> float:
        return float(np.mean(self.differences[:pairs])) if self.differences else -math.inf


@dataclass(eq=False)
class _Race:
    """Plans at one state, and what they cost so far."""

    state: RestoredState
    player: CandidatePlayer
    horizon: int
    budget: int
    encode: Callable[[Plan], FloatArray]
    entrants: dict[Plan, _Entrant] = field(default_factory=dict)

    @property
    def spent(self) -> int:
        return sum(one.candidate.steps for one in self.entrants.values())

    @property
    def played(self) -> set[Plan]:
        """Plans that were played."""
        return {plan for plan, one in self.entrants.items() if one.pairs}

    def enter(self, plans: Sequence[Drawn]) -> list[_Entrant]:
        """Entrants of `plans`, in their order; those that are in already as they are."""
        found = []
        for drawn in plans:
            if drawn.plan not in self.entrants:
                actions = self.encode(drawn.plan)
                candidate = Candidate(len(self.entrants), actions, len(actions) + self.horizon)
                self.entrants[drawn.plan] = _Entrant(drawn, candidate)
            found.append(self.entrants[drawn.plan])
        return found

    def play(self, entrants: Sequence[_Entrant], pairs: int, allowed: int) -> bool:
        """Bring to `pairs` pairs as many of `entrants`, the first ones first, as cannot cost more than `allowed`.

        False where that is none.
        """
        some, left = list[_Entrant](), allowed - self.spent
        alone = [0] * pairs  # steps of the policy alone, by pair
        for one in entrants:
            until, length = one.candidate.until, len(one.candidate.plan)
            more = 0
            for pair in range(one.pairs, pairs):
                base = self.state.bases.get(pair)
                known = 0 if base is None else until if base.over else base.time
                more += until - (length if pair else 0) + max(until - known - alone[pair], 0)
            if more > left:
                break
            left -= more
            for pair in range(one.pairs, pairs):
                base = self.state.bases.get(pair)
                known = 0 if base is None else until if base.over else base.time
                alone[pair] += max(until - known - alone[pair], 0)
            some.append(one)
        self.player.play(self.state, [one.candidate for one in some], pairs)
        for one in some:
            if one.candidate.fault:
                one.differences = []
            else:
                one.differences = one.candidate.differences(self.state, max(pairs, one.pairs))
        return bool(some)

    def best(self, pairs: int | None = None) -> list[_Entrant]:
        """Entrants that were played, the best first: by their first `pairs` pairs, or of the most pairs by all."""
        played = [one for one in self.entrants.values() if one.pairs]
        if pairs is None:
            most = max((one.pairs for one in played), default=0)
            played = [one for one in played if one.pairs == most]
        return sorted(played, key=lambda one: -one.mean(pairs))
