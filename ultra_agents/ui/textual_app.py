"""Base of the full-screen applications made with Textual: what they print of foreign text is printable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from textual.app import App
from textual.color import Color
from textual.filter import LineFilter

from ultra_agents.text import printable

Result = TypeVar("Result")


class PrintableLines(LineFilter):
    """Takes control characters out of every line that is drawn; a line keeps its width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The segments of a line, printable."""
        return [
            one if one.control or one.text.isprintable() else Segment(_same_width(one.text), one.style)
            for one in segments
        ]


class SafeApp(App[Result]):
    """An application in the terminal's own colours whose lines are all printable."""

    ENABLE_COMMAND_PALETTE = False

    def __init__(self) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._printable = PrintableLines()

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's own, and last the one that makes lines printable."""
        return [*super().get_line_filters(), self._printable]


def _same_width(text: str) -> str:
    """`text` without control characters, in as many cells: joined emojis come apart."""
    return set_cell_size(printable(text).replace("\n", ""), cell_len(text))
