"""Charts of the advice: every tested suggestion with its measured gain, and the identification fidelity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ultra_agents.evaluation.charts import FAINT, INK, PHONE, SERIES, new_figure, to_svg

HELD, REFUTED = 2, 1
"""Colours of the page for suggestions that hold and that do not."""


def gains(trials: Sequence[Mapping[str, Any]], width: int = 860, height: int = 300) -> str:
    """Every tested suggestion, smallest gain first, with its interval; filled where it holds, as `<svg>`.

    Args:
        trials: Rows of `advice_measures`; none gives no picture.
        width: Pixels.
        height: Pixels.
    """
    if not trials:
        return ""
    from matplotlib.ticker import MaxNLocator

    figure, axes = new_figure(width, height)
    ordered = sorted(trials, key=lambda row: (row["gain"], row["episode"], row["step"]))
    size = max(2.5, min(7.0, 0.35 * width / len(ordered)))
    ends = [row[key] for row in ordered for key in ("low", "high") if row[key] is not None]
    for place, row in enumerate(ordered, 1):
        colour = SERIES[HELD if row["passed"] else REFUTED]
        if row["low"] is not None and row["high"] is not None:
            axes.plot(
                [place, place], [row["low"], row["high"]], color=colour, linewidth=max(1.0, size / 3), alpha=0.55
            )
        axes.plot(
            [place], [row["gain"]], linestyle="none", marker="o" if row["passed"] else "s", markersize=size,
            markerfacecolor=colour if row["passed"] else "none", markeredgecolor=colour, markeredgewidth=1.4,
        )  # fmt: skip
    axes.axhline(0, color=INK, linewidth=1.1, zorder=1)
    everything = [0.0, *ends, *(row["gain"] for row in ordered)]
    margin = 0.06 * (max(everything) - min(everything) or 1.0)
    axes.set_ylim(min(everything) - margin, max(everything) + margin)
    axes.set_xlim(0.3, len(ordered) + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.spines["bottom"].set_visible(False)
    axes.set_xlabel("tested suggestions, smallest gain first" if width >= PHONE else "tested suggestions, by gain")
    axes.set_ylabel("measured gain of return")
    figure.subplots_adjust(left=66 / width, right=1 - 10 / width, top=1 - 8 / height, bottom=46 / height)
    held = sum(bool(row["passed"]) for row in ordered)
    return to_svg(
        figure, f"gains-{width}", f"Measured gain of {len(ordered)} tested suggestions, {held} of which hold"
    )


def fidelity(scores: Sequence[Mapping[str, Any]], width: int = 860, height: int = 260) -> str:
    """The fidelity score of critical and of random windows over the share K of the steps, as `<svg>`."""
    drawn = [row for row in scores if row["critical"] is not None and row["random"] is not None]
    if not drawn:
        return ""
    figure, axes = new_figure(width, height)
    shares = [100 * row["share"] for row in drawn]
    for key, label, colour, marker in (("critical", "named steps", 0, "o"), ("random", "random steps", 5, "^")):
        values = [row[key] for row in drawn]
        axes.plot(shares, values, color=SERIES[colour], linewidth=2.1, marker=marker, markersize=6)
        axes.annotate(
            label, (shares[-1], values[-1]), xytext=(10, 0), textcoords="offset points", va="center",
            color=SERIES[colour], fontweight="bold", fontsize=12.5, annotation_clip=False,
        )  # fmt: skip
    axes.set_xticks(shares)
    axes.set_xticklabels([f"{share:.0f} %" for share in shares])
    axes.set_xlim(min(shares) - 2, max(shares) + 1)
    axes.set_xlabel("K: share of the steps with random actions")
    axes.set_ylabel("fidelity score")
    axes.yaxis.label.set_color(FAINT)
    figure.subplots_adjust(left=58 / width, right=1 - 112 / width, top=1 - 8 / height, bottom=48 / height)
    return to_svg(figure, f"fidelity-{width}", "Identification fidelity of named and of random steps")
