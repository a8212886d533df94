"""The first and the last line of the browser."""

from __future__ import annotations

from rich.text import Text

from ultra_agents.records import Fate
from ultra_agents.text import clean
from ultra_agents.ui.inspect.glyphs import SIGNS
from ultra_agents.ui.inspect.run_view import RunView
from ultra_agents.ui.text import score
from ultra_agents.ui.theme import DIM, WARM, method_colours

KEYS = (
    ("←→", "step"), ("n p", "critical"), ("a", "accepted"), ("l", "list"), ("t", "agents"), ("m", "moves"),
    ("?", "help"), ("q", "quit"), ("/", "search"), ("f", "filter"), ("[ ]", "segment"), ("space", "play"),
    ("z", "zoom"), ("↑↓", "row"), ("pgdn", "scroll"),
)  # fmt: skip
"""The ones named on the screen, as far as there is room."""


def header(run: RunView, width: int) -> Text:
    """Run, environment, what was found, notes, what the methods made of it; as far as there is room."""
    text = Text.assemble((" ultra inspect ", "reverse bold"), (f" {clean(run.name, 30)}", "bold"), no_wrap=True)
    parts: list[tuple[Text, ...]] = [(Text(f"{clean(run.environment, 24)}, {run.status}", DIM),)]
    counts = Text()
    for fate, number in run.counts.items():
        if number or fate in ("accepted", "rejected"):
            sign, colour = SIGNS[fate]
            counts.append(f"{sign} {number} {fate} ", colour)
    if run.critical or run.rules is None:
        parts.append((counts,))
    if run.rules is not None:
        words = (clean(run.rules.headline), run.rules.verdict)
        parts.append(tuple(Text.assemble(("rules ", DIM), one) for one in words if one))
    parts += [(Text(f"! {clean(note)}", WARM),) for note in run.notes]
    colours = method_colours((one.method for one in run.methods), run.colours)
    for one in run.methods:
        returns = f"{score(one.before.mean)} → {score(one.best.mean)}"
        parts.append((Text.assemble((f"{one.method} ", colours[one.method]), returns),))
    for wordings in parts:  # the first wording that has room
        room = width - text.cell_len - 2
        part = next((one for one in wordings if one.cell_len <= room), wordings[-1])
        if part.cell_len > room:
            if room < 16 or not part.plain.startswith("!"):
                break
            part.truncate(room, overflow="ellipsis")
        text.append("  ")
        text.append_text(part)
    text.truncate(width, overflow="ellipsis")
    return text


def footer(only: Fate | None, playing: bool, width: int) -> Text:
    """The keys, the filter, whether it plays."""
    text = Text(no_wrap=True)
    if only is not None:
        text.append(f" only {only} ", "reverse")
    if playing:
        text.append(" playing ", "reverse")
    for key, word in KEYS:
        part = Text.assemble((f" {key}", "bold cyan"), (f" {word}", DIM), " ")
        if text.cell_len + part.cell_len > width:
            break
        text.append_text(part)
    return text
