"""Line charts in braille: eight dots to a character cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.text import Text

from ultra_agents.ui.text import count, score

Points = Sequence[tuple[float, float]]
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""Bit of the dot at row 0-3, column 0-1 of a cell (Unicode block 2800)."""


@dataclass(frozen=True)
class Series:
    """One line: its points in data units, its colour, and whether only its points are drawn."""

    points: Points
    colour: str
    dots: bool = False


class Canvas:
    """A grid of `2 * width` by `4 * height` dots, origin at the lower left; later colours win a cell."""

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
        for bits, colour in zip(self._bits[index], self._colours[index], strict=True):
            text.append(chr(0x2800 + bits) if bits else " ", style=colour or None)
        return text


def chart(series: Mapping[str, Series], width: int, height: int, level: float | None = None) -> list[Text]:
    """Lines of a chart with axes, `height` of them, each `width` cells wide.

    Args:
        series: What is drawn, in order; the last one wins a shared cell.
        width: Columns in all.
        height: Rows in all: one for the x axis' numbers, one for its line.
        level: A horizontal dashed line (the starting policy's return).
    """
    points = [point for line in series.values() for point in line.points if all(map(math.isfinite, point))]
    ys = [y for _, y in points] + ([level] if level is not None else [])
    if not points or width < 14 or height < 4:
        return []
    low, high = min(ys), max(ys)
    pad = (high - low) * 0.06 or max(abs(high) * 0.1, 0.5)
    low, high = low - pad, high + pad
    right = max(max(x for x, _ in points), 1.0)
    rows = height - 2
    numbers = {0: score(high), rows - 1: score(low)} | ({rows // 2: score((low + high) / 2)} if rows >= 5 else {})
    margin = max(map(len, numbers.values()))
    canvas = Canvas(width - margin - 2, rows)

    def place(x: float, y: float) -> tuple[int, int]:
        return (
            round(x / right * (2 * canvas.width - 1)),
            round((y - low) / (high - low) * (4 * rows - 1)),
        )

    if level is not None:
        across = place(0, level)[1]
        for x in range(0, 2 * canvas.width, 4):
            canvas.dot(x, across, "bright_black")
    for line in series.values():
        spots = [place(x, y) for x, y in line.points if math.isfinite(x) and math.isfinite(y)]
        for spot in spots:
            canvas.dot(*spot, line.colour)
        if not line.dots:
            for start, stop in pairwise(spots):
                canvas.line(*start, *stop, line.colour)
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
