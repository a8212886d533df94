"""The agents' replies, each in its agent's colour with the model's name, and the pending requests.

A request appears as soon as it is sent, and with the text so far and a cursor where the provider streams; the whole
reply replaces it.
"""

from __future__ import annotations

from rich.text import Text

from ultra_agents.events import AgentSpoke
from ultra_agents.text import clean, counted, parsed_json
from ultra_agents.ui.panels import DEFAULT_VIEW, PanelView
from ultra_agents.ui.panels.frame import Framed, framed, hint, newest
from ultra_agents.ui.run_state import PendingRequest, RunState
from ultra_agents.ui.text import count, prose, took, unfinished, wrap
from ultra_agents.ui.theme import BAD, DIM, WARM, agent_colour, decision_sign

CURSOR = "▋"


def conversation(state: RunState, now: float, width: int, height: int, view: PanelView = DEFAULT_VIEW) -> Framed:
    """The panel "Agents"; the newest reply stands last, pending requests below it."""
    inner, rows = max(width - 4, 10), max(height - 2, 1)
    deep = 1 if rows < 3 else 2 if rows < 9 else 4 if rows < 26 else 8
    pending = () if view.scroll else state.pending[-max(rows // 4, 1) :]
    most = rows // 2 if state.messages else rows  # pending requests leave half of the panel to replies
    told = min(deep, max(most // max(len(pending), 1) - 1, 0))
    waiting = [line for one in pending for line in _pending(one, state.moment(now), inner, told)]
    room = max(rows - len(waiting), 1)
    gap = [Text()] if rows >= 16 else []
    blocks: list[list[Text]] = []  # newest first
    used = 0
    for message in reversed(state.messages):
        block = [*_message(message, inner, deep), *(gap if blocks else [])]
        if used + len(block) > room and blocks and not view.scroll:
            break
        blocks.append(block)
        used += len(block)
        if used >= room + view.scroll:
            break
    for at, message in enumerate(reversed(state.messages[-len(blocks) :] if blocks and not view.scroll else ())):
        longer = [*_message(message, inner, deep + max(room - used, 0)), *(gap if at else [])]
        used += len(longer) - len(blocks[at])
        blocks[at] = longer
    lines = [line for block in reversed(blocks) for line in block]
    if view.scroll:
        lines, scrolled = newest(lines, room, view.scroll)
    else:
        scrolled = 0
    lines += waiting
    if not lines:
        lines = hint("The agents speak when the episodes are explained.", width, height)
    answers = state.usage.calls + state.usage.cached
    extra = counted(answers, "answer") if answers else ""
    return framed("Agents", lines, width, height, extra, focused=view.focused, scrolled=scrolled)


def _pending(request: PendingRequest, now: float, inner: int, deep: int) -> list[Text]:
    """A pending request, and the last `deep` lines of its streamed text."""
    colour = agent_colour(request.agent)
    words = clean(unfinished(request.text))
    head = Text.assemble(
        ("▌", colour),
        (clean(request.agent, 16), f"bold {colour}"),
        (f" {clean(request.model, 28)}", DIM),
        (f"  {clean(request.segment, 20)}", ""),
        (f"  {'writing' if words else 'thinking'} … {max(now - request.since, 0):.0f} s", WARM),
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
        value = parsed_json(text)
    except ValueError:
        return ""
    found = value.get("verdict") if isinstance(value, dict) else None
    return found if found in ("accept", "revise", "reject") else ""
