"""Learning curves of every method: lines are unmodulated evaluations with the 95 % interval of their episodes' mean.

Dots are training episodes, the dashed line is the starting policy.
"""

from __future__ import annotations

import math

from rich.text import Text

from ultra_agents.text import clean
from ultra_agents.ui.braille_chart import Series, chart
from ultra_agents.ui.panels import DEFAULT_VIEW, PanelView
from ultra_agents.ui.panels.frame import Framed, framed, hint
from ultra_agents.ui.run_state import RunState
from ultra_agents.ui.text import score
from ultra_agents.ui.theme import DIM, method_colours


def learning_curve(state: RunState, now: float, width: int, height: int, view: PanelView = DEFAULT_VIEW) -> Framed:
    """The panel "Return"."""
    inner, rows = max(width - 4, 10), max(height - 2, 1)
    methods = tuple(dict.fromkeys([*state.curves, *state.training]))
    if not methods:
        lines = hint("Learning curves appear when refining begins.", width, height)
        return framed("Return", lines, width, height, focused=view.focused)
    colours = method_colours(methods, state.colours)
    series: dict[str, Series] = {
        f"{method} training": Series(state.training[method], colours[method], dots=True)
        for method in methods
        if method in state.training
    } | {method: Series(state.curves[method], colours[method]) for method in methods if method in state.curves}
    level = state.before.mean if state.before else None
    names = [
        Text.assemble(("━ ", colours[method]), (clean(method, 16), "bold"), f" {_newest(state, method, inner)}")
        for method in methods
    ]
    if level is not None:
        names.append(Text(f"┄ start {score(level)}", DIM))
    legend = names[0]
    gap = "  " if inner >= 40 else " "
    for name in names[1:]:
        if legend.cell_len + len(gap) + name.cell_len > inner:
            break
        legend = Text.assemble(legend, gap, name)
    note = "━ evaluated, 95 % · training" if state.training else "━ evaluated, 95 %"
    lines = [legend, *chart(series, inner, rows - 1, level)]
    return framed("Return", lines, width, height, note, focused=view.focused)


def _newest(state: RunState, method: str, inner: int) -> str:
    """The latest return, with its interval where there is room."""
    if not state.curves.get(method):
        return score(state.training[method][-1][1])
    _, mean, wide = state.curves[method][-1]
    ruled = state.scores.get(method, {}).get("with rules")
    return (
        score(mean)
        + (f"±{score(wide)}" if inner >= 70 and math.isfinite(wide) else "")
        + (f", {score(ruled.mean)} with rules" if ruled is not None and inner >= 40 else "")
    )
