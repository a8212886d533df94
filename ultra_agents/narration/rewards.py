"""Which rewards of an episode say something: the ones that differ from the usual."""

from __future__ import annotations

import numpy as np

from ultra_agents.records import Array, FloatArray

USUAL_SHARE = 0.8
"""A reward this common in an episode is its usual one; the others are events."""
OUTLIER = 8.0
"""Where no reward is usual, one this many median deviations from the median stands out."""


def usual_reward(rewards: FloatArray) -> float | None:
    """The reward `(T,)` steps earn as a rule, or None where rewards are dense."""
    if len(rewards) == 0:
        return None
    values, counts = np.unique(rewards, return_counts=True)
    top = int(np.argmax(counts))
    # The last reward is often the only event of a short episode, so one exception is always allowed.
    common = counts[top] >= USUAL_SHARE * len(rewards) or 2 <= counts[top] == len(rewards) - 1
    return float(values[top]) if common else None


def reward_events(rewards: FloatArray) -> Array:
    """`(T,)` bool: distinct rewards; all False for dense rewards and for constant ones."""
    usual = usual_reward(rewards)
    if usual is None:
        return np.zeros(len(rewards), dtype=bool)
    return np.asarray(rewards != usual)


def unusual_rewards(rewards: FloatArray) -> Array:
    """`(T,)` bool: steps that have to be told; events, or outliers among dense rewards."""
    if usual_reward(rewards) is not None or len(rewards) == 0:
        return reward_events(rewards)
    distance = np.abs(rewards - np.median(rewards))
    return np.asarray(distance > OUTLIER * max(float(np.median(distance)), 1e-12))
