"""Before the test: what the simulator's search makes of a suggestion, where that is asked for."""

from __future__ import annotations

from dataclasses import replace

from ultra_agents.agents.state import Context, with_attempt, work_on
from ultra_agents.events import StepsSpent
from ultra_agents.records import CriticalState


def searched(context: Context, case: CriticalState) -> tuple[CriticalState, int]:
    """The case with its last attempt as the search left it, and the environment steps that took.

    A plan that was tested at this state before is not taken over: its test would say the same again.
    """
    if context.refines is None:
        return case, 0
    attempt = case.attempts[-1]
    found = context.refines(context.trajectory, context.suggestion(case))
    context.emit(StepsSpent("search", found.env_steps, f"{context.segment} {work_on(case)}"))
    known = {before.plan for before in case.attempts[:-1]}
    if found.plan is None or found.plan in known:
        found = replace(found, plan=attempt.plan)
    return with_attempt(case, replace(attempt, plan=found.plan or attempt.plan, search=found)), found.env_steps
