"""Rollouts from restored states, many at a time: what one earns depends on its state, plan and uniforms only.

A `Job` is one pair index at one state: the policy alone (the base arm) and, in lock-step with it, any number of
candidate plans under the same uniforms. A candidate that sees what the base saw at the same time, its plan over, has
met it: with the same random numbers ahead they stay together, so it ends there. Arms that reach the job's horizon can
go on in a later job from where they are; a base arm played before is looked up, not played again.

Little may be done here beside stepping and asking the policy, for stepping is fast. Who steps is found out once for as
many ticks as it holds, random numbers lie ready by seat, the policy is asked once per tick for everybody, and for the
values of what an arm saw only when it is known who wants them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from hashlib import blake2b

import numpy as np

from ultra_agents.contracts import Environment, Policy
from ultra_agents.contracts.environment import uniforms_per_action
from ultra_agents.errors import PluginError, UltraError
from ultra_agents.records import Array, FloatArray
from ultra_agents.verification.env_blocks import Blocks
from ultra_agents.verification.jobs import NEVER, Job, Match, Outcome, Playing, Terms

ROWS = 32
"""The policy is asked in batches of exactly this many rows: the last bits of a matrix product depend on its shape."""
SHORT = 256
"""Bytes of an observation up to which it is kept as it is to be compared with; of longer ones a digest is kept."""
SERIES = 64
"""Uniforms drawn at once for a pair, in steps, so that a longer look need not draw them again."""
KEPT = 1024
"""Pairs whose uniforms are kept at hand."""


class Player:
    """Plays jobs over `slots` environments of this process; a rollout that ends frees its slot.

    Args:
        environment: Must be able to restore.
        policy: Plays after the plans, and alone.
        slots: Parallel environments, at least 2.
        terms: Uniforms and discount.
    """

    def __init__(self, environment: Environment, policy: Policy, slots: int, terms: Terms) -> None:
        self._policy, self._terms = policy, terms
        self._dims = uniforms_per_action(environment)
        self.slots = max(slots, 2)
        self._blocks = Blocks(environment, self.slots, terms.streams)
        self._queue: deque[tuple[int, Job]] = deque()
        self._next: Match | None = None
        self._matches: dict[int, Match] = {}
        self._done: list[tuple[int, Outcome | UltraError]] = []
        self._series: dict[tuple[int, int, int], FloatArray] = {}
        self._uniforms = np.zeros((self.slots, SERIES, self._dims))
        self._factors = [1.0]
        self._rows: list[tuple[Match, Playing]] = []
        self._seats = np.zeros(0, np.int64)
        self._clock = 0
        self._changed = self._room = True

    @property
    def busy(self) -> bool:
        """Something is being played or waits."""
        return bool(self._matches or self._queue)

    def add(self, number: int, job: Job) -> None:
        """Queue a job under a number of the caller's."""
        self._queue.append((number, job))

    def drop_all(self) -> list[int]:
        """Forget every job; their numbers. After an error in the plugin nobody knows what the environments hold."""
        numbers = [*self._matches, *(number for number, _ in self._queue)]
        self._queue.clear()
        self._next, self._matches, self._rows = None, {}, []
        self._changed = self._room = True
        self._blocks.free_all()
        return numbers

    def tick(self) -> list[tuple[int, Outcome | UltraError]]:
        """Start what fits, take one step everywhere; jobs that are finished, or could not be played."""
        self._start()
        if self._changed:
            self._seat()
        if self._rows:
            self._step()
            self._clock += 1
            self._review()
        return self.take()

    def take(self) -> list[tuple[int, Outcome | UltraError]]:
        """What is finished and was not taken yet."""
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Close the environments."""
        self._blocks.close()

    # -- jobs --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        if not (self._queue and self._room):
            return
        taken = sum(match.load for match in self._matches.values())
        while self._queue:
            match = self._next = self._next or self._match(*self._queue[0])
            match.line_up(self._clock)
            taken += match.load
            if taken > self.slots and self._matches:
                self._room = False
                break
            self._queue.popleft()
            self._matches[match.number], self._next = match, None
            self._changed = True
        self._review()

    def _match(self, number: int, job: Job) -> Match:
        if len(job.plans) >= self.slots:
            raise ValueError(f"{len(job.plans)} plans in {self.slots} slots")
        last = max(job.until)
        arms = [Playing(*row) for row in zip(job.arms, job.plans, job.until, strict=True)]
        return Match(number, job, self._drawn(job.address, last), Playing(job.base, None, last), arms)

    def _drawn(self, address: tuple[int, int, int], until: int) -> FloatArray:
        """The uniforms of a pair, `(until or more, dims)`."""
        found = self._series.get(address)
        if found is None or len(found) < until:
            if len(self._series) >= KEPT:
                self._series.clear()
            length = -(-until // SERIES) * SERIES
            found = self._series[address] = self._terms.uniforms(address, self._dims, length)
        return found

    def _review(self) -> None:
        """Find out who steps next wherever that may have changed; let those who wait or are done leave."""
        finished: list[Match] = []
        for match in [match for match in self._matches.values() if match.due <= self._clock]:
            self._changed = self._room = True
            match.line_up(self._clock)
            if not match.stepping:
                finished.append(match)
                continue
            for arm in (match.base, *match.arms):
                if arm.slot is not None and arm not in match.stepping:
                    self._park(arm)  # whatever sits in a block is stepped with it
        self._appraise([arm for match in finished for arm in (match.base, *match.arms) if arm.looks])
        self._done += [(match.number, self._finish(match)) for match in finished]

    def _appraise(self, arms: list[Playing]) -> None:
        """Add the values that are missing in what `arms` are worth."""
        rows = [(arm, time, seen) for arm in arms for time, seen in arm.looks if arm.met is None]
        if rows:
            values = self._ask(self._policy.value, np.stack([seen for _, _, seen in rows])).tolist()
            for (arm, time, _), value in zip(rows, values, strict=True):
                arm.end = arm.earned[time] + self._factors[time] * value
                if arm.plan is None:
                    arm.worth[time] = arm.end
        for arm in arms:
            arm.looks = []

    def _seat(self) -> None:
        """Give every arm that steps a slot; where there are too few, whole matches wait, the older ones less."""
        waiting: list[tuple[Match, Playing]] = []
        for match in self._matches.values():
            fresh = [arm for arm in match.stepping if arm.slot is None]
            if len(waiting) + len(fresh) <= self._blocks.room:
                waiting += [(match, arm) for arm in fresh]
                if match.waits:
                    match.waits, match.due = False, 0
            elif not match.waits:
                match.waits, match.due = True, NEVER
                for arm in match.stepping:
                    self._park(arm)
        seats = [self._blocks.take() for _ in waiting]
        for seat, (match, arm) in zip(seats, waiting, strict=True):
            arm.slot, length = seat, len(match.uniforms)
            if length > self._uniforms.shape[1]:
                self._uniforms = np.pad(self._uniforms, ((0, 0), (0, length - self._uniforms.shape[1]), (0, 0)))
            self._uniforms[seat, :length] = match.uniforms
        faults = self._blocks.restore(seats, [arm.state or match.job.snapshot for match, arm in waiting])
        for (match, _), fault in zip(waiting, faults, strict=True):
            if fault is not None and match.number in self._matches:  # this job's trouble alone
                for one in (match.base, *match.arms):
                    self._leave(one)
                del self._matches[match.number]
                self._done.append((match.number, fault))
        self._rows = [(match, arm) for match in self._matches.values() if not match.waits for arm in match.stepping]
        self._seats = np.array([arm.slot for _, arm in self._rows], np.int64)
        self._changed = False

    def _park(self, arm: Playing) -> None:
        """Keep the state of an arm that is not over, and free its slot."""
        if arm.slot is not None and not arm.ended:
            arm.state = self._blocks.snapshot(arm.slot)
        self._leave(arm)

    def _leave(self, arm: Playing) -> None:
        if arm.slot is not None:
            self._blocks.free(arm.slot)
            arm.slot = None

    def _finish(self, match: Match) -> Outcome:
        for arm in (match.base, *match.arms):
            self._park(arm)
        del self._matches[match.number]
        steps = tuple(playing.time - playing.begun for playing in match.arms)
        base_steps = match.base.time - match.base.begun
        return Outcome(match.base.finish(), tuple(arm.finish() for arm in match.arms), steps, base_steps)

    # -- one step ----------------------------------------------------------------------------------------------

    def _step(self) -> None:
        rows, seats, blocks = self._rows, self._seats, self._blocks
        times = [arm.time for _, arm in rows]
        uniforms = self._uniforms[seats, times]
        actions = self._ask(self._policy.act_with_uniforms, blocks.observations[seats], uniforms)
        for row, (_, arm) in enumerate(rows):
            if arm.time < arm.length and arm.plan is not None:
                actions[row] = arm.plan[arm.time]
        rewards, terminated, truncated = blocks.step(seats, actions)
        following = blocks.observations[seats]
        usable = np.ones(len(rows), np.bool_)
        if not math.isfinite(float(np.sum(following, dtype=np.float64) + rewards.sum())):
            usable = np.isfinite(following).reshape(len(rows), -1).all(axis=1) & np.isfinite(rewards)
            following[~usable] = 0
        marks = _marks(following)
        while len(self._factors) < max(times) + 2:
            self._factors.append(self._terms.discount ** len(self._factors))
        good, factors = usable.tolist(), self._factors
        for row, reward in enumerate(rewards.tolist()):
            match, arm = rows[row]
            if not good[row]:
                arm.fault = "a reward or an observation that is not finite"
                match.due = 0
                continue
            time = times[row]
            earned = arm.earned[time] + factors[time] * reward
            arm.earned.append(earned)
            arm.end, arm.time = earned, time + 1
            if not terminated[row] and (arm is match.base or arm.time == arm.until or truncated[row]):
                arm.looks.append((arm.time, following[row].copy()))
            if terminated[row] or truncated[row]:
                arm.over, match.due = True, 0
            elif match.job.lead and arm.time == arm.length and arm.slot is not None:
                arm.lead = blocks.snapshot(arm.slot), marks[row]
            if arm is match.base:  # always before the others of its match
                arm.worth.append(earned)
                arm.seen.append(marks[row])
            elif arm.time >= arm.length:
                match.compare(arm, marks[row])

    def _ask(self, ask: Callable[..., Array], *rows: Array) -> Array:
        """`ask(*rows)`, in batches of one shape."""
        count, parts = len(rows[0]), []
        for start in range(0, count, ROWS):
            batch = [row[start : start + ROWS] for row in rows]
            short = ROWS - len(batch[0])
            if short:
                batch = [np.concatenate([part, np.repeat(part[-1:], short, axis=0)]) for part in batch]
            try:
                answer = np.asarray(ask(*batch))
            except UltraError:
                raise
            except Exception as error:
                raise PluginError(
                    f"the policy {type(self._policy).__name__} failed", found=f"{type(error).__name__}: {error}"
                ) from error
            parts.append(answer[: ROWS - short])
        return np.concatenate(parts)


def _marks(observations: Array) -> list[bytes]:
    """What observations are told apart by."""
    blob = np.ascontiguousarray(observations).tobytes()
    size = len(blob) // len(observations)
    pieces = [blob[start : start + size] for start in range(0, len(blob), size)]
    return pieces if size <= SHORT else [blake2b(piece, digest_size=16).digest() for piece in pieces]
