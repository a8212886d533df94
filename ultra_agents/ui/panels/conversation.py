"""What the agents say, each in its colour, with the model that spoke; and who is thinking now.

A question appears as soon as it is asked, its answer while it is written where the provider streams, a cursor at its
end; the whole answer takes its place.
"""

from __future__ import annotations

import json

from rich.text import Text

from ultra_agents.events import AgentSpoke
from ultra_agents.ui.model import Asked, ViewState
from ultra_agents.ui.panels import PLAIN, Look
from ultra_agents.ui.panels.frame import Framed, framed, newest
from ultra_agents.ui.text import clean, count, prose, took, unfinished, wrap
from ultra_agents.ui.theme import BAD, DIM, WARM, agent_colour, decision_sign

CURSOR = "▋"


def conversation(state: ViewState, now: float, width: int, height: int, look: Look = PLAIN) -> Framed:
    """The panel "Agents"; the newest message stands last, questions under way below it."""
    inner, rows = max(width - 4, 10), max(height - 2, 1)
    deep = 1 if rows < 3 else 2 if rows < 9 else 4 if rows < 26 else 8
    asked = () if look.scroll else state.asked[-max(rows // 4, 1) :]
    most = rows // 2 if state.messages else rows  # what was said is not pushed out by what is being said
    told = min(deep, max(most // max(len(asked), 1) - 1, 0))
    waiting = [line for one in asked for line in _asked(one, state.moment(now), inner, told)]
    room = max(rows - len(waiting), 1)
    blocks: list[list[Text]] = []
    used = 0
    for message in reversed(state.messages):
        block = _message(message, inner, deep)
        if rows >= 16 and blocks:
            block.append(Text())
        if used + len(block) > room and blocks and not look.scroll:
            break
        blocks.insert(0, block)
        used += len(block)
        if used >= room + look.scroll:
            break
    lines = [line for block in blocks for line in block]
    if look.scroll:
        lines, scrolled = newest(lines, room, look.scroll)
    else:
        scrolled = 0
    lines += waiting
    if not lines:
        lines = [Text("The agents speak when the episodes are explained.", DIM)]
    answers = state.usage.calls + state.usage.cached
    extra = f"{answers:,} answers" if answers else ""
    return framed("Agents", lines, width, height, extra, focused=look.focused, scrolled=scrolled)


def _asked(asked: Asked, now: float, inner: int, deep: int) -> list[Text]:
    """A question under way, and the last `deep` lines of what is written."""
    colour = agent_colour(asked.agent)
    words = clean(unfinished(asked.text))
    head = Text.assemble(
        ("▌", colour),
        (clean(asked.agent, 16), f"bold {colour}"),
        (f" {clean(asked.model, 28)}", DIM),
        (f"  {clean(asked.segment, 20)}", ""),
        (f"  {'writing' if words else 'thinking'} … {max(now - asked.since, 0):.0f} s", WARM),
    )
    lines = wrap(f"{words}{CURSOR}", inner - 2, len(words) + 1)[-deep:] if words and deep else []
    return [head, *(Text.assemble(("▌ ", colour), (line, "")) for line in lines)]


def _message(message: AgentSpoke, inner: int, deep: int) -> list[Text]:
    colour = agent_colour(message.agent)
    fine = message.verdict in ("ok", "")
    spent = (
        "from the cache" if message.cached else f"{count(message.completion_tokens)} tokens, {took(message.seconds)}"
    )
    said = verdict_in(message.text) if fine else ""
    head = Text.assemble(
        ("▌", colour),
        (clean(message.agent, 16), f"bold {colour}"),
        (f" {clean(message.model, 28)}", DIM),
        (f"  {clean(message.segment, 20)}", ""),
        ("  ✔" if fine else f"  ✘ {clean(message.verdict, 30)}", DIM if fine else BAD),
        (f"  {said}", f"bold {decision_sign(said)[1]}") if said else ("", ""),
        (f"  {spent}", DIM),
    )
    told = wrap(clean(prose(message.text)), inner - 2, deep)
    return [head, *(Text.assemble(("▌ ", colour), (line, "")) for line in told if line)]


def verdict_in(text: str) -> str:
    """The verdict a reply holds: `accept`, `revise` or `reject`; empty where it judges nothing."""
    try:
        value = json.loads(text)
    except ValueError:
        return ""
    found = value.get("verdict") if isinstance(value, dict) else None
    return found if found in ("accept", "revise", "reject") else ""
