"""What a set of rules decides over two of its quantities, the others held as in one collected state.

The two are those on which the decision depends most: where their values are exchanged among the collected states it
changes most often. Nothing is played.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ultra_agents.records import Array
from ultra_agents.rules.layer import BoundRules
from ultra_agents.rules.ruleset import Decision

CELLS = 101
"""Places along each side of the map."""
POINTS = 240
"""Collected states shown, at most."""
LOOKED_AT = 4000
"""Collected states that the choice of the two quantities looks at, at most."""
FEW = 8
"""A quantity of so many values, at most, makes a poor axis: one of more values that matters is preferred."""
TIE = 0.1
"""What it counts that another rule acts, beside what is done."""
LEVELS = 5
"""Steps that the range of a continuous action is shown in."""
ABSENT = "."
"""The character of a place where no rule acts."""

Quantities = Mapping[str, Array]


def decision_map(
    bound: BoundRules, quantities: Quantities, taken: Array, steps: Sequence[tuple[int, int]], decision: Decision
) -> dict[str, Any] | None:
    """The map in JSON types; None where fewer than two quantities vary, or no rule acts anywhere on it.

    Args:
        bound: The rules.
        quantities: Of the `n` collected states.
        taken: What the policy did there, `(n, ...)`.
        steps: Episode and step of each.
        decision: What the rules do there.

    Returns:
        `x` and `y` (`name`, `unit`, `low`, `high`), `rows` of characters from the lowest `y` up, `legend` by
        character, `of` (what the legend names: `action`, or a component of it), `at` (episode and step of the state
        that holds the other quantities), `others` (their values), and `points` of collected states.
    """
    names = _two(bound, quantities, taken, decision)
    if names is None:
        return None
    x, y = (_axis(bound, quantities, name) for name in names)
    acting = np.flatnonzero(decision.covered)
    at = central(quantities, bound.rules.names, acting if len(acting) else np.arange(len(taken)))
    across, up = np.meshgrid(np.linspace(x["low"], x["high"], CELLS), np.linspace(y["low"], y["high"], CELLS))
    columns = {name: np.full(across.size, column[at], np.float64) for name, column in quantities.items()}
    columns |= {x["name"]: across.ravel(), y["name"]: up.ravel()}
    own = np.repeat(bound.indices(taken[at : at + 1]), across.size, axis=0)
    found = bound.rules.decide(columns, own)
    if not found.covered.any():
        return None
    of, codes, legend = _coded(bound, found)
    used = [name for name in bound.rules.names if name not in names]
    shown = np.unique(np.linspace(0, len(taken) - 1, min(len(taken), POINTS)).astype(int))
    shown = shown[np.isfinite(quantities[x["name"]][shown]) & np.isfinite(quantities[y["name"]][shown])]
    return {
        "x": x,
        "y": y,
        "of": of,
        "legend": legend,
        "rows": ["".join(row) for row in codes.reshape(CELLS, CELLS)],
        "at": list(steps[at]),
        "others": {name: _rounded(quantities[name][at]) for name in used if np.isfinite(quantities[name][at])},
        "points": [[_rounded(value) for value in quantities[name][shown]] for name in names],
    }


def central(quantities: Quantities, names: Sequence[str], among: Array) -> int:
    """The state among those at the indices `among` whose quantities are the most usual of them, by rank."""
    distance = np.zeros(len(among))
    for name in names:
        column = np.asarray(quantities[name], np.float64)[among]
        known = np.isfinite(column)
        order = np.argsort(np.argsort(np.where(known, column, 0.0), kind="stable"), kind="stable")
        distance += np.where(known, np.abs(order - (len(among) - 1) / 2), len(among))
    return int(among[np.argmin(distance)])


def _two(bound: BoundRules, quantities: Quantities, taken: Array, decision: Decision) -> tuple[str, str] | None:
    """The two quantities that matter most, the more important one first; None where fewer than two vary."""
    some = np.unique(np.linspace(0, len(taken) - 1, min(len(taken), LOOKED_AT)).astype(int))
    seen = {name: np.asarray(column, np.float64)[some] for name, column in quantities.items()}
    own, rng = bound.indices(taken[some]), np.random.default_rng(0)
    before, order = bound.rules.decide(seen, own), rng.permutation(len(some))
    weight = {}
    for name in bound.rules.names:
        after = bound.rules.decide({**seen, name: seen[name][order]}, own)
        apart = np.abs(np.nan_to_num(after.actions - before.actions))
        moved = apart if bound.rules.interface.continuous else apart > 0
        weight[name] = float(moved.mean() + TIE * (before.rule != after.rule).mean())
    varying = [name for name in bound.environment.legend if _span(seen[name]) > 0]
    if len(varying) < 2 or not any(weight.get(name, 0.0) > 0 for name in varying):
        return None

    def rank(name: str) -> tuple[bool, bool, float, int]:
        matters = weight.get(name, 0.0) > 0
        return not matters, len(np.unique(seen[name])) <= FEW, -weight.get(name, -1.0), varying.index(name)

    ranked = sorted(varying, key=rank)
    return ranked[0], ranked[1]


def _span(column: Array) -> float:
    known = column[np.isfinite(column)]
    return float(np.ptp(known)) if len(known) else 0.0


def _axis(bound: BoundRules, quantities: Quantities, name: str) -> dict[str, Any]:
    """From the least to the greatest value that is usual or was seen."""
    column, told = np.asarray(quantities[name], np.float64), bound.environment.legend[name]
    ends = [value for value in (*column[np.isfinite(column)], told.low, told.high) if np.isfinite(value)]
    return {"name": name, "unit": told.unit, "low": _rounded(min(ends)), "high": _rounded(max(ends))}


def _coded(bound: BoundRules, found: Decision) -> tuple[str, Array, dict[str, str]]:
    """What the legend names, one character for each place, and the legend."""
    codes = np.full(len(found.covered), ABSENT)
    interface = bound.rules.interface
    if not interface.continuous:
        values, names, of = found.actions, list(interface.actions), "action"
    else:
        acting = found.actions[found.covered]
        component = int(np.argmax(np.ptp(acting, axis=0)))
        of, column = interface.components[component], found.actions[:, component]
        low, high = float(acting[:, component].min()), float(acting[:, component].max())
        count = LEVELS if high > low else 1
        edges = np.linspace(low, high, count + 1)
        values = np.clip(np.searchsorted(edges, column, side="right") - 1, 0, count - 1)
        names = [f"{a:.3g} to {b:.3g}" for a, b in pairwise(edges)] if count > 1 else [f"{low:.3g}"]
    used = sorted(set(values[found.covered].tolist()))[: len(string.ascii_lowercase)]
    signs = dict(zip(used, string.ascii_lowercase, strict=False))
    for value, sign in signs.items():
        codes[found.covered & (values == value)] = sign
    return of, codes, {sign: names[value] for value, sign in signs.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
