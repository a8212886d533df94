"""The simulator disposes: a suggestion is a claim, and the claim is tested.

"From this state, this plan, then the policy, earns more than the policy alone." From the stored simulator state, pairs
of rollouts are played under common random numbers: the uniforms depend on episode, step, pair and time only, so the
difference within a pair is the plan's doing. The policy alone is played once per pair, as far as any candidate at that
state needs it, and shared by all of them, later revisions included. Not part of the ULTRA paper (`docs/method.md`,
"Choices the paper leaves open").

What makes it cheap:

- Until a plan ends nothing is drawn, so all its pairs begin alike: the first pair plays it, the others go on from the
  state it led to.
- Most suggestions gain nothing, and a short look at `screen_pairs` pairs tells most of those apart. It is cut after
  `screen_horizon` steps or with the plan, whichever is later, where the value function stands for the rest: what a
  plan of many steps has done shows when it is over, and what follows only adds noise. A suggestion that earned half
  of `min_gain` in none of these pairs is left; one lost pair is no refutation where another was won.
- What is left goes on to `horizon` and to a group-sequential test (`sequential.py`) of few, late looks: the error is
  shared out over them, so that each look more makes all of them stricter.

What it costs and how often it is wrong is printed by `benchmarks/verification.py`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ultra_agents.config import VerificationConfig
from ultra_agents.config.engine import RunEngineConfig
from ultra_agents.contracts import Environment, Policy
from ultra_agents.records import Array, FloatArray, Plan, Suggestion, TestResult, Trajectory
from ultra_agents.seeding import Streams
from ultra_agents.verification.jobs import Terms
from ultra_agents.verification.local_pool import Pool
from ultra_agents.verification.pool import make_pool
from ultra_agents.verification.sequential import Rule, looks, returns_spread
from ultra_agents.verification.state_test import Halving, StateTest, Tested
from ultra_agents.verification.validity import refusal, snapshot_of

TRACED = 4096
"""Bytes of an observation up to which the first pair of replays is kept, to be told step by step."""


class CounterfactualTester:
    """Tests suggestions; safe to call from several threads, whose rollouts are then played side by side.

    Gain, interval and verdict of a suggestion depend on the seed and the suggestion only: not on workers, slots,
    threads or the order of requests. Of the suggestions at one state the first one asked for pays for the policy's own
    rollouts; their sum does not depend on the order. The cap of the run is shared out evenly in advance instead of
    being raced for.

    Args:
        environment: Must be able to restore.
        policy: Whose episodes are explained; picklable if there are workers.
        config: Pairs, horizons, confidence, discount, caps.
        streams: Source of the common random numbers.
        max_tests: How many tests a run can need at most; each may take `config.max_steps / max_tests` steps.
        workers: Processes that play; 0 plays in a thread of this one.
        slots: Rollouts played side by side, in each process.
        engine: Where the workers are: see `make_pool`.
        usual: The reward that steps of an episode earn as a rule, from its rewards `(T,)`; None where there is none.

    Attributes:
        refused: How often a suggestion was not tested, by reason.
    """

    def __init__(
        self,
        environment: Environment,
        policy: Policy,
        config: VerificationConfig,
        streams: Streams,
        *,
        max_tests: int,
        workers: int = 0,
        slots: int = 32,
        engine: RunEngineConfig | None = None,
        usual: Callable[[FloatArray], float | None] = lambda rewards: None,
    ) -> None:
        self._usual = usual
        self._environment, self._config = environment, config
        self._cap = min(config.max_steps // max(max_tests, 1), config.max_test_steps)
        slots = max(slots, 2)
        self._side_by_side = slots * max(workers, 1)
        self._lock = threading.Lock()
        self._states: dict[tuple[int, int], _State] = {}
        self._spreads: dict[int, float] = {}
        self.refused: Counter[str] = Counter()
        self._pool: Pool[StateTest, tuple[Tested, ...]] = make_pool(
            environment, policy, Terms(streams, config.discount), workers, slots, engine
        )
        self._spent = 0

    def __enter__(self) -> CounterfactualTester:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the simulators and workers."""
        self._pool.close()

    @property
    def env_steps(self) -> int:
        """Environment steps charged so far."""
        return self._spent

    def __call__(
        self, trajectory: Trajectory, suggestion: Suggestion, earlier: Sequence[Plan] = ()
    ) -> TestResult | None:
        """Test one suggestion made for a step of `trajectory`.

        Args:
            trajectory: The episode.
            suggestion: The claim.
            earlier: Plans tested at this state before. They have paid for the policy's own rollouts; where another
                process played those, they are played again for no charge, so that what a test costs does not depend
                on where a run was interrupted.

        Returns:
            The measurement; `stopped="invalid"` where there is nothing to test (`refusal` says why); None where the
            budget does not pay for a first look.

        Raises:
            EnvironmentFault: The plugin failed, a worker died, or the tester is closed.
        """
        return self.compare(trajectory, [suggestion], earlier)[0]

    def test_all(self, trajectory: Trajectory, suggestions: Sequence[Suggestion]) -> list[TestResult | None]:
        """Test suggestions for any steps of an episode side by side; each as by a call of its own."""
        threads = ThreadPoolExecutor(min(self._side_by_side, max(len(suggestions), 1)))
        try:
            return list(threads.map(lambda one: self(trajectory, one), suggestions))
        finally:
            threads.shutdown(cancel_futures=True)

    def compare(
        self, trajectory: Trajectory, suggestions: Sequence[Suggestion], earlier: Sequence[Plan] = ()
    ) -> list[TestResult | None]:
        """Test candidates for one state against each other, by successive halving.

        All get the first look; after each look the better half of those still in doubt goes on to more pairs, and the
        others stop as `outdone` (Karnin et al. 2013, "Almost optimal exploration in multi-armed bandits").

        Args:
            trajectory: The episode.
            suggestions: The claims.
            earlier: As for a single test.

        Raises:
            ValueError: The candidates are not for one state.
            EnvironmentFault: As for a single test.
        """
        if len({(one.episode, one.step) for one in suggestions}) > 1:
            raise ValueError("candidates for different states cannot be compared")
        results: list[TestResult | None] = [None] * len(suggestions)
        valid: list[int] = []
        for index, one in enumerate(suggestions):
            why = self._why_not(trajectory, one)
            if why is None:
                valid.append(index)
            else:
                results[index] = self._refused(why)
        if valid:
            plans = tuple(self._actions(suggestions[index].plan) for index in valid)
            address = suggestions[valid[0]].episode, suggestions[valid[0]].step
            for index, found in zip(valid, self._tested(trajectory, address, plans, earlier), strict=True):
                results[index] = self._refused(found.fault, found.steps) if found.fault else found.result
        return results

    # -- one state ---------------------------------------------------------------------------------------------

    def _tested(
        self, trajectory: Trajectory, address: tuple[int, int], plans: tuple[Array, ...], earlier: Sequence[Plan]
    ) -> tuple[Tested, ...]:
        """What comes of candidates for a state, one test there after the other."""
        first = np.asarray(trajectory.observations[address[1]])
        with self._lock:
            state = self._states.setdefault(address, _State())
        with state.lock:
            if not state.before:
                claims = [Suggestion(*address, plan) for plan in earlier]
                fit = [one for one in claims if self._why_not(trajectory, one) is None]
                state.before = [(self._actions(one.plan),) for one in fit]
            test = StateTest(
                address,
                snapshot_of(trajectory, address[1]),
                plans,
                tuple(state.before),
                self._halving(trajectory),
                first if first.nbytes <= TRACED else None,
                self._usual(trajectory.rewards),
            )
            found = self._pool.submit(test, address).result()
            state.before.append(plans)
        with self._lock:
            self._spent += sum(one.steps for one in found)
        return found

    def _why_not(self, trajectory: Trajectory, suggestion: Suggestion) -> str | None:
        return refusal(self._environment, trajectory, suggestion, self._config.longest_plan)

    def _actions(self, plan: Plan) -> Array:
        return np.asarray(self._environment.actions.encode_plan(plan.moves))

    def _halving(self, trajectory: Trajectory) -> Halving:
        config = self._config
        with self._lock:
            if trajectory.episode not in self._spreads:
                self._spreads[trajectory.episode] = returns_spread(trajectory.rewards, config.discount)
            spread = self._spreads[trajectory.episode]
        at = looks(min(config.min_pairs, config.max_pairs), config.max_pairs)
        rule = Rule(at, config.confidence, config.noise * spread, config.min_gain * spread)
        return Halving(rule, config.screen_pairs, config.screen_horizon, config.horizon, self._cap)

    def _refused(self, why: str, steps: int = 0) -> TestResult:
        with self._lock:
            self.refused[why] += 1
        return TestResult(0.0, 0.0, 0.0, 0, steps, False, "invalid")


@dataclass
class _State:
    """Tests at a state: one at a time, and the plans of those that are over, test by test."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    before: list[tuple[Array, ...]] = field(default_factory=list)


def max_tests(segments: int, max_critical: int, max_revisions: int) -> int:
    """How many tests explaining `segments` segments can ask for at most."""
    return segments * max_critical * (1 + max_revisions)
