"""Stage 4: a better action for a critical state, and for how long (ULTRA section 3, improvement)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.schemas import advisor_reply
from ultra_agents.agents.state import Context, Row, State
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import Suggestion


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
        feedback=state["feedback"],
    )
    try:
        answer = context.gateway.ask(
            agent="advisor",
            segment=context.segment,
            models=context.chain("advisor"),
            messages=[("system", state["opening"]), *ask],
            reply=advisor_reply(context.environment.actions, agents.max_hold, agents.min_hold),
        )
    except ReplyDropped as problem:
        refusal = {"stage": "advise", "reason": problem.reason, "detail": problem.detail}
        return Command(goto="reject", update={"suggestion": None, "refusal": refusal})
    return suggested(state, context, answer.value.action, answer.value.hold, answer.value.reasoning)


def suggested(
    state: State, context: Context, action: str, hold: int, reasoning: str
) -> Command[Literal["criticise", "reject"]]:
    """Take a suggestion over, unless it says nothing new.

    The action the policy took is one, too, when it is to be held: the policy may have let go of it too early.
    """
    critical, tried = state["critical"][state["current"]], state["tried"]
    suggestion = Suggestion(critical["episode"], critical["step"], action, hold, reasoning, revision=len(tried))
    refusal: Row | None = None
    if action == context.taken(critical["step"]) and hold == 1:
        refusal = {"stage": "advise", "reason": "same action as taken", "detail": in_words(suggestion)}
    elif [action, hold] in tried:
        refusal = {"stage": "advise", "reason": "suggested again", "detail": in_words(suggestion)}
    return Command(
        goto="reject" if refusal else "criticise",
        update={
            "suggestion": asdict(suggestion),
            "tried": [*tried, [action, hold]],
            "critique": None,
            "test": None,
            "refusal": refusal,
            "proposed": 1,
        },
    )


def in_words(suggestion: Suggestion) -> str:
    """`UP for 5 steps at step 118`."""
    steps = "step" if suggestion.hold == 1 else "steps"
    return f"{suggestion.action} for {suggestion.hold} {steps} at step {suggestion.step}"
