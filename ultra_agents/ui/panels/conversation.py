"""What the agents said last, each in its colour, with the model that spoke."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from ultra_agents.events import AgentSpoke
from ultra_agents.ui.model import ViewState
from ultra_agents.ui.panels.frame import framed
from ultra_agents.ui.text import clean, count, prose, took, wrap
from ultra_agents.ui.theme import BAD, DIM, GOOD, agent_colour


def conversation(state: ViewState, now: float, width: int, height: int) -> RenderableType:
    """The panel "Agents"; the newest message stands last."""
    inner, rows = max(width - 4, 10), max(height - 2, 1)
    deep = 1 if rows < 3 else 2 if rows < 9 else 4
    blocks: list[list[Text]] = []
    used = 0
    for message in reversed(state.messages):
        block = _message(message, inner, deep)
        if rows >= 16 and blocks:
            block.append(Text())
        if used + len(block) > rows and blocks:
            break
        blocks.insert(0, block)
        used += len(block)
    lines = [line for block in blocks for line in block]
    if not lines:
        lines = [Text("The agents speak when the episodes are explained.", DIM)]
    answers = state.usage.calls + state.usage.cached
    return framed("Agents", lines, width, height, f"{answers:,} answers" if answers else "")


def _message(message: AgentSpoke, inner: int, deep: int) -> list[Text]:
    colour = agent_colour(message.agent)
    fine = message.verdict in ("ok", "")
    spent = (
        "from the cache" if message.cached else f"{count(message.completion_tokens)} tokens, {took(message.seconds)}"
    )
    head = Text.assemble(
        ("▌", colour),
        (clean(message.agent, 16), f"bold {colour}"),
        (f" {clean(message.model, 28)}", DIM),
        (f"  {clean(message.segment, 20)}", ""),
        ("  ✔" if fine else f"  ✘ {clean(message.verdict, 30)}", GOOD if fine else BAD),
        (f"  {spent}", DIM),
    )
    told = wrap(clean(prose(message.text)), inner - 2, deep)
    return [head, *(Text.assemble(("▌ ", colour), (line, "")) for line in told if line)]


if __name__ == "__main__":
    from ultra_agents.ui.sample import show

    show(conversation)
