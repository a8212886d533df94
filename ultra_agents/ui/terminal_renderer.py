"""Draws regions on a terminal's alternate screen; sends only the lines that changed since the last drawing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from rich.color import ColorSystem
from rich.console import Console, RenderableType
from rich.segment import Segment

from ultra_agents.text import printable
from ultra_agents.ui.panels import PanelView
from ultra_agents.ui.screen import Region, lines_of

Part: TypeAlias = tuple[Region, tuple[Any, ...], Callable[[], RenderableType]]
"""A region, the values its content depends on, and a function that makes the content."""
_SYSTEMS = {
    "standard": ColorSystem.STANDARD, "256": ColorSystem.EIGHT_BIT, "truecolor": ColorSystem.TRUECOLOR,
}  # fmt: skip
CLOSE_TIMEOUT_S = 5.0
"""How long `close` waits for a drawing that a blocked terminal does not accept."""


class TerminalRenderer:
    """Incremental renderer on the alternate screen of a terminal.

    Args:
        console: The terminal.

    Attributes:
        cost_s: Processor seconds of one drawing, exponentially smoothed.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.cost_s = 0.0
        self._file = console.file  # taken now: `OutputCapture` replaces standard output later
        self._open: bool | None = None  # None before the first `open`: drawing needs no alternate screen then
        self._writing = threading.Lock()
        self._size = (0, 0)
        self._known: dict[Region, tuple[Any, ...]] = {}
        self._lines: dict[tuple[int, int], str] = {}
        self._system = None if console.color_system is None else _SYSTEMS.get(console.color_system)

    def open(self) -> None:
        """Switch to the alternate screen."""
        if not self._open:
            self._open = True
            self.invalidate()
            self._write("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J")

    def close(self) -> None:
        """Switch back to the main screen; a drawing that is still being made is discarded."""
        held = self._writing.acquire(timeout=CLOSE_TIMEOUT_S)
        try:
            if self._open:
                self._open = False
                # cleared first: in a window that was enlarged tmux would leave its last rows on the main screen
                self._write("\x1b[0m\x1b[2J\x1b[H\x1b[?7h\x1b[?25h\x1b[?1049l")
        finally:
            if held:
                self._writing.release()

    def invalidate(self) -> None:
        """Draw all regions at the next call, whatever is known of the screen."""
        self._size = (0, 0)

    def render(self, parts: Sequence[Part], width: int, height: int) -> None:
        """Show `parts` on a screen of `width` columns and `height` rows."""
        began = time.thread_time()
        sent: list[str] = []
        if (width, height) != self._size:
            self._known, self._lines, self._size = {}, {}, (width, height)
            sent.append("\x1b[0m\x1b[2J")
        known: dict[Region, tuple[Any, ...]] = {}
        lines: dict[tuple[int, int], str] = {}
        for region, key, make in parts:
            known[region] = key
            if region in self._known and _same(self._known[region], key):
                for row in range(region.height):
                    lines[region.y + row, region.x] = self._lines[region.y + row, region.x]
                continue
            made = lines_of(self.console, self.console.options, region, make())
            for row, line in enumerate(made):
                lines[region.y + row, region.x] = self._ansi(line)
        moved = known.keys() != self._known.keys()  # the layout changed: every line is sent
        for place, row_text in sorted(lines.items()):
            if self._lines.get(place) != row_text or moved:
                sent.append(f"\x1b[{place[0] + 1};{place[1] + 1}H{row_text}")
        self._known, self._lines = known, lines
        with self._writing:
            if sent and self._open is not False:
                self._write("".join(sent))
        spent = time.thread_time() - began
        self.cost_s += 0.3 * (min(spent, 2 * self.cost_s or 0.01) - self.cost_s)  # the first drawing loads modules

    def _ansi(self, line: Sequence[Segment]) -> str:
        parts = []
        segments = Segment.remove_color(line) if self.console.no_color else line
        for text, style, control in segments:
            if control:
                continue
            text = text if text.isprintable() else printable(text)  # whatever a panel forgot
            parts.append(style.render(text, color_system=self._system) if style else text)
        return "".join(parts)

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two keys are equal, by identity except for small values: states are immutable and large."""
    if len(one) != len(other):
        return False
    return all(
        a is b or (isinstance(a, int | float | str | PanelView) and a == b) for a, b in zip(one, other, strict=True)
    )
