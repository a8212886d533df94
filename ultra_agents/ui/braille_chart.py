"""Line charts in braille characters, eight dots to a cell, with confidence bands.

Not plotext, the best maintained library for charts on terminals: it returns text with its own escape codes and draws
no bands, while a panel needs an exact width in cells, the methods' colours and the interval of each line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from rich.text import Text

from ultra_agents.ui.text import count, score

Points = Sequence[tuple[float, ...]]
"""`(x, y)` or `(x, y, half the width of y's interval)`."""
BAND_ROOM = 1.0
"""How far bands may extend the y axis beyond lines and dots to each side, in multiples of their range."""
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of the dot at row 0-3, column 0-1 of a cell (Unicode block U+2800)."""


@dataclass(frozen=True)
class Series:
    """One series: its points in data units, its colour, and whether it is drawn as points without a line."""

    points: Points
    colour: str
    dots: bool = False


class BrailleCanvas:
    """A grid of `2 * width` by `4 * height` dots, origin at the lower left; a cell has the colour of its last dot."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._bits = [[0] * width for _ in range(height)]
        self._colours = [[""] * width for _ in range(height)]

    def dot(self, x: int, y: int, colour: str) -> None:
        """Set the dot at column `x`, `y` dots above the bottom; outside is ignored."""
        row = 4 * self.height - 1 - y
        if 0 <= x < 2 * self.width and 0 <= row < 4 * self.height:
            self._bits[row // 4][x // 2] |= _DOTS[row % 4][x % 2]
            self._colours[row // 4][x // 2] = colour

    def line(self, x0: int, y0: int, x1: int, y1: int, colour: str) -> None:
        """Set the dots from one point to another."""
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        for step in range(steps + 1):
            self.dot(round(x0 + (x1 - x0) * step / steps), round(y0 + (y1 - y0) * step / steps), colour)

    def row(self, index: int) -> Text:
        """Row `index` from the top."""
        text = Text()
        cells = zip(self._bits[index], self._colours[index], strict=True)
        for colour, same in groupby(cells, key=lambda cell: cell[1]):
            text.append("".join(chr(0x2800 + bits) if bits else " " for bits, _ in same), style=colour or None)
        return text


def _band(point: tuple[float, ...]) -> tuple[float, float, float]:
    """`(x, low, high)` of a point's interval; NaN where it has none."""
    half = point[2] if len(point) > 2 else math.nan
    return point[0], point[1] - half, point[1] + half


def _shade(canvas: BrailleCanvas, spots: Sequence[tuple[tuple[int, int], tuple[int, int]]], colour: str) -> None:
    """The edges of the area between the lower and the upper ends, dotted; a bar where there is a single one."""
    for (low, high), (next_low, next_high) in pairwise(spots):
        width = max(next_low[0] - low[0], 1)
        for x in range(low[0] + low[0] % 2, next_low[0] + 1, 2):
            part = (x - low[0]) / width
            canvas.dot(x, round(low[1] + (next_low[1] - low[1]) * part), colour)
            canvas.dot(x, round(high[1] + (next_high[1] - high[1]) * part), colour)
    if len(spots) == 1:
        ((x, start), (_, stop)) = spots[0]
        for y in range(max(start, 0), min(stop, 4 * canvas.height - 1) + 1, 2):
            canvas.dot(x, y, colour)


def chart(series: Mapping[str, Series], width: int, height: int, level: float | None = None) -> list[Text]:
    """Lines of a chart with axes, `height` of them, each `width` cells wide.

    Args:
        series: What is drawn, in order; shared cells have the colour of the last.
        width: Columns in all.
        height: Rows in all: one for the x axis' numbers, one for its line.
        level: A horizontal dashed line (the starting policy's return).
    """
    points = [point for line in series.values() for point in line.points if all(map(math.isfinite, point[:2]))]
    ys = [point[1] for point in points] + ([level] if level is not None else [])
    if not points or width < 14 or height < 4:
        return []
    low, high = min(ys), max(ys)
    bands = {name: [_band(point) for point in line.points] for name, line in series.items() if not line.dots}
    ends = [end for band in bands.values() for _, *pair in band for end in pair if math.isfinite(end)]
    reach = (high - low) * BAND_ROOM or math.inf
    low, high = max(min([low, *ends]), low - reach), min(max([high, *ends]), high + reach)
    pad = (high - low) * 0.06 or max(abs(high) * 0.1, 0.5)
    low, high = low - pad, high + pad
    right = max(max(point[0] for point in points), 1.0)
    rows = height - 2
    numbers = {0: score(high), rows - 1: score(low)} | ({rows // 2: score((low + high) / 2)} if rows >= 5 else {})
    margin = max(map(len, numbers.values()))
    canvas = BrailleCanvas(width - margin - 2, rows)

    def place(x: float, y: float) -> tuple[int, int]:
        return (
            round(x / right * (2 * canvas.width - 1)),
            round((y - low) / (high - low) * (4 * rows - 1)),
        )

    if level is not None:
        across = place(0, level)[1]
        for x in range(0, 2 * canvas.width, 4):
            canvas.dot(x, across, "bright_black")
    for name, band in bands.items():
        _shade(canvas, [(place(x, start), place(x, stop)) for x, start, stop in band if math.isfinite(start + stop)],
               f"dim {series[name].colour}")  # fmt: skip
    for line in series.values():
        spots = [place(*point[:2]) for point in line.points if all(map(math.isfinite, point[:2]))]
        for spot in spots:
            canvas.dot(*spot, line.colour)
        if not line.dots:
            for start, stop in pairwise(spots):
                for lift in (0, 1) if rows >= 8 else (0,):  # two dots thick, to stand out from training points
                    canvas.line(start[0], start[1] + lift, stop[0], stop[1] + lift, line.colour)
    lines = [
        Text.assemble(
            (numbers.get(i, "").rjust(margin), "bright_black"), (" ┤" if i in numbers else " │", "bright_black")
        )
        + canvas.row(i)
        for i in range(rows)
    ]
    lines.append(Text(" " * margin + " └" + "─" * canvas.width, "bright_black"))
    end = f"{count(right)} steps"
    lines.append(Text(" " * (margin + 2) + "0" + end.rjust(canvas.width - 1), "bright_black"))
    return lines
