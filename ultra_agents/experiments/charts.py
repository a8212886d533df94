"""Charts of a comparison as inline SVG: learning curves with bands, differences, profiles, gain against its price."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ultra_agents.evaluation.charts import INK, MARKERS, SERIES, DifferenceRow, differences, new_figure, to_svg

WIDTH = 860


def curves(task: str, found: Mapping[str, Any], colours: Mapping[str, int]) -> str:
    """Mean return over charged environment steps, with the interval over seeds as a band."""
    drawn = {name: row["curve"] for name, row in found["methods"].items() if len(row["curve"]) > 1}
    if not drawn:
        return ""
    figure, axes = new_figure(WIDTH, 400)
    for name, points in drawn.items():
        colour, marker = _colour_and_marker(colours[name])
        steps = [point["steps"] for point in points]
        if points[0]["low"] is not None:
            axes.fill_between(steps, [p["low"] for p in points], [p["high"] for p in points], color=colour, alpha=0.12,
                              linewidth=0)  # fmt: skip
        axes.plot(steps, [p["value"] for p in points], color=colour, marker=marker, markersize=4, linewidth=1.9,
                  linestyle=_dashes(colours[name]), label=name)  # fmt: skip
    middle = [point["value"] for points in drawn.values() for point in points]
    spread = max(max(middle) - min(middle), 1e-9)
    low, high = axes.get_ylim()  # limit the axis: wide bands of few seeds would flatten the curves
    axes.set_ylim(max(low, min(middle) - spread), min(high, max(middle) + spread))
    axes.set_xlabel("environment steps charged to the method")
    axes.set_ylabel("mean return, selection seeds")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, labelcolor="linecolor")
    figure.subplots_adjust(left=0.08, right=0.79, top=0.97, bottom=0.13)
    return to_svg(figure, f"curves-{task}", "Learning curves by method")


def forest(task: str, found: Mapping[str, Any], colours: Mapping[str, int], baseline: str) -> str:
    """Difference from the baseline by method, also with its rules in force: every seed, the mean, its interval."""
    rows = [
        DifferenceRow(
            name + suffix,
            colours[name],
            row[key]["value"],
            row[key]["low"],
            row[key]["high"],
            tuple(row[f"{key}_by_seed"].values()),
        )
        for name, row in found["methods"].items()
        for key, suffix in (("difference", ""), ("difference_with_rules", ", with rules"))
        if row[key] is not None
    ]
    return differences(rows, baseline, name=f"differences-{task}")


def profiles(overall: Mapping[str, Any], colours: Mapping[str, int]) -> str:
    """Share of runs above each normalised score (Agarwal et al. 2021, section 4.3)."""
    if not overall["methods"]:
        return ""
    figure, axes = new_figure(WIDTH, 340)
    for name, row in overall["methods"].items():
        colour, _ = _colour_and_marker(colours[name])
        axes.step(overall["levels"], row["profile"], where="post", color=colour, linewidth=1.9,
                  linestyle=_dashes(colours[name]), label=name)  # fmt: skip
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel("normalised score: 0 the starting policy, 1 the reference")
    axes.set_ylabel("share of runs above it")
    axes.set_ylim(-0.02, 1.04)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, labelcolor="linecolor")
    figure.subplots_adjust(left=0.08, right=0.79, top=0.97, bottom=0.15)
    return to_svg(figure, "profiles", "Performance profiles")


def costs(task: str, found: Mapping[str, Any], colours: Mapping[str, int]) -> str:
    """Gain over the baseline against what its advice cost: tokens, and environment steps before refining."""
    rows = {
        name: row for name, row in found["methods"].items()
        if row["difference"] is not None and row["advice"] is not None
    }  # fmt: skip
    if len(rows) < 2:
        return ""
    figure, _ = new_figure(WIDTH, 320)
    figure.clear()
    spent = {"steps": "environment steps on advice"}
    if any(row["advice"]["cost"]["tokens"] for row in rows.values()):
        spent = {"tokens": "tokens, all seeds", **spent}
    for place, (what, label) in enumerate(spent.items()):
        axes = figure.add_subplot(1, len(spent), place + 1)
        for name, row in rows.items():
            colour, marker = _colour_and_marker(colours[name])
            on_advice = sum(value for purpose, value in row["env_steps"].items() if purpose != "refine")
            x = row["advice"]["cost"]["tokens"] if what == "tokens" else on_advice
            axes.plot([x], [row["difference"]["value"]], marker=marker, color=colour, markersize=9, linestyle="none",
                      label=name)  # fmt: skip
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xlabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(0.12)
        if place == 0:
            axes.set_ylabel("return minus the baseline's")
        if place == len(spent) - 1:
            axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, labelcolor="linecolor")
    figure.subplots_adjust(left=0.08, right=0.79, top=0.96, bottom=0.17, wspace=0.2)
    return to_svg(figure, f"costs-{task}", "Gain against cost")


def _colour_and_marker(index: int) -> tuple[str, str]:
    """A colour, and a marker that differs where colours repeat."""
    return SERIES[index % len(SERIES)], MARKERS[(index + index // len(SERIES)) % len(MARKERS)]


def _dashes(index: int) -> str:
    """A line's style, another one where colours repeat."""
    return "-" if index < len(SERIES) else "--"
