"""The list of episodes, stretches and critical states: its lines and where each leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.text import Text

from ultra_agents.ui.inspect.book import Book, Critical, Fate, Stretch
from ultra_agents.ui.inspect.marks import SIGNS
from ultra_agents.ui.text import clean
from ultra_agents.ui.theme import DIM


@dataclass(frozen=True)
class Row:
    """One line of the list and where it leads."""

    kind: Literal["episode", "stretch", "critical"]
    episode: int
    step: int


def listed(book: Book, only: Fate | None) -> list[tuple[Row, Text]]:
    """The lines, in order; with a filter, without what holds nothing that passes it."""
    found: list[tuple[Row, Text]] = []
    for episode in book.episodes:
        inside = [(one, passing(one, only)) for one in book.stretches if one.segment.episode == episode.index]
        if only is not None and not any(critical for _, critical in inside):
            continue
        head = Text.assemble((f"Episode {episode.index}", "bold"), (f"  {episode.total:+.2f}", ""))
        head.append(f" in {len(episode)} steps", DIM)
        found.append((Row("episode", episode.index, 0), head))
        for stretch, critical in inside:
            if only is not None and not critical:
                continue
            line = Text.assemble((f" {stretch.segment.start}–{stretch.segment.stop - 1}", "cyan"))
            line.append(f" {clean(stretch.segment.kind, 20)}", DIM)
            found.append((Row("stretch", episode.index, stretch.segment.start), line))
            found += [(Row("critical", one.episode, one.step), _line(one)) for one in critical]
    return found


def passing(stretch: Stretch, only: Fate | None) -> list[Critical]:
    """Its critical states that pass the filter."""
    return [one for one in stretch.critical if only in (None, one.fate)]


def nearest(book: Book, rows: list[Row], episode: int, step: int) -> int | None:
    """Index of the row that is nearest to a step: the critical state there, its stretch, or the episode."""
    stretch = book.stretch_at(episode, step)
    wanted = [Row("critical", episode, step)]
    wanted += [Row("stretch", episode, stretch.segment.start)] if stretch else []
    wanted += [Row("episode", episode, 0)]
    return next((rows.index(row) for row in wanted if row in rows), None)


def _line(one: Critical) -> Text:
    sign, colour = SIGNS[one.fate]
    text = Text.assemble(("  ", ""), (sign, colour), f" {one.step:<5} ")
    text.append(f"{one.last.short if one.last else '-'}"[:11].ljust(12))
    if one.test is not None:
        text.append(f"{one.test.gain:+.2f}", "bold" if one.test.gain > 0 else "")
    return text
