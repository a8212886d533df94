"""What flows between the stages: frozen dataclasses. What is said about single steps lives in `advice_records`.

Shapes use `T` for the number of steps of an episode and `n` for parallel environments. Steps count from 0;
`observations[t]` is what the policy saw when it chose `actions[t]`, which earned `rewards[t]`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ultra_agents.advice_records import (
    Advice,
    CriticalState,
    Critique,
    Drop,
    Move,
    Suggestion,
    TestResult,
    Trial,
    Verdict,
    as_moves,
    moves_in_words,
)

__all__ = [
    "Advice",
    "Array",
    "CriticalState",
    "Critique",
    "CurvePoint",
    "Drop",
    "Explanation",
    "FloatArray",
    "MethodResult",
    "Move",
    "Narration",
    "Returns",
    "Scalar",
    "Segment",
    "Suggestion",
    "TestResult",
    "Trajectory",
    "Trial",
    "Usage",
    "Variant",
    "Verdict",
    "as_moves",
    "moves_in_words",
]

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
Array: TypeAlias = npt.NDArray[Any]
Scalar: TypeAlias = float | int | bool | str

Variant: TypeAlias = Literal["a", "r", "ra"]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One episode of a policy, from reset to its end.

    Attributes:
        episode: Index of the episode in its collection.
        seed: The seed the environment was reset with.
        observations: `(T, *observation_shape)`, as the policy saw them (not normalised).
        actions: `(T,)` integers for discrete actions, `(T, action_dim)` floats otherwise.
        rewards: `(T,)` environment rewards, unshaped.
        values: `(T,)` the policy's own value estimates, or zeros where it has none.
        infos: One mapping of scalars per step: what the environment said beside the observation.
        terminated: The episode reached a terminal state.
        truncated: The episode was cut (time limit).
        snapshots: `T` simulator states, taken before `actions[t]`; `None` where the environment cannot.
    """

    episode: int
    seed: int
    observations: Array
    actions: Array
    rewards: FloatArray
    values: FloatArray
    infos: tuple[dict[str, Scalar], ...]
    terminated: bool
    truncated: bool
    snapshots: tuple[bytes, ...] | None = None

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def episode_return(self) -> float:
        """Undiscounted sum of rewards."""
        return float(np.sum(self.rewards))

    def __repr__(self) -> str:
        end = "terminated" if self.terminated else "truncated" if self.truncated else "cut"
        return f"Trajectory(episode={self.episode}, steps={len(self)}, return={self.episode_return:.2f}, {end})"


@dataclass(frozen=True)
class Segment:
    """A stretch of one episode that fits one narration.

    Attributes:
        episode: Index of the episode.
        start: First step shown.
        stop: One past the last step shown.
        kind: Why it was chosen ("point lost", "point won", "median rally", "whole episode").
    """

    episode: int
    start: int
    stop: int
    kind: str

    @property
    def name(self) -> str:
        """Address of the segment, unique within a run: `episode:start-stop`."""
        return f"{self.episode}:{self.start}-{self.stop}"


@dataclass(frozen=True)
class Narration:
    """A segment in words.

    Attributes:
        segment: What is told.
        text: The numbered steps and what happened, the text shown to the agents.
        steps: The step numbers that appear in `text`; agents may only name these.
        tokens: Estimated length of `text` in tokens.
    """

    segment: Segment
    text: str
    steps: tuple[int, ...]
    tokens: int


@dataclass(frozen=True)
class Explanation:
    """All that came out of explaining one segment.

    Attributes:
        segment: The segment explained.
        critical: Critical states named by the identifier.
        proposed: Number of suggestions made, revisions included.
        advice: What survived.
        drops: What did not, with reasons.
        env_steps: Environment steps spent on testing.
        trials: Every suggestion that was tested, with its measurement.
    """

    segment: Segment
    critical: tuple[CriticalState, ...]
    proposed: int
    advice: tuple[Advice, ...]
    drops: tuple[Drop, ...]
    env_steps: int = 0
    trials: tuple[Trial, ...] = ()


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
class MethodResult:
    """What one method made of the starting policy.

    Attributes:
        method: Name of the method (`ultra-ra`, `continue`, ...).
        before: Returns of the starting policy on the evaluation seeds.
        last: Returns of the last policy on the same seeds.
        best: Returns, on the same seeds, of the checkpoint that scored best on separate selection seeds.
        best_step: Environment steps of refinement at which that checkpoint was taken.
        env_steps: Environment steps by purpose (`refine`, `test`, ...); the total is what is compared.
        curve: Unmodulated evaluation returns over refinement steps (selection seeds).
        metrics: Last value of each training metric.
        seconds: Wall time of refining.
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
