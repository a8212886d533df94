"""The timeline: values as a sparkline, rewards and critical states as marks, the step in sight; a click goes there."""

from __future__ import annotations

import numpy as np
from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget

from ultra_agents.ui.inspect.book import Book, Critical
from ultra_agents.ui.inspect.marks import SIGNS, spark
from ultra_agents.ui.theme import BAD, DIM, GOOD

MARGIN = 8
"""Columns left of the drawing, for its labels."""


class Timeline(Widget):
    """Steps `start` to `stop - 1` of an episode across the width."""

    DEFAULT_CSS = "Timeline { height: 3; }"

    class Picked(Message):
        """A step was clicked."""

        def __init__(self, step: int) -> None:
            self.step = step
            super().__init__()

    def __init__(self, book: Book, id: str | None = None) -> None:
        super().__init__(id=id)
        self._book = book
        self._episode, self._start, self._stop, self._step = book.episodes[0].index, 0, 1, 0
        self._shown: tuple[Critical, ...] = ()

    def turn(self, book: Book) -> None:
        """Go on with another reading of the run."""
        self._book = book

    def look(self, episode: int, start: int, stop: int, step: int, shown: tuple[Critical, ...]) -> None:
        """Show another stretch or step; `shown` are the critical states marked."""
        self._episode, self._start, self._stop, self._step, self._shown = (
            episode,
            start,
            max(stop, start + 1),
            step,
            shown,
        )
        self.refresh()

    def render(self) -> Text:
        """Three lines: value, marks, cursor with the ends' numbers."""
        return draw(
            self._book, self._episode, self._start, self._stop, self._step, self._shown, max(self.size.width, 20)
        )

    def on_click(self, event: events.Click) -> None:
        """Go to the step under the pointer."""
        wide = max(self.size.width - MARGIN - 1, 1)
        share = min(max(event.x - MARGIN, 0), wide - 1) / wide
        self.post_message(self.Picked(self._start + int(share * (self._stop - self._start))))


def draw(book: Book, number: int, start: int, stop: int, step: int, shown: tuple[Critical, ...], width: int) -> Text:
    """The timeline as three lines of `width` cells."""
    wide, length = max(width - MARGIN - 1, 1), stop - start
    episode = book.episode(number)

    def column(at: int) -> int:
        return min(int((at - start + 0.5) / length * wide), wide - 1)

    cells: list[tuple[str, str]] = [("─", DIM)] * wide
    rewards = np.asarray(episode.rewards[start:stop], np.float64)
    values, counts = np.unique(rewards, return_counts=True)
    usual = values[np.argmax(counts)] if len(values) and counts.max() >= 0.5 * len(rewards) else None
    if usual is not None:
        for at in np.flatnonzero(rewards != usual):
            good = rewards[at] > usual
            cells[column(start + int(at))] = ("+", f"bold {GOOD}") if good else ("-", f"bold {BAD}")
    order = {"accepted": 3, "open": 2, "refused": 1, "dropped": 0}
    for one in sorted(shown, key=lambda one: order[one.fate]):
        if one.episode == number and start <= one.step < stop:
            cells[column(one.step)] = ("◆" if one.fate == "accepted" else "◇", f"bold {SIGNS[one.fate][1]}")
    caret = column(step)
    label = f"▲ {step}" if caret + len(str(step)) + 2 <= wide else f"{step} ▲"
    begin = caret if label.startswith("▲") else max(caret + 1 - len(label), 0)
    line = list(" " * wide)
    left, right = str(start), str(stop - 1)
    if begin > len(left):
        line[: len(left)] = left
    if begin + len(label) < wide - len(right):
        line[wide - len(right) :] = right
    line[begin : begin + len(label)] = label
    has_values = bool(np.any(episode.values[start:stop]))
    text = Text(no_wrap=True, end="")
    text.append(f"{'value' if has_values else 'reward':<{MARGIN}}", DIM)
    series = episode.values[start:stop] if has_values else np.cumsum(rewards)
    text.append(spark(series, wide), "cyan")
    text.append(f"\n{'events':<{MARGIN}}", DIM)
    for sign, style in cells:
        text.append(sign, style)
    text.append(f"\n{'step':<{MARGIN}}", DIM)
    tail = "".join(line)
    text.append(tail[:begin], DIM)
    text.append(tail[begin : begin + len(label)], "bold")
    text.append(tail[begin + len(label) :], DIM)
    return text
