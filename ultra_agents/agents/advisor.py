"""Stage 4: a better action for a critical state, and for how long (ULTRA section 3, improvement)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.decisions import leave, refuse
from ultra_agents.agents.prompts import Message, load_prompt
from ultra_agents.agents.replays import feedback
from ultra_agents.agents.schemas import advisor_reply, end_word, leave_word, plan_of
from ultra_agents.agents.sentences import length_in_words
from ultra_agents.agents.state import Context, State, case_of, with_case, work_on
from ultra_agents.agents.tools.consulting import consult
from ultra_agents.agents.validity import flaw
from ultra_agents.config import AgentsConfig
from ultra_agents.contracts import Environment
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import Attempt, Plan, Searched, Suggestion
from ultra_agents.records.plans import OF_NO_USE

Next: TypeAlias = Command[Literal["criticise", "test", "reject"]]


def advise(state: State, runtime: Runtime[Context]) -> Next:
    """Ask for a suggestion for the current critical state, with what was wrong with the ones before."""
    context = runtime.context
    context.check()
    agents, case, codec = context.agents, case_of(state), context.environment.actions
    ask = load_prompt("advisor").fill(
        situation=context.situation(case.step),
        case_analysis=case.rationale,
        outcome=context.outcome(case.step),
        taken_action=context.taken(case.step),
        actions=_actions(context.environment),
        answer=_answer(agents, end_word(codec)),
        length=length_in_words(agents.reasoning),
        leave=_leave(agents, leave_word(codec)),
        feedback=feedback(context, case),
    )
    reply = advisor_reply(
        codec,
        agents.max_hold,
        agents.min_hold,
        agents.max_moves,
        plan_steps=agents.plan_steps,
        reasoning=agents.reasoning,
        as_list=_as_list(agents),
    )

    def taken(said: Any) -> Command[Any]:
        plan = plan_of(said, codec)
        if plan is None:
            return leave(state, context, case, said.reasoning)
        return suggested(state, context, plan, said.reasoning)

    return answered(state, context, ask, reply, taken)


def answered(
    state: State, context: Context, ask: list[Message], reply: type[Any], taken: Callable[[Any], Command[Any]]
) -> Command[Any]:
    """Ask the advisor about the current critical state; an unusable reply is refused.

    Args:
        state: The segment.
        context: What the nodes work with.
        ask: The question.
        reply: What the reply is to be.
        taken: What to do with it.
    """
    case = case_of(state)
    messages = [("system", state["opening"]), *ask]
    consulted = consult(context, state, "advisor", context.segment, messages, reply, case.step, work_on(case))
    try:
        said = consulted.reply()
    except ReplyDropped as problem:
        dropped = refuse(state, context, case, "advise", problem.reason, problem.detail, judged=False, told=False)
        return consulted.into(dropped)
    return consulted.into(taken(said))


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
    played = [attempt for attempt in before.attempts if not (attempt.search and attempt.search.reason in OF_NO_USE)]
    if reason is None and any(plan in (attempt.plan, attempt.written) for attempt in played):
        reason = "suggested again"
    elif reason is None and plan.moves == ((context.taken(case.step), 1),):
        reason = "same action as taken"
    command: Command[Any]
    if reason is not None:
        command = refuse(state, context, case, "advise", reason, str(suggestion), judged=False)
    else:
        command = Command(goto="test" if context.rewards_only else "criticise", update=with_case(state, case))
    return replace(command, update={**command.update, "env_steps": env_steps})  # type: ignore[dict-item]


def _as_list(agents: AgentsConfig) -> bool:
    """A plan is a list of moves: for models that can be asked for more than a line."""
    return agents.prompts == "full" and agents.max_moves > 1


def _actions(environment: Environment) -> str:
    """The actions by name, unless the opening names them all."""
    names, told = environment.actions.names, environment.brief.actions
    known = all(re.search(rf"(?<![\w+-]){re.escape(name)}(?![\w+-])", told) for name in names)
    return "" if known else f"Actions: {', '.join(names)}."


def _answer(agents: AgentsConfig, end: str) -> str:
    """How a plan is answered."""
    steps = f"{agents.min_hold} to {agents.max_hold} steps"
    together = "" if agents.plan_steps is None else f", all together at most {agents.plan_steps} steps"
    if _as_list(agents):
        return (
            f"list your moves, one after the other: at most {agents.max_moves}, each an action and for how many steps "
            f"({agents.min_hold} to {agents.max_hold}) it is held{together}."
        )
    text = f"choose the action and hold it for {steps}."
    if agents.max_moves > 1:
        further = " and ".join(f"action_{number}/hold_{number}" for number in range(2, agents.max_moves + 1))
        text += f" Where one action is not enough, go on in {further}{together}; otherwise answer {end} there."
    return text


def _leave(agents: AgentsConfig, word: str) -> str:
    """How to answer that nothing is to be changed."""
    how = "leave the list of moves empty" if _as_list(agents) else f"answer {word} as the action"
    return f"If nothing would have earned more here than what the policy did, {how}: that is an answer, too."
