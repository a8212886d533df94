"""Stage 3, for rules: which situations are critical (ULTRA section 3, identification, for states of a kind)."""

from __future__ import annotations

from typing import Literal, TypeAlias

from langgraph.runtime import Runtime
from langgraph.types import Command

from ultra_agents.agents.prompts import load_prompt
from ultra_agents.agents.rules.schemas import identifier_reply
from ultra_agents.agents.rules.state import SITUATIONS, Context, State
from ultra_agents.agents.state import JSONObject
from ultra_agents.agents.tools.consulting import consult
from ultra_agents.llm.structured import ReplyDropped
from ultra_agents.records import Situation

Next: TypeAlias = Command[Literal["advise"]]


def identify(state: State, runtime: Runtime[Context]) -> Next:
    """Ask for the critical situations; without any the advisor has the episodes alone."""
    context = runtime.context
    context.check()
    ask = load_prompt("rules_identifier").fill(max_critical=context.agents.max_critical)
    reply = identifier_reply(context.shown, context.agents.max_critical, context.form)
    messages = [("system", state["opening"]), *ask]
    consulted = consult(context, state, "identifier", context.about(), messages, reply)
    try:
        said = consulted.reply()
    except ReplyDropped as problem:
        dropped = context.noted("identify", problem.reason, problem.detail, work="0")
        return consulted.into(_named([], [dropped]))
    lengths = {one.episode: len(one) for one in context.trajectories}
    situations: list[Situation] = []
    notes: list[JSONObject] = []
    for one in said.situations:
        examples = [(example.episode, example.step) for example in one.examples]
        there = tuple(dict.fromkeys(place for place in examples if place[1] < lengths[place[0]]))
        for episode, step in examples:
            if (episode, step) not in there:
                where = f"episode {episode}, step {step}"
                notes.append(context.noted("identify", "example after the end", where, work=str(len(notes))))
        if one.name in [before.name for before in situations]:
            notes.append(context.noted("identify", "situation named twice", one.name, work=str(len(notes))))
            continue
        situations.append(Situation(one.name, one.rationale, there))
    return consulted.into(_named(situations, notes))


def told(situations: tuple[Situation, ...]) -> str:
    """Situations, one line each."""
    if not situations:
        return "none was named; judge by the episodes."
    rows = []
    for number, one in enumerate(situations, 1):
        where = ", ".join(f"episode {episode} step {step}" for episode, step in one.examples)
        rows.append(f"{number}. {one.name}{f' ({where})' if where else ''}: {one.rationale}")
    return "\n".join(rows)


def _named(situations: list[Situation], notes: list[JSONObject]) -> Next:
    update: State = {"situations": SITUATIONS.dump_python(tuple(situations), mode="json"), "notes": notes}
    return Command(goto="advise", update=update)
