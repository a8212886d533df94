"""Candidate plans at one restored state, and the rollouts that compare each with the policy alone, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ultra_agents.records import Array
from ultra_agents.verification.jobs import Course, Job, JobResult, Rollout, difference


@dataclass
class RestoredState:
    """A restored state, and what is known of the policy alone from there, by pair.

    With `traced` the first pair is kept with its actions and observations; with `whole` the policy alone is played to
    the cut there, even where no candidate needs it.
    """

    address: tuple[int, int]
    snapshot: bytes
    traced: bool = False
    whole: bool = False
    bases: dict[int, Rollout] = field(default_factory=dict)


@dataclass
class Candidate:
    """A candidate plan, to be played until `until` steps from the state."""

    index: int
    plan: Array
    until: int = 0
    rollouts: dict[int, Rollout] = field(default_factory=dict)
    steps: int = 0
    fault: str = ""

    def begun(self, pair: int) -> Rollout | None:
        """The rollout of `pair` as far as it was played, or of the first pair: until a plan ends all are alike."""
        if pair in self.rollouts or 0 not in self.rollouts:
            return self.rollouts.get(pair)
        first, length = self.rollouts[0], len(self.plan)
        if first.after_plan is None:  # it ended before its plan did
            return first
        end = first.end if first.time == length else 0.0  # nobody asks for it before it was played on
        return Rollout(
            first.earned[: length + 1],
            end,
            first.returns,
            (b"",),
            False,
            None,
            first.after_plan[0],
            after_plan=first.after_plan,
            rewards=first.rewards[:length],
        )

    def wants(self, base: Rollout | None, pair: int) -> bool:
        """Whether something has to be played for `pair`."""
        rollout, until = self.rollouts.get(pair), self.until
        if self.fault or (rollout is not None and rollout.merged is not None):
            return False
        if rollout is None or base is None:
            return True
        return (not rollout.over and rollout.time < until) or (not base.over and base.time < until)

    def cost(self, state: RestoredState, pair: int) -> int:
        """Steps of a pair at its cut as if no other candidate shared them: what they are, or may be at most."""
        rollout, length, until = self.rollouts.get(pair), len(self.plan), self.until
        alike = length if pair else 0  # steps that the first pair has paid for
        if rollout is None:
            return 2 * until - alike
        alike = min(alike, rollout.time)
        if rollout.merged is not None:
            return 2 * rollout.merged - alike
        base = state.bases[pair]
        return (rollout.time if rollout.over else until) - alike + (min(base.time, until) if base.over else until)

    def differences(self, state: RestoredState, pairs: int) -> list[float]:
        """Paired differences at the cut."""
        return [difference(state.bases[pair], self.rollouts[pair], self.until) for pair in range(pairs)]


def bring(state: RestoredState, candidates: Sequence[Candidate], pairs: int, slots: int) -> Course[None]:
    """Bring the first `pairs` pairs of every candidate to its cut, with at most `slots` rollouts side by side."""
    for start in range(0, len(candidates), slots - 1):
        some = candidates[start : start + slots - 1]
        new = any(0 not in candidate.rollouts for candidate in some)  # the first pair finds out what the plans do
        for group in (range(1), range(1, pairs)) if new else (range(pairs),):
            asked, jobs = [], []
            for pair in group:
                base = state.bases.get(pair)
                wanting = [candidate for candidate in some if candidate.wants(base, pair)]
                if wanting:
                    job = Job(
                        snapshot=state.snapshot,
                        address=(*state.address, pair),
                        plans=tuple(candidate.plan for candidate in wanting),
                        candidates=tuple(candidate.begun(pair) for candidate in wanting),
                        baseline=base,
                        until=tuple(candidate.until for candidate in wanting),
                        after_plan=pair == 0,
                        trace=pair == 0 and state.traced,
                        whole=pair == 0 and state.whole,
                    )
                    asked.append((pair, wanting))
                    jobs.append(job)
            if jobs:
                for (pair, wanting), outcome in zip(asked, (yield jobs), strict=True):
                    _note(state, pair, wanting, outcome)


def _note(state: RestoredState, pair: int, candidates: Sequence[Candidate], outcome: JobResult) -> None:
    """Put down what a job brought, and share its price."""
    state.bases[pair] = outcome.baseline
    share, rest = divmod(outcome.baseline_steps, len(candidates))
    for place, candidate in enumerate(candidates):
        candidate.rollouts[pair] = outcome.candidates[place]
        candidate.steps += outcome.steps[place] + share + (rest if place == 0 else 0)
        candidate.fault = candidate.fault or outcome.candidates[place].fault or outcome.baseline.fault
