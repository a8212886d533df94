"""Plans that compete at one restored state, each beside the policy alone, within a budget of environment steps."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from ultra_agents.records import FloatArray, Plan
from ultra_agents.verification.candidates import Candidate, RestoredState, bring
from ultra_agents.verification.jobs import Job, JobResult
from ultra_agents.verification.local_pool import Pool
from ultra_agents.verification.plan_space import Drawn


class CandidatePlayer:
    """Plays candidates on a pool; safe to call from several threads for different states.

    Args:
        pool: The caller's.
        slots: Rollouts it plays side by side, at least 2.

    Attributes:
        spent: Environment steps taken so far.
    """

    def __init__(self, pool: Pool[Job, JobResult], slots: int) -> None:
        self._pool, self._slots = pool, slots
        self._lock = threading.Lock()
        self.spent = 0

    def play(self, state: RestoredState, candidates: Sequence[Candidate], pairs: int) -> None:
        """Bring the first `pairs` pairs of every candidate to its cut.

        Raises:
            EnvironmentFault: The plugin failed, a worker died, or the pool is closed.
        """
        course, found = bring(state, candidates, pairs, self._slots), list[JobResult]()
        with suppress(StopIteration):
            jobs = next(course)
            while True:
                found = [future.result() for future in [self._pool.submit(job) for job in jobs]]
                with self._lock:
                    self.spent += sum(sum(one.steps) + one.baseline_steps for one in found)
                jobs = course.send(found)


@dataclass(eq=False)
class Entrant:
    """A plan in a race; `differences` by pair from the policy alone."""

    drawn: Drawn
    candidate: Candidate
    differences: list[float] = field(default_factory=list)

    @property
    def pairs(self) -> int:
        """Pairs that were played."""
        return len(self.differences)

    def mean(self, pairs: int | None = None) -> float:
        """Mean difference over the first `pairs`, or all; minus infinity where none was played."""
        return float(np.mean(self.differences[:pairs])) if self.differences else -math.inf


@dataclass(eq=False)
class Race:
    """Plans at one state, and what they cost so far.

    Attributes:
        state: The state.
        player: Plays the plans, and the policy alone beside them.
        until: Environment steps from the state after which a plan of so many steps is cut.
        budget: Environment steps, at most.
        encode: The actions of a plan, `(length, ...)`.
        entrants: By plan, in the order in which they were entered.
    """

    state: RestoredState
    player: CandidatePlayer
    until: Callable[[int], int]
    budget: int
    encode: Callable[[Plan], FloatArray]
    entrants: dict[Plan, Entrant] = field(default_factory=dict)

    @property
    def spent(self) -> int:
        """Environment steps so far."""
        return sum(one.candidate.steps for one in self.entrants.values())

    @property
    def played(self) -> set[Plan]:
        """Plans that were played."""
        return {plan for plan, one in self.entrants.items() if one.pairs}

    def enter(self, plans: Sequence[Drawn]) -> list[Entrant]:
        """Entrants of `plans`, in their order; those that are in already as they are."""
        found = []
        for drawn in plans:
            if drawn.plan not in self.entrants:
                actions = self.encode(drawn.plan)
                candidate = Candidate(len(self.entrants), actions, self.until(len(actions)))
                self.entrants[drawn.plan] = Entrant(drawn, candidate)
            found.append(self.entrants[drawn.plan])
        return found

    def play(self, entrants: Sequence[Entrant], pairs: int, allowed: int) -> bool:
        """Bring to `pairs` pairs as many of `entrants`, the first ones first, as cannot cost more than `allowed`.

        False where that is none.
        """
        some, left = list[Entrant](), allowed - self.spent
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

    def best(self, pairs: int | None = None) -> list[Entrant]:
        """Entrants that were played, the best first: by their first `pairs` pairs, or of the most pairs by all."""
        played = [one for one in self.entrants.values() if one.pairs]
        if pairs is None:
            most = max((one.pairs for one in played), default=0)
            played = [one for one in played if one.pairs == most]
        return sorted(played, key=lambda one: -one.mean(pairs))
