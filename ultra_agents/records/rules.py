"""Advice with reach: sets of closed-loop rules, and the critical situations they are about.

Where moves are about one critical state of one episode, a set of rules is about every state of a kind. Its text is the
YAML of `ultra_agents.rules`; what the simulator made of it is a `verification.RuleTest`.
"""

from __future__ import annotations

from dataclasses import dataclass

from ultra_agents.records.cases import Note


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
    """

    text: str
    reasoning: str = ""
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    feedback: str = ""


@dataclass(frozen=True)
class RuleProposal:
    """A set of rules that somebody proposes, about to be tested.

    Attributes:
        text: The set as YAML, its potential or reward included; empty where nothing usable was proposed.
        source: Who proposes: a control's name, `file`, or the advisor's provider.
        reasoning: Why these rules.
        episode: The collected episode whose graph made it; None for sets that are about no episode.
        situations: What it is about.
        attempts: How it came about, the last one being `text`.
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
