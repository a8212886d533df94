"""What agents say and tests find about single steps: critical states, suggestions, verdicts, measurements, advice.

Everybody imports these from `ultra_agents.records`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from ultra_agents.records.episodes import Segment

Verdict: TypeAlias = Literal["accept", "revise", "reject"]
Variant: TypeAlias = Literal["a", "r", "ra"]
"""Which halves of advice act: suggested actions, implicit rewards, or both."""
Move: TypeAlias = tuple[str, int]
"""An action's name and for how many steps it is held."""


@dataclass(frozen=True)
class CriticalState:
    """A step where the action had a significant effect on future reward (ULTRA, identification).

    Attributes:
        episode: Index of the episode.
        step: Step within the episode.
        rationale: Case analysis in the identifier's words.
        importance: The identifier's own weight, in [0, 1].
        agreement: Share of a panel that named this state, in (0, 1]; 1 where a single model identified.
    """

    episode: int
    step: int
    rationale: str
    importance: float
    agreement: float = 1.0


@dataclass(frozen=True)
class Suggestion:
    """A better action at a critical state, by the advisor.

    Attributes:
        episode: Index of the episode.
        step: Step within the episode.
        action: The action as the environment's codec names it ("UP").
        hold: For how many steps it is held, at least 1.
        rationale: Why, in the advisor's words.
        revision: 0 for the first suggestion at this state, then 1, 2, ...
        then: Further moves of a short plan, each an action with its hold, after the first.
    """

    episode: int
    step: int
    action: str
    hold: int
    rationale: str
    revision: int = 0
    then: tuple[Move, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "then", as_moves(self.then))

    @property
    def moves(self) -> tuple[Move, ...]:
        """The whole plan, the first move included."""
        return ((self.action, self.hold), *self.then)


def as_moves(rows: Iterable[Sequence[Any]]) -> tuple[Move, ...]:
    """Moves as they come back from JSON, where tuples are lists."""
    return tuple((str(action), int(hold)) for action, hold in rows)


def moves_in_words(moves: Sequence[Move]) -> str:
    """`UP for 5 steps, then STAY for 1 step`."""
    return ", then ".join(f"{action} for {hold} {'step' if hold == 1 else 'steps'}" for action, hold in moves)


@dataclass(frozen=True)
class Critique:
    """The reward critic's judgement of one suggestion.

    Attributes:
        verdict: `accept`, `revise` (back to the advisor) or `reject`.
        reward: Implicit reward of the suggested action at this state, in [-1, 1].
        taken_reward: Implicit reward of the action the policy took there, in [-1, 1].
        rationale: Why, in the critic's words.
    """

    verdict: Verdict
    reward: float
    taken_reward: float
    rationale: str


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

    def in_words(self) -> str:
        """The measurement as a sentence for the advisor and the critic."""
        better = "more" if self.gain > 0 else "less"
        return (
            f"In {self.pairs} paired replays the suggestion earned {abs(self.gain):.2f} {better} return than the "
            f"policy alone (interval {self.low:+.2f} to {self.high:+.2f})."
        )


@dataclass(frozen=True)
class Trial:
    """One suggestion that was put to the simulator, whatever came of it.

    Attributes:
        suggestion: The claim.
        result: The measurement.
        importance: The identifier's weight of the state, in [0, 1].
        reward: The critic's implicit reward of the suggestion, in [-1, 1].
    """

    suggestion: Suggestion
    result: TestResult
    importance: float
    reward: float


@dataclass(frozen=True)
class Advice:
    """One accepted row of the advice table.

    Attributes:
        episode: Index of the episode it comes from.
        step: Step within that episode.
        action: The suggested action's name.
        hold: For how many steps the action is held.
        reward: Implicit reward of the suggested action, in [-1, 1].
        taken_action: Name of the action the policy took.
        taken_reward: Implicit reward of the action the policy took, in [-1, 1].
        rationale: Why this state is critical.
        advice: Why this action is better.
        critique: What the critic said.
        importance: The identifier's weight in [0, 1].
        source: Who proposed it: an LLM's name, `random`, `oracle`.
        test: The counterfactual test, where one ran.
        then: Further moves of the plan, after the first.
    """

    episode: int
    step: int
    action: str
    hold: int
    reward: float
    taken_action: str
    taken_reward: float
    rationale: str
    advice: str
    critique: str
    importance: float
    source: str
    test: TestResult | None = None
    then: tuple[Move, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "then", as_moves(self.then))

    @property
    def moves(self) -> tuple[Move, ...]:
        """The whole plan, the first move included."""
        return ((self.action, self.hold), *self.then)

    def to_json(self) -> dict[str, Any]:
        """A mapping of JSON types; `from_json` is its inverse."""
        return {**asdict(self), "then": [list(move) for move in self.then]}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Advice:
        """Rebuild a row written by `to_json`."""
        test = row.get("test")
        return cls(**{**row, "test": None if test is None else TestResult(**test)})


@dataclass(frozen=True)
class Drop:
    """Something an agent or a test produced that was not used, and why.

    Attributes:
        stage: Stage that dropped it: `identify`, `advise`, `criticise`, `test`, ...
        reason: Short, countable: `malformed reply`, `step not shown`, `rejected by critic`, `no gain`.
        segment: Name of the segment concerned.
        detail: Free text for the reader of the log.
    """

    stage: str
    reason: str
    segment: str
    detail: str = ""


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
