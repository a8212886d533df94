"""Advice tested together: episodes with the whole table in force, against the policy alone.

In sparse tasks no single suggestion shows a gain and the set does: on MountainCar no single push reaches the flag, the
table does (`docs/method.md`, "What was measured"). So a set of rows can be put to the test as it will be used:
episodes from reset of the policy modulated by the table at its real strength, paired by seed and uniforms with
episodes of the policy alone, which are played once and shared by all sets. A set that holds is kept whole. One that
does not is halved, the halves are tested, and so on (group testing: Dorfman 1943, "The detection of defective members
of large populations"); what held is put together and tested again. Not part of the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from ultra_agents.config import VerificationConfig
from ultra_agents.contracts import Environment, Modulation, Policy
from ultra_agents.records import set_verdict
from ultra_agents.rollout.simulators import LocalSimulators
from ultra_agents.seeding import Streams
from ultra_agents.verification.paired import Horizon, play
from ultra_agents.verification.sequential import Rule, decide, interval, looks, returns_spread

T = TypeVar("T")

PATIENCE = 2
"""How often a set that changed nothing is halved: to quarters."""
WHOLE = 0.75
"""Of the error, what the set as it is may take where it may be split; the parts share the rest."""


@dataclass(frozen=True)
class JointResult:
    """Outcome of testing a set of rows together.

    Attributes:
        gain: Mean paired difference of return (`joint_discount`) per episode: table minus policy alone.
        low: Lower end of its interval.
        high: Upper end.
        pairs: Paired episodes.
        env_steps: Environment steps spent, those on sets that failed included.
        passed: `kept` is not empty: its gain is positive with the confidence asked.
        stopped: `good`, `bad`, `hopeless`, `pairs`, `steps`, or `empty` where there was nothing to test.
        kept: Positions of the rows that are kept.
        sets: Sets tested.
        worst: The lowest paired difference.
    """

    gain: float
    low: float
    high: float
    pairs: int
    env_steps: int
    passed: bool
    stopped: str
    kept: tuple[int, ...]
    sets: int = 1
    worst: float = 0.0

    @property
    def verdict(self) -> str:
        """`ultra_agents.records.set_verdict`."""
        return set_verdict(self.pairs, self.passed, self.high, self.stopped)

    @property
    def leans(self) -> bool:
        """Undecided after all pairs, with a gain in the mean."""
        return self.stopped == "pairs" and self.gain > 0


class JointTester(Generic[T]):
    """Tests sets of rows; a context manager that owns its simulators.

    Args:
        environment: Needs no snapshots.
        policy: The starting policy.
        config: `joint_*` options, confidence, discount, noise.
        streams: Source of the uniforms.
        build: What some rows make of the policy: a fresh modulation, at the strength it will be used with, or another
            policy, which then acts with the very random numbers that the policy alone had.
        seeds: Reset seeds, `config.joint_pairs` at least, never evaluated on.
        progress: Told the environment steps so far, after every wave of episodes.
    """

    def __init__(
        self,
        environment: Environment,
        policy: Policy,
        config: VerificationConfig,
        streams: Streams,
        build: Callable[[Sequence[T]], Modulation | Policy],
        seeds: Sequence[int],
        progress: Callable[[int], object] = lambda steps: None,
    ) -> None:
        if len(seeds) < config.joint_pairs:
            raise ValueError(f"{len(seeds)} seeds for {config.joint_pairs} pairs")
        self._progress = progress
        self._policy, self._config, self._streams, self._build = policy, config, streams, build
        self._seeds = [int(seed) for seed in seeds[: config.joint_pairs]]
        self._looks = looks(min(config.joint_min_pairs, config.joint_pairs), config.joint_pairs)
        self._simulators = LocalSimulators(environment, self._looks[0])
        self._alone: list[float] = []
        self._built: dict[tuple[int, ...], Modulation | Policy] = {}
        self._spread = 0.0
        self.env_steps = 0

    def __enter__(self) -> JointTester[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the simulators."""
        self._simulators.close()

    def test(self, rows: Sequence[T], positions: Sequence[int] | None = None, error: float = 1.0) -> JointResult:
        """Test one set as a whole.

        Args:
            rows: The set.
            positions: Names of its rows in the result.
            error: Share of the configured error that this test may take.
        """
        began, places = self.env_steps, tuple(range(len(rows)) if positions is None else positions)
        if not rows:
            return JointResult(0.0, 0.0, 0.0, 0, 0, False, "empty", ())
        table, found, verdict, count = self._build(rows), list[float](), "pairs", 0
        self._built[places] = table
        for look in self._looks:
            while len(found) < look and self._affords(len(found)):
                found += self._wave(table, len(found))
            if len(found) < look:
                verdict = "steps"
                break
            verdict, count = decide(found[:look], self._rule(error)) or "pairs", look
            if verdict != "pairs":
                break
        ends = interval(found[:count] if count else found, self._rule(error))
        passed = verdict == "good"
        spent = self.env_steps - began
        kept, worst = places if passed else (), min(found[:count], default=0.0)
        return JointResult(ends.mean, ends.low, ends.high, count, spent, passed, verdict, kept, 1, worst)

    def select(self, rows: Sequence[T], lean: bool = False) -> JointResult:
        """The rows to keep: all if they hold together, else what is left after splitting and pruning.

        With `lean`, the whole set is also kept when it is still undecided after all pairs and earned more: where
        keeping and leaving cost the same, the better mean is the better choice. `passed` stays false then.

        A set that did harm may hide good rows behind bad ones and is split down to `config.joint_min_rows`; one that
        changed nothing is split `PATIENCE` times at most. All sets together never spend more than
        `config.joint_max_steps`, nor the chance of an error that `config.confidence` leaves: the k-th part takes
        1 / (k (k + 1)) of what the whole set did not.
        """
        began, sets, smallest = self.env_steps, 0, self._config.joint_min_rows
        first = WHOLE if len(rows) >= 2 * smallest else 1.0

        def error(before: int) -> float:
            return (1 - first) / (before * (before + 1)) if before else first

        held: list[JointResult] = []
        queue = [(tuple(range(len(rows))), PATIENCE)]
        whole: JointResult | None = None
        while queue:
            part, patience = queue.pop(0)
            result = self.test([rows[index] for index in part], part, error(sets))
            sets += 1
            if lean and whole is None and result.leans:
                return replace(result, kept=part, env_steps=self.env_steps - began, sets=sets)
            whole = whole or result
            if result.passed:
                held.append(result)
            elif result.stopped == "steps":
                break
            elif len(part) >= 2 * smallest:
                harmless = result.worst >= -self._config.min_gain * self._spread
                if patience or not harmless:
                    middle, left = len(part) // 2, patience - harmless
                    queue += [(part[:middle], left), (part[middle:], left)]
        assert whole is not None, "the queue begins with the whole set"
        best = max(held, key=lambda result: result.low, default=whole)
        if len(held) > 1:
            union = tuple(sorted(index for result in held for index in result.kept))
            together = self.test([rows[index] for index in union], union, error(sets))
            sets += 1
            best = together if together.passed else best
        return replace(best, env_steps=self.env_steps - began, sets=sets)

    def built(self, positions: tuple[int, ...]) -> Modulation | Policy:
        """What `build` made of the rows at `positions`, as it was tested."""
        return self._built[positions]

    # -- episodes ----------------------------------------------------------------------------------------------

    def _rule(self, error: float) -> Rule:
        config = self._config
        confidence = 1 - (1 - config.confidence) * error
        return Rule(self._looks, confidence, config.noise * self._spread, config.min_gain * self._spread)

    def _affords(self, first: int) -> bool:
        """Whether another wave fits under the cap, in the worst case."""
        arms = 2 if first >= len(self._alone) else 1
        return self.env_steps + arms * self._simulators.num_envs * self._config.joint_horizon <= (
            self._config.joint_max_steps
        )

    def _wave(self, table: Modulation | Policy, first: int) -> list[float]:
        """Differences of the pairs from `first` on, as many as there are simulators (or pairs left)."""
        count = min(self._simulators.num_envs, len(self._seeds) - first)
        if first >= len(self._alone):
            self._alone += self._episodes(None, first)[:count]
        if not isinstance(table, Policy):
            table.begin(self._simulators.num_envs)
        with_table = self._episodes(table, first)[:count]
        self._progress(self.env_steps)
        return [with_table[index] - self._alone[first + index] for index in range(count)]

    def _episodes(self, table: Modulation | Policy | None, first: int) -> list[float]:
        """Discounted returns, value at the cut, of one episode per simulator."""
        config, policy = self._config, self._policy
        actor, engine = (table, None) if isinstance(table, Policy) else (policy, table)
        pairs = [(first + index) % len(self._seeds) for index in range(self._simulators.num_envs)]
        observations, _ = self._simulators.reset(seed=[self._seeds[pair] for pair in pairs])
        wave = play(
            self._simulators,
            observations,
            actor,
            policy,
            [self._streams.generator("joint", pair) for pair in pairs],
            Horizon(config.joint_horizon, config.joint_discount),
            engine=engine,
        )
        self.env_steps += wave.steps
        if table is None and first == 0:
            self._spread = returns_spread(wave.rewards, config.joint_discount)
        return [float(value) for value in wave.returns]
