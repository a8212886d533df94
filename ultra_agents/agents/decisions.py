"""What can happen to a suggestion that is not accepted: it goes back to the advisor, or its case is closed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from langgraph.types import Command

from ultra_agents.agents.state import Context, State, with_case, work_on
from ultra_agents.agents.wording import measurement, toward_words
from ultra_agents.records import Attempt, CriticalState, TestResult

NO_GAIN, UNDECIDED, LEFT = "no gain in simulation", "undecided in simulation", "left as it is"


def why_refused(test: TestResult) -> str:
    """Why a suggestion that did not hold is not accepted."""
    return UNDECIDED if test.verdict == "undecided" else NO_GAIN


def may_revise(context: Context, case: CriticalState) -> bool:
    """The last attempt may go back to the advisor."""
    return len(case.attempts) <= context.agents.max_revisions


def revise(state: State, context: Context, case: CriticalState, update: State | None = None) -> Command[Any]:
    """Send the last attempt of `case` back to the advisor."""
    context.decided(case, "revise", objection(context, case.attempts[-1]))
    return Command(goto="advise", update={**(update or {}), **with_case(state, case)})


def refuse(
    state: State,
    context: Context,
    case: CriticalState,
    stage: str,
    reason: str,
    detail: str,
    *,
    judged: bool,
    told: bool = True,
    update: State | None = None,
) -> Command[Any]:
    """Close `case` without advice, for a countable reason.

    Args:
        state: The segment.
        context: What the nodes work with.
        case: The case as it is known now.
        stage: Stage that decides so.
        reason: Short and countable.
        detail: The same with its particulars.
        judged: The test or the critic spoke against it; else there was no usable reply, or it was not paid for.
        told: It is the last attempt that is refused; false where there is none yet.
        update: What else changes in the state.
    """
    closed = replace(case, fate="rejected" if judged else "dropped", stage=stage, reason=reason, detail=detail)
    if told:
        context.decided(closed, "reject", reason)
    context.noted(stage, reason, detail, work=work_on(case))
    return Command(goto="reject", update={**(update or {}), **with_case(state, closed)})


def leave(state: State, context: Context, case: CriticalState, reasoning: str) -> Command[Any]:
    """Close `case` as it is: the advisor would change nothing. Nothing is tested, and the critic is not asked."""
    closed = replace(case, fate="left", stage="advise", reason=LEFT, detail=reasoning)
    context.left(closed)
    return Command(goto="reject", update=with_case(state, closed))


def objection(context: Context, attempt: Attempt) -> str:
    """What speaks against an attempt that comes back: the measurement, the critic, or both."""
    said = [toward_words(attempt.search)] if attempt.search is not None and attempt.goal is not None else []
    if attempt.test is not None:
        said.append(measurement(attempt))
    if (attempt.test is None or context.reflects) and attempt.standing is not None:
        said.append(f"The critic: {attempt.standing.rationale}")
    return " ".join(said)
