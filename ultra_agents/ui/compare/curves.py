"""Learning curves of all methods on one task: means over seeds with their 95 % intervals.

A line ends at the last step that all seeds in training have reached; the dots beyond are means over the others.
"""

from __future__ import annotations

import math

from rich.text import Text

from ultra_agents.text import clean
from ultra_agents.ui.braille_chart import Series, chart
from ultra_agents.ui.compare.state import ComparisonState, MethodCurve, method_curves, start_of
from ultra_agents.ui.panels import DEFAULT_VIEW, PanelView
from ultra_agents.ui.panels.frame import Framed, framed, hint
from ultra_agents.ui.text import score
from ultra_agents.ui.theme import DIM, method_colours


def curves_panel(
    comparison: ComparisonState, now: float, width: int, height: int, view: PanelView = DEFAULT_VIEW
) -> Framed:
    """The panel "Return on TASK"."""
    inner, rows = max(width - 4, 10), max(height - 2, 1)
    title = f"Return on {clean(comparison.task, max(inner - 14, 4))}"
    found = method_curves(comparison.cells, comparison.task)
    level = start_of(comparison.cells, comparison.task)
    if not found:
        lines = hint("Learning curves appear when refining begins.", width, height)
        return framed(title, lines, width, height, focused=view.focused)
    here = [cell.reported for cell in comparison.cells if cell.reported.task == comparison.task]
    places = {cell.method: cell.colour for cell in here if cell.colour is not None}
    colours = method_colours(dict.fromkeys(cell.method for cell in here), places)
    series: dict[str, Series] = {}
    for method, curve in found.items():
        series[f"{method} ahead"] = Series(curve.partial, colours[method], dots=True)
    for method, curve in found.items():
        series[method] = Series(curve.complete, colours[method])
    start = [] if level is None else [Text(f"┄ start {score(level)}", DIM)]
    legend = [Text()]
    for values in (2, 1, 0):  # drop the numbers before a name
        names = [_name(method, curve, colours[method], values) for method, curve in found.items()]
        legend, left = _legend([*names, *start], inner, max(rows // 5, 1))
        if not left:
            break
    seeds = max(curve.seeds for curve in found.values())
    note = "━ mean over seeds, 95 % · seeds ahead" if seeds > 1 else "━ evaluated"
    lines = [*legend, *chart(series, inner, rows - len(legend), level)]
    return framed(title, lines, width, height, note, focused=view.focused)


def _name(method: str, curve: MethodCurve, colour: str, values: int) -> Text:
    half = f"±{score(curve.half)}" if values > 1 and math.isfinite(curve.half) else ""
    told = f" {score(curve.score)}{half}" if values else ""
    return Text.assemble(("━ ", colour), (clean(method, 20), "bold"), told)


def _legend(names: list[Text], inner: int, rows: int) -> tuple[list[Text], int]:
    """The names on at most `rows` lines, and how many have no room; the last line says so."""
    lines = [Text()]
    for at, name in enumerate(names):
        rest, last = len(names) - at, len(lines) == rows
        need = name.cell_len + 2 + (4 if last and rest > 1 else 0)
        if lines[-1].cell_len and lines[-1].cell_len + need > inner:
            if last:
                lines[-1].append(f" +{rest}", DIM)
                return lines, rest
            lines.append(Text())
        lines[-1] = Text.assemble(lines[-1], "  " if lines[-1].cell_len else "", name)
    return lines, 0
