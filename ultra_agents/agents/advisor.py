"""Stage 4: a better action for a critical state, and for how long (ULTRA section 3, improvement)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, TypeAlias

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.decisions import objection, refuse
from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.schemas import advisor_reply, end_word, plan_of
from ultra_agents.agents.state import Context, State, case_of, with_case
from ultra_agents.agents.validity import flaw
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import Attempt, CriticalState, Plan, Searched, Suggestion

Next: TypeAlias = Command[Literal["criticise", "reject"]]


def advise(state: State, runtime: Runtime[Context]) -> Next:
    """Ask for a suggestion for the current critical state, with what was wrong with the ones before."""
    context = runtime.context
    context.check()
    agents, case = context.agents, case_of(state)
    ask = load_prompt("advisor").fill(
        situation=context.situation(case.step),
        case_analysis=case.rationale,
        outcome=context.outcome(case.step),
        taken_action=context.taken(case.step),
        actions=", ".join(context.environment.actions.names),
        min_hold=agents.min_hold,
        max_hold=agents.max_hold,
        plan=_about_plans(agents.max_moves, end_word(context.environment.actions)),
        feedback=_feedback(context, case),
    )
    try:
        answer = context.gateway.ask(
            agent="advisor",
            segment=context.segment,
            models=context.chain("advisor"),
            messages=[("system", state["opening"]), *ask],
            reply=advisor_reply(context.environment.actions, agents.max_hold, agents.min_hold, agents.max_moves),
            step=case.step,
        )
    except ReplyDropped as problem:
        return refuse(state, context, case, "advise", problem.reason, problem.detail, judged=False, told=False)
    return suggested(state, context, plan_of(answer.value, context.environment.actions), answer.value.reasoning)


def suggested(
    state: State, context: Context, plan: Plan, reasoning: str, env_steps: int = 0, search: Searched | None = None
) -> Next:
    """Take a suggestion over, unless it says nothing new or nothing that can be done.

    The action the policy took is one, too, when it is to be held: the policy may have let go of it too early.

    Args:
        state: The segment.
        context: What the nodes work with.
        plan: What is suggested for the current critical state.
        reasoning: Why.
        env_steps: Environment steps it took to find it.
        search: The search that found it, where one did.
    """
    before = case_of(state)
    case = replace(before, attempts=(*before.attempts, Attempt(plan, reasoning, search=search)))
    suggestion = Suggestion(context.narration.segment.episode, case.step, plan)
    reason = flaw(context, suggestion)
    if reason is None and any(plan in (attempt.plan, attempt.written) for attempt in before.attempts):
        reason = "suggested again"
    elif reason is None and plan.moves == ((context.taken(case.step), 1),):
        reason = "same action as taken"
    command: Command[Any]
    if reason is not None:
        command = refuse(state, context, case, "advise", reason, str(suggestion), judged=False)
    else:
        command = Command(goto="criticise", update=with_case(state, case))
    return replace(command, update={**command.update, "env_steps": env_steps})  # type: ignore[dict-item]


def _feedback(context: Context, case: CriticalState) -> str:
    """All that was refuted here, or it comes back in turns."""
    return " ".join(
        f"{Suggestion(0, case.step, attempt.written)} was suggested before and did not hold: suggest something else. "
        f"{objection(context, attempt)}"
        for attempt in case.attempts
    )


def _about_plans(max_moves: int, end: str) -> str:
    if max_moves == 1:
        return ""
    further = " and ".join(f"action_{number}/hold_{number}" for number in range(2, max_moves + 1))
    return f"Where one action is not enough, go on in {further}; otherwise answer {end} there."
