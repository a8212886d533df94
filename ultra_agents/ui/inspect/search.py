"""Words in all that was said and told in a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from ultra_agents.ui.inspect.book import Book, Critical, Source
from ultra_agents.ui.inspect.marks import SIGNS
from ultra_agents.ui.text import clean, prose
from ultra_agents.ui.theme import DIM, agent_colour

MOST = 100
"""Hits shown."""
BEFORE, AFTER = 24, 90
"""Characters shown around a hit."""


@dataclass(frozen=True)
class Hit:
    """A place where the words were found, and a line that shows them."""

    episode: int
    step: int
    line: Text


def search(book: Book, source: Source, words: str) -> list[Hit]:
    """Every place that holds all of `words`, whatever their case; critical states first, then replies, then states."""
    wanted = words.lower().split()
    if not wanted:
        return []
    hits: list[Hit] = []
    for episode, step, label, style, text in _texts(book, source):
        low = text.lower()
        if not all(word in low for word in wanted):
            continue
        at = low.index(wanted[0])
        part = clean(("…" if at > BEFORE else "") + text[max(at - BEFORE, 0) : at + AFTER])
        line = Text.assemble((f"{episode}:{step:<5} ", "bold"), (f"{label} ", style), part, no_wrap=True)
        line.highlight_words(wanted, "bold underline", case_sensitive=False)
        hits.append(Hit(episode, step, line))
        if len(hits) == MOST:
            break
    return hits


def _texts(book: Book, source: Source) -> Iterator[tuple[int, int, str, str, str]]:
    """Episode, step, label, style and text of everything that can be found."""
    for one in book.critical:
        sign, colour = SIGNS[one.fate]
        yield one.episode, one.step, f"{sign} {one.fate}", colour, _critical_text(one)
    for stretch in book.stretches:
        for exchange in source.conversation(stretch.segment.name):
            step = stretch.segment.start if exchange.step is None else exchange.step
            yield stretch.segment.episode, step, exchange.agent, agent_colour(exchange.agent), prose(exchange.reply)
    for stretch in book.stretches:
        for step in range(stretch.segment.start, stretch.segment.stop):
            view = source.step(stretch.segment.episode, step)
            yield view.episode, step, "state", DIM, f"{view.words} Action: {view.action}."


def _critical_text(one: Critical) -> str:
    parts = [one.rationale, one.fate, one.reason, one.detail, one.taken]
    for attempt in one.attempts:
        parts += [attempt.plan, attempt.rationale, attempt.verdict, attempt.critique]
    return " · ".join(part for part in parts if part)
