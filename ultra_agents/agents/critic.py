"""Stage 5: implicit rewards and a verdict, and the critic's second reading of them (ULTRA section 3)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.schemas import CriticReply
from ultra_agents.agents.state import Context, Row, State
from ultra_agents.agents.validity import reward_flaw
from ultra_agents.agents.wording import in_words, measured
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import Critique, Suggestion, TestResult

NO_GAIN = "no gain in simulation"


def criticise(
    state: State, runtime: Runtime[Context]
) -> Command[Literal["test", "reflect", "accept", "advise", "reject"]]:
    """Ask for rewards and a verdict."""
    context = runtime.context
    context.check()
    suggestion, critical = suggestion_of(state), state["critical"][state["current"]]
    ask = load_prompt("critic").fill(
        situation=context.situation(suggestion.step),
        case_analysis=critical["rationale"],
        outcome=context.outcome(suggestion.step),
        suggestion=in_words(suggestion),
        reasoning=suggestion.rationale,
        taken_action=context.taken(suggestion.step),
    )
    try:
        critique = _ask(state, context, ask)
    except ReplyDropped as problem:
        return refuse("criticise", problem.reason, problem.detail)
    return judged(state, context, critique)


def judged(
    state: State, context: Context, critique: Critique
) -> Command[Literal["test", "reflect", "accept", "advise", "reject"]]:
    """Where a first verdict leads.

    Where a simulator is asked, its measurement decides: a weak critic's no would otherwise throw away what it cannot
    judge. A suggestion the critic rejected is measured, but not revised; one it wants revised is measured as it is
    when no revision is left.
    """
    update: Row = {"critique": asdict(critique)}
    if (bad := reward_flaw(critique)) is not None:
        return refuse("criticise", bad, f"{critique.reward:g} and {critique.taken_reward:g}")
    if context.simulates:
        if critique.verdict == "revise" and may_revise(state, context):
            return revise(context, state, f"The critic: {critique.rationale}", update)
        return Command(goto="test", update=update)
    if context.reflects:
        return Command(goto="reflect", update=update)
    return _decide(state, context, critique, update)


def reflect(state: State, runtime: Runtime[Context]) -> Command[Literal["accept", "advise", "reject"]]:
    """Let the critic read its verdict again, with the measurement where there is one.

    A measured gain is accepted whatever the critic says; it may still correct the rewards. A reading that cannot be
    used leaves the first one standing.
    """
    context = runtime.context
    context.check()
    suggestion, first, row = suggestion_of(state), Critique(**present(state["critique"])), state["test"]
    test = TestResult(**row) if row else None
    measurement = measured(suggestion, test) if test else ""
    ask = load_prompt("reflection").fill(
        situation=context.situation(suggestion.step),
        suggestion=in_words(suggestion),
        taken_action=context.taken(suggestion.step),
        verdict=first.verdict,
        reward=f"{first.reward:g}",
        taken_reward=f"{first.taken_reward:g}",
        reasoning=first.rationale,
        measurement=measurement,
    )
    update: Row = {}
    try:
        critique = _ask(state, context, ask)
    except ReplyDropped as problem:
        critique = first  # a measurement or the first verdict decides without it
        update["drops"] = [context.dropped("criticise", f"reflection: {problem.reason}", problem.detail)]
    if (bad := reward_flaw(critique)) is not None:
        critique = first
        update["drops"] = [context.dropped("criticise", f"reflection: {bad}")]
    update["critique"] = asdict(critique)
    if test is None:
        return _decide(state, context, critique, update)
    if test.passed:
        return Command(goto="accept", update=update)
    if critique.verdict == "reject":
        return refuse("test", NO_GAIN, measurement, update)
    return revise(context, state, f"{measurement} The critic: {critique.rationale}", update)


def _decide(state: State, context: Context, critique: Critique, update: Row) -> Command[Any]:
    """Follow the critic's last verdict, where nothing is measured."""
    if critique.verdict == "accept":
        return Command(goto="accept", update=update)
    if critique.verdict == "reject":
        return refuse("criticise", "rejected by critic", critique.rationale, update)
    if may_revise(state, context):
        return revise(context, state, f"The critic: {critique.rationale}", update)
    return refuse("criticise", "no revision left", critique.rationale, update)


def may_revise(state: State, context: Context) -> bool:
    """The current suggestion may go back to the advisor."""
    return suggestion_of(state).revision < context.agents.max_revisions


def revise(context: Context, state: State, why: str, update: Row | None = None) -> Command[Any]:
    """Send the current suggestion back to the advisor."""
    suggestion = suggestion_of(state)
    test = (update or {}).get("test", state["test"])
    context.decided(suggestion, "revise", why, test)
    told = f"{in_words(suggestion)} was suggested before and did not hold: suggest something else. {why}"
    feedback = f"{state['feedback']} {told}".strip()  # all that was refuted here, or it comes back in turns
    return Command(goto="advise", update={**(update or {}), "feedback": feedback})


def refuse(stage: str, reason: str, detail: str, update: Row | None = None) -> Command[Any]:
    """Drop the current suggestion for a countable reason."""
    refusal = {"stage": stage, "reason": reason, "detail": detail}
    return Command(goto="reject", update={**(update or {}), "refusal": refusal})


def _ask(state: State, context: Context, ask: list[tuple[str, str]]) -> Critique:
    answer = context.gateway.ask(
        agent="critic",
        segment=context.segment,
        models=context.chain("critic"),
        messages=[("system", state["opening"]), *ask],
        reply=CriticReply,
    )
    said: CriticReply = answer.value
    return Critique(said.verdict, float(said.reward), float(said.taken_reward), said.reasoning)


def suggestion_of(state: State) -> Suggestion:
    """The suggestion being judged."""
    return Suggestion(**present(state["suggestion"]))


def present(row: Row | None) -> Row:
    """`row`, which the order of the nodes guarantees to be there."""
    assert row is not None, "the graph leads here only with something to judge"
    return row
