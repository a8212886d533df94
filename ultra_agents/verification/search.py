"""The simulator searches plans from a stored state: what to do there, found by playing and not by asking.

`find` is the cross-entropy method over plans (`plan_space.py`), with no model at all; `improve` races the holds and
torques around a given plan by successive halving; `reach` is `find` with a goal on named quantities (`goals.py`) in
the place of the return. All play short rollouts with the policy's value at the cut, paired with the policy alone under
common random numbers, which the later test does not use: what chose a plan does not score it. Every environment step
is charged, a search ends where its share of the budget does. Not part of the ULTRA paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from ultra_agents.config import SearchConfig
from ultra_agents.config.engine import RunEngineConfig
from ultra_agents.contracts import Environment, Policy
from ultra_agents.records import FloatArray, Goal, GoalReached, Plan, Searched, Suggestion, Trajectory
from ultra_agents.records.plans import ALONE, NO_NEARER, NO_STATE, NOT_FINITE, NOTHING, TOO_LITTLE
from ultra_agents.seeding import Streams
from ultra_agents.verification.candidates import RestoredState
from ultra_agents.verification.goals import NEARER, GoalMeter, Reading
from ultra_agents.verification.halving import KEPT
from ultra_agents.verification.jobs import Terms
from ultra_agents.verification.plan_space import PlanSpace, continuous
from ultra_agents.verification.pool import make_pool
from ultra_agents.verification.race import CandidatePlayer, Entrant, Race
from ultra_agents.verification.sequential import returns_spread
from ultra_agents.verification.validity import refusal, snapshot_of

LEAST_MOVES = 4
"""Moves of a plan towards a goal unless `agents.search.moves` says otherwise: whoever names it wrote none of them."""


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

    Attributes:
        terms: Numbers.
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
        self.terms, self._streams = terms, streams
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
        config, rng = self.terms.config, self._streams.generator("plans", trajectory.episode, step)
        space = self._space(trajectory, step)
        for number in range(config.rounds):
            allowed = race.spent + (race.budget - race.spent) // (config.rounds - number)
            fresh = race.enter(space.draw(config.population, rng, race.played))
            if not race.play(fresh, 1, allowed):
                continue  # what is left is shared out among fewer rounds
            best = race.best(1)[: config.elites]
            if not best:
                return Searched(reason=NOT_FINITE, env_steps=race.spent)
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
        config, rng = self.terms.config, self._streams.generator("around", trajectory.episode, step, str(plan))
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

    def reach(self, trajectory: Trajectory, step: int, goal: Goal, meter: GoalMeter) -> Searched:
        """The plan that comes nearest to `goal` from `step`, of all that the budget paid for.

        The cross-entropy method as in `find`, but what is ranked is how far a rollout of `goal.steps` steps reaches
        the goal, played once beside the policy alone. Of plans that reach it equally far (to `NEARER`) the one counts
        that earns most, with the policy's value at the cut.

        Raises:
            EnvironmentFault: The plugin failed, or a worker died.
        """
        race = self._race(trajectory, step, goal.steps)
        if race is None:
            return Searched(reason=NO_STATE)
        config, rng = self.terms.config, self._streams.generator("goal", trajectory.episode, step, str(goal))
        space = self._space(trajectory, step, config.moves or max(self._moves, LEAST_MOVES), goal.steps)
        grain, worth = max(NEARER * meter.spread(goal), 1e-9), float(trajectory.values[step])
        alone: Reading | None = None
        readings: dict[Plan, Reading] = {}
        ranked: list[Entrant] = []

        def rank(one: Entrant) -> tuple[float, float]:
            return (readings[one.drawn.plan].score + 1e-9) // grain, one.mean()

        for number in range(config.rounds):
            allowed = race.spent + (race.budget - race.spent) // (config.rounds - number)
            fresh = race.enter(space.draw(config.population, rng, race.played))
            if not race.play(fresh[:1] if alone is None else fresh, 1, allowed):
                continue  # what is left is shared out among fewer rounds
            if (base := race.state.bases[0]).fault:
                return Searched(reason=NOT_FINITE, env_steps=race.spent)
            if alone is None:  # nothing that would not happen anyway is searched for
                alone = meter.read(goal, base, base, worth)
                if not alone.reached:
                    race.play(fresh, 1, allowed)
            for one in fresh:
                if one.pairs:
                    readings[one.drawn.plan] = meter.read(goal, one.candidate.rollouts[0], base, worth)
            ranked = sorted(race.best(), key=rank, reverse=True)
            if alone.reached or not ranked:
                break
            space.learn([one.drawn for one in ranked[: config.elites]])
        if alone is None or not ranked:
            return Searched(reason=TOO_LITTLE if alone is None else NOT_FINITE, env_steps=race.spent)
        plan, best = ranked[0].drawn.plan, readings[ranked[0].drawn.plan]
        nearer = best.reached or best.score - alone.score >= grain
        reason = ALONE if alone.reached else "" if nearer else NO_NEARER
        toward = GoalReached(goal, best.value, alone.value, best.reached, best.steps, alone.steps)
        return Searched(plan, None, ranked[0].mean(), len(race.played), race.spent, reason, toward)

    # -- parts -------------------------------------------------------------------------------------------------

    @property
    def _moves(self) -> int:
        return self.terms.config.moves or self.terms.moves

    def _worth(self, trajectory: Trajectory) -> float:
        """Gain below which the first look of the test would call a plan hopeless."""
        return self.terms.min_gain * returns_spread(trajectory.rewards, self.terms.discount) / 2

    def _space(self, trajectory: Trajectory, step: int, moves: int = 0, steps: int | None = None) -> PlanSpace:
        """Plans as the configuration bounds them, around what the policy would do without its noise where it went.

        Args:
            trajectory: Where the policy went.
            step: Where the plans begin.
            moves: Moves of a plan, at most; 0: as configured.
            steps: Environment steps of a plan, at most; None: as configured.
        """
        terms, moves = self.terms, moves or self._moves
        most = steps or terms.plan_steps
        high = max(terms.config.max_hold or terms.max_hold, terms.min_hold)
        high = high if steps is None else min(high, steps)
        longest = min(moves * high, most or moves * high)
        own: FloatArray = np.zeros((longest, 0))
        if continuous(self._environment):
            met = np.minimum(step + np.arange(longest), len(trajectory) - 1)
            own = np.asarray(self._policy.act(trajectory.observations[met], deterministic=True), np.float64)
        return PlanSpace(self._environment, moves, terms.min_hold, high, own, most)

    def _race(self, trajectory: Trajectory, step: int, cut: int | None = None) -> Race | None:
        """A race of plans at `step`, cut after the configured horizon, or after `cut` steps and watched all along."""
        if trajectory.snapshots is None or not 0 <= step < len(trajectory.snapshots):
            return None
        watched, horizon = cut is not None, self.terms.config.horizon
        state = RestoredState((trajectory.episode, step), snapshot_of(trajectory, step), watched, watched)
        encode = self._environment.actions.encode_plan

        def until(length: int) -> int:
            return length + horizon if cut is None else max(cut, length)

        return Race(state, self._player, until, self.terms.budget, lambda p: encode(p.moves))
