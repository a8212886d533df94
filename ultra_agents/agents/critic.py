"""Stage 5: implicit rewards and a verdict, and the critic's second reading of them (ULTRA section 3)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.decisions import may_revise, refuse, revise, why_refused
from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.schemas import critic_reply
from ultra_agents.agents.sentences import length_in_words
from ultra_agents.agents.state import Context, State, case_of, with_attempt, with_case, work_on
from ultra_agents.agents.validity import reward_flaw
from ultra_agents.agents.wording import brief_plan, measurement, toward_words
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import CriticalState, Critique, Verdict


def criticise(
    state: State, runtime: Runtime[Context]
) -> Command[Literal["test", "reflect", "accept", "advise", "reject"]]:
    """Ask for rewards and a verdict; where the simulator decided already, for rewards alone."""
    context = runtime.context
    context.check()
    case = case_of(state)
    if context.rewards_only:
        return rewarded(state, context, case)
    ask = load_prompt("critic").fill(**_case(context, case))
    try:
        critique = _ask(state, context, case, ask)
    except ReplyDropped as problem:
        return refuse(state, context, case, "criticise", problem.reason, problem.detail, judged=False)
    return judged(state, context, critique)


def rewarded(state: State, context: Context, case: CriticalState) -> Command[Any]:
    """Ask for the implicit rewards of a suggestion that held.

    It is accepted whatever comes: without usable rewards it has none, which changes no action.
    """
    attempt, update = case.attempts[-1], State()
    assert attempt.test is not None, "the graph leads here only from the test"
    ask = load_prompt("rewards").fill(**_case(context, case), measurement=measurement(attempt))
    critique = Critique("accept", 0.0, 0.0, "")
    try:
        said = _ask(state, context, case, ask, verdict=False)
    except ReplyDropped as problem:
        update["notes"] = [context.noted("criticise", problem.reason, problem.detail, work=work_on(case))]
    else:
        if (bad := reward_flaw(said)) is not None:
            update["notes"] = [context.noted("criticise", bad, work=work_on(case))]
        else:
            critique = said
    case = with_attempt(case, replace(attempt, reflection=critique))
    return Command(goto="accept", update={**update, **with_case(state, case)})


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
    measured = measurement(attempt) if test else ""
    ask = load_prompt("reflection").fill(
        situation=context.situation(case.step),
        suggestion=suggestion_words(context, case),
        taken_action=context.taken(case.step),
        verdict=first.verdict,
        reward=f"{first.reward:g}",
        taken_reward=f"{first.taken_reward:g}",
        reasoning=first.rationale,
        measurement=measured,
        length=length_in_words(context.agents.reasoning),
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
        return refuse(state, context, case, "test", why_refused(test), measured, judged=True, update=update)
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


def _case(context: Context, case: CriticalState) -> dict[str, object]:
    """What both of the critic's first questions are about."""
    return {
        "situation": context.situation(case.step),
        "case_analysis": case.rationale,
        "outcome": context.outcome(case.step),
        "suggestion": suggestion_words(context, case),
        "reasoning": _reasoning(context, case),
        "taken_action": context.taken(case.step),
        "length": length_in_words(context.agents.reasoning),
    }


def suggestion_words(context: Context, case: CriticalState) -> str:
    """What the critic reads of the last attempt of `case`: the plan, or the goal and what was found for it."""
    attempt = case.attempts[-1]
    if attempt.goal is None or attempt.search is None:
        return str(context.suggestion(case))
    found = f"{toward_words(attempt.search)} What it does: {brief_plan(attempt.plan)}"
    return f"from step {case.step} on, {attempt.goal} ({found})"


def _reasoning(context: Context, case: CriticalState) -> str:
    """The advisor's reasons, where the critic is to read them."""
    hidden = context.agents.critic.sees == "evidence"
    return "" if hidden else f"The advisor's reasoning: {case.attempts[-1].rationale}"


def _ask(
    state: State, context: Context, case: CriticalState, ask: list[tuple[str, str]], *, verdict: bool = True
) -> Critique:
    answer = context.gateway.ask(
        agent="critic",
        segment=context.segment,
        models=context.chain("critic"),
        messages=[("system", state["opening"]), *ask],
        reply=critic_reply(context.agents.reasoning, verdict=verdict),
        step=case.step,
    )
    said = answer.value
    word: Verdict = said.verdict if verdict else "accept"
    return Critique(word, float(said.reward), float(said.taken_reward), said.reasoning)


def _present(critique: Critique | None) -> Critique:
    """`critique`, which the order of the nodes guarantees to be there."""
    assert critique is not None, "the graph leads here only with something to judge"
    return critique
