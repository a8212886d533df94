"""Rollouts from restored states, many at a time: what one earns depends on its state, plan and uniforms only.

A `Job` is one pair index at one state: the policy alone (the base arm) and, in lock-step with it, any number of
candidate plans under the same uniforms. A candidate that sees what the base saw at the same time, its plan over, has
met it: with the same random numbers ahead they stay together, so it ends there. Arms that reach the job's horizon can
go on in a later job from where they are; a base arm played before is looked up, not played again.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import numpy as np

from ultra_agents.contracts import Environment, Policy
from ultra_agents.errors import EnvironmentFault, PluginError, UltraError
from ultra_agents.records import Array, FloatArray
from ultra_agents.rollout.collect import uniforms_per_action
from ultra_agents.rollout.simulators import blame, build, whose
from ultra_agents.verification.arms import Job, Match, Outcome, Playing, Terms

ROWS = 16
"""The policy is asked in batches of exactly this many rows: the last bits of a matrix product depend on its shape."""
BLOCK = 8
"""Environments stepped together; a block in which nothing plays is not stepped."""


class Player:
    """Plays jobs over `slots` environments of this process; a rollout that ends frees its slot.

    Args:
        environment: Must be able to restore.
        policy: Plays after the plans, and alone.
        slots: Parallel environments, at least 2.
        terms: Uniforms and discount.
    """

    def __init__(self, environment: Environment, policy: Policy, slots: int, terms: Terms) -> None:
        self._environment, self._policy, self._terms = environment, policy, terms
        self._dims = uniforms_per_action(environment)
        self.slots = max(slots, 2)
        sizes = [min(BLOCK, self.slots - start) for start in range(0, self.slots, BLOCK)]
        with blame(environment):
            self._blocks: list[Any] = [build(environment, size) for size in sizes]
            for number, block in enumerate(self._blocks):
                block.reset(seed=terms.streams.integers(block.num_envs, "idle", number))
        self._free = list(range(self.slots))
        self._queue: deque[tuple[int, Job]] = deque()
        self._matches: dict[int, Match] = {}
        self._observations: dict[int, Array] = {}
        self._done: list[tuple[int, Outcome | UltraError]] = []

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
        self._matches, self._observations = {}, {}
        self._free = list(range(self.slots))
        return numbers

    def tick(self) -> list[tuple[int, Outcome | UltraError]]:
        """Start what fits, take one step everywhere; jobs that are finished, or could not be played."""
        self._start()
        wanting = [(match, match.wanting()) for match in self._matches.values()]
        for match, arms in wanting:  # whatever sits in a block is stepped with it, so arms that wait have to leave
            for arm in (match.base, *match.arms):
                if not any(arm is one for one in arms):
                    self._park(arm)
        stepping: list[tuple[Match, Playing]] = []
        for match, arms in wanting:
            if match.number in self._matches and self._seat(match, arms):
                stepping += [(match, arm) for arm in arms]
        if stepping:
            self._step(stepping)
        for match in [match for match in self._matches.values() if not match.wanting()]:
            outcome = self._finish(match)
            self._done.append((match.number, outcome))
        return self.take()

    def take(self) -> list[tuple[int, Outcome | UltraError]]:
        """What is finished and was not taken yet."""
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """Close the environments."""
        for block in self._blocks:
            block.close()
        self._blocks = []

    # -- one job -----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        taken = sum(match.open for match in self._matches.values()) if self._queue else 0
        while self._queue:
            number, job = self._queue[0]
            if len(job.plans) >= self.slots:
                raise ValueError(f"{len(job.plans)} plans in {self.slots} slots")
            last = max(job.until)
            arms = [Playing(*row) for row in zip(job.arms, job.plans, job.until, strict=True)]
            uniforms = self._terms.uniforms(job.address, self._dims, last)
            match = Match(number, job, uniforms, Playing(job.base, None, last), arms)
            taken += match.open
            if taken > self.slots:
                break
            self._queue.popleft()
            self._matches[number] = match

    def _seat(self, match: Match, stepping: list[Playing]) -> bool:
        """Give the arms that step a slot."""
        try:
            for arm in stepping:
                if arm.slot is None:
                    self._place(match, arm)
        except UltraError as error:  # a state that cannot be restored is this job's trouble alone
            for arm in (match.base, *match.arms):
                self._leave(arm)
            del self._matches[match.number]
            self._done.append((match.number, error))
            return False
        return True

    def _place(self, match: Match, arm: Playing) -> None:
        arm.slot = heapq.heappop(self._free)
        block, place = divmod(arm.slot, BLOCK)
        with blame(self._environment):
            restored = self._environment.restore(self._blocks[block], [place], [arm.state or match.job.snapshot])
        self._observations[arm.slot] = np.array(restored[0])
        if not arm.seen:
            arm.seen.append(_digest(restored[0]))
            arm.worth.append(float(self._rows(self._policy.value, np.asarray(restored))[0]))

    def _park(self, arm: Playing) -> None:
        """Keep the state of an arm that is not over, and free its slot."""
        if arm.slot is not None and not arm.ended:
            block, place = divmod(arm.slot, BLOCK)
            with blame(self._environment):
                arm.state = self._environment.snapshot(self._blocks[block], [place])[0]
        self._leave(arm)

    def _leave(self, arm: Playing) -> None:
        if arm.slot is not None:
            self._observations.pop(arm.slot, None)
            heapq.heappush(self._free, arm.slot)
            arm.slot = None

    def _finish(self, match: Match) -> Outcome:
        for arm in (match.base, *match.arms):
            self._park(arm)
        del self._matches[match.number]
        steps = tuple(playing.time - playing.begun for playing in match.arms)
        base_steps = match.base.time - match.base.begun
        return Outcome(match.base.finish(), tuple(arm.finish() for arm in match.arms), steps, base_steps)

    # -- one step ----------------------------------------------------------------------------------------------

    def _step(self, stepping: list[tuple[Match, Playing]]) -> None:
        slots = [_slot(arm) for _, arm in stepping]
        observations = np.stack([self._observations[slot] for slot in slots])
        uniforms = np.stack([match.uniforms[arm.time] for match, arm in stepping])
        actions = self._rows(self._policy.act_with_uniforms, observations, uniforms)
        for row, (_, arm) in enumerate(stepping):
            if arm.plan is not None and arm.time < arm.length:
                actions[row] = arm.plan[arm.time]
        following, rewards, terminated, truncated = self._advance(slots, actions)
        usable = np.isfinite(following).reshape(len(slots), -1).all(axis=1) & np.isfinite(rewards)
        values = self._rows(
            self._policy.value, np.where(_like(usable, following), following, 0).astype(following.dtype)
        )
        for row, (_, arm) in enumerate(stepping):
            if not usable[row]:
                arm.fault = "a reward or an observation that is not finite"
                continue
            factor = self._terms.discount**arm.time
            arm.earned.append(arm.earned[-1] + factor * float(rewards[row]))
            rest = 0.0 if terminated[row] else factor * self._terms.discount * float(values[row])
            arm.worth.append(arm.earned[-1] + rest)
            arm.seen.append(_digest(following[row]))
            arm.over = bool(terminated[row] or truncated[row])
            self._observations[slots[row]] = following[row]
        for match, arm in stepping:
            if arm is match.base:
                continue
            time, base = arm.time, match.base
            alive = not arm.ended and not (base.over and base.time == time)
            if alive and arm.length <= time <= base.time and arm.seen[time] == base.seen[time]:
                arm.met = time
            if arm.ended:
                self._leave(arm)

    def _advance(self, slots: list[int], actions: Array) -> tuple[Array, FloatArray, Array, Array]:
        """Step the blocks that play; what came of each of `slots`, ended episodes' last observations included."""
        places: dict[int, list[int]] = {}
        for row, slot in enumerate(slots):
            places.setdefault(slot // BLOCK, []).append(row)
        out: list[Any] = [None] * len(slots)
        for number, rows in places.items():
            block = self._blocks[number]
            batch = np.stack([actions[rows[0]]] * block.num_envs)
            for row in rows:
                batch[slots[row] % BLOCK] = actions[row]
            with blame(self._environment):
                seen, rewards, terminated, truncated, info = block.step(batch)
            seen, rewards = np.asarray(seen), np.asarray(rewards, dtype=np.float64)
            if seen.shape[0] != block.num_envs or rewards.shape != (block.num_envs,):
                raise EnvironmentFault(
                    f"{whose(self._environment)} returned a step of the wrong shape", found=(seen.shape, rewards.shape)
                )
            for row in rows:
                place = slots[row] % BLOCK
                ended = bool(terminated[place]), bool(truncated[place])
                last = np.asarray(info["final_obs"][place] if any(ended) else seen[place])
                out[row] = (np.array(last, dtype=seen.dtype), rewards[place], *ended)
        columns = list(zip(*out, strict=True))
        return np.stack(columns[0]), np.array(columns[1]), np.array(columns[2]), np.array(columns[3])

    def _rows(self, ask: Callable[..., Array], *rows: Array) -> Array:
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


def _digest(observation: Array) -> bytes:
    return blake2b(np.ascontiguousarray(observation).tobytes(), digest_size=16).digest()


def _like(mask: Array, rows: Array) -> Array:
    return mask.reshape(-1, *[1] * (rows.ndim - 1))


def _slot(arm: Playing) -> int:
    assert arm.slot is not None, "only a seated arm plays"
    return arm.slot
