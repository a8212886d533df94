"""Charts of the report as inline SVG that takes its colours and its font from the page (light, dark, print).

Colours are CSS variables `--s0`, `--s1`, ... set by the page, which uses the Okabe-Ito palette (distinguishable with
every common colour blindness); markers differ too. The same input gives the same text.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PHONE = 500
"""Pictures narrower than this, in pixels, are laid out for a phone."""
MARKERS = ("o", "s", "^", "D", "v", "P")
# Placeholder colours, replaced by CSS variables in the SVG text: matplotlib knows no variables.
INK, FAINT, _LINE = "#010203", "#010204", "#010205"
SERIES = tuple(f"#0102{index:02x}" for index in range(16, 16 + len(MARKERS)))
_CSS = {INK: "var(--ink)", FAINT: "var(--muted)", _LINE: "var(--line)"} | {
    colour: f"var(--s{index})" for index, colour in enumerate(SERIES)
}
_RC: Any = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 12, "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": _LINE, "axes.labelcolor": FAINT, "text.color": INK,
    "xtick.color": _LINE, "ytick.color": _LINE, "xtick.labelcolor": FAINT, "ytick.labelcolor": FAINT,
    "axes.grid": True, "grid.color": _LINE, "grid.linewidth": 0.7, "axes.axisbelow": True, "axes.grid.axis": "y",
    "figure.facecolor": "none", "axes.facecolor": "none", "xtick.major.size": 0, "ytick.major.size": 0,
}  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """One method's learning curve.

    Attributes:
        label: Written at the end of the line.
        colour: Index of the page's series colour.
        steps: Environment steps charged to the method at each point, testing included.
        values: Mean unmodulated return at each point.
        before: Environment steps charged before refinement began (testing advice), drawn as a flat dotted line.
    """

    label: str
    colour: int
    steps: tuple[float, ...]
    values: tuple[float, ...]
    before: float = 0.0


@dataclass(frozen=True)
class DifferenceRow:
    """One row of the differences chart: label, colour index, estimate and ends, one difference per seed."""

    label: str
    colour: int
    value: float
    low: float | None
    high: float | None
    points: tuple[float, ...]


def learning_curves(curves: Sequence[Curve], start: float | None, width: int = 860, height: int = 380) -> str:
    """Return over charged environment steps, labelled at the lines' ends, as `<svg>`; empty without points.

    Args:
        curves: One per method; those without points are left out.
        start: Mean return of the starting policy on the evaluation seeds, drawn as a dashed line.
        width: Pixels.
        height: Pixels.
    """
    drawn = [curve for curve in curves if curve.steps]
    if not drawn:
        return ""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    figure, axes = new_figure(width, height)
    for curve in drawn:
        colour = SERIES[curve.colour % len(SERIES)]
        marker = MARKERS[curve.colour % len(MARKERS)]
        if curve.before > 0:
            x, y = [0.0, curve.before], [curve.values[0]] * 2
            axes.plot(x, y, color=colour, linewidth=1.6, linestyle=(0, (1, 2)))
        axes.plot(curve.steps, curve.values, color=colour, linewidth=2.1, marker=marker, markersize=5)
    if start is not None:
        axes.axhline(start, color=FAINT, linewidth=1, linestyle=(0, (5, 4)), zorder=1)
    axes.set_xlabel("environment steps charged to the method, testing of advice included")
    axes.set_ylabel("mean return, selection seeds")
    if width < PHONE:
        axes.set_xlabel("environment steps charged, testing included")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:,.0f}k" if x else "0"))
    axes.xaxis.set_major_locator(MaxNLocator(4 if width < PHONE else 8))
    axes.set_xlim(left=0)
    labels = {curve.label: _wrapped(curve.label, width) for curve in drawn}
    right = 0.97 - max(len(line) for label in labels.values() for line in label.split("\n")) * 7.4 / width
    figure.subplots_adjust(left=58 / width, right=right, top=1 - 22 / height, bottom=52 / height)
    _end_labels(axes, drawn, labels, height)
    if start is not None:
        axes.annotate(
            "starting policy", (1, start), xycoords=("axes fraction", "data"), xytext=(-2, -4),
            textcoords="offset points", ha="right", va="top", color=FAINT, fontsize=11,
        )  # fmt: skip
    return to_svg(figure, f"curves-{width}", "Learning curves: " + ", ".join(c.label for c in drawn))


def differences(rows: Sequence[DifferenceRow], baseline: str, width: int = 860, name: str = "differences") -> str:
    """Paired differences to `baseline`: each seed a dot, the mean and its interval on top, as `<svg>`.

    `name` tells several such charts of one page apart.
    """
    if not rows:
        return ""
    import numpy as np

    height = 68 + 56 * len(rows)
    figure, axes = new_figure(width, height)
    for place, row in enumerate(rows):
        colour = SERIES[row.colour % len(SERIES)]
        # A fixed spread instead of random jitter: equal differences stay visible and the picture repeatable.
        spread = 0.3 + 0.1 * (np.arange(len(row.points)) % 3 - 1)
        axes.plot(row.points, place + spread, linestyle="none", marker="o", markersize=4, color=colour, alpha=0.35)
        if row.low is not None and row.high is not None:
            axes.plot([row.low, row.high], [place - 0.08] * 2, color=colour, linewidth=4, solid_capstyle="round")
        axes.plot([row.value], [place - 0.08], marker="D", markersize=8, color=colour, linestyle="none")
    axes.axvline(0, color=INK, linewidth=1.1)
    axes.set_ylim(len(rows) - 0.45, -0.62 if width < PHONE else -0.5)
    names = [(place, row.label, SERIES[row.colour % len(SERIES)]) for place, row in enumerate(rows)]
    left = 14.0 if width < PHONE else 20.0 + max(len(row.label) for row in rows) * 8
    axes.set_yticks([])
    for place, label, colour in names:
        at = (0.0, place - 0.38) if width < PHONE else (-12 / (width - left), place + 0.05)
        axes.text(
            *at, label, transform=axes.get_yaxis_transform(), ha="left" if width < PHONE else "right", va="center",
            color=colour, fontweight="bold", fontsize=12.5,
        )  # fmt: skip
    axes.grid(axis="y", visible=False)
    axes.grid(axis="x", visible=True)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"return minus {baseline}" + (", same evaluation seed" if width >= PHONE else ""))
    figure.subplots_adjust(left=left / width, right=1 - 14 / width, top=1 - 6 / height, bottom=50 / height)
    return to_svg(figure, f"{name}-{width}", f"Paired differences of return against {baseline}")


def new_figure(width: int, height: int) -> tuple[Figure, Axes]:
    """An empty figure in the page's style, for `to_svg`."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_RC):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        FigureCanvasAgg(figure)
        return figure, figure.add_subplot()


def _wrapped(label: str, width: int) -> str:
    """A label in short lines where the picture is narrow."""
    return label if width >= PHONE else "\n".join(textwrap.wrap(label, 11, break_long_words=False))


def _end_labels(axes: Axes, curves: Sequence[Curve], labels: Mapping[str, str], height: int) -> None:
    """Write each label beside its line's end, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    low -= 0.04 * (high - low)
    lines = max(label.count("\n") + 1 for label in labels.values())
    gap = (high - low) * (3 + 14 * lines) / (height - 70)
    last = max(curve.steps[-1] for curve in curves)
    axes.set_xlim(0, max(last, 1.0))  # a method without training has its first point only
    ordered = sorted(curves, key=lambda curve: curve.values[-1])
    places = [curve.values[-1] for curve in ordered]
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + gap)
    excess = max(0.0, places[-1] - high)
    for curve, place in zip(ordered, places, strict=True):
        axes.annotate(
            labels[curve.label], (1, place - excess), xycoords=("axes fraction", "data"), xytext=(9, 0),
            textcoords="offset points", va="center", color=SERIES[curve.colour % len(SERIES)],
            fontweight="bold", fontsize=12.5, annotation_clip=False,
        )  # fmt: skip
    axes.set_ylim(low, high)
    for line in axes.get_lines():
        line.set_clip_on(False)


def _with_separators(figure: Figure) -> None:
    """Ticks from a thousand on are written as in the text, `12,000`, unless the axis has a way of its own."""
    from matplotlib.ticker import FuncFormatter, ScalarFormatter

    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        ticks = axis.get_majorticklocs()
        if isinstance(axis.get_major_formatter(), ScalarFormatter) and max(map(abs, ticks), default=0) >= 1000:
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}".replace("-", "\N{MINUS SIGN}")))


def to_svg(figure: Figure, salt: str, title: str) -> str:
    """The figure as `<svg>` for the inside of a page: no prolog, no metadata, no URL."""
    from html import escape

    from matplotlib import rc_context

    buffer = io.StringIO()
    _with_separators(figure)
    with rc_context({**_RC, "svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"\s+xmlns(:\w+)?=\"[^\"]*\"", "", text)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = _colours(text)
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", text, flags=re.DOTALL)  # would style the whole page
    # Ids are local to a document, and the page holds several charts.
    text = re.sub(r'id="([^"]+)"', rf'id="{salt}-\1"', text)
    text = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{salt}-", text)
    head, _, rest = text.partition(">")
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>{rest}'.strip()


def _colours(text: str, names: Mapping[str, str] = _CSS) -> str:
    for colour, variable in names.items():
        text = text.replace(colour, variable)
    return text
