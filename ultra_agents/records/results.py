"""What a run costs and what came of it: model usage, returns, learning curves, one result per method."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Usage:
    """What language-model calls cost.

    Attributes:
        calls: Requests that reached a model.
        cached: Answers that came from the cache instead.
        prompt_tokens: Tokens sent.
        completion_tokens: Tokens received.
        seconds: Wall time spent waiting.
        cost: Money, in the currency of the configured prices; 0 where no price is known.
    """

    calls: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    cost: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.cached + other.cached,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
            self.cost + other.cost,
        )


@dataclass(frozen=True)
class Returns:
    """Undiscounted returns of evaluation episodes, one seed each, no modulation.

    Attributes:
        values: One return per episode.
        seeds: The reset seed of each episode, never used in training.
        lengths: Steps of each episode.
    """

    values: tuple[float, ...]
    seeds: tuple[int, ...]
    lengths: tuple[int, ...]

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.values))

    def __repr__(self) -> str:
        return f"Returns(mean={self.mean:.2f}, episodes={len(self.values)})"


@dataclass(frozen=True)
class CurvePoint:
    """One point of a learning curve.

    Attributes:
        steps: Environment steps of refinement spent so far.
        value: Mean return of the training episodes finished in this update window, or of an evaluation.
    """

    steps: int
    value: float


@dataclass(frozen=True)
class Kept:
    """Whether what training made of a start is kept, by paired episodes on seeds that chose nothing else.

    Attributes:
        what: `trained` where it earned more in the mean, else `start`.
        gain: Mean paired difference of return per episode, trained minus start.
        low: Lower end of its interval.
        high: Upper end.
        pairs: Paired episodes.
    """

    what: Literal["trained", "start"]
    gain: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class MethodResult:
    """What one method made of the starting policy.

    Attributes:
        method: Name of the method (`ultra-ra`, `continue`, ...).
        before: Returns of the starting policy on the evaluation seeds.
        last: Returns of the network it ended with, alone, on the same seeds: the last one, or the one it started from
            where training on it did not help and the method asks (`Prepared.confirm`).
        best: Returns, on the same seeds, of the checkpoint that scored best on separate selection seeds.
        best_step: Environment steps of refinement at which that checkpoint was taken.
        env_steps: Environment steps by purpose (`refine`, `test`, ...); the total is what is compared.
        curve: Unmodulated evaluation returns over refinement steps (selection seeds).
        metrics: Last value of each training metric.
        seconds: Wall time of refining.
        with_rules: Returns of the network it ended with under its rules; None without any.
        kept: What it ended with, where training was put to a test.
    """

    method: str
    before: Returns
    last: Returns
    best: Returns
    best_step: int
    env_steps: dict[str, int]
    curve: tuple[CurvePoint, ...] = ()
    metrics: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    with_rules: Returns | None = None
    kept: Kept | None = None

    @property
    def acting(self) -> Returns:
        """Of what it ended with: under its rules where there are any, else alone."""
        return self.last if self.with_rules is None else self.with_rules
