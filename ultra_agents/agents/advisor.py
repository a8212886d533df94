"""Stage 4: a better action for a critical state, and for how long (ULTRA section 3, improvement)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.schemas import advisor_reply, end_word, plan_of
from ultra_agents.agents.state import Context, Row, State
from ultra_agents.agents.validity import flaw
from ultra_agents.agents.wording import in_words, suggestion_row
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import Move, Suggestion


def advise(state: State, runtime: Runtime[Context]) -> Command[Literal["criticise", "reject"]]:
    """Ask for a suggestion for the current critical state, with what was wrong with the one before."""
    context = runtime.context
    context.check()
    agents, critical = context.agents, state["critical"][state["current"]]
    ask = load_prompt("advisor").fill(
        situation=context.situation(critical["step"]),
        case_analysis=critical["rationale"],
        outcome=context.outcome(critical["step"]),
        taken_action=context.taken(critical["step"]),
        actions=", ".join(context.environment.actions.names),
        min_hold=agents.min_hold,
        max_hold=agents.max_hold,
        plan=_about_plans(agents.max_moves, end_word(context.environment.actions)),
        feedback=state["feedback"],
    )
    try:
        answer = context.gateway.ask(
            agent="advisor",
            segment=context.segment,
            models=context.chain("advisor"),
            messages=[("system", state["opening"]), *ask],
            reply=advisor_reply(context.environment.actions, agents.max_hold, agents.min_hold, agents.max_moves),
        )
    except ReplyDropped as problem:
        refusal = {"stage": "advise", "reason": problem.reason, "detail": problem.detail}
        return Command(goto="reject", update={"suggestion": None, "refusal": refusal})
    return suggested(state, context, plan_of(answer.value, context.environment.actions), answer.value.reasoning)


def suggested(
    state: State, context: Context, moves: Sequence[Move], reasoning: str
) -> Command[Literal["criticise", "reject"]]:
    """Take a suggestion over, unless it says nothing new or nothing that can be done.

    The action the policy took is one, too, when it is to be held: the policy may have let go of it too early.
    """
    critical, tried = state["critical"][state["current"]], state["tried"]
    (action, hold), *then = joined(moves)
    suggestion = Suggestion(
        critical["episode"], critical["step"], action, hold, reasoning, revision=len(tried), then=tuple(then)
    )
    plan = [list(move) for move in suggestion.moves]
    reason = flaw(context, suggestion)
    if reason is None and plan in tried:
        reason = "suggested again"
    elif reason is None and plan == [[context.taken(critical["step"]), 1]]:
        reason = "same action as taken"
    refusal: Row | None = None
    if reason is not None:
        refusal = {"stage": "advise", "reason": reason, "detail": in_words(suggestion)}
    return Command(
        goto="reject" if refusal else "criticise",
        update={
            "suggestion": suggestion_row(suggestion),
            "tried": [*tried, plan],
            "critique": None,
            "test": None,
            "refusal": refusal,
            "proposed": 1,
        },
    )


def joined(moves: Sequence[Move]) -> list[Move]:
    """The same plan without two moves of one action in a row, so that equal plans are equal rows."""
    plan: list[Move] = []
    for action, hold in moves:
        if plan and plan[-1][0] == action:
            plan[-1] = (action, plan[-1][1] + hold)
        else:
            plan.append((action, hold))
    return plan


def _about_plans(max_moves: int, end: str) -> str:
    if max_moves == 1:
        return ""
    further = " and ".join(f"action_{number}/hold_{number}" for number in range(2, max_moves + 1))
    return f"Where one action is not enough, go on in {further}; otherwise answer {end} there."
