"""Stage 4 where advice is goals: the advisor says where to and for how long, a search in the simulator says how.

An answer is a goal on named quantities (`ultra_agents/verification/goals.py` defines how far a rollout reaches it).
The search's plan becomes an ordinary suggestion: criticised, tested, tabulated, imitated like one that was written. A
goal that the episodes collected speak against is refused within the reply's own validation, so that the model may mend
it once; one that leads nowhere in the simulator comes back with what the search came to. Not part of the ULTRA paper.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from langgraph.runtime import Runtime
from langgraph.types import Command
from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from ultra_agents.agents.advisor import answered, suggested
from ultra_agents.agents.decisions import leave, may_revise, refuse, revise
from ultra_agents.agents.goal_terms import Goals
from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.replays import feedback
from ultra_agents.agents.schemas import LEAVE, AdvisorReply
from ultra_agents.agents.sentences import length_in_words, reason
from ultra_agents.agents.state import Context, State, case_of, work_on
from ultra_agents.agents.wording import toward_words
from ultra_agents.config import AgentsConfig
from ultra_agents.events import StepsSpent
from ultra_agents.narration import figure
from ultra_agents.records import Attempt, Goal
from ultra_agents.records.plans import OF_NO_USE, Aim, When
from ultra_agents.verification.goals import MOST_CHARACTERS

Next: TypeAlias = Command[Literal["advise", "criticise", "test", "reject"]]
LANGUAGE = (
    "The quantity of a goal may be an expression of these, in numbers, names, + - * / %, A if CONDITION else B, and "
    "functions such as abs(x), min(a, b), max(a, b), sqrt(x), clip(x, low, high)."
)


def advise(state: State, runtime: Runtime[Context]) -> Next:
    """Ask for a goal for the current critical state, have it searched for, and take what was found as a suggestion."""
    context = runtime.context
    context.check()
    assert context.goals is not None, "the roles lead here only with goals"
    agents, goals, case = context.agents, context.goals, case_of(state)
    free = agents.prompts == "full"
    ask = load_prompt("goals_advisor").fill(
        situation=context.situation(case.step),
        case_analysis=case.rationale,
        outcome=context.outcome(case.step),
        feedback=feedback(context, case),
        taken_action=context.taken(case.step),
        quantities=goals.legend,
        here=_here(context, goals, case.step),
        language=LANGUAGE if free else "",
        length=length_in_words(agents.reasoning),
        least=goals.least,
        most=goals.most,
        leave=f'If nothing would have earned more here than what the policy did, answer "{LEAVE}" as the quantity: '
        "that is an answer, too.",
    )

    def taken(said: Any) -> Command[Any]:
        goal = goal_of(said)
        if goal is None:
            return leave(state, context, case, said.reasoning)
        if any(goal == before.goal for before in case.attempts):
            return refuse(state, context, case, "advise", "suggested again", str(goal), judged=False, told=False)
        return pursued(state, context, goal, said.reasoning)

    return answered(state, context, ask, goal_reply(goals, agents), taken)


def pursued(state: State, context: Context, goal: Goal, reasoning: str) -> Command[Any]:
    """Search for `goal` from the current critical state; what comes nearest is the suggestion, if it comes nearer.

    Args:
        state: The segment.
        context: What the nodes work with.
        goal: What is to be reached.
        reasoning: Why.
    """
    assert context.goals is not None, "the roles lead here only with goals"
    case = case_of(state)
    found = context.goals.reach(context.trajectory, case.step, goal)
    context.emit(StepsSpent("search", found.env_steps, f"{context.segment} {work_on(case)}"))
    if found.plan is None:
        return refuse(
            state, context, case, "advise", found.reason, str(goal), judged=False, told=False,
            update={"env_steps": found.env_steps},
        )  # fmt: skip
    if found.reason not in OF_NO_USE:
        return suggested(state, context, found.plan, reasoning, found.env_steps, found)
    case = replace(case, attempts=(*case.attempts, Attempt(found.plan, reasoning, search=found)))
    spent: State = {"env_steps": found.env_steps}
    if may_revise(context, case):
        return revise(state, context, case, spent)
    return refuse(state, context, case, "advise", found.reason, toward_words(found), judged=False, update=spent)


def goal_reply(goals: Goals, agents: AgentsConfig) -> type[AdvisorReply]:
    """A goal, or `LEAVE` in the place of its quantity; what `GoalMeter.fault` says against it is told.

    Models with short prompts choose one of the quantities, so that a grammar rules out unknown ones; others may write
    an expression.
    """
    names = goals.meter.interface.quantities
    quantity: Any = (
        Literal[(*names, LEAVE)]
        if agents.prompts == "short"
        else Annotated[str, AfterValidator(str.strip), Field(json_schema_extra={"maxLength": MOST_CHARACTERS})]
    )
    number = Annotated[float | None, Field(allow_inf_nan=False)]

    def check(reply: Any) -> Any:
        goal = goal_of(reply)
        if goal is not None and (fault := goals.meter.fault(goal)):
            raise ValueError(fault)
        return reply

    checks: dict[str, Any] = {"within_reach": model_validator(mode="after")(check)}
    made: type[AdvisorReply] = create_model(
        "GoalReply",
        __base__=AdvisorReply,
        __validators__=checks,
        reasoning=(reason(agents.reasoning), ...),
        quantity=(quantity, ...),
        aim=(Annotated[Aim, BeforeValidator(_spelled)], ...),
        low=(number, None),
        high=(number, None),
        when=(Annotated[When, BeforeValidator(_spelled)], "on average"),
        steps=(Annotated[int, Field(ge=goals.least, le=goals.most)], ...),
    )
    return made


def goal_of(reply: Any) -> Goal | None:
    """The goal of an advisor's reply, without numbers that its aim does not use; None: nothing is to be changed."""
    if reply.quantity == LEAVE:
        return None
    low = reply.low if reply.aim in ("at least", "between") else None
    high = reply.high if reply.aim in ("at most", "between") else None
    return Goal(reply.quantity, reply.aim, reply.steps, reply.when, low, high)


def _spelled(word: Any) -> Any:
    """`AT_LEAST` is `at least`."""
    return word.strip().lower().replace("_", " ") if isinstance(word, str) else word


def _here(context: Context, goals: Goals, step: int) -> str:
    """The quantities at `step`, and as many steps later as a goal may take, as the policy went on."""
    columns = goals.meter.columns_of(context.trajectory)
    later = min(step + goals.most, len(context.trajectory) - 1)
    told = ", ".join(f"{name} {_value(column[step])} / {_value(column[later])}" for name, column in columns.items())
    return f"At this step / {later - step} steps later, as the policy went on: {told}."


def _value(number: float) -> str:
    return figure(float(number)) if np.isfinite(number) else "-"
