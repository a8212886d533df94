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
    """Ask for the critical states; not where every step led to a point won."""
    context = runtime.context
    context.check()
    agents, steps = context.agents, context.narration.candidates
    if not steps:
        why = f"steps {context.narration.segment.start} to {context.narration.segment.stop - 1} led to a point won"
        return named(context, (), [context.noted("identify", "nothing to gain", why, work="0")])
    ask = load_prompt("identifier").fill(max_critical=agents.max_critical, steps=spans(steps))
    messages: Messages = [("system", state["opening"]), *ask]
    reply = identifier_reply(steps, agents.max_critical, agents.reasoning)
    if agents.identifier.panel:
        return voted(context, messages, reply)
    consulted = consult(context, state, "identifier", context.segment, messages, reply)
    try:
        said = consulted.reply()
    except ReplyDropped as problem:
        dropped = context.noted("identify", problem.reason, problem.detail, work="0")
        return consulted.into(named(context, (), [dropped]))
    return consulted.into(named(context, map(_critical, said.cases), [] if said.cases else [_nothing(context)]))


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
    if ballots and not any(ballots):
        notes.append(_nothing(context))
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


def _nothing(context: Context) -> JSONObject:
    """An answer, and counted."""
    return context.noted("identify", "nothing critical", "an empty list", work="0")


def _critical(case: NamedState) -> CriticalState:
    return CriticalState(case.step, case.case_analysis, float(case.importance))


def spans(steps: Sequence[int]) -> str:
    """Steps in order, in few words: `3, 5-9, 12, 13`."""
    found: list[list[int]] = []
    for step in steps:
        if found and step == found[-1][-1] + 1:
            found[-1].append(step)
        else:
            found.append([step])
    told = [[f"{run[0]}-{run[-1]}"] if len(run) > 2 else map(str, run) for run in found]
    return ", ".join(word for words in told for word in words)
