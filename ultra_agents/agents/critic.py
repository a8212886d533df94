"""Stage 5: implicit rewards and a verdict, and the critic's second reading of them (ULTRA section 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.decisions import may_revise, refuse, revise, why_refused
from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.schemas import CriticReply
from ultra_agents.agents.state import Context, State, case_of, with_attempt, with_case, work_on
from ultra_agents.agents.validity import reward_flaw
from ultra_agents.agents.wording import measured
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import CriticalState, Critique


def criticise(
    state: State, runtime: Runtime[Context]
) -> Command[Literal["test", "reflect", "accept", "advise", "reject"]]:
    """Ask for rewards and a verdict."""
    context = runtime.context
    context.check()
    case = case_of(state)
    ask = load_prompt("critic").fill(
        situation=context.situation(case.step),
        case_analysis=case.rationale,
        outcome=context.outcome(case.step),
        suggestion=context.suggestion(case),
        reasoning=case.attempts[-1].rationale,
        taken_action=context.taken(case.step),
    )
    try:
        critique = _ask(state, context, case, ask)
    except ReplyDropped as problem:
        return refuse(state, context, case, "criticise", problem.reason, problem.detail, judged=False)
    return judged(state, context, critique)


def judged(
    state: State, context: Context, critique: Critique
) -> Command[Literal["test", "reflect", "accept", "advise", "reject"]]:
    """Where a first verdict leads.

    Where a simulator is asked, its measurement decides: a weak critic's no would otherwise throw away what it cannot
    judge. A suggestion the critic rejected is measured, but not revised; one it wants revised is measured as it is
    when no revision is left.
    """
    case = case_of(state)
    if (bad := reward_flaw(critique)) is not None:
        detail = f"{critique.reward:g} and {critique.taken_reward:g}"
        return refuse(state, context, case, "criticise", bad, detail, judged=False)
    case = with_attempt(case, replace(case.attempts[-1], critique=critique))
    if context.simulates:
        if critique.verdict == "revise" and may_revise(context, case):
            return revise(state, context, case)
        return Command(goto="test", update=with_case(state, case))
    if context.reflects:
        return Command(goto="reflect", update=with_case(state, case))
    return _decide(state, context, case, critique)


def reflect(state: State, runtime: Runtime[Context]) -> Command[Literal["accept", "advise", "reject"]]:
    """Let the critic read its verdict again, with the measurement where there is one.

    A measured gain is accepted whatever the critic says; it may still correct the rewards. A reading that cannot be
    used leaves the first one standing.
    """
    context = runtime.context
    context.check()
    case = case_of(state)
    attempt = case.attempts[-1]
    first, test = _present(attempt.critique), attempt.test
    measurement = measured(attempt.plan, test) if test else ""
    ask = load_prompt("reflection").fill(
        situation=context.situation(case.step),
        suggestion=context.suggestion(case),
        taken_action=context.taken(case.step),
        verdict=first.verdict,
        reward=f"{first.reward:g}",
        taken_reward=f"{first.taken_reward:g}",
        reasoning=first.rationale,
        measurement=measurement,
    )
    update: State = {}
    critique = first  # a measurement or the first verdict decides without a second reading
    try:
        again = _ask(state, context, case, ask)
    except ReplyDropped as problem:
        update["notes"] = [
            context.noted("criticise", f"reflection: {problem.reason}", problem.detail, work=work_on(case))
        ]
    else:
        if (bad := reward_flaw(again)) is not None:
            update["notes"] = [context.noted("criticise", f"reflection: {bad}", work=work_on(case))]
        else:
            critique = again
            case = with_attempt(case, replace(attempt, reflection=again))
    if test is None:
        return _decide(state, context, case, critique, update)
    if test.passed:
        return Command(goto="accept", update={**update, **with_case(state, case)})
    if critique.verdict == "reject":
        return refuse(state, context, case, "test", why_refused(test), measurement, judged=True, update=update)
    return revise(state, context, case, update)


def _decide(
    state: State, context: Context, case: CriticalState, critique: Critique, update: State | None = None
) -> Command[Any]:
    """Follow the critic's last verdict, where nothing is measured."""
    if critique.verdict == "accept":
        return Command(goto="accept", update={**(update or {}), **with_case(state, case)})
    if critique.verdict == "reject":
        reason = "rejected by critic"
    elif may_revise(context, case):
        return revise(state, context, case, update)
    else:
        reason = "no revision left"
    return refuse(state, context, case, "criticise", reason, critique.rationale, judged=True, update=update)


def _ask(state: State, context: Context, case: CriticalState, ask: list[tuple[str, str]]) -> Critique:
    answer = context.gateway.ask(
        agent="critic",
        segment=context.segment,
        models=context.chain("critic"),
        messages=[("system", state["opening"]), *ask],
        reply=CriticReply,
        step=case.step,
    )
    said: CriticReply = answer.value
    return Critique(said.verdict, float(said.reward), float(said.taken_reward), said.reasoning)


def _present(critique: Critique | None) -> Critique:
    """`critique`, which the order of the nodes guarantees to be there."""
    assert critique is not None, "the graph leads here only with something to judge"
    return critique
