"""Stage 3: which states of the segment were critical (ULTRA section 3, identification).

Critical states are those where the agent's action has a significant effect on its ability to maximise future reward.
The model analyses cases from the episode: what happened, why, what else could have been done. Instead of one model a
panel may be asked, whose majority decides (`panel.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Literal, TypeAlias

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.panel import count_votes
from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.schemas import IdentifierReply, NamedState, identifier_reply
from ultra_agents.agents.state import STATES, Context, JSONObject, State
from ultra_agents.agents.tools.consulting import consult
from ultra_agents.contracts.llm import Unreachable
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import CriticalState

Next: TypeAlias = Command[Literal["advise", "finish"]]
Messages: TypeAlias = list[tuple[str, str]]


def identify(state: State, runtime: Runtime[Context]) -> Next:
    """Ask for the critical states."""
    context = runtime.context
    context.check()
    agents, steps = context.agents, context.narration.steps
    ask = load_prompt("identifier").fill(max_critical=agents.max_critical, steps=", ".join(map(str, steps)))
    messages: Messages = [("system", state["opening"]), *ask]
    reply = identifier_reply(steps, agents.max_critical)
    if agents.identifier.panel:
        return voted(context, messages, reply)
    consulted = consult(context, state, "identifier", context.segment, messages, reply)
    try:
        said = consulted.reply(
            lambda asked: context.gateway.ask(
                agent="identifier",
                segment=context.segment,
                models=context.chain("identifier"),
                messages=asked,
                reply=reply,
            )
        )
    except ReplyDropped as problem:
        dropped = context.noted("identify", problem.reason, problem.detail, work="0")
        return consulted.into(named(context, (), [dropped]))
    return consulted.into(named(context, map(_critical, said.cases)))


def named(context: Context, states: Iterable[CriticalState], notes: Sequence[JSONObject] = ()) -> Next:
    """Take over what was named; it may be nothing. A step named twice counts once."""
    kept: dict[int, CriticalState] = {}
    noted = list(notes)
    for state in states:
        if state.step in kept:
            noted.append(context.noted("identify", "step named twice", f"step {state.step}", work=str(len(noted))))
            continue
        inside = 0 <= state.step < len(context.trajectory)
        kept[state.step] = replace(state, taken_action=context.taken(state.step) if inside else "")
    rows = STATES.dump_python(tuple(kept.values()), mode="json")
    return Command(goto="advise" if rows else "finish", update={"states": rows, "current": 0, "notes": noted})


def voted(context: Context, messages: Messages, reply: type[IdentifierReply]) -> Next:
    """Ask the whole panel side by side and keep what more than half of it named.

    Raises:
        Unreachable: So many members cannot be reached that no majority is possible.
    """
    settings = context.agents.identifier
    panel = settings.panel
    ballots: list[Sequence[NamedState]] = []
    notes: list[JSONObject] = []
    absent: list[Unreachable] = []
    with ThreadPoolExecutor(len(panel), "panel") as pool:
        asked = [(name, pool.submit(partial(_ballot, context, messages, reply, name))) for name in panel]
    for name, answer in asked:
        try:
            ballots.append(answer.result())
        except ReplyDropped as problem:
            notes.append(context.noted("identify", problem.reason, f"{name}: {problem.detail}", work=name))
        except Unreachable as problem:
            absent.append(problem)
            notes.append(
                context.noted("identify", "panel member unreachable", f"{name}: {problem.problem}", work=name)
            )
    if 2 * (len(panel) - len(absent)) <= len(panel):
        raise absent[0]
    critical: list[CriticalState] = []
    for state in count_votes(ballots, settings.panel_tolerance):
        votes = f"step {state.step}: {state.votes} of {len(panel)}"
        if 2 * state.votes <= len(panel):
            notes.append(context.noted("identify", "no majority", votes, work=str(state.step)))
        elif len(critical) == context.agents.max_critical:
            notes.append(context.noted("identify", "beyond max_critical", votes, work=str(state.step)))
        else:
            agreement = state.votes / len(panel)
            critical.append(CriticalState(state.step, state.rationale, state.importance, agreement))
    return named(context, critical, notes)


def _ballot(context: Context, messages: Messages, reply: type[IdentifierReply], name: str) -> Sequence[NamedState]:
    answer = context.gateway.ask(
        agent="identifier", segment=context.segment, models=[name], messages=messages, reply=reply
    )
    named_states: Sequence[NamedState] = answer.value.cases
    return named_states


def _critical(case: NamedState) -> CriticalState:
    return CriticalState(case.step, case.case_analysis, float(case.importance))
