"""Stage 3: which states of the segment were critical (ULTRA section 3, identification).

Critical states are those where the agent's action has a significant effect on its ability to maximise future reward.
The model analyses cases from the episode: what happened, why, what else could have been done. Instead of one model a
panel may be asked, whose majority decides (`panel.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Literal, TypeAlias

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.panel import count_votes
from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.schemas import Case, IdentifierReply, identifier_reply
from ultra_agents.agents.state import Context, Row, State
from ultra_agents.contracts.llm import Unreachable
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import CriticalState

Next: TypeAlias = Command[Literal["advise", "finish"]]
Messages: TypeAlias = list[tuple[str, str]]


def identify(state: State, runtime: Runtime[Context]) -> Next:
    """Ask for the critical states; a step named twice counts once."""
    context = runtime.context
    context.check()
    agents, steps = context.agents, context.narration.steps
    ask = load_prompt("identifier").fill(max_critical=agents.max_critical, steps=", ".join(map(str, steps)))
    messages: Messages = [("system", state["opening"]), *ask]
    reply = identifier_reply(steps, agents.max_critical)
    if agents.identifier.panel:
        return voted(context, messages, reply)
    try:
        answer = context.gateway.ask(
            agent="identifier",
            segment=context.segment,
            models=context.chain("identifier"),
            messages=messages,
            reply=reply,
        )
    except ReplyDropped as problem:
        return Command(goto="finish", update={"drops": [context.dropped("identify", problem.reason, problem.detail)]})
    return named(context, answer.value.cases)


def named(context: Context, cases: Sequence[Case]) -> Next:
    """Take the cases over; there may be none."""
    critical: list[Row] = []
    drops: list[Row] = []
    for case in cases:
        if any(case.step == other["step"] for other in critical):
            drops.append(context.dropped("identify", "step named twice", f"step {case.step}"))
            continue
        critical.append(_critical(context, case.step, case.case_analysis, float(case.importance)))
    return _go_on(critical, drops)


def voted(context: Context, messages: Messages, reply: type[IdentifierReply]) -> Next:
    """Ask the whole panel side by side and keep what more than half of it named.

    Raises:
        Unreachable: So many members cannot be reached that no majority is possible.
    """
    settings = context.agents.identifier
    panel = settings.panel
    ballots: list[Sequence[Case]] = []
    drops: list[Row] = []
    absent: list[Unreachable] = []
    with ThreadPoolExecutor(len(panel), "panel") as pool:
        asked = [(name, pool.submit(partial(_ballot, context, messages, reply, name))) for name in panel]
    for name, answer in asked:
        try:
            ballots.append(answer.result())
        except ReplyDropped as problem:
            drops.append(context.dropped("identify", problem.reason, f"{name}: {problem.detail}"))
        except Unreachable as problem:
            absent.append(problem)
            drops.append(context.dropped("identify", "panel member unreachable", f"{name}: {problem.problem}"))
    if 2 * (len(panel) - len(absent)) <= len(panel):
        raise absent[0]
    critical: list[Row] = []
    for state in count_votes(ballots, settings.panel_tolerance):
        votes = f"step {state.step}: {state.votes} of {len(panel)}"
        if 2 * state.votes <= len(panel):
            drops.append(context.dropped("identify", "no majority", votes))
        elif len(critical) == context.agents.max_critical:
            drops.append(context.dropped("identify", "beyond max_critical", votes))
        else:
            agreement = state.votes / len(panel)
            critical.append(_critical(context, state.step, state.rationale, state.importance, agreement))
    return _go_on(critical, drops)


def _ballot(context: Context, messages: Messages, reply: type[IdentifierReply], name: str) -> Sequence[Case]:
    answer = context.gateway.ask(
        agent="identifier", segment=context.segment, models=[name], messages=messages, reply=reply
    )
    cases: Sequence[Case] = answer.value.cases
    return cases


def _critical(context: Context, step: int, rationale: str, importance: float, agreement: float = 1.0) -> Row:
    episode = context.narration.segment.episode
    return asdict(CriticalState(episode, step, rationale, importance, agreement))


def _go_on(critical: list[Row], drops: list[Row]) -> Next:
    goto: Literal["advise", "finish"] = "advise" if critical else "finish"
    return Command(goto=goto, update={"critical": critical, "current": 0, "drops": drops})
