"""Stage 6 and what follows: the test, and how a case ends."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.decisions import may_revise, refuse, revise, why_refused
from ultra_agents.agents.searching import searched
from ultra_agents.agents.state import (
    EXPLANATION,
    NOTES,
    STATES,
    Context,
    State,
    case_of,
    with_attempt,
    with_case,
    work_on,
)
from ultra_agents.agents.validity import INVALID
from ultra_agents.agents.wording import measurement
from ultra_agents.events import StepsSpent
from ultra_agents.records import Explanation, TestResult
from ultra_agents.verification import refusal


def test(
    state: State, runtime: Runtime[Context]
) -> Command[Literal["criticise", "reflect", "accept", "advise", "reject"]]:
    """Measure the suggestion in the simulator; a refuted one goes back with the measurement while revisions are left.

    A refuted suggestion without revisions left, or that the critic had rejected as well, is not reflected on: nothing
    could come of it.
    """
    context = runtime.context
    context.check()
    assert context.tester is not None, "the graph leads here only with a tester"
    case, searching = searched(context, case_of(state))
    attempt, suggestion = case.attempts[-1], context.suggestion(case)
    earlier = [before.plan for before in case.attempts[:-1] if before.test is not None]
    result = context.tester(context.trajectory, suggestion, earlier)
    if result is None:
        spent: State = {"env_steps": searching}
        return refuse(state, context, case, "test", "test budget spent", str(suggestion), judged=False, update=spent)
    update: State = {"env_steps": searching + int(result.env_steps)}
    context.emit(StepsSpent("test", int(result.env_steps), f"{context.segment} {work_on(case)}"))
    flaw = ""
    if result.stopped == "invalid":
        flaw = refusal(context.environment, context.trajectory, suggestion) or "not testable"
    elif not math.isfinite(result.gain):
        flaw = "gain is not a number"
    if flaw:
        return refuse(state, context, case, "test", f"{INVALID}{flaw}", str(suggestion), judged=False, update=update)
    attempt = replace(attempt, test=_plain(result))
    case = with_attempt(case, attempt)
    rejected = attempt.critique is not None and attempt.critique.verdict == "reject"
    if not result.passed and (rejected or not may_revise(context, case)):
        words = measurement(attempt)
        return refuse(state, context, case, "test", why_refused(result), words, judged=True, update=update)
    if context.rewards_only:
        if not result.passed:
            return revise(state, context, case, update)
        return Command(goto="criticise", update={**update, **with_case(state, case)})
    if context.reflects or result.passed:
        return Command(goto="reflect" if context.reflects else "accept", update={**update, **with_case(state, case)})
    return revise(state, context, case, update)


def accept(state: State, runtime: Runtime[Context]) -> Command[Literal["advise", "finish"]]:
    """Close the case with advice, and go on to the next critical state."""
    context, case = runtime.context, replace(case_of(state), fate="accepted")
    attempt = case.attempts[-1]
    why = measurement(attempt) if attempt.test else attempt.standing.rationale if attempt.standing else ""
    context.decided(case, "accept", why)
    return _onward(state, with_case(state, case))


def reject(state: State, runtime: Runtime[Context]) -> Command[Literal["advise", "finish"]]:
    """The case was closed without advice: go on to the next critical state."""
    return _onward(state, {})


def _onward(state: State, update: State) -> Command[Literal["advise", "finish"]]:
    following = state["current"] + 1
    goto: Literal["advise", "finish"] = "advise" if following < len(state["states"]) else "finish"
    return Command(goto=goto, update={**update, "current": following})


def finish(state: State, runtime: Runtime[Context]) -> State:
    """Sum the segment up."""
    made = Explanation(
        runtime.context.narration.segment,
        STATES.validate_python(state["states"]),
        NOTES.validate_python(state["notes"]),
        state["env_steps"],
        runtime.context.source,
    )
    return {"explanation": EXPLANATION.dump_python(made, mode="json")}


def _plain(result: TestResult) -> TestResult:
    """The same in Python's own numbers, whatever the tester computed with."""
    return replace(
        result,
        gain=float(result.gain),
        low=float(result.low),
        high=float(result.high),
        pairs=int(result.pairs),
        env_steps=int(result.env_steps),
        passed=bool(result.passed),
        better=int(result.better),
        worse=int(result.worse),
    )
