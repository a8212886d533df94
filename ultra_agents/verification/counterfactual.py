"""The simulator disposes: a suggestion is a claim, and the claim is tested.

"From this state, this action for `hold` steps, then the policy, earns more than the policy alone." From the stored
simulator state, pairs of rollouts are played under common random numbers: both arms draw the policy's actions from
the same uniforms, so that their difference is the suggestion's doing. A rollout is cut at `horizon` steps, where the
policy's value function stands for the rest; a pair whose arms meet in the same observation after the hold has nothing
left to differ in and ends there. Not part of the ULTRA paper (METHOD section 1, "beyond the paper").
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from ultra_agents.config import VerificationConfig
from ultra_agents.contracts import Environment, Policy
from ultra_agents.records import Array, FloatArray, Suggestion, TestResult, Trajectory
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams
from ultra_agents.verification.sequential import decide, interval


class CounterfactualTester:
    """Tests suggestions one by one; safe to call from several threads.

    The result of a test depends on the seed and the suggestion only, not on the order of tests: the cap of the run is
    shared out evenly in advance instead of being raced for.

    Args:
        environment: For the action codec.
        simulators: Parallel environments that can restore; used by this tester alone.
        policy: Whose episodes are explained.
        config: Pairs, horizon, confidence, discount.
        streams: Source of the common random numbers.
        max_tests: How many tests a run can need at most; `config.max_steps / max_tests` caps each.
    """

    def __init__(
        self,
        environment: Environment,
        simulators: Simulators,
        policy: Policy,
        config: VerificationConfig,
        streams: Streams,
        max_tests: int,
    ) -> None:
        self._environment = environment
        self._simulators = simulators
        self._policy = policy
        self._config = config
        self._streams = streams
        self._cap = max(config.max_steps // max(max_tests, 1), 1)
        self._lock = threading.Lock()
        self._dims = max(int(np.prod(environment.action_space.shape or ())), 1)
        simulators.reset(seed=streams.integers(simulators.num_envs, "reset"))

    def __call__(self, trajectory: Trajectory, suggestion: Suggestion) -> TestResult:
        """Test one suggestion made for a step of `trajectory`, whose snapshots must be there."""
        with self._lock:
            return self._test(trajectory, suggestion)

    def _test(self, trajectory: Trajectory, suggestion: Suggestion) -> TestResult:
        config = self._config
        width = max(self._simulators.num_envs // 2, 1)
        differences: list[float] = []
        steps, stopped = 0, "pairs"
        while len(differences) < config.max_pairs:
            count = min(width, config.max_pairs - len(differences), max(config.min_pairs - len(differences), 2))
            found, used = self._play(trajectory, suggestion, first=len(differences), count=count)
            differences += found
            steps += used
            verdict = decide(differences, config.min_pairs, config.confidence)
            if verdict is not None:
                stopped = verdict
                break
            if steps >= self._cap:
                stopped = "steps"
                break
        gain = interval(differences, config.confidence)
        passed = len(differences) >= 2 and gain.low > 0
        return TestResult(gain.mean, gain.low, gain.high, len(differences), steps, passed, stopped)

    def _play(self, trajectory: Trajectory, suggestion: Suggestion, first: int, count: int) -> tuple[list[float], int]:
        """Play pairs `first .. first + count`; their differences, and the environment steps taken."""
        assert trajectory.snapshots is not None
        config, sims = self._config, self._simulators
        arms = 2 * count
        snapshot = trajectory.snapshots[suggestion.step]
        observations = np.array(sims.restore(range(arms), [snapshot] * arms))
        uniforms = self._uniforms(suggestion, first, count)
        action = self._environment.actions.encode(suggestion.action)
        returns, alive = np.zeros(arms), np.ones(arms, dtype=bool)
        used, factor = 0, 1.0
        for time in range(config.horizon):
            actions = np.zeros((sims.num_envs, *np.shape(action)), dtype=np.asarray(action).dtype)
            own = self._policy.act_with_uniforms(observations, np.concatenate([uniforms[:, time]] * 2))
            if time < suggestion.hold:
                own[:count] = action
            actions[:arms] = own
            used += int(np.count_nonzero(alive))
            seen, rewards, terminated, truncated, infos = sims.step(actions)
            returns += np.where(alive, factor * np.asarray(rewards)[:arms], 0.0)
            factor *= config.discount
            ended = (np.asarray(terminated) | np.asarray(truncated))[:arms]
            cut = alive & np.asarray(truncated)[:arms] & ~np.asarray(terminated)[:arms]
            if cut.any():
                finals = np.stack([infos["final_obs"][i] for i in np.flatnonzero(cut)])
                returns[cut] += factor * self._policy.value(finals)
            alive &= ~ended
            observations = np.array(np.asarray(seen)[:arms])
            if time + 1 >= suggestion.hold:
                met = self._met(observations, alive, count)
                alive &= ~np.concatenate([met, met])
            if not alive.any():
                break
        if alive.any():
            returns[alive] += factor * self._policy.value(observations[alive])
        return [float(d) for d in returns[:count] - returns[count:]], used

    def _met(self, observations: Array, alive: Array, count: int) -> Array:
        """Pairs whose two arms see the same: with the same random numbers ahead they stay together."""
        same = np.array([np.array_equal(observations[i], observations[count + i]) for i in range(count)])
        return np.asarray(same & alive[:count] & alive[count:])

    def _uniforms(self, suggestion: Suggestion, first: int, count: int) -> FloatArray:
        """`(count, horizon, d)` in (0, 1), the same for every suggestion at one state, so that they compare fairly."""
        address: Sequence[int] = (suggestion.episode, suggestion.step)
        draws = [
            self._streams.generator("pair", *address, pair).random((self._config.horizon, self._dims))
            for pair in range(first, first + count)
        ]
        return np.clip(np.stack(draws), 1e-9, 1 - 1e-9)


def max_tests(segments: int, max_critical: int, max_revisions: int) -> int:
    """How many tests explaining `segments` segments can ask for at most."""
    return segments * max_critical * (1 + max_revisions)
