"""The tool `data`: a short table of numbers over the collected episodes."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ultra_agents.agents.tools.arguments import DataArguments
from ultra_agents.agents.tools.collected import Collected
from ultra_agents.narration import figure
from ultra_agents.records import Array, FloatArray
from ultra_agents.text import clean

MOST_GROUPS = 8
"""Groups of one value each; of more values groups are ranges of about as many steps."""
RANGES = 5
QUANTILES = (0.1, 0.5, 0.9)


def table(collected: Collected, asked: DataArguments) -> str:
    """The table as text; raises `ToolRefused`."""
    values = collected.query(asked.expression, "expression")
    chosen = collected.where(asked.where)
    groups = _groups(collected, asked.by, chosen)
    unit = collected.unit(asked.expression.strip())
    head = clean(asked.expression, 80) + (f" [{unit}]" if unit else "")
    if asked.where.strip():
        head += f" where {clean(asked.where, 80)}"
    steps, episodes = int(np.count_nonzero(chosen)), len(collected.trajectories)
    lines = [f"{head}: {steps:,} of {len(chosen):,} steps in {episodes} episodes"]
    if not steps:
        return f"{lines[0]}; there is nothing to tell."
    lines.append(f"{'' if not asked.by.strip() else 'group: '}count, mean, 10% / median / 90%, least to greatest")
    lines += [_row(name, values[rows]) for name, rows in groups]
    return "\n".join(lines)


def _row(name: str, values: FloatArray) -> str:
    known = values[np.isfinite(values)]
    begin = f"{name}: " if name else ""
    lacking = f" ({len(values) - len(known):,} without a value)" if len(known) < len(values) else ""
    if not len(known):
        return f"{begin}{len(values):,} steps, none of them with a value"
    quantiles = " / ".join(figure(float(one)) for one in np.quantile(known, QUANTILES))
    ends = f"{figure(float(known.min()))} to {figure(float(known.max()))}"
    return f"{begin}{len(known):,}{lacking}, {figure(float(known.mean()))}, {quantiles}, {ends}"


def _groups(collected: Collected, by: str, chosen: Array) -> Iterator[tuple[str, Array]]:
    """Names of the groups with their rows, `(n,)` bool."""
    by = by.strip()
    if not by:
        yield "", chosen
        return
    names = collected.interface.words
    if by in ("action", "own") and names and "action" not in collected.interface.quantities:
        for index, name in enumerate(names):
            rows = chosen & (collected.own == index)
            if rows.any():
                yield name, rows
        return
    found = collected.query(by, "by")
    known = chosen & np.isfinite(found)
    different = np.unique(found[known])
    if len(different) <= MOST_GROUPS:
        for value in different:
            yield f"{clean(by, 40)} = {figure(float(value))}", known & (found == value)
    else:
        edges = np.unique(np.quantile(found[known], np.linspace(0, 1, RANGES + 1)))
        for index, (low, high) in enumerate(pairwise(edges)):
            last = index == len(edges) - 2
            rows = known & (found >= low) & ((found <= high) if last else (found < high))
            if rows.any():
                yield f"{clean(by, 40)} {figure(float(low))} to {figure(float(high))}", rows
    if (without := chosen & ~np.isfinite(found)).any():
        yield f"{clean(by, 40)} without a value", without
