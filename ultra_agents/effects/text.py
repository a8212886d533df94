"""Effects and events as text for agents: only what matters, the largest first, within a token budget."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from typing import TypeAlias

import numpy as np

from ultra_agents.contracts import Quantity
from ultra_agents.effects.events import BEFORE, Event
from ultra_agents.effects.measure import AHEAD, RETURN, Against, Effect, Effects
from ultra_agents.narration.describe import estimate_tokens
from ultra_agents.text import clean, valid_text

TOLD = (1, 2, 3, 4, 8)
"""Steps after which effects are told."""
LEAST, LEAST_EVENT = 0.05, 0.5
"""Differences that are told, in standard deviations of the quantity: over the episodes, over the other steps."""
SURE, SURE_EVENT = 2.0, 3.0
"""The same in standard errors: of effects by their sign, of events by their mean."""
ALIKE = 0.15
"""Two actions are told in one row where one does the opposite of the other, but for this share."""
APART = 0.5
"""Both sides of a fact are told by themselves where an effect differs by more than this share of the larger one."""
ANSWERED = (1, 4)
"""Holds that are told of actions the policy answers, where what they do by themselves is told as well."""
NO_UNIT = ("1", "unknown")

_Key: TypeAlias = tuple[Against, str, str, str]
"""What a row compares: against what, the quantity, where, the action."""


@dataclass(frozen=True, eq=False)
class _Row:
    """A line, made once it is known which quantities were named before; how much it matters, and for what."""

    section: int
    order: tuple[int, ...]
    size: float
    line: Callable[[set[str]], str]
    about: tuple[str, ...]


def effects_text(
    effects: Effects | None, events: Sequence[Event], legend: Mapping[str, Quantity], token_budget: int
) -> str:
    """Both tables as text; empty where nothing is worth telling, or nothing fits.

    Args:
        effects: What actions do, where it was measured.
        events: What preceded events.
        legend: Units and signs.
        token_budget: Longest text, in estimated tokens.
    """
    sections = [*_effect_rows(effects, legend), _event_rows(events, legend)]
    headings = [*_headings(effects), _events_heading()]
    by_size = [_in_turn(rows) for rows in sections]
    told: list[_Row] = []
    for row in (one for one in chain(*zip_longest(*by_size)) if one is not None):
        if estimate_tokens(_text([*told, row], headings)) <= token_budget:
            told.append(row)
    return _text(told, headings)


def _in_turn(rows: Sequence[_Row]) -> list[_Row]:
    """The largest row of each action (or event) first, then the second ones: no action may crowd out another."""
    told: Counter[str] = Counter()
    ranked = []
    for row in sorted(rows, key=lambda one: -one.size):
        ranked.append((min(told[name] for name in row.about), -row.size, row))
        told.update(row.about)
    return [row for _, _, row in sorted(ranked, key=lambda one: one[:2])]


def _text(rows: Sequence[_Row], headings: Sequence[str]) -> str:
    lines, named, section = [], set[str](), -1
    for row in sorted(rows, key=lambda one: (one.section, one.order)):
        if row.section != section:
            lines.append(headings[row.section])
            section = row.section
        lines.append(row.line(named))
    return valid_text("\n".join(lines))


def _headings(effects: Effects | None) -> tuple[str, str]:
    if effects is None:
        return "", ""
    times = ", ".join(map(str, TOLD))
    columns = f"typical difference after {times} steps, in brackets where 80% of {effects.states} states are"
    if effects.divided and any(one.where for one in effects.effects):
        columns += f"; {', '.join(f'{where}: {count} of them' for where, count in effects.divided)}"
    return (
        f"What actions do by themselves (measured; x1: held for 1 step, then {effects.idle}; against {effects.idle} "
        f"all along): {columns}:",
        "What actions do in place of the policy's, which then goes on (measured; against the policy all along): "
        f"{columns}:",
    )


def _events_heading() -> str:
    return (
        f"What preceded events: mean {', '.join(map(str, BEFORE))} steps before; in brackets mean and spread of all "
        "other steps:"
    )


def _effect_rows(effects: Effects | None, legend: Mapping[str, Quantity]) -> tuple[list[_Row], list[_Row]]:
    """What is told of each comparison: one row for each action and quantity, all holds in it."""
    found: tuple[list[_Row], list[_Row]] = [], []
    if effects is None:
        return found
    groups: dict[_Key, list[Effect]] = {}
    for one in effects.effects:
        if one.against == "idle" or effects.idle is None or one.held in ANSWERED:
            groups.setdefault((one.against, one.quantity, one.where, one.action), []).append(one)
    groups = {key: holds for key, holds in groups.items() if bool(key[2]) == _divides(key, groups, effects.divided)}
    actions, names = list(dict.fromkeys(one.action for one in effects.effects)), [*legend, RETURN]
    told: set[_Key] = set()
    for (against, quantity, where, action), holds in groups.items():
        size = max((one.size for one in holds if one.surely >= SURE), default=0.0)
        if size < LEAST or (against, quantity, where, action) in told:
            continue
        same = [
            key for key in groups if key[:3] == (against, quantity, where) and key[3] != action and key not in told
        ]
        other = next((key for key in same if _opposite(holds, groups[key])), None)
        words, about = clean(action), [action]
        if other is not None:
            told.add(other)
            words, about = f"{words} ({clean(other[3])} the opposite)", [action, other[3]]
        words += f" where {where}" if where else ""
        section = 0 if against == "idle" else 1
        order = actions.index(action), names.index(quantity), int(bool(where)) * (2 - where.endswith("=1"))
        found[section].append(_Row(section, order, size, partial(_effect, words, holds, legend), tuple(about)))
    return found


def _divides(key: _Key, groups: Mapping[_Key, Sequence[Effect]], divided: Sequence[tuple[str, int]]) -> bool:
    """Whether an action does something else to the quantity on either side of the fact that divides the states."""
    sides = [groups.get((*key[:2], where, key[3]), ()) for where, _ in divided]
    by_held = [{one.held: one.typical for one in side} for side in sides]
    apart = largest = 0.0
    for held in {one.held for side in sides for one in side}:
        for pair in zip(*(side.get(held, (0.0,) * AHEAD) for side in by_held), strict=True):
            if None not in pair:
                met = [value or 0.0 for value in pair]
                apart, largest = max(apart, max(met) - min(met)), max(largest, *map(abs, met))
    return apart > APART * largest


def _effect(words: str, holds: Sequence[Effect], legend: Mapping[str, Quantity], named: set[str]) -> str:
    return f"{words}: {_quantity(holds[0].quantity, legend, named)} {_held(holds)}"


def _opposite(some: Sequence[Effect], others: Sequence[Effect]) -> bool:
    """Whether the second action does to the quantity the opposite of what the first does, for every hold."""
    if [one.held for one in some] != [one.held for one in others]:
        return False
    for one, other in zip(some, others, strict=True):
        both = [(a, b) for a, b in zip(one.typical, other.typical, strict=True) if a is not None and b is not None]
        largest = max((abs(a) for a, _ in both), default=0.0)
        if not both or any(abs(a + b) > ALIKE * largest for a, b in both):
            return False
    return True


def _event_rows(events: Sequence[Event], legend: Mapping[str, Quantity]) -> list[_Row]:
    kinds, names = list(dict.fromkeys(one.kind for one in events)), list(legend)
    found = []
    for one in events:
        if one.size >= LEAST_EVENT and one.surely >= SURE_EVENT:
            order = kinds.index(one.kind), names.index(one.quantity)
            found.append(_Row(2, order, one.size, partial(_event, one, legend), (one.kind,)))
    return found


def _event(event: Event, legend: Mapping[str, Quantity], named: set[str]) -> str:
    figure = _figures([*event.means, event.elsewhere, event.spread], sign="")
    before = " ".join("?" if mean is None else figure(mean) for mean in event.means)
    return (
        f"{clean(event.kind)} ({event.count} x): {_quantity(event.quantity, legend, named)} {before} "
        f"(other steps {figure(event.elsewhere)} +- {figure(event.spread)})"
    )


def _quantity(name: str, legend: Mapping[str, Quantity], named: set[str]) -> str:
    """The name; the first time with unit and sign."""
    if name in named or name not in legend:
        return name
    named.add(name)
    one = legend[name]
    unit = "" if one.unit in NO_UNIT else one.unit
    told = [part for part in (unit, f"+ {one.sign}" if one.sign and unit else "") if part]
    return f"{name} [{clean(', '.join(told))}]" if told else name


def _held(holds: Sequence[Effect]) -> str:
    """`x1 -10 -20 -23 (-24 to -20); x2 ...`; what does not change any more is not repeated."""
    figure = _figures([value for one in holds for value in one.typical])
    parts = []
    for one in holds:
        told = ["?" if value is None else figure(value) for value in (one.typical[after - 1] for after in TOLD)]
        last = next(index for index in range(len(told)) if len(set(told[index:])) == 1)
        shown = told if last >= len(told) - 2 else [*told[: last + 1], "and stays"]
        low, high = figure(one.low), figure(one.high)
        parts.append(f"x{one.held} {' '.join(shown)}" + (f" ({low} to {high})" if low != high else ""))
    return "; ".join(parts)


def _figures(values: Iterable[float | None], sign: str = "+") -> Callable[[float], str]:
    """How numbers of one row are written: as many decimals as the largest needs for three figures."""
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    decimals = int(np.clip(2 - math.floor(math.log10(largest)), 0, 6)) if largest > 0 else 0

    def figure(value: float) -> str:
        text = f"{value:{sign}.{decimals}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text in ("+0", "-0", "0") else text

    return figure
