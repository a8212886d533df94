"""Advice with reach: sets of closed-loop rules, and the critical situations they are about.

Where moves are about one critical state of one episode, a set of rules is about every state of a kind. Its text is the
YAML of `ultra_agents.rules`; what the simulator made of it is a `verification.RuleTest`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ultra_agents.records.cases import Note, Verdict
from ultra_agents.records.episodes import Array, Trajectory


@dataclass(frozen=True)
class Situation:
    """A critical situation, as the identifier names it (ULTRA section 3, identification, for states of a kind).

    Attributes:
        name: Short.
        rationale: Why the policy's episodes are decided there.
        examples: Episode and step of states that are such.
    """

    name: str
    rationale: str
    examples: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class RuleAttempt:
    """One set of rules on the way to a proposal, and what a short test said of it.

    Attributes:
        text: The set as YAML; as the advisor wrote it.
        reasoning: Why.
        gain: Mean paired difference of return per episode, in force minus the policy alone; None: not tested.
        low: Lower end of its interval.
        high: Upper end.
        pairs: Paired episodes.
        feedback: What was told to the advisor.
        refusal: Why the text could not be used at all, in the words of the language; empty where it could.
        verdict: What the critic said last; None: it was not asked.
        judgement: Why, in the critic's words.
        implicit: The critic's implicit reward: `potential` or `reward`, and the expression; None: what the set has.
        coverage: By rule, the share of the short test's steps at which it acted; empty: not tested.
        env_steps: Environment steps of the short test.
    """

    text: str
    reasoning: str = ""
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    feedback: str = ""
    refusal: str = ""
    verdict: Verdict | None = None
    judgement: str = ""
    implicit: tuple[str, str] | None = None
    coverage: tuple[float, ...] = ()
    env_steps: int = 0


@dataclass(frozen=True)
class RuleProposal:
    """A set of rules that somebody proposes, about to be tested.

    Attributes:
        text: The set as YAML, its potential or reward included; empty where nothing usable was proposed.
        source: Who proposes: a control's name, `file`, or the advisor's provider.
        reasoning: Why these rules.
        episode: The collected episode whose graph made it; None for sets that are about no episode.
        situations: What it is about.
        attempts: How it came about: every set that was written, in order. One of them is `text`, which has the
            critic's implicit reward as well.
        notes: What was not used on the way, and why.
        env_steps: Environment steps spent on finding it.
    """

    text: str
    source: str
    reasoning: str = ""
    episode: int | None = None
    situations: tuple[Situation, ...] = ()
    attempts: tuple[RuleAttempt, ...] = ()
    notes: tuple[Note, ...] = ()
    env_steps: int = 0

    def __repr__(self) -> str:
        whose = "" if self.episode is None else f", episode {self.episode}"
        return f"RuleProposal({self.source}{whose}, {len(self.text)} characters, {len(self.attempts)} attempts)"


@dataclass(frozen=True)
class Endings:
    """How the episodes of one side of a short test went.

    Attributes:
        returns: Of each episode, value at the cut where it was cut.
        lengths: Environment steps of each.
        terminated: Episodes that reached a terminal state.
        truncated: Episodes that the environment cut (time limit).
        cut: Episodes that the test cut.
    """

    returns: tuple[float, ...]
    lengths: tuple[int, ...]
    terminated: int
    truncated: int
    cut: int


@dataclass(frozen=True, eq=False)
class Trace:
    """One episode with rules in force, step by step.

    Attributes:
        pair: Its pair, from 0.
        trajectory: What was seen, done and earned; `episode` is the pair, `values` are 0.
        own: `(T, ...)` what the policy would have done.
        rule: `(T,)` int64, which rule acted, from 0; -1 where the policy did.
    """

    pair: int
    trajectory: Trajectory
    own: Array
    rule: Array


@dataclass(frozen=True, eq=False)
class RuleTrial:
    """Outcome of a short test of one set of rules, told to the advisor.

    Attributes:
        gain: Mean paired difference of return per episode, rules in force minus the policy alone.
        low: Lower end of its interval; None with fewer than four pairs.
        high: Upper end.
        pairs: Paired episodes.
        env_steps: Environment steps with the rules in force.
        alone_steps: Those of the policy alone, which are played once for all trials of a run.
        horizon: Environment steps of an episode, at most.
        alone: How the policy alone fared.
        ruled: How it fared with the rules.
        coverage: By rule, the share of steps at which it acted.
        worst: The episode with the smallest paired difference.
        best: The one with the largest; None where that is the same one.
    """

    gain: float
    low: float | None
    high: float | None
    pairs: int
    env_steps: int
    alone_steps: int
    horizon: int
    alone: Endings
    ruled: Endings
    coverage: tuple[float, ...]
    worst: Trace
    best: Trace | None = None

    @property
    def passed(self) -> bool:
        """The gain is positive with the confidence asked."""
        return self.low is not None and self.low > 0

    def __repr__(self) -> str:
        spread = "" if self.low is None or self.high is None else f" [{self.low:+.3g}, {self.high:+.3g}]"
        return f"RuleTrial({self.gain:+.3g}{spread}, {self.pairs} pairs, {self.env_steps:,} steps)"
