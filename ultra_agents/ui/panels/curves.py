"""Learning curves of every method: lines are unmodulated evaluations, dots are training episodes."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from ultra_agents.ui.canvas import Series, chart
from ultra_agents.ui.model import ViewState
from ultra_agents.ui.panels.frame import framed
from ultra_agents.ui.text import clean, score
from ultra_agents.ui.theme import DIM, method_colours


def curves(state: ViewState, now: float, width: int, height: int) -> RenderableType:
    """The panel "Return"."""
    inner, rows = max(width - 4, 10), max(height - 2, 1)
    methods = tuple(dict.fromkeys([*state.curves, *state.training]))
    if not methods:
        return framed("Return", [Text("Learning curves appear when refining begins.", DIM)], width, height)
    colours = method_colours(methods)
    series = {
        f"{method} training": Series(state.training[method], colours[method], dots=True)
        for method in methods
        if method in state.training
    } | {method: Series(state.curves[method], colours[method]) for method in methods if method in state.curves}
    level = state.before.mean if state.before else None
    names = [
        Text.assemble(
            ("━ ", colours[method]),
            (clean(method, 16), "bold"),
            f" {score((state.curves.get(method) or state.training[method])[-1][1])}",
        )
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
    note = "━ evaluated · training" if state.training else ""
    return framed("Return", [legend, *chart(series, inner, rows - 1, level)], width, height, note)


if __name__ == "__main__":
    from ultra_agents.ui.sample import show

    show(curves)
