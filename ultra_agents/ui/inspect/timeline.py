"""The timeline: values as a sparkline, rewards and critical states as signs, a cursor; a click goes to a step."""

from __future__ import annotations

import numpy as np
from rich.text import Text
from textual import events
from textual.message import Message
from textual.widget import Widget

from ultra_agents.records import Fate
from ultra_agents.ui.inspect.glyphs import SIGNS, spark
from ultra_agents.ui.inspect.run_view import LocatedState, RunView
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

    def __init__(self, run: RunView, id: str | None = None) -> None:
        super().__init__(id=id)
        self._run = run
        self._episode, self._start, self._stop, self._step = run.episodes[0].episode, 0, 1, 0
        self._shown: tuple[LocatedState, ...] = ()

    def replace_run(self, run: RunView) -> None:
        """Use another reading of the run from the next drawing on."""
        self._run = run

    def show_steps(self, episode: int, start: int, stop: int, step: int, shown: tuple[LocatedState, ...]) -> None:
        """Show the steps `start` to `stop - 1`, the critical states `shown`, and the cursor at `step`."""
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
            self._run, self._episode, self._start, self._stop, self._step, self._shown, max(self.size.width, 20)
        )

    def on_click(self, event: events.Click) -> None:
        """Go to the step under the pointer."""
        wide = max(self.size.width - MARGIN - 1, 1)
        share = min(max(event.x - MARGIN, 0), wide - 1) / wide
        self.post_message(self.Picked(self._start + int(share * (self._stop - self._start))))


def draw(
    run: RunView, number: int, start: int, stop: int, step: int, shown: tuple[LocatedState, ...], width: int
) -> Text:
    """The timeline as three lines of `width` cells."""
    wide, length = max(width - MARGIN - 1, 1), stop - start
    episode = run.episode(number)

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
    order: list[Fate] = ["dropped", "rejected", "open", "accepted"]  # the last one of a column is seen
    for segment, state, _ in sorted(shown, key=lambda one: order.index(one.state.fate)):
        if segment.episode == number and start <= state.step < stop:
            cells[column(state.step)] = ("◆" if state.fate == "accepted" else "◇", f"bold {SIGNS[state.fate][1]}")
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
