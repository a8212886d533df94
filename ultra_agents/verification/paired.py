"""Play under common random numbers: what policies and modulations earn from the same states with the same draws.

`play` is one wave side by side; `Episodes` plays any number of policies from the same fresh starts, `Windows` from the
same stored states. What one policy earns in a pair depends on the seed, the pair and the policy only, and two policies
that act alike earn exactly the same: a pair keeps its place in the wave, for the last bits of a matrix product depend
on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol, Self, TypeAlias

import numpy as np

from ultra_agents.config.engine import RunEngineConfig
from ultra_agents.contracts import Environment, Modulation, Policy
from ultra_agents.contracts.environment import uniforms_per_action
from ultra_agents.contracts.vector import before_reset
from ultra_agents.records import Array, FloatArray, Trajectory
from ultra_agents.rollout.collect import draw
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.seeding import Streams
from ultra_agents.verification.local_pool import Pool


@dataclass(frozen=True)
class Horizon:
    """How long is played, and what is counted.

    Attributes:
        steps: Environment steps, at most; an episode cut there is worth the policy's value beside what it earned.
        discount: Of rewards, and of that value.
        value_at_truncation: Where the environment itself truncates an episode, the value counts as well. Without it
            what is counted is the return as it is scored everywhere else.
    """

    steps: int
    discount: float
    value_at_truncation: bool = True


class Watch(Protocol):
    """Told of every step of a wave."""

    def __call__(
        self, observations: Array, actions: Array, rewards: Array, terminated: Array, truncated: Array, alive: Array
    ) -> None:
        """What was seen `(n, ...)`, done `(n, ...)` and earned `(n,)`; which `(n,)` ended, and which still played."""
        ...


@dataclass(frozen=True)
class Wave:
    """Outcome of episodes played side by side.

    Attributes:
        returns: `(n,)` discounted, value at the cut; 0 where nothing was played.
        steps: Environment steps of all of them.
        covered: In how many of those a rule acted; 0 for policies without rules.
        cut: Episodes that reached the horizon.
        rewards: Rewards of the first one, step by step.
    """

    returns: FloatArray
    steps: int
    covered: int
    cut: int
    rewards: tuple[float, ...]


def play(
    simulators: Simulators,
    observations: Array,
    actor: Policy,
    judge: Policy,
    generators: Sequence[np.random.Generator],
    horizon: Horizon,
    *,
    engine: Modulation | None = None,
    playing: Array | None = None,
    watch: Watch | None = None,
) -> Wave:
    """Play on from where the simulators are, until every episode is over or cut.

    Args:
        simulators: `n` of them, just reset or restored.
        observations: `(n, ...)` seen there.
        actor: Acts, with given random numbers.
        judge: Its value function stands for what follows a cut.
        generators: One per simulator: the source of its random numbers.
        horizon: How long, and what is counted.
        engine: Modulates the actor's actions; begun.
        playing: `(n,)` bool, which simulators matter; all where it is None. The others are stepped uncharged.
        watch: Told of every step.
    """
    number, dims = simulators.num_envs, uniforms_per_action(simulators.environment)
    observations = np.array(observations)
    alive = np.ones(number, dtype=bool) if playing is None else np.array(playing, dtype=bool)
    returns, factor, steps, covered = np.zeros(number), 1.0, 0, 0
    history: list[float] = []
    for _ in range(horizon.steps):
        uniforms = np.stack([draw(generator, dims) for generator in generators])
        if isinstance(actor, RulePolicy):
            actions, ruled = actor.act_and_cover(observations, uniforms)
            covered += int(np.count_nonzero(ruled & alive))
        else:
            actions = actor.act_with_uniforms(observations, uniforms)
        modulated = None if engine is None else engine.act(observations, actions)
        executed = actions if modulated is None else modulated.actions
        seen, rewards, terminated, truncated, info = simulators.step(executed)
        steps += int(np.count_nonzero(alive))
        if watch is not None:
            watch(observations, executed, np.asarray(rewards), np.asarray(terminated), np.asarray(truncated), alive)
        ended = np.asarray(terminated) | np.asarray(truncated)
        last = before_reset(np.asarray(seen), ended, info)
        if engine is not None and modulated is not None:
            engine.reward(np.asarray(rewards, dtype=np.float64), modulated, last, ended)
        returns += np.where(alive, factor * np.asarray(rewards), 0.0)
        if alive[0]:
            history.append(float(rewards[0]))
        factor *= horizon.discount
        cut = alive & np.asarray(truncated) & ~np.asarray(terminated)
        if horizon.value_at_truncation and cut.any():
            returns += np.where(cut, factor * judge.value(last), 0.0)
        alive &= ~ended
        observations = np.array(seen)
        if not alive.any():
            break
    if alive.any():
        returns += np.where(alive, factor * judge.value(observations), 0.0)
    return Wave(returns, steps, covered, int(np.count_nonzero(alive)), tuple(history))


@dataclass
class Budget:
    """Environment steps that may be spent, and those that were."""

    limit: int
    spent: int = 0

    def affords(self, steps: float) -> bool:
        """Whether so many more are within the limit."""
        return self.spent + steps <= self.limit


@dataclass(eq=False)
class Entrant:
    """A policy under test, and what it earned so far in pairs 0, 1, ...

    Attributes:
        policy: What acts.
        returns: By pair.
        steps: Environment steps it took.
        covered: In how many of them a rule acted.
        cut: Episodes that reached the horizon.
        rewards: Rewards of its first episode.
        watch: Told of every step of its waves.
        reckoned: Steps that its first episode is reckoned with, where something is known of them; None: the horizon.
    """

    policy: Policy
    returns: list[float] = field(default_factory=list)
    steps: int = 0
    covered: int = 0
    cut: int = 0
    rewards: tuple[float, ...] = ()
    watch: Watch | None = None
    reckoned: int | None = None

    def mean(self, pairs: int | None = None) -> float:
        """Mean return, of the first `pairs` only where a number is given; NaN without any."""
        return float(np.mean(self.returns[:pairs])) if self.returns else float("nan")

    def longest(self, horizon: int) -> float:
        """Steps of another episode to reckon with: what is known, then twice the mean so far; the horizon at most."""
        first = horizon if self.reckoned is None else self.reckoned
        return min(horizon, 2 * self.steps / len(self.returns) if self.steps else first)

    def note(self, wave: Wave, played: slice) -> None:
        """Put down what a wave brought."""
        self.rewards = self.rewards or wave.rewards
        self.returns += wave.returns[played].tolist()
        self.steps += wave.steps
        self.covered += wave.covered
        self.cut += wave.cut


@dataclass(frozen=True, eq=False)
class WaveJob:
    """A wave, wherever it is played.

    Attributes:
        policy: What acts.
        pairs: The pairs side by side.
        played: Which of them matter, by place.
        streams: Source of the starts and of the policy's randomness.
        horizon: How long, and what is counted.
        snapshots: Stored states to begin at, one for each pair; None begins afresh.
        watch: Told of every step, where the wave is played in this process.
    """

    policy: Policy
    pairs: range
    played: slice
    streams: Streams
    horizon: Horizon
    snapshots: tuple[bytes, ...] | None = None
    watch: Watch | None = None


class WavePlayer:
    """Plays waves on simulators of this process, which are kept for the next wave of the same width.

    Args:
        environment: The plugin.
        judge: Its value function stands for what follows a cut.
        workers: Processes that step the simulators, as `make_simulators` has it.
    """

    def __init__(self, environment: Environment, judge: Policy, workers: int = 0) -> None:
        self._environment, self._judge, self._workers = environment, judge, workers
        self._simulators: dict[int, Simulators] = {}

    def play(self, job: WaveJob) -> Wave:
        """What comes of a wave; depends on the job only."""
        width = len(job.pairs)
        if width not in self._simulators:
            self._simulators[width] = make_simulators(self._environment, width, self._workers)
        simulators, playing = self._simulators[width], np.zeros(width, dtype=bool)
        playing[job.played] = True
        # Some simulators cannot be restored before their first reset.
        fresh = job.snapshots is None
        seeds = [job.streams.integer("reset", pair) for pair in job.pairs] if fresh else [0] * width
        observations = np.asarray(simulators.reset(seed=seeds)[0])
        if job.snapshots is not None:
            observations = np.array(simulators.restore(range(width), job.snapshots))
        generators = [job.streams.generator("pair", pair) for pair in job.pairs]
        return play(
            simulators, observations, job.policy, self._judge, generators, job.horizon,
            playing=playing, watch=job.watch,
        )  # fmt: skip

    def close(self) -> None:
        """Close the simulators."""
        for simulators in self._simulators.values():
            simulators.close()


def make_wave_pool(environment: Environment, judge: Policy, engine: RunEngineConfig | None) -> WavePool | None:
    """Where waves are played side by side; None plays one after the other in this process.

    Raises:
        ConfigError: There is no such cluster.
        EnvironmentFault: The plugin fails to build its environments there.
    """
    if engine is None or engine.kind != "ray":
        return None
    from ultra_agents.verification.ray_pool import RayPool

    return RayPool(environment, partial(WavePlayer, environment, judge), 1, engine)


WavePool: TypeAlias = Pool[WaveJob, Wave]


class Paired:
    """Plays entrants in pairs, some side by side, within a budget; a context manager that owns its simulators.

    Args:
        environment: The plugin.
        judge: Its value function stands for what follows a cut.
        streams: Source of the starts and of the policies' randomness.
        horizon: How long, and what is counted.
        budget: What may be spent; charged here.
        width: Pairs side by side.
        workers: Processes that step them, as `make_simulators` has it.
        strict: The budget is never overspent; else episodes are reckoned to be about as long as they were.
        pool: Plays the waves in place of this process, with the same judge; the caller's.
    """

    def __init__(
        self,
        environment: Environment,
        judge: Policy,
        streams: Streams,
        horizon: Horizon,
        budget: Budget,
        *,
        width: int = 4,
        workers: int = 0,
        strict: bool = True,
        pool: WavePool | None = None,
    ) -> None:
        self._streams, self._horizon, self._budget, self._width = streams, horizon, budget, width
        self._strict = strict
        self._player, self._pool = WavePlayer(environment, judge, workers), pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._player.close()

    @property
    def left(self) -> int:
        """Environment steps of its budget that are not spent."""
        return self._budget.limit - self._budget.spent

    def extend(self, entrants: Sequence[Entrant], count: int) -> bool:
        """Bring every entrant to `count` pairs, in turn; false once the budget might not pay for a wave."""
        waiting = [(entrant, job) for entrant in entrants for job in self._jobs(entrant, count)]
        while waiting:
            some, reckoned = 0, 0.0
            for entrant, job in waiting:  # what is reckoned to be paid for may be played side by side
                length = self._horizon.steps if self._strict else entrant.longest(self._horizon.steps)
                reckoned += (job.played.stop - job.played.start) * length
                if not self._budget.affords(reckoned):
                    break
                some += 1
            if not some:
                return False
            for (entrant, job), wave in zip(
                waiting[:some], self._play([job for _, job in waiting[:some]]), strict=True
            ):
                entrant.note(wave, job.played)
                self._budget.spent += wave.steps
            waiting = waiting[some:]
        return True

    def _jobs(self, entrant: Entrant, count: int) -> list[WaveJob]:
        """The waves that bring an entrant to `count` pairs."""
        found, first, width = [], len(entrant.returns), self._width
        while first < count:
            block = first // width * width
            pairs, played = range(block, block + width), slice(first - block, min(count - block, width))
            states = self._states(pairs)
            found.append(WaveJob(entrant.policy, pairs, played, self._streams, self._horizon, states, entrant.watch))
            first = block + played.stop
        return found

    def _play(self, jobs: Sequence[WaveJob]) -> list[Wave]:
        if self._pool is None:
            return [self._player.play(job) for job in jobs]
        return [future.result() for future in [self._pool.submit(job) for job in jobs]]

    def _states(self, pairs: range) -> tuple[bytes, ...] | None:
        """The stored states that these pairs begin at; None begins afresh."""
        return None


class Episodes(Paired):
    """Paired episodes from fresh starts: pair `i` has the reset seed and the random numbers of its own address."""


class Windows(Paired):
    """Paired windows from stored states: pair `i` begins at `snapshots[i]`.

    Args:
        environment: Must be able to restore.
        snapshots: The states.
        options: As those of `Paired`.
    """

    def __init__(self, environment: Environment, *settings: Any, snapshots: Sequence[bytes], **options: Any) -> None:
        self._snapshots = tuple(snapshots)
        super().__init__(environment, *settings, **options)

    def _states(self, pairs: range) -> tuple[bytes, ...]:
        return tuple(self._snapshots[min(pair, len(self._snapshots) - 1)] for pair in pairs)


def states_of_interest(
    trajectories: Sequence[Trajectory], policies: Sequence[RulePolicy], count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Steps of stored episodes at which a set of rules would act otherwise than the policy did, `(episode, step)`.

    Stratified: as nearly as possible the same number from each episode, and within an episode one from each of as many
    stretches with equally many such steps. Costs no environment step. Episodes are positions in `trajectories`.
    """
    eligible: list[Array] = []
    for one in trajectories:
        otherwise = np.zeros(len(one), dtype=bool)
        for policy in policies if one.snapshots is not None else ():
            otherwise |= policy.differs(one.observations, one.actions)
        eligible.append(np.flatnonzero(otherwise))
    shares = [0] * len(eligible)
    while sum(shares) < min(count, sum(map(len, eligible))):
        open_ones = [index for index, steps in enumerate(eligible) if shares[index] < len(steps)]
        for index in sorted(open_ones, key=lambda one: shares[one])[: count - sum(shares)]:
            shares[index] += 1
    found = []
    for index, (steps, share) in enumerate(zip(eligible, shares, strict=True)):
        for stretch in np.array_split(steps, share) if share else ():
            found.append((index, int(rng.choice(stretch))))
    return found
