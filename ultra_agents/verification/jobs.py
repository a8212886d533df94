"""Rollouts from a restored state: what is asked for, what comes back, and who steps next."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import numpy as np

from ultra_agents.records import Array, FloatArray
from ultra_agents.seeding import Streams


@dataclass(frozen=True, eq=False)
class Rollout:
    """One rollout, as far as it was played: `time` steps from the restored state.

    Attributes:
        earned: `(time + 1,)` discounted rewards up to each time.
        end: Bootstrapped return at the last time: `earned` there plus the discounted value of the state (0 once the
            episode ended). Without the value where the rollout merged with the baseline, since nobody reads it there.
        returns: Of the baseline, the bootstrapped return at every time, `(time + 1,)`; the first is never read. Empty
            for candidates.
        digests: Of the baseline, its `time + 1` observations as bytes or digests; the first is never read.
        over: The episode has ended.
        merged: Time at which the rollout merged with the baseline (same observation at the same time), if it did.
        state: Simulator state to go on from; empty where there is nothing to go on with.
        after_plan: Simulator state and digest of the observation right after the plan, where the job asked for it; the
            same in every pair, since a plan draws no random numbers.
        rewards: `(time,)`, as they came.
        terminated: It is over because the episode terminated, not by a time limit.
        seen: By step the action and the observation it led to, where the job asked for a trace.
        fault: Why the numbers are of no use (a reward that is not finite), or empty.
    """

    earned: FloatArray
    end: float
    returns: FloatArray
    digests: tuple[bytes, ...]
    over: bool
    merged: int | None
    state: bytes
    fault: str = ""
    after_plan: tuple[bytes, bytes] | None = None
    rewards: tuple[float, ...] = ()
    terminated: bool = False
    seen: tuple[tuple[Array, Array], ...] = ()

    @property
    def time(self) -> int:
        """Steps played."""
        return len(self.earned) - 1

    def __getstate__(self) -> dict[str, Any]:
        """With what was seen as two arrays: one by one a hundred small ones take longer to pickle than to play."""
        return self.__dict__ | {"seen": tuple(np.stack(part) for part in zip(*self.seen, strict=True))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Inverse of `__getstate__`."""
        self.__dict__.update(state, seen=tuple(zip(*state["seen"], strict=True)))


@dataclass(frozen=True, eq=False)
class Job:
    """The rollouts of one pair at one state, to be played until `until` steps from it.

    Attributes:
        snapshot: The state.
        address: Episode, step and pair: where the uniforms come from.
        plans: One `(length, *action_shape)` array per candidate.
        candidates: How far each candidate was played before; None for one that was not.
        baseline: The same of the policy alone.
        until: Steps from the state at which each candidate is cut.
        after_plan: Whether the state right after each plan is to be kept.
        trace: Whether actions and observations are to be kept.
        whole: Whether the policy alone is played to the last cut, even where no candidate needs it.
    """

    snapshot: bytes
    address: tuple[int, int, int]
    plans: tuple[Array, ...]
    candidates: tuple[Rollout | None, ...]
    baseline: Rollout | None
    until: tuple[int, ...]
    after_plan: bool = False
    trace: bool = False
    whole: bool = False

    def course(self, host: object) -> Course[JobResult]:
        """What there is to do where the simulators are: this job alone."""
        (result,) = yield [self]
        return result


@dataclass(frozen=True, eq=False)
class JobResult:
    """What came of a job.

    Attributes:
        baseline: The policy alone, as far as any candidate needed it.
        candidates: The candidates.
        steps: Environment steps taken by each candidate in this job.
        baseline_steps: Environment steps taken by the baseline rollout in this job.
    """

    baseline: Rollout
    candidates: tuple[Rollout, ...]
    steps: tuple[int, ...]
    baseline_steps: int


R = TypeVar("R")
Course: TypeAlias = Generator[Sequence[Job], Sequence[JobResult], R]
"""Something that needs rollouts: it asks for jobs, goes on when all of them were played, and ends with an outcome."""


def difference(baseline: Rollout, rollout: Rollout, cut: int) -> float:
    """Difference of the bootstrapped returns, candidate minus baseline, at time `cut`; both were played that far."""
    if rollout.merged is not None and rollout.merged <= cut:
        return float(rollout.earned[rollout.merged] - baseline.earned[rollout.merged])
    return float(rollout.end - baseline.returns[min(cut, baseline.time)])


@dataclass(frozen=True)
class Terms:
    """What is the same for all jobs of one tester.

    Attributes:
        streams: Source of the uniforms.
        discount: Of rewards, per step.
    """

    streams: Streams
    discount: float

    def uniforms(self, address: tuple[int, int, int], dims: int, until: int) -> FloatArray:
        """`(until, dims)` in (0, 1): a prefix of one series, the same for every plan and every horizon."""
        drawn = self.streams.generator("pair", *address).random((until, dims))
        return np.clip(drawn, 1e-9, 1 - 1e-9)


NEVER = 2**62
"""Later than any tick."""


class LiveRollout:
    """A rollout in progress, stepping or suspended; attributes as those of `Rollout`."""

    def __init__(self, rollout: Rollout | None, plan: Array | None, until: int) -> None:
        self.plan, self.until, self.end = plan, until, 0.0 if rollout is None else rollout.end
        self.length = 0 if plan is None else len(plan)
        self.earned: list[float] = [0.0] if rollout is None else rollout.earned.tolist()
        self.returns: list[float] = [0.0] if rollout is None else rollout.returns.tolist()
        self.digests: list[bytes] = [b""] if rollout is None else list(rollout.digests)
        self.over, self.merged = (False, None) if rollout is None else (rollout.over, rollout.merged)
        self.state, self.fault, self.after_plan = (
            (b"", "", None) if rollout is None else (rollout.state, rollout.fault, rollout.after_plan)
        )
        self.rewards: list[float] = [] if rollout is None else list(rollout.rewards)
        self.terminated = rollout is not None and rollout.terminated
        self.seen: list[tuple[Array, Array]] = [] if rollout is None else list(rollout.seen)
        self.time = self.begun = len(self.earned) - 1
        self.slot: int | None = None
        self.unvalued: list[tuple[int, Array]] = []
        """Times at which the return still lacks the value of the observation, and that observation."""

    @property
    def ended(self) -> bool:
        """There is nothing to go on with, whatever the horizon."""
        return self.over or self.merged is not None or bool(self.fault)

    @property
    def idle(self) -> bool:
        """There is nothing left to play in this job."""
        return self.ended or self.time >= self.until

    def finish(self) -> Rollout:
        """As a record, which a later job may go on from."""
        earned, returns = np.asarray(self.earned), np.asarray(self.returns if self.plan is None else [])
        state = b"" if self.ended else self.state
        return Rollout(
            earned, self.end, returns, tuple(self.digests), self.over, self.merged, state, self.fault, self.after_plan,
            tuple(self.rewards), self.terminated, tuple(self.seen),
        )  # fmt: skip


@dataclass
class ActiveJob:
    """A job being played.

    Attributes:
        number: The caller's.
        job: What was asked.
        uniforms: Random numbers `(longest horizon or more, dims)`.
        baseline: The policy alone.
        candidates: The candidates.
        stepping: The rollouts that take the next step.
        review_at: Tick at which `stepping` must be computed again; 0 where a rollout has just ended.
        load: Slots it counts for: those of stepping rollouts, half of those that step later.
        starved: It waits for slots.
    """

    number: int
    job: Job
    uniforms: FloatArray
    baseline: LiveRollout
    candidates: list[LiveRollout]
    stepping: list[LiveRollout] = field(default_factory=list)
    review_at: int = 0
    load: float = 0.0
    starved: bool = False

    @property
    def rollouts(self) -> tuple[LiveRollout, ...]:
        """The baseline and the candidates."""
        return self.baseline, *self.candidates

    def schedule(self, clock: int) -> None:
        """Compute `stepping` from tick `clock` on, and until when it holds unless one of them ends before."""
        for rollout in self.candidates:
            if rollout.after_plan is not None and rollout.time == rollout.length:
                self.compare(rollout, rollout.after_plan[1])
        self.stepping = self.next_to_step()
        self.load = (len(self.stepping) + sum(not rollout.idle for rollout in self.rollouts)) / 2
        if self.stepping:
            now = self.stepping[0].time
            ahead = [rollout.time for rollout in self.rollouts if rollout.time > now]
            self.review_at = clock + min(*ahead, *(rollout.until for rollout in self.stepping), 10**9) - now

    def compare(self, rollout: LiveRollout, digest: bytes) -> None:
        """Merge a candidate whose plan is over with the baseline if its observation equals the baseline's then."""
        baseline, time = self.baseline, rollout.time
        if not rollout.length <= time <= baseline.time or digest != baseline.digests[time]:
            return
        if not rollout.ended and not (baseline.over and baseline.time == time):
            rollout.merged, self.review_at = time, 0

    def next_to_step(self) -> list[LiveRollout]:
        """The rollouts that take the next step: those furthest behind, and the baseline as far as it is needed."""
        baseline = self.baseline
        if baseline.fault:
            return []
        live = [one for one in self.candidates if not one.idle]
        whole = self.job.whole
        needing = [one for one in self.candidates if whole or (one.merged is None and not one.fault)]
        needed = max((one.until for one in needing), default=0)
        now = min((rollout.time for rollout in live), default=needed)
        follows = not baseline.ended and baseline.time < needed and baseline.time <= now
        if follows and baseline.time < now:
            return [baseline]
        return [*([baseline] if follows else []), *(rollout for rollout in live if rollout.time == now)]
