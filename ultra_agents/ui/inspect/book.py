"""What can be looked up in a run, as plain values: episodes, stretches, critical states, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, TypeAlias

from ultra_agents.records import Array, FloatArray, Move, Segment, TestResult, moves_in_words

Fate: TypeAlias = Literal["accepted", "refused", "dropped", "open"]
"""Refused by the critic or the simulator; dropped for form (malformed, unpaid, ...); open: not decided yet."""

FATES: tuple[Fate, ...] = ("accepted", "refused", "dropped", "open")


@dataclass(frozen=True)
class Attempt:
    """One suggestion at a critical state, with all that was found out about it.

    Attributes:
        moves: The plan: each action with the steps it is held.
        rationale: Why, in the advisor's words.
        verdict: The critic's last word: `accept`, `revise`, `reject`; empty where no critic spoke.
        reward: Implicit reward of the suggestion, in [-1, 1].
        taken_reward: Implicit reward of the action taken, in [-1, 1].
        critique: The critic's words.
        test: The simulator's measurement.
    """

    moves: tuple[Move, ...]
    rationale: str = ""
    verdict: str = ""
    reward: float | None = None
    taken_reward: float | None = None
    critique: str = ""
    test: TestResult | None = None

    @property
    def plan(self) -> str:
        """The plan in words: `UP for 5 steps, then STAY for 1 step`."""
        return moves_in_words(self.moves)

    @property
    def short(self) -> str:
        """The plan in signs: `UP×5 STAY×1`."""
        return " ".join(f"{action}×{hold}" for action, hold in self.moves)


@dataclass(frozen=True)
class Critical:
    """A critical state and what became of the suggestions made there.

    Attributes:
        segment: Name of the stretch it was found in.
        taken: Name of the action the policy took.
        fate: What became of it.
        reason: Why, short and countable.
        detail: Why, at length.
        attempts: Every suggestion, revisions included, oldest first.
    """

    episode: int
    step: int
    segment: str
    rationale: str
    importance: float
    agreement: float
    taken: str
    fate: Fate
    reason: str = ""
    detail: str = ""
    attempts: tuple[Attempt, ...] = ()

    @property
    def last(self) -> Attempt | None:
        """The suggestion that was decided on."""
        return self.attempts[-1] if self.attempts else None

    @property
    def test(self) -> TestResult | None:
        """The newest measurement."""
        return next((one.test for one in reversed(self.attempts) if one.test is not None), None)


@dataclass(frozen=True)
class Stretch:
    """A segment that was explained, with its critical states in order of time; `notes` says what else was not used."""

    segment: Segment
    critical: tuple[Critical, ...] = ()
    notes: tuple[str, ...] = ()
    env_steps: int = 0


@dataclass(frozen=True, eq=False)
class Episode:
    """One collected episode: `rewards` and `values` are `(T,)`."""

    index: int
    rewards: FloatArray
    values: FloatArray
    ending: str

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def total(self) -> float:
        """Its return."""
        return float(self.rewards.sum())


@dataclass(frozen=True)
class Arm:
    """What a method made of the policy: mean returns before and after, on the same seeds."""

    method: str
    before: float
    after: float


@dataclass(frozen=True)
class Exchange:
    """One question to a model and its answer; `step` is the critical state it is about, None for the identifier."""

    agent: str
    model: str
    step: int | None
    verdict: str
    spent: str
    messages: tuple[tuple[str, str], ...]
    reply: str


@dataclass(frozen=True, eq=False)
class StepView:
    """All that is known of one step.

    Attributes:
        words: The state in the environment's words.
        action: What the policy did.
        choices: What each policy at hand does in this state, by name; empty while they are being read.
    """

    episode: int
    step: int
    words: str
    action: str
    reward: float
    value: float
    choices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, eq=False)
class Book:
    """A run to browse.

    Attributes:
        status: `finished`, `running` or `stopped`.
        proposer: Who proposed the advice.
        notes: What a reader should know: damaged lines, versions that differ, nothing explained yet.
        colours: Places of the methods in the palette.
    """

    name: str
    folder: str
    environment: str
    status: str
    proposer: str
    episodes: tuple[Episode, ...]
    stretches: tuple[Stretch, ...]
    arms: tuple[Arm, ...] = ()
    notes: tuple[str, ...] = ()
    colours: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def critical(self) -> tuple[Critical, ...]:
        """All critical states, by episode and step."""
        every = [one for stretch in self.stretches for one in stretch.critical]
        return tuple(sorted(every, key=lambda one: (one.episode, one.step)))

    @cached_property
    def counts(self) -> dict[Fate, int]:
        """How many critical states met each fate."""
        return {fate: sum(one.fate == fate for one in self.critical) for fate in FATES}

    def episode(self, index: int) -> Episode:
        """The episode numbered `index`."""
        return next(one for one in self.episodes if one.index == index)

    def stretch_at(self, episode: int, step: int) -> Stretch | None:
        """The stretch that holds a step, where one does."""
        for one in self.stretches:
            if one.segment.episode == episode and one.segment.start <= step < one.segment.stop:
                return one
        return None

    def critical_at(self, episode: int, step: int) -> Critical | None:
        """The critical state at a step, where there is one."""
        return next((one for one in self.critical if (one.episode, one.step) == (episode, step)), None)


class Source(Protocol):
    """Answers what a book does not hold, on demand."""

    def step(self, episode: int, step: int) -> StepView:
        """One step."""
        ...

    def frame(self, episode: int, step: int) -> Array | str:
        """The picture `(H, W, 3)` uint8 of a step, or why there is none."""
        ...

    def series(self, episode: int) -> Mapping[str, FloatArray]:
        """Numbers of every step `(T,)` by name, for sparklines."""
        ...

    def conversation(self, segment: str) -> tuple[Exchange, ...]:
        """What agents and models said about a stretch."""
        ...

    def read_policies(self) -> None:
        """Read the policies behind `StepView.choices`; slow, called once from a thread of its own."""
        ...

    def close(self) -> None:
        """Let go of what was opened."""
        ...


class Follow(Protocol):
    """A run that may go on while it is looked at. Both are called from a thread of their own."""

    def changed(self) -> bool:
        """Whether there is something new since it was last read."""
        ...

    def read(self) -> tuple[Book, Source]:
        """Read it again."""
        ...


def what_changed(before: Book, after: Book) -> str:
    """What a run came to between two readings, in words; empty for nothing that shows."""
    parts = []
    for word, one, other in (
        ("episode", len(before.episodes), len(after.episodes)),
        ("stretch", len(before.stretches), len(after.stretches)),
        ("critical state", len(before.critical), len(after.critical)),
    ):
        if (more := other - one) > 0:
            plural = {"stretch": "stretches"}.get(word, f"{word}s") if more > 1 else word
            parts.append(f"{more} more {plural}")
    parts += [f"now {after.status}"] if after.status != before.status else []
    if not parts and [one.fate for one in before.critical] != [one.fate for one in after.critical]:
        parts.append("more was decided")
    return ", ".join(parts)
