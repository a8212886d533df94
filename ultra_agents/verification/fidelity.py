"""Identification fidelity (StateMask, NeurIPS 2023): do the named steps matter more than random ones.

The score of an explanation is `log(d / d_max) - log(l / L)`: the actions in the most critical window of `l` of the `L`
steps are randomised, `d` is the mean absolute change of return, and `d_max` the largest change possible; higher is
better. Reported for `l` = 10, 20, 30 and 40 % of `L`.

What the paper leaves open, and is ours:

- *Where the window lies.* Agents name steps, not an importance for each step. The window is the run of `l`
  consecutive steps whose named steps have the largest sum of importance x agreement; of several, the one with those
  steps nearest to its middle, then the earliest.
- *`L`* is the length of the segment the agents were shown, because only there could they name anything. (StateMask's
  Pong has episodes of one point, which is about the same.)
- *The change of return* is measured by pairs of rollouts from the stored simulator state at the window's first step
  under common random numbers, so that a stochastic policy does not change by itself: one plays uniformly random
  actions for `l` steps, then the policy; the other is the policy alone. Returns are discounted and cut `horizon` steps
  after the window, where the policy's value stands for the rest.
- *`d_max`* is estimated: the largest absolute change of any rollout of the measurement, for all windows and shares. It
  cancels wherever two scores of one measurement are compared, and makes scores of different environments or policies
  incomparable. (RICE's released code has a constant per task.)
- *Random windows* of the same length in the same segment are the control; the difference of the two scores has a
  bootstrap interval over segments. A `d` of 0 has no logarithm: that score is None.

Measurement, not method: its environment steps are reported apart and charged to nobody.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ultra_agents.contracts import Environment, Policy
from ultra_agents.contracts.environment import random_actions, uniforms_per_action
from ultra_agents.errors import ConfigError
from ultra_agents.records import CriticalState, Explanation, FloatArray, Segment, Trajectory
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams

SHARES = (0.1, 0.2, 0.3, 0.4)
RESAMPLES = 2000


@dataclass(frozen=True)
class FidelityScore:
    """The fidelity at one share K of the steps.

    Attributes:
        share: K, in (0, 1].
        critical: Score of the windows around the critical steps; None where nothing changed.
        random: Score of random windows.
        difference: `critical - random`, which no choice of `d_max` can change.
        low: Lower end of the difference's interval.
        high: Upper end; both None where there are fewer than three segments or a resampled `d` was 0.
        d_critical: Mean absolute change of return, critical windows.
        d_random: The same for random windows.
    """

    share: float
    critical: float | None
    random: float | None
    difference: float | None
    low: float | None
    high: float | None
    d_critical: float
    d_random: float


@dataclass(frozen=True)
class Fidelity:
    """What a measurement of fidelity found.

    Attributes:
        scores: One per share.
        d_max: The largest absolute change of return seen.
        segments: Stretches measured: those with a critical step.
        windows: Windows played, critical and random, over all shares.
        env_steps: Environment steps it took, charged to nobody.
        confidence: Of the intervals.
    """

    scores: tuple[FidelityScore, ...]
    d_max: float
    segments: int
    windows: int
    env_steps: int
    confidence: float


@dataclass(frozen=True)
class _Window:
    """Steps `start .. start + length - 1` of an episode; `draw` tells repetitions apart."""

    trajectory: Trajectory
    start: int
    length: int
    draw: int


def critical_window(segment: Segment, critical: Sequence[CriticalState], length: int) -> int:
    """First step of the window of `length` steps of `segment` that holds the most importance."""
    weights = np.zeros(segment.stop - segment.start)
    for state in critical:
        weights[state.step - segment.start] += state.importance * state.agreement
    if not weights.any():  # named, but said to be unimportant: named all the same
        weights[[state.step - segment.start for state in critical]] = 1.0
    sums = np.convolve(weights, np.ones(length), "valid")
    best = np.flatnonzero(sums >= sums.max() - 1e-9)
    centre = [
        abs(float(np.average(np.arange(length), weights=weights[start : start + length])) - (length - 1) / 2)
        for start in best
    ]
    return segment.start + int(best[int(np.argmin(np.round(centre, 9)))])


def measure_fidelity(
    explanations: Sequence[Explanation],
    trajectories: Sequence[Trajectory],
    *,
    environment: Environment,
    policy: Policy,
    simulators: Simulators,
    streams: Streams,
    repeats: int = 4,
    shares: Sequence[float] = SHARES,
    horizon: int = 60,
    discount: float = 0.99,
    confidence: float = 0.95,
) -> Fidelity | None:
    """Measure the fidelity of what was identified; None where no critical step was named or no state stored.

    Args:
        explanations: The segments with their critical states.
        trajectories: Their episodes, with simulator states.
        environment: For its action space, discrete or a bounded box.
        policy: Whose episodes were explained.
        simulators: Two environments or more that can restore; used by this call alone.
        streams: Source of all randomness.
        repeats: Random windows per segment and share, and as many draws of random actions in the critical one.
        shares: The values of K.
        horizon: Environment steps after the window before the cut.
        discount: Of rewards, and of the value at the cut.
        confidence: Of the intervals, two-sided.

    Raises:
        ConfigError: Fewer than two simulators, or an action space nothing can be drawn from.
    """
    if simulators.num_envs < 2:
        raise ConfigError("fidelity is measured in pairs", found="1 simulator", expected="2 or more")
    by_episode = {trajectory.episode: trajectory for trajectory in trajectories}
    named = [
        explanation for explanation in explanations
        if explanation.states and by_episode[explanation.segment.episode].snapshots is not None
    ]  # fmt: skip
    if not named:
        return None
    jobs: list[_Window] = []
    for explanation in named:
        segment = explanation.segment
        trajectory, steps = by_episode[segment.episode], segment.stop - segment.start
        rng = streams.generator("windows", segment.name)
        for share in shares:
            length = max(1, round(share * steps))
            start = critical_window(segment, explanation.states, length)
            for draw in range(repeats):
                elsewhere = segment.start + int(rng.integers(steps - length + 1))
                jobs.append(_Window(trajectory, start, length, draw))
                jobs.append(_Window(trajectory, elsewhere, length, repeats + draw))
    changes, used = _play_all(jobs, environment, policy, simulators, streams, horizon, discount)
    # (segments, shares, repeats, critical or random)
    table = np.abs(changes).reshape(len(named), len(shares), repeats, 2)
    d_max = float(table.max())
    # Windows are whole steps: the ratio l / L of short segments is not quite the share.
    ratios = np.array([job.length / (one.segment.stop - one.segment.start) for one, job in _owners(named, jobs)])
    logs = np.log(ratios).reshape(table.shape).mean(axis=(0, 2, 3))
    rng = streams.generator("bootstrap")
    scores = tuple(
        _score(share, float(logs[index]), table[:, index].mean(axis=1), d_max, confidence, rng)
        for index, share in enumerate(shares)
    )
    return Fidelity(scores, d_max, len(named), len(jobs), used, confidence)


def _owners(named: Sequence[Explanation], jobs: Sequence[_Window]) -> list[tuple[Explanation, _Window]]:
    each = len(jobs) // len(named)
    return [(named[index // each], job) for index, job in enumerate(jobs)]


def _score(
    share: float, log_ratio: float, d: FloatArray, d_max: float, confidence: float, rng: np.random.Generator
) -> FidelityScore:
    """From `(segments, 2)` mean changes, critical and random, to the score; `log_ratio` is log(l / L)."""
    critical, random = (float(value) for value in d.mean(axis=0))
    scores = [math.log(value / d_max) - log_ratio if value > 0 else None for value in (critical, random)]
    difference = low = high = None
    if scores[0] is not None and scores[1] is not None:
        difference = scores[0] - scores[1]
        drawn = d[rng.integers(len(d), size=(RESAMPLES, len(d)))].mean(axis=1)
        if len(d) >= 3 and (drawn > 0).all():
            ends = np.quantile(np.log(drawn[:, 0] / drawn[:, 1]), [(1 - confidence) / 2, (1 + confidence) / 2])
            low, high = float(ends[0]), float(ends[1])
    return FidelityScore(share, scores[0], scores[1], difference, low, high, critical, random)


def _play_all(
    jobs: Sequence[_Window],
    environment: Environment,
    policy: Policy,
    simulators: Simulators,
    streams: Streams,
    horizon: int,
    discount: float,
) -> tuple[FloatArray, int]:
    """Changes of return `(len(jobs),)` in the order of the jobs, and the environment steps taken."""
    simulators.reset(seed=streams.integers(simulators.num_envs, "reset"))
    width = simulators.num_envs // 2
    order = sorted(range(len(jobs)), key=lambda index: jobs[index].length)  # equal lengths end together
    changes, used = np.zeros(len(jobs)), 0
    for begin in range(0, len(jobs), width):
        wave = order[begin : begin + width]
        found, steps = _play([jobs[i] for i in wave], environment, policy, simulators, streams, horizon, discount)
        changes[wave] = found
        used += steps
    return changes, used


def _play(
    wave: Sequence[_Window],
    environment: Environment,
    policy: Policy,
    simulators: Simulators,
    streams: Streams,
    horizon: int,
    discount: float,
) -> tuple[FloatArray, int]:
    """Play pairs: the first half of the environments randomises, the second is the policy alone."""
    count, ends = len(wave), np.array([job.length for job in wave] * 2)
    dims = uniforms_per_action(environment)
    states = [(job.trajectory.snapshots or ())[job.start] for job in wave]
    observations = np.array(simulators.restore(range(2 * count), states * 2))
    longest = int(ends.max()) + horizon
    own, noise = [], []
    for job in wave:
        rng = streams.generator("window", job.trajectory.episode, job.start, job.length, job.draw)
        own.append(rng.random((job.length + horizon, dims)).clip(1e-9, 1 - 1e-9))
        noise.append(random_actions(environment, rng, job.length))
    returns, alive, factor, used = np.zeros(2 * count), np.ones(2 * count, dtype=bool), 1.0, 0
    for time in range(longest):
        draws = np.stack([one[min(time, len(one) - 1)] for one in own])  # pairs that are over still take a number
        acts = np.array(policy.act_with_uniforms(observations, np.concatenate([draws, draws])))
        for index, job in enumerate(wave):
            if time < job.length:
                acts[index] = noise[index][time]
        actions = np.zeros((simulators.num_envs, *acts.shape[1:]), dtype=acts.dtype)
        actions[: 2 * count] = acts
        used += int(np.count_nonzero(alive))
        seen, rewards, terminated, truncated, _ = simulators.step(actions)
        returns += np.where(alive, factor * np.asarray(rewards)[: 2 * count], 0.0)
        factor *= discount
        alive &= ~(np.asarray(terminated) | np.asarray(truncated))[: 2 * count]
        observations = np.array(np.asarray(seen)[: 2 * count])
        cut = alive & (time + 1 >= ends + horizon)
        if cut.any():
            returns[cut] += factor * np.asarray(policy.value(observations[cut]))
            alive &= ~cut
        if not alive.any():
            break
    return returns[:count] - returns[count:], used
