"""One rollout from a restored state, one pair of them, and what a pair says."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ultra_agents.records import Array, FloatArray
from ultra_agents.seeding import Streams


@dataclass(frozen=True, eq=False)
class Arm:
    """One rollout, as far as it was played: `time` steps from the restored state.

    Attributes:
        earned: `(time + 1,)` discounted rewards up to each time.
        end: The same at the last time, plus the discounted value of the state there (0 once the episode ended). Where
            the arm met the base arm nobody asks for it, and the value is left out.
        worth: Of the base arm, `(time + 1,)` the same at every time; nobody asks for the first. Of others empty.
        seen: Of the base arm, what its `time + 1` observations are told apart by; nobody asks for the first.
        over: The episode has ended.
        met: Time at which the arm met the base arm, if it did.
        state: Simulator state to go on from; empty where there is nothing to go on with.
        lead: Simulator state right after the plan, and what its observation is told apart by, where the job asked for
            it; the same in every pair, for until then nothing is drawn.
        fault: Why the numbers are of no use (a reward that is not finite), or empty.
    """

    earned: FloatArray
    end: float
    worth: FloatArray
    seen: tuple[bytes, ...]
    over: bool
    met: int | None
    state: bytes
    fault: str = ""
    lead: tuple[bytes, bytes] | None = None

    @property
    def time(self) -> int:
        """Steps played."""
        return len(self.earned) - 1


@dataclass(frozen=True, eq=False)
class Job:
    """Arms of one pair at one state, to be played until `until` steps from it.

    Attributes:
        snapshot: The state.
        address: Episode, step and pair: where the uniforms come from.
        plans: One `(length, *action_shape)` array per candidate.
        arms: How far each candidate was played before; None for one that was not.
        base: The same of the policy alone.
        until: Steps from the state at which each candidate is cut.
        lead: Whether the state right after each plan is to be kept.
    """

    snapshot: bytes
    address: tuple[int, int, int]
    plans: tuple[Array, ...]
    arms: tuple[Arm | None, ...]
    base: Arm | None
    until: tuple[int, ...]
    lead: bool = False


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a job.

    Attributes:
        base: The policy alone, as far as any candidate needed it.
        arms: The candidates.
        steps: Environment steps taken by each candidate in this job.
        base_steps: Environment steps taken by the base arm in this job.
    """

    base: Arm
    arms: tuple[Arm, ...]
    steps: tuple[int, ...]
    base_steps: int


def difference(base: Arm, arm: Arm, cut: int) -> float:
    """What the candidate earned more than the base arm by `cut`, to which it was played, values there included."""
    if arm.met is not None and arm.met <= cut:
        return float(arm.earned[arm.met] - base.earned[arm.met])
    return float(arm.end - base.worth[min(cut, base.time)])


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
        """`(until, dims)` in (0, 1): the beginning of one series, the same for every plan and every horizon."""
        drawn = self.streams.generator("pair", *address).random((until, dims))
        return np.clip(drawn, 1e-9, 1 - 1e-9)


NEVER = 2**62
"""A tick that does not come."""


class Playing:
    """An arm that is being played or waits for its turn."""

    def __init__(self, arm: Arm | None, plan: Array | None, until: int) -> None:
        self.plan, self.until, self.end = plan, until, 0.0 if arm is None else arm.end
        self.length = 0 if plan is None else len(plan)
        self.earned: list[float] = [0.0] if arm is None else arm.earned.tolist()
        self.worth: list[float] = [0.0] if arm is None else arm.worth.tolist()
        self.seen: list[bytes] = [b""] if arm is None else list(arm.seen)
        self.over, self.met = (False, None) if arm is None else (arm.over, arm.met)
        self.state, self.fault, self.lead = (b"", "", None) if arm is None else (arm.state, arm.fault, arm.lead)
        self.time = self.begun = len(self.earned) - 1
        self.slot: int | None = None
        self.looks: list[tuple[int, Array]] = []
        """Times at which what the arm is worth lacks the value of what it saw, and that."""

    @property
    def ended(self) -> bool:
        """There is nothing to go on with, whatever the horizon."""
        return self.over or self.met is not None or bool(self.fault)

    @property
    def idle(self) -> bool:
        """There is nothing left to play in this job."""
        return self.ended or self.time >= self.until

    def finish(self) -> Arm:
        """What was played, for good or to be gone on with."""
        earned, worth = np.asarray(self.earned), np.asarray(self.worth if self.plan is None else [])
        state = b"" if self.ended else self.state
        return Arm(earned, self.end, worth, tuple(self.seen), self.over, self.met, state, self.fault, self.lead)


@dataclass
class Match:
    """A job being played.

    Attributes:
        number: The caller's.
        job: What was asked.
        uniforms: Random numbers `(longest horizon or more, dims)`.
        base: The policy alone.
        arms: The candidates.
        stepping: The arms that take the next step.
        due: Tick at which others may have to step, in any case 0 where one has just ended.
        load: Slots it takes: those that step, and half of those whose turn comes later.
        waits: There were too few slots for those that step.
    """

    number: int
    job: Job
    uniforms: FloatArray
    base: Playing
    arms: list[Playing]
    stepping: list[Playing] = field(default_factory=list)
    due: int = 0
    load: float = 0.0
    waits: bool = False

    def line_up(self, clock: int) -> None:
        """Put down who steps from tick `clock` on, and until when that holds unless one of them ends before."""
        for arm in self.arms:
            if arm.lead is not None and arm.time == arm.length:
                self.compare(arm, arm.lead[1])
        self.stepping = self.wanting()
        self.load = (len(self.stepping) + sum(not arm.idle for arm in (self.base, *self.arms))) / 2
        if self.stepping:
            now = self.stepping[0].time
            ahead = [arm.time for arm in (self.base, *self.arms) if arm.time > now]
            self.due = clock + min(*ahead, *(arm.until for arm in self.stepping), 10**9) - now

    def compare(self, arm: Playing, mark: bytes) -> None:
        """See whether a candidate, its plan over, sees `mark` where the base arm saw the same."""
        base, time = self.base, arm.time
        if arm.ended or not arm.length <= time <= base.time or (base.over and base.time == time):
            return
        if mark == base.seen[time]:
            arm.met, self.due = time, 0

    def wanting(self) -> list[Playing]:
        """The arms that take the next step: whoever is furthest behind, and the base arm as far as it is needed."""
        base = self.base
        if base.fault:
            return []
        live = [arm for arm in self.arms if not arm.idle]
        needed = max((arm.until for arm in self.arms if arm.met is None and not arm.fault), default=0)
        now = min((arm.time for arm in live), default=needed)
        follows = not base.ended and base.time < needed and base.time <= now
        if follows and base.time < now:
            return [base]
        return [*([base] if follows else []), *(arm for arm in live if arm.time == now)]
