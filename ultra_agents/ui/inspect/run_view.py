"""What can be looked up in a run, as the records themselves: episodes, explained segments, results of methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

from ultra_agents.records import (
    Array,
    Attempt,
    CriticalState,
    Explanation,
    Fate,
    FloatArray,
    MethodResult,
    Segment,
    TestResult,
    Trajectory,
)
from ultra_agents.text import counted

FATES: tuple[Fate, ...] = ("accepted", "left", "rejected", "dropped", "open")


class LocatedState(NamedTuple):
    """A critical state, the segment it was found in, and whether a person named it."""

    segment: Segment
    state: CriticalState
    by_person: bool = False

    @property
    def place(self) -> tuple[int, int]:
        """Episode and step."""
        return self.segment.episode, self.state.step


def deciding_attempt(state: CriticalState) -> Attempt | None:
    """The attempt that became advice; of a state without advice the last one."""
    return state.chosen or (state.attempts[-1] if state.attempts else None)


def deciding_test(state: CriticalState) -> TestResult | None:
    """The test of the deciding attempt; where it was not tested, the newest test of the state."""
    decisive = deciding_attempt(state)
    newest = next((one.test for one in reversed(state.attempts) if one.test is not None), None)
    return decisive.test if decisive is not None and decisive.test is not None else newest


@dataclass(frozen=True)
class ModelCall:
    """One question to a model and its answer; `step` is the critical state it is about, None for the identifier."""

    agent: str
    model: str
    step: int | None
    verdict: str
    spent: str
    messages: tuple[tuple[str, str], ...]
    reply: str


@dataclass(frozen=True)
class RuleLine:
    """One rule of the set that a run chose.

    Attributes:
        number: From 1, as it was written.
        brings: What leaving it out cost per episode; None where that was not measured.
        dropped: It went in the test.
        coverage: Share of the episodes' steps at which it acts; None where it was dropped.
        first: Episode and step at which it first acts; None where it never does.
    """

    number: int
    when: str
    do: str
    why: str
    brings: float | None = None
    dropped: bool = False
    coverage: float | None = None
    first: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class RulesView:
    """The rules of a run.

    Attributes:
        verdict: `accepted`, `rejected`, `undecided`, `untested`, `reward only`, `none`.
        headline: What the test found.
        start: Where refining began; empty where that is not known.
        rows: The set as it was written.
        acts: By episode, the number of the rule that acts at each step, `(T,)`, with the rules in force; 0 where the
            policy does. The episodes themselves were played by the policy alone.
        reward: What the tests of the implicit reward found, in words; empty without one.
    """

    verdict: str
    headline: str
    start: str
    rows: tuple[RuleLine, ...]
    acts: Mapping[int, Array]
    reward: str = ""

    def at(self, episode: int, step: int) -> RuleLine | None:
        """The rule that acts at a step; None where the policy does."""
        number = int(self.acts[episode][step]) if episode in self.acts else 0
        return self.rows[number - 1] if number else None


@dataclass(frozen=True, eq=False)
class StepView:
    """All that is known of one step.

    Attributes:
        words: The state in the environment's words.
        action: What the policy did.
        choices: What each policy of the run does in this state, by name; empty while they are being read.
        ruled: What is done here with the run's rules in force; empty without rules.
    """

    episode: int
    step: int
    words: str
    action: str
    reward: float
    value: float
    choices: tuple[tuple[str, str], ...] = ()
    ruled: str = ""


@dataclass(frozen=True, eq=False)
class RunView:
    """A run to browse. Its texts are clean: one line each, nothing a terminal would obey.

    Attributes:
        status: `finished`, `running` or `stopped`.
        proposer: Who proposed the advice.
        explanations: By episode and start; the states of each by step.
        methods: Results of the methods that were evaluated.
        notes: What a reader should know: damaged lines, versions that differ, nothing explained yet.
        colours: Places of the methods in the palette.
        rules: What was found of rules; None without any.
        remarks: A person's notes to the agents, and advice of theirs that is shown nowhere else.
    """

    name: str
    folder: str
    environment: str
    status: str
    proposer: str
    episodes: tuple[Trajectory, ...]
    explanations: tuple[Explanation, ...]
    methods: tuple[MethodResult, ...] = ()
    notes: tuple[str, ...] = ()
    colours: Mapping[str, int] = field(default_factory=dict)
    rules: RulesView | None = None
    remarks: tuple[str, ...] = ()

    @cached_property
    def critical(self) -> tuple[LocatedState, ...]:
        """All critical states, by episode and step."""
        every = [LocatedState(one.segment, state, one.by_person) for one in self.explanations for state in one.states]
        return tuple(sorted(every, key=lambda one: one.place))

    @cached_property
    def counts(self) -> dict[Fate, int]:
        """How many critical states met each fate."""
        return {fate: sum(one.state.fate == fate for one in self.critical) for fate in FATES}

    @property
    def has_critic(self) -> bool:
        """A critic read the suggestions; a control's rewards are its own."""
        return self.proposer == "llm"

    def episode(self, index: int) -> Trajectory:
        """The episode numbered `index`."""
        return next(one for one in self.episodes if one.episode == index)

    def explanation_at(self, episode: int, step: int) -> Explanation | None:
        """The explanation of the segment that holds a step, where the run's proposer was shown one."""
        for one in self.told:
            if one.segment.episode == episode and one.segment.start <= step < one.segment.stop:
                return one
        return None

    @property
    def told(self) -> tuple[Explanation, ...]:
        """Explanations of the segments that the run's proposer was shown: without a person's advice."""
        return tuple(one for one in self.explanations if not one.by_person)

    def cases_at(self, episode: int, step: int) -> tuple[LocatedState, ...]:
        """Everything that was suggested at a step: by the run's proposer first, then by a person."""
        return tuple(
            sorted((one for one in self.critical if one.place == (episode, step)), key=lambda one: one.by_person)
        )

    def critical_at(self, episode: int, step: int) -> CriticalState | None:
        """The critical state at a step, where there is one; of several the proposer's."""
        return next((one.state for one in self.cases_at(episode, step)), None)


class StepSource(Protocol):
    """Answers what a `RunView` does not hold, on demand."""

    def step(self, episode: int, step: int) -> StepView:
        """One step."""
        ...

    def frame(self, episode: int, step: int) -> Array | str:
        """The picture `(H, W, 3)` uint8 of a step, or why there is none."""
        ...

    def series(self, episode: int) -> Mapping[str, FloatArray]:
        """Numbers of every step `(T,)` by name, for sparklines."""
        ...

    def conversation(self, segment: str) -> tuple[ModelCall, ...]:
        """All model calls about a segment, by its name."""
        ...

    def read_policies(self) -> None:
        """Read the policies behind `StepView.choices`; slow, called once from a thread of its own."""
        ...

    def close(self) -> None:
        """Close the simulator."""
        ...


class RunReader(Protocol):
    """Reads a run that may still be going on. Both methods are called from a thread of their own."""

    def changed(self) -> bool:
        """Whether there is something new since it was last read."""
        ...

    def read(self) -> tuple[RunView, StepSource]:
        """Read it again."""
        ...


def what_changed(before: RunView, after: RunView) -> str:
    """What is new in a second reading of a run, in words; empty for nothing that shows."""
    parts = []
    for word, one, other in (
        ("episode", len(before.episodes), len(after.episodes)),
        ("segment", len(before.told), len(after.told)),
        ("critical state", len(before.critical), len(after.critical)),
    ):
        if (more := other - one) > 0:
            parts.append(f"{counted(more, f'more {word}')}")
    if len(after.remarks) > len(before.remarks):
        parts.append("a person's note or advice")
    if before.rules is None and after.rules is not None:
        parts.append(f"rules {after.rules.verdict}")
    parts += [f"now {after.status}"] if after.status != before.status else []
    if not parts and before.critical != after.critical:
        parts.append("more is known of the critical states")
    return ", ".join(parts)
