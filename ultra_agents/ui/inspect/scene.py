"""The scene of a step: its picture with what was done and suggested beneath, or its numbers with sparklines."""

from __future__ import annotations

import numpy as np
from rich.text import Text

from ultra_agents.records import CriticalState
from ultra_agents.ui.inspect.glyphs import SIGNS, arrow, short, spark
from ultra_agents.ui.inspect.picture import Depth, picture
from ultra_agents.ui.inspect.run_view import StepSource, StepView, deciding_attempt
from ultra_agents.ui.text import score, wrap
from ultra_agents.ui.theme import DIM

NUMBERS = 6
"""Rows of numbers from which they are worth a place under a picture."""
AROUND = 30
"""Steps on each side that a sparkline shows."""


def scene(
    source: StepSource, view: StepView, critical: CriticalState | None, width: int, height: int, depth: Depth
) -> Text:
    """At most `height` lines of at most `width` cells."""
    frame = source.frame(view.episode, view.step)
    caption = _caption(view, critical, width)
    if isinstance(frame, str):
        why = [Text.assemble((line, DIM)) for line in wrap(frame, width, 3)]
        lines = _numbers(source, view, width, max(height - 1 - len(why), 1))
        return Text("\n", no_wrap=True).join([*lines, caption, *why][: max(height, 1)])
    drawn = picture(frame, width, height - 1, depth).split("\n", allow_blank=True)
    wide = max((line.cell_len for line in drawn), default=0)
    pad = " " * max((width - wide) // 2, 0)
    lines = [Text(pad) + line for line in drawn]
    room = height - 1 - len(lines)
    more = _numbers(source, view, width, room - 1) if room > NUMBERS else []
    return Text("\n", no_wrap=True).join([*lines, caption, *more])


def _caption(view: StepView, critical: CriticalState | None, width: int) -> Text:
    text = Text(no_wrap=True)
    sign = arrow(view.action)
    text.append(f"{sign} {view.action}" if sign else view.action, "bold")
    attempt = deciding_attempt(critical) if critical is not None else None
    if critical is not None and attempt is not None:
        mark, colour = SIGNS[critical.fate]
        text.append("  instead ", DIM)
        sign, plan = arrow(attempt.plan.moves[0][0]), short(attempt.plan)
        text.append(f"{sign} {plan} " if sign else f"{plan} ", f"bold {colour}")
        text.append(mark, colour)
    text.truncate(width, overflow="ellipsis")
    text.pad_left(max((width - text.cell_len) // 2, 0))
    return text


def _numbers(source: StepSource, view: StepView, width: int, rows: int) -> list[Text]:
    """One line a number: its name, its value, a sparkline of the steps around with this one highlighted."""
    series = source.series(view.episode)
    names = list(series)[: max(rows, 0)]
    if not names or rows < 1:
        return []
    wide = max(len(name) for name in names)
    bars = max(width - wide - 11, 0)
    lines = []
    for name in names:
        values = np.asarray(series[name], np.float64)
        low, high = max(view.step - AROUND, 0), min(view.step + AROUND + 1, len(values))
        line = Text(no_wrap=True)
        line.append(f"{name.ljust(wide)} ", DIM)
        line.append(f"{score(float(values[view.step])):>8} ", "bold")
        drawn = spark(values[low:high], min(bars, high - low))
        here = int((view.step - low + 0.5) / max(high - low, 1) * len(drawn))
        line.append(drawn[:here], "cyan")
        line.append(drawn[here : here + 1], "bold reverse")
        line.append(drawn[here + 1 :], "cyan")
        line.truncate(width)
        lines.append(line)
    return lines
