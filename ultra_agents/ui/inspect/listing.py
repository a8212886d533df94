"""The list of episodes, segments and critical states: its lines and where each leads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rich.text import Text

from ultra_agents.records import CriticalState, Explanation, Fate
from ultra_agents.text import clean, counted
from ultra_agents.ui.inspect.glyphs import SIGNS, short
from ultra_agents.ui.inspect.run_view import RunView, deciding_attempt, deciding_test
from ultra_agents.ui.theme import BAD, DIM, GOOD, WARM

PLAN = 16
"""Columns of a plan."""


@dataclass(frozen=True)
class ListEntry:
    """One line of the list and where it leads."""

    kind: Literal["episode", "segment", "critical", "rule", "remark"]
    episode: int
    step: int


def listed(run: RunView, only: Fate | None) -> list[tuple[ListEntry, Text]]:
    """The lines, in order; with a filter, without what holds nothing that passes it."""
    found: list[tuple[ListEntry, Text]] = [] if only is not None else [*_remarks(run), *_rules(run)]
    for episode in run.episodes:
        number = episode.episode
        inside = [(one, passing(one, only)) for one in run.explanations if one.segment.episode == number]
        if only is not None and not any(states for _, states in inside):
            continue
        head = Text.assemble((f"Episode {number}", "bold"), (f"  {episode.episode_return:+.2f}", ""))
        head.append(f" in {counted(len(episode), 'step')}", DIM)
        found.append((ListEntry("episode", number, 0), head))
        for explanation, states in inside:
            if only is not None and not states:
                continue
            segment = explanation.segment
            line = Text.assemble((f" {segment.start}–{segment.stop - 1}", "cyan"))
            line.append(f" {clean(segment.kind, 60)}", DIM)
            found.append((ListEntry("segment", number, segment.start), line))
            found += [(ListEntry("critical", number, state.step), _line(state)) for state in states]
    return found


def _remarks(run: RunView) -> list[tuple[ListEntry, Text]]:
    """What a person said to the agents."""
    entry = ListEntry("remark", run.episodes[0].episode, 0)
    lines = [(entry, Text(f" {clean(told, 200)}")) for told in run.remarks]
    return [(entry, Text("From a person", "bold")), *lines] if lines else []


def _rules(run: RunView) -> list[tuple[ListEntry, Text]]:
    """The rules; each line leads to where its rule first acts."""
    if run.rules is None:
        return []
    start = run.episodes[0].episode, 0
    colour = {"accepted": GOOD, "rejected": BAD}.get(run.rules.verdict, WARM)
    head = Text.assemble(("Rules  ", "bold"), (run.rules.verdict, colour))
    found = [(ListEntry("rule", *start), head)]
    for one in run.rules.rows:
        share = "dropped " if one.dropped else "" if one.coverage is None else f"{one.coverage:>4.0%} "
        line = Text.assemble((f" {one.number} ", "cyan"), (share, DIM), (one.do, "strike" if one.dropped else ""))
        found.append((ListEntry("rule", *(one.first or start)), line))
    if run.rules.reward:
        found.append((ListEntry("rule", *start), Text.assemble((" R ", "cyan"), run.rules.reward)))
    return found


def passing(explanation: Explanation, only: Fate | None) -> list[CriticalState]:
    """Its critical states that pass the filter."""
    return [state for state in explanation.states if only in (None, state.fate)]


def nearest(run: RunView, entries: list[ListEntry], episode: int, step: int) -> int | None:
    """Index of the entry that is nearest to a step: the critical state there, its segment, or the episode."""
    explanation = run.explanation_at(episode, step)
    wanted = [ListEntry("critical", episode, step)]
    wanted += [ListEntry("segment", episode, explanation.segment.start)] if explanation else []
    wanted += [ListEntry("episode", episode, 0)]
    return next((entries.index(entry) for entry in wanted if entry in entries), None)


def _line(state: CriticalState) -> Text:
    sign, colour = SIGNS[state.fate]
    attempt, test = deciding_attempt(state), deciding_test(state)
    text = Text.assemble(("  ", ""), (sign, colour), f" {state.step:<5} ")
    text.append(clean(short(attempt.plan) if attempt else "-", PLAN).ljust(PLAN + 1))
    if test is not None:
        text.append(f"{test.gain:+.2f}", "bold" if test.gain > 0 else "")
    return text
