"""Full-text search over the cases, replies and states of a run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.text import Text

from ultra_agents.records import CriticalState
from ultra_agents.text import clean
from ultra_agents.ui.inspect.glyphs import SIGNS
from ultra_agents.ui.inspect.run_view import RunView, StepSource
from ultra_agents.ui.text import prose
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


def search(run: RunView, source: StepSource, words: str) -> list[Hit]:
    """Every place that contains all of `words`, case ignored; critical states first, then replies, then states."""
    wanted = words.lower().split()
    if not wanted:
        return []
    hits: list[Hit] = []
    for episode, step, label, style, text in _texts(run, source):
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


def _texts(run: RunView, source: StepSource) -> Iterator[tuple[int, int, str, str, str]]:
    """Episode, step, label, style and text of everything that can be found."""
    for segment, state, _ in run.critical:
        sign, colour = SIGNS[state.fate]
        yield segment.episode, state.step, f"{sign} {state.fate}", colour, _case_text(state)
    segments = [one.segment for one in run.explanations]
    for segment in segments:
        for call in source.conversation(segment.name):
            step = segment.start if call.step is None else call.step
            yield segment.episode, step, call.agent, agent_colour(call.agent), prose(call.reply)
    for segment in segments:
        for step in range(segment.start, segment.stop):
            view = source.step(segment.episode, step)
            yield view.episode, step, "state", DIM, f"{view.words} Action: {view.action}."


def _case_text(state: CriticalState) -> str:
    parts = [state.rationale, state.fate, state.reason, state.detail, state.taken_action]
    for attempt in state.attempts:
        parts += [str(attempt.plan), attempt.rationale]
        parts += [str(attempt.written)] if attempt.written != attempt.plan else []
        parts += [str(attempt.goal)] if attempt.goal is not None else []
        for critique in (attempt.critique, attempt.reflection):
            parts += [critique.verdict, critique.rationale] if critique else []
    return " · ".join(part for part in parts if part)
