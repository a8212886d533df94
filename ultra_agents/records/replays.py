"""Outcome of the counterfactual test of a suggestion: its gain, and how the replays went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Ending:
    """How one replay went from the restored state to its end or to the cut.

    Attributes:
        steps: Environment steps from the state.
        over: `terminated`, `truncated` (a time limit), `merged` (it had come to a state of the policy's own replay,
            and was not played further), or empty: it was cut there.
        earned: Sum of the rewards, not discounted.
        event: The first reward that differs from the usual one of the episode, where there is a usual one.
        at: Environment steps from the state after which it came.
    """

    steps: int
    over: str
    earned: float
    event: float | None = None
    at: int | None = None


@dataclass(frozen=True)
class Moment:
    """One time in a replay and in the policy's own from the same state.

    Attributes:
        after: Environment steps from the state.
        actions: What is done there, in the replay and in the policy's own; empty where it is over.
        values: By quantity, its value in either; NaN is None.
    """

    after: int
    actions: tuple[str, str]
    values: dict[str, tuple[float | None, float | None]]


@dataclass(frozen=True)
class Replays:
    """The replays of a test in more than their mean.

    Attributes:
        horizon: Environment steps from the state at which those that go on were cut.
        advised: With the suggestion, by pair.
        own: The policy alone.
        moments: The first pair, at some times; empty where nothing can be told of it.
    """

    horizon: int
    advised: tuple[Ending, ...]
    own: tuple[Ending, ...]
    moments: tuple[Moment, ...] = ()


@dataclass(frozen=True)
class TestResult:
    """Outcome of the counterfactual test of one suggestion.

    Attributes:
        gain: Mean paired difference of return: suggested minus the policy's own.
        low: Lower end of the confidence interval of the gain.
        high: Upper end.
        pairs: Number of paired rollouts.
        env_steps: Environment steps spent on this test.
        passed: The gain is positive with the confidence asked.
        stopped: Why it stopped: `good`, `bad`, `hopeless`, `pairs`, `steps`.
        better: Pairs in which the suggestion earned more.
        worse: Pairs in which it earned less.
        replays: How they went, where the tester says so.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    gain: float
    low: float
    high: float
    pairs: int
    env_steps: int
    passed: bool
    stopped: str
    better: int = 0
    worse: int = 0
    replays: Replays | None = None

    @property
    def verdict(self) -> Literal["holds", "undecided", "refuted"]:
        """What is known now; `undecided` where pairs or budget ran out before anything was clear."""
        if self.passed:
            return "holds"
        return "undecided" if self.stopped in ("pairs", "steps", "outdone") else "refuted"

    @property
    def set_candidate(self) -> bool:
        """Not passed, and not found to be bad: it may still be of use in a set."""
        return not self.passed and self.stopped not in ("bad", "invalid") and self.high >= 0
