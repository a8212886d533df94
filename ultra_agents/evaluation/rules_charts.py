"""What rules decide over two quantities: coloured areas, white where the policy acts, dots for collected states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ultra_agents.evaluation.charts import FAINT, INK, PHONE, SERIES, new_figure, to_svg

LEVELS: Mapping[int, tuple[tuple[int | None, float], ...]] = {
    5: ((0, 0.8), (0, 0.42), (None, 0.22), (1, 0.42), (1, 0.8)),
}
"""Series colour (None: grey) and opacity of the levels of a continuous action, least to greatest."""
AREA = 0.42
"""Opacity of an action's area."""


def colours(decided: Mapping[str, Any]) -> dict[str, tuple[int | None, float]]:
    """Series colour and opacity by character of the legend."""
    signs = sorted(decided["legend"])
    if decided["of"] == "action":
        return {sign: (place % len(SERIES), AREA) for place, sign in enumerate(signs)}
    levels = LEVELS[5]
    return {sign: levels[(ord(sign) - ord("a")) % 5] if len(signs) > 1 else levels[0] for sign in signs}


def decision(decided: Mapping[str, Any], width: int = 840) -> str:
    """The map in `report.json` as `<svg>`.

    Args:
        decided: `rules.map` of the report.
        width: Pixels.
    """
    from matplotlib.ticker import MaxNLocator

    x, y = decided["x"], decided["y"]
    phone = width < PHONE
    height = 300 if phone else 420
    figure, axes = new_figure(width, height)
    cells = np.array([list(row) for row in decided["rows"]])
    across = np.linspace(x["low"], x["high"], cells.shape[1])
    up = np.linspace(y["low"], y["high"], cells.shape[0])
    for sign, (series, opacity) in colours(decided).items():
        inside = (cells == sign).astype(float)
        if inside.any():
            fill = FAINT if series is None else SERIES[series]
            axes.contourf(across, up, inside, levels=[0.5, 1.5], colors=[fill], alpha=opacity, antialiased=True)
    seen_x, seen_y = decided["points"]
    axes.plot(seen_x, seen_y, linestyle="none", marker="o", markersize=2.6, color=INK, alpha=0.5, markeredgewidth=0)
    axes.grid(visible=False)
    axes.set_xlim(x["low"], x["high"])
    axes.set_ylim(y["low"], y["high"])
    axes.xaxis.set_major_locator(MaxNLocator(4 if phone else 8))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(axis_label(x))
    axes.set_ylabel(axis_label(y))
    figure.subplots_adjust(left=68 / width, right=1 - 14 / width, top=1 - 10 / height, bottom=50 / height)
    return to_svg(figure, f"decision-{width}", f"What the rules do over {x['name']} and {y['name']}")


def axis_label(axis: Mapping[str, Any]) -> str:
    """A quantity's name with its unit, where that says something."""
    return axis["name"] if axis["unit"] in ("", "1", "unknown") else f"{axis['name']} ({axis['unit']})"
