"""Rollouts from restored states, many at a time: what one earns depends on its state, plan and uniforms only.

A `Job` is one pair index at one state: the policy alone (the baseline rollout) and, in lock-step with it, any number
of candidate plans under the same uniforms. A candidate whose plan is over and which sees what the baseline saw at the
same time has merged with it: with the same random numbers ahead they stay equal, so it ends there. Rollouts that reach
the job's horizon can go on in a later job from where they are; a baseline played before is not played again.

Overhead per tick must be small, since stepping is fast. Which rollouts step is computed once and kept until it can
change (`ActiveJob.review_at`), uniforms are stored by slot, the policy is called once per tick for all rollouts, and
values are computed only for the times at which a return is read.
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
from ultra_agents.verification.jobs import NEVER, ActiveJob, Job, JobResult, LiveRollout, Terms

ROWS = 32
"""The policy is asked in batches of exactly this many rows: the last bits of a matrix product depend on its shape."""
FULL = np.arange(ROWS)
"""Which rows make a batch."""
SHORT = 256
"""Bytes of an observation up to which it is kept as it is to be compared with; of longer ones a digest is kept."""
SERIES = 64
"""Uniforms are drawn for a pair in multiples of this many steps, so that a longer horizon rarely draws again."""
KEPT = 1024
"""Pairs whose uniforms are cached."""


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
        self._next: ActiveJob | None = None
        self._active: dict[int, ActiveJob] = {}
        self._done: list[tuple[int, JobResult | UltraError]] = []
        self._series: dict[tuple[int, int, int], FloatArray] = {}
        self._uniforms = np.zeros((self.slots, SERIES, self._dims))
        self._factors = [1.0]
        self._rows: list[tuple[ActiveJob, LiveRollout]] = []
        self._row_slots = np.zeros(0, np.int64)
        self._clock = 0
        self._changed = self._room = True

    @property
    def busy(self) -> bool:
        """Something is being played or queued."""
        return bool(self._active or self._queue)

    def add(self, number: int, job: Job) -> None:
        """Queue a job under a number of the caller's."""
        self._queue.append((number, job))

    def drop_all(self) -> list[int]:
        """Forget every job; their numbers. After an error in the plugin nobody knows what the environments hold."""
        numbers = [*self._active, *(number for number, _ in self._queue)]
        self._queue.clear()
        self._next, self._active, self._rows = None, {}, []
        self._changed = self._room = True
        self._blocks.free_all()
        return numbers

    def tick(self) -> list[tuple[int, JobResult | UltraError]]:
        """Start what fits, take one step everywhere; jobs that are finished, or could not be played."""
        self._start()
        if self._changed:
            self._assign_slots()
        if self._rows:
            self._step()
            self._clock += 1
            self._reschedule()
        return self.take()

    def take(self) -> list[tuple[int, JobResult | UltraError]]:
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
        taken = sum(active.load for active in self._active.values())
        while self._queue:
            active = self._next = self._next or self._activate(*self._queue[0])
            active.schedule(self._clock)
            taken += active.load
            if taken > self.slots and self._active:
                self._room = False
                break
            self._queue.popleft()
            self._active[active.number], self._next = active, None
            self._changed = True
        self._reschedule()

    def _activate(self, number: int, job: Job) -> ActiveJob:
        if len(job.plans) >= self.slots:
            raise ValueError(f"{len(job.plans)} plans in {self.slots} slots")
        last = max(job.until)
        candidates = [LiveRollout(*row) for row in zip(job.candidates, job.plans, job.until, strict=True)]
        return ActiveJob(
            number, job, self._drawn(job.address, last), LiveRollout(job.baseline, None, last), candidates
        )

    def _drawn(self, address: tuple[int, int, int], until: int) -> FloatArray:
        """The uniforms of a pair, `(until or more, dims)`."""
        found = self._series.get(address)
        if found is None or len(found) < until:
            if len(self._series) >= KEPT:
                self._series.clear()
            length = -(-until // SERIES) * SERIES
            found = self._series[address] = self._terms.uniforms(address, self._dims, length)
        return found

    def _reschedule(self) -> None:
        """Recompute which rollouts step where that may have changed; suspend the others, finish jobs with none."""
        finished: list[ActiveJob] = []
        for active in [active for active in self._active.values() if active.review_at <= self._clock]:
            self._changed = self._room = True
            active.schedule(self._clock)
            if not active.stepping:
                finished.append(active)
                continue
            for rollout in active.rollouts:
                if rollout.slot is not None and rollout not in active.stepping:
                    self._suspend(rollout)  # every slot of a block is stepped
        self._bootstrap([rollout for active in finished for rollout in active.rollouts if rollout.unvalued])
        self._done += [(active.number, self._finish(active)) for active in finished]

    def _bootstrap(self, rollouts: list[LiveRollout]) -> None:
        """Add the values that the returns of `rollouts` still lack."""
        rows = [
            (rollout, time, seen) for rollout in rollouts for time, seen in rollout.unvalued if rollout.merged is None
        ]
        if rows:
            values = self._ask(self._policy.value, np.stack([seen for _, _, seen in rows])).tolist()
            for (rollout, time, _), value in zip(rows, values, strict=True):
                rollout.end = rollout.earned[time] + self._factors[time] * value
                if rollout.plan is None:
                    rollout.returns[time] = rollout.end
        for rollout in rollouts:
            rollout.unvalued = []

    def _assign_slots(self) -> None:
        """Give every stepping rollout a slot; where there are too few, whole jobs are starved, the newest first."""
        waiting: list[tuple[ActiveJob, LiveRollout]] = []
        for active in self._active.values():
            fresh = [rollout for rollout in active.stepping if rollout.slot is None]
            if len(waiting) + len(fresh) <= self._blocks.room:
                waiting += [(active, rollout) for rollout in fresh]
                if active.starved:
                    active.starved, active.review_at = False, 0
            elif not active.starved:
                active.starved, active.review_at = True, NEVER
                for rollout in active.stepping:
                    self._suspend(rollout)
        slots = [self._blocks.take() for _ in waiting]
        for slot, (active, rollout) in zip(slots, waiting, strict=True):
            rollout.slot, length = slot, len(active.uniforms)
            if length > self._uniforms.shape[1]:
                self._uniforms = np.pad(self._uniforms, ((0, 0), (0, length - self._uniforms.shape[1]), (0, 0)))
            self._uniforms[slot, :length] = active.uniforms
        faults = self._blocks.restore(slots, [rollout.state or active.job.snapshot for active, rollout in waiting])
        for (active, _), fault in zip(waiting, faults, strict=True):
            if fault is not None and active.number in self._active:  # this job's trouble alone
                for one in active.rollouts:
                    self._release(one)
                del self._active[active.number]
                self._done.append((active.number, fault))
        self._rows = [
            (active, rollout) for active in self._active.values() if not active.starved for rollout in active.stepping
        ]
        self._row_slots = np.array([rollout.slot for _, rollout in self._rows], np.int64)
        self._changed = False

    def _suspend(self, rollout: LiveRollout) -> None:
        """Keep the state of a rollout that is not over, and free its slot."""
        if rollout.slot is not None and not rollout.ended:
            rollout.state = self._blocks.snapshot(rollout.slot)
        self._release(rollout)

    def _release(self, rollout: LiveRollout) -> None:
        if rollout.slot is not None:
            self._blocks.free(rollout.slot)
            rollout.slot = None

    def _finish(self, active: ActiveJob) -> JobResult:
        for rollout in active.rollouts:
            self._suspend(rollout)
        del self._active[active.number]
        steps = tuple(playing.time - playing.begun for playing in active.candidates)
        baseline_steps = active.baseline.time - active.baseline.begun
        return JobResult(
            active.baseline.finish(), tuple(rollout.finish() for rollout in active.candidates), steps, baseline_steps
        )

    # -- one step ----------------------------------------------------------------------------------------------

    def _step(self) -> None:
        rows, slots, blocks = self._rows, self._row_slots, self._blocks
        times = [rollout.time for _, rollout in rows]
        uniforms = self._uniforms[slots, times]
        actions = self._ask(self._policy.act_with_uniforms, blocks.observations[slots], uniforms)
        for row, (_, rollout) in enumerate(rows):
            if rollout.plan is not None and times[row] < rollout.length:
                actions[row] = rollout.plan[times[row]]
        rewards, terminated, truncated = blocks.step(slots, actions)
        following = blocks.observations[slots]
        usable = np.ones(len(rows), np.bool_)
        if not math.isfinite(float(np.sum(following, dtype=np.float64) + rewards.sum())):
            usable = np.isfinite(following).reshape(len(rows), -1).all(axis=1) & np.isfinite(rewards)
            following[~usable] = 0
        digests = _digests(following)
        while len(self._factors) < max(times) + 2:
            self._factors.append(self._terms.discount ** len(self._factors))
        good, factors = usable.tolist(), self._factors
        seen = zip(rows, times, rewards.tolist(), terminated, truncated, digests, strict=True)
        for row, ((active, rollout), time, reward, terminal, cut, digest) in enumerate(seen):
            if not good[row]:
                rollout.fault = "a reward or an observation that is not finite"
                active.review_at = 0
                continue
            alone, now = rollout is active.baseline, time + 1
            earned = rollout.earned[time] + factors[time] * reward
            rollout.earned.append(earned)
            rollout.rewards.append(reward)
            if active.job.trace:
                rollout.seen.append((np.array(actions[row]), following[row].copy()))
            rollout.end, rollout.time = earned, now
            if not terminal and (alone or cut or now == rollout.until):
                rollout.unvalued.append((now, following[row].copy()))
            if terminal or cut:
                rollout.over, rollout.terminated, active.review_at = True, terminal, 0
            elif now == rollout.length and active.job.after_plan and rollout.slot is not None:
                rollout.after_plan = blocks.snapshot(rollout.slot), digest
            if alone:  # always before the candidates of its job
                rollout.returns.append(earned)
                rollout.digests.append(digest)
            elif now >= rollout.length:
                active.compare(rollout, digest)

    def _ask(self, ask: Callable[..., Array], *rows: Array) -> Array:
        """`ask(*rows)`, in batches of one shape."""
        count, parts = len(rows[0]), []
        for start in range(0, count, ROWS):
            batch = np.minimum(FULL + start, count - 1)  # the last row fills it up
            try:
                answer = np.asarray(ask(*(row[batch] for row in rows)))
            except UltraError:
                raise
            except Exception as error:
                raise PluginError(
                    f"the policy {type(self._policy).__name__} failed", found=f"{type(error).__name__}: {error}"
                ) from error
            parts.append(answer[: count - start])
        return np.concatenate(parts)


def _digests(observations: Array) -> list[bytes]:
    """The observations as bytes, those longer than `SHORT` as digests: equal exactly where they are equal."""
    blob = np.ascontiguousarray(observations).tobytes()
    size = len(blob) // len(observations)
    pieces = [blob[start : start + size] for start in range(0, len(blob), size)]
    return pieces if size <= SHORT else [blake2b(piece, digest_size=16).digest() for piece in pieces]
