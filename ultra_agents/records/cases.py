"""A case: a critical state, every attempt to do better there, and what became of it.

Everything downstream is read from here: the advice table, the demonstrations, the report, `ultra inspect`. `Advice` is
a projection of the cases that were accepted. Everybody imports these from `ultra_agents.records`; JSON is pydantic's
(`pydantic.TypeAdapter`), in both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ultra_agents.records.episodes import Segment
from ultra_agents.records.plans import Goal, Plan, Searched
from ultra_agents.records.replays import TestResult

Variant: TypeAlias = Literal["a", "r", "ra"]
"""Which halves of advice act: suggested actions, implicit rewards, or both."""
Verdict: TypeAlias = Literal["accept", "revise", "reject"]
NOT_RECORDED = "not recorded"
"""The reason of a drop: the recording that is replayed has no answer to the question (`gateway.missing: drop`)."""
HUMAN = "human"
"""The source of advice that a person gave (`ultra advise`)."""
Fate: TypeAlias = Literal["open", "accepted", "left", "rejected", "dropped"]
"""`open`: not decided yet; `left`: as it is, the advisor would change nothing; `rejected`: by the test or the critic;
`dropped`: nothing to judge, or not paid for."""


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


NO_REWARDS = Critique("accept", 0.0, 0.0, "")
"""Of a suggestion that the critic did not read: no implicit reward."""


@dataclass(frozen=True)
class Attempt:
    """One suggestion for a critical state, with all that was said and measured of it.

    Attributes:
        plan: What was suggested, or what a search made of it: what is tested.
        rationale: Why, in the words of who suggested it.
        critique: The critic's first reading, before any measurement.
        test: The counterfactual test, where one ran.
        reflection: The critic's second reading, with the measurement where there is one.
        search: The search that found `plan`, or made it of what was written.
    """

    plan: Plan
    rationale: str
    critique: Critique | None = None
    test: TestResult | None = None
    reflection: Critique | None = None
    search: Searched | None = None

    @property
    def written(self) -> Plan:
        """What was suggested in words, whatever a search made of it."""
        return (self.search.written if self.search else None) or self.plan

    @property
    def goal(self) -> Goal | None:
        """What was to be reached, where that was suggested and a search found the plan."""
        return self.search.toward.goal if self.search and self.search.toward else None

    @property
    def standing(self) -> Critique | None:
        """The critic's last reading."""
        return self.reflection or self.critique


@dataclass(frozen=True)
class Ring:
    """States at about the same distance from a row of the table.

    Attributes:
        radius: Distance of the furthest of them, in spreads of the features.
        states: Episode and step of each.
    """

    radius: float
    states: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class JointVerdict:
    """What the joint test said of the set a case was in.

    Attributes:
        kept: It is in the set that is used.
        gain: Mean paired difference of return per episode, the set in force minus the policy alone.
        low: Lower end of its interval.
        high: Upper end.
        pairs: Paired episodes; 0 where not one could be paid for.
        stopped: Why it stopped: `good`, `bad`, `hopeless`, `pairs`, `steps`; empty where that was not kept.
    """

    kept: bool
    gain: float
    low: float
    high: float
    pairs: int
    stopped: str = ""

    @property
    def verdict(self) -> str:
        """`set_verdict`."""
        return set_verdict(self.pairs, self.kept and self.stopped in ("", "good"), self.high, self.stopped)


def set_verdict(pairs: int, passed: bool, high: float | None, stopped: str = "") -> str:
    """What a test in whole episodes found.

    Args:
        pairs: Paired episodes.
        passed: The gain is positive with the confidence asked.
        high: Upper end of its interval.
        stopped: Why the test stopped, where known; without it the interval says whether a set loses.

    Returns:
        `holds`; `loses`; `no gain`: too little to be worth finding; `left out`: of a set the rest of which holds;
        `not paid for`; or `undecided`: none of these is known.
    """
    if not pairs or passed:
        return "holds" if pairs else "not paid for"
    known = {"bad": "loses", "hopeless": "no gain", "good": "left out"}.get(stopped)
    return known or ("loses" if high is not None and high < 0 else "undecided")


@dataclass(frozen=True)
class CriticalState:
    """A step where the action had a significant effect on future reward (ULTRA section 3), and its whole case.

    Attributes:
        step: Step within the episode.
        rationale: Case analysis in the identifier's words.
        importance: The identifier's own weight, in [0, 1].
        agreement: Share of a panel that named this state, in (0, 1]; 1 where a single model identified.
        taken_action: Name of the action the policy took.
        attempts: Suggestions, the first one first.
        fate: What became of it.
        stage: Stage that decided so: `advise`, `criticise`, `test`; empty while it is open.
        reason: Why it was not accepted, short and countable; empty where it was.
        detail: The same with its particulars, for the reader of the log.
        joint: The joint test it was part of, if any.
    """

    step: int
    rationale: str
    importance: float
    agreement: float = 1.0
    taken_action: str = ""
    attempts: tuple[Attempt, ...] = ()
    fate: Fate = "open"
    stage: str = ""
    reason: str = ""
    detail: str = ""
    joint: JointVerdict | None = None

    @property
    def chosen(self) -> Attempt | None:
        """The attempt that became advice: the last one, or the candidate for a set where only that was accepted."""
        if self.fate != "accepted":
            return None
        return (self.set_candidate if self.joint is not None else None) or self.attempts[-1]

    @property
    def set_candidate(self) -> Attempt | None:
        """The last attempt that may be of use in a set, with a positive mean gain."""
        found = [one for one in self.attempts if one.test and one.test.set_candidate and one.test.gain > 0]
        return found[-1] if found else None


def _passed(attempt: Attempt) -> bool:
    return attempt.test is None or attempt.test.passed


@dataclass(frozen=True)
class Note:
    """Something that was said and not used, and belongs to no critical state or did not decide one.

    Attributes:
        stage: Stage that noted it: `identify`, `criticise`, ...
        reason: Short, countable: `malformed reply`, `step named twice`.
        detail: Free text for the reader of the log.
    """

    stage: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Explanation:
    """All that came out of explaining one segment.

    Attributes:
        segment: The segment explained.
        states: Its critical states in the identifier's order, each with its case.
        notes: What else was not used.
        env_steps: Environment steps spent on it: tests, an expert's rollouts, pre-screening.
        source: Who proposed: an LLM's provider, `random`, `oracle`, `human`.
    """

    segment: Segment
    states: tuple[CriticalState, ...]
    notes: tuple[Note, ...] = ()
    env_steps: int = 0
    source: str = ""

    @property
    def by_person(self) -> bool:
        """It is one piece of a person's advice, beside what the run's proposer explained."""
        return self.source == HUMAN

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """Every suggestion made, revisions included, state by state."""
        return tuple(attempt for state in self.states for attempt in state.attempts)

    @property
    def drops(self) -> tuple[Note, ...]:
        """Everything that was not used, notes first, as countable reasons."""
        lost = [one for one in self.states if one.fate in ("rejected", "dropped")]
        return (*self.notes, *(Note(one.stage, one.reason, one.detail) for one in lost))

    @property
    def advice(self) -> tuple[Advice, ...]:
        """The accepted cases as rows of the table, in the order of the states.

        An attempt that held only in a set has the reward the critic gave before the test, if it was asked then, and
        brings no penalty for the action the policy took.
        """
        rows = []
        for state in self.states:
            if (attempt := state.chosen) is None:
                continue
            alone = _passed(attempt)
            critique = (attempt.standing if alone else attempt.critique) or NO_REWARDS
            rows.append(
                Advice(
                    episode=self.segment.episode,
                    step=state.step,
                    plan=attempt.plan,
                    reward=critique.reward,
                    taken_action=state.taken_action,
                    taken_reward=critique.taken_reward if alone else 0.0,
                    rationale=state.rationale,
                    advice=attempt.rationale,
                    critique=critique.rationale if alone else "",
                    importance=state.importance,
                    source=self.source,
                    test=attempt.test,
                    joint=state.joint,
                    search=attempt.search,
                )
            )
        return tuple(rows)


@dataclass(frozen=True)
class Advice:
    """One accepted row of the advice table: the projection of a case.

    Attributes:
        episode: Index of the episode it comes from.
        step: Step within that episode.
        plan: What is suggested.
        reward: Implicit reward of the suggested action, in [-1, 1].
        taken_action: Name of the action the policy took.
        taken_reward: Implicit reward of the action the policy took, in [-1, 1].
        rationale: Why this state is critical.
        advice: Why this plan is better.
        critique: What the critic said.
        importance: The identifier's weight in [0, 1].
        source: Who proposed it: an LLM's provider, `random`, `oracle`, `human`.
        test: The counterfactual test, where one ran.
        joint: The joint test, where it was part of one.
        search: The search that found the plan, or made it of what was written.
    """

    episode: int
    step: int
    plan: Plan
    reward: float
    taken_action: str
    taken_reward: float
    rationale: str
    advice: str
    critique: str
    importance: float
    source: str
    test: TestResult | None = None
    joint: JointVerdict | None = None
    search: Searched | None = None


def advice_of(explanations: Sequence[Explanation]) -> list[Advice]:
    """The accepted rows of all explanations, in their order."""
    return [row for explanation in explanations for row in explanation.advice]
