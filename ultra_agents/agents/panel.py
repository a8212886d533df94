"""A panel of models that vote on which states were critical.

Not in the paper, which asks one model. Every member is asked the same question and may name each state once. A member
supports a state if it named a step at most `tolerance` environment steps away from it; a state counts if more than
half of the panel supports it. A member that gives no usable reply, or cannot be reached, supports nothing: it does not
shrink the panel, so that fewer voices never make a decision easier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from ultra_agents.agents.schemas import NamedState


@dataclass(frozen=True)
class VotedState:
    """A state that was voted on.

    Attributes:
        step: Environment step: of the steps named, the one nearest to all of them.
        rationale: The case analysis of the member that named that step.
        importance: Mean of the supporters', in [0, 1].
        votes: Members that support it.
    """

    step: int
    rationale: str
    importance: float
    votes: int


def count_votes(ballots: Sequence[Sequence[NamedState]], tolerance: int) -> list[VotedState]:
    """Every state named, the most supported first, then the most important.

    The best supported step is settled first and takes its votes with it; each member votes for a state at most once.

    Args:
        ballots: The cases of each member; none from one that gave no usable reply.
        tolerance: Environment steps within which two named steps mean the same state.
    """
    left = [list(ballot) for ballot in ballots]
    states: list[VotedState] = []
    while any(left):
        named = sorted({case.step for ballot in left for case in ballot})
        best = max((_supporters(left, step, tolerance) for step in named), key=_weight)
        steps = [case.step for case in best]
        middle = min(best, key=lambda case: (sum(abs(case.step - step) for step in steps), case.step))
        importance = fmean(float(case.importance) for case in best)
        states.append(VotedState(middle.step, middle.case_analysis, importance, len(best)))
        left = [[case for case in ballot if not any(case is taken for taken in best)] for ballot in left]
    return sorted(states, key=lambda state: (-state.votes, -state.importance, state.step))


def _supporters(ballots: Sequence[Sequence[NamedState]], step: int, tolerance: int) -> list[NamedState]:
    """Each member's case nearest to `step`, where it is near enough."""
    near = [[case for case in ballot if abs(case.step - step) <= tolerance] for ballot in ballots]
    return [min(cases, key=lambda case: abs(case.step - step)) for cases in near if cases]


def _weight(cases: Sequence[NamedState]) -> tuple[int, int, float]:
    """More votes first, then votes closer together, then more important ones."""
    steps = [case.step for case in cases]
    return len(cases), min(steps) - max(steps), fmean(float(case.importance) for case in cases)
