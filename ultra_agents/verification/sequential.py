"""When a paired test has seen enough.

A group-sequential test of the mean paired difference. The differences are looked at a few times, at numbers of pairs
fixed in advance (`looks`), and the one-sided error asked for is shared out over the looks in equal parts, so that
looking more than once does not raise it (Bonferroni's bound; Pocock 1977 and Lan and DeMets 1983 spend the error alike
but need the joint law of the looks). Each look is a Student t-test whose variance has a noise floor worth one pair: a
few pairs that happen to agree must not pass for certainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

import numpy as np
from scipy.special import stdtrit  # what scipy.stats computes with; that takes two seconds to load

from ultra_agents.records import FloatArray

Decision: TypeAlias = Literal["good", "bad", "hopeless"]


@dataclass(frozen=True)
class Rule:
    """When to stop.

    Attributes:
        looks: Numbers of pairs at which the differences are looked at, increasing, the first at least 2.
        confidence: That an accepted gain is positive, over all looks, one-sided.
        noise: Standard deviation of a difference that is taken for granted, in units of return; counts as one pair.
        min_gain: Gains below are not worth finding, in units of return.
    """

    looks: tuple[int, ...]
    confidence: float
    noise: float
    min_gain: float


@dataclass(frozen=True)
class GainInterval:
    """Mean of paired differences; each end holds with the confidence asked, however the test stopped."""

    mean: float
    low: float
    high: float


def returns_spread(rewards: FloatArray | Sequence[float], discount: float) -> float:
    """Standard deviation of the discounted returns-to-go along an episode: the scale of what can be gained there."""
    to_go = np.zeros(len(rewards) + 1)
    for step in range(len(rewards) - 1, -1, -1):
        to_go[step] = rewards[step] + discount * to_go[step + 1]
    return float(to_go[:-1].std()) if len(rewards) else 0.0


def looks(first: int, last: int) -> tuple[int, ...]:
    """Numbers of pairs to look at: `first`, doubled until `last`."""
    found = [min(first, last)]
    while found[-1] < last:
        found.append(min(2 * found[-1], last))
    return tuple(found)


def interval(differences: Sequence[float], rule: Rule) -> GainInterval:
    """The interval after these differences.

    With fewer than two differences it is as wide as the noise makes it at two: nothing is known then.
    """
    error = (1 - rule.confidence) / len(rule.looks)
    return _student(differences, rule.noise, 1 - error)


def decide(differences: Sequence[float], rule: Rule) -> Decision | None:
    """What is clear after these differences, else None: go on.

    `good`: positive, at the rule's confidence. `bad`: negative, likewise. `hopeless`: below the smallest interesting
    gain. That end is not corrected for looking often: giving up wrongly costs a suggestion, not a wrong belief.
    """
    if len(differences) < rule.looks[0]:
        return None
    found = interval(differences, rule)
    if found.low > 0:
        return "good"
    if found.high < 0:
        return "bad"
    return "hopeless" if _student(differences, rule.noise, HOPE).high < rule.min_gain else None


HOPE = 0.9
"""One-sided confidence with which a gain is called uninteresting."""


def _student(differences: Sequence[float], noise: float, confidence: float) -> GainInterval:
    values = np.asarray(differences, dtype=np.float64)
    count = len(values)
    mean = float(values.mean()) if count else 0.0
    squares = noise**2 + float(((values - mean) ** 2).sum()) if count else noise**2
    freedom = max(count - 1, 1)
    scale = np.sqrt(squares / max(count, 1)) / np.sqrt(max(count, 1))
    half = float(_quantile(confidence, freedom) * scale)
    return GainInterval(mean, mean - half, mean + half)


@cache
def _quantile(confidence: float, freedom: int) -> float:
    return float(stdtrit(freedom, confidence))
