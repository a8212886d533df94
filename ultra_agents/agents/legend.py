"""The quantities of an environment, as agents are told of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.narration import figure
from ultra_agents.records import FloatArray


def legend_lines(
    environment: Environment, quantities: Iterable[str], values: Sequence[Mapping[str, FloatArray]]
) -> str:
    """One line for each quantity: unit, meaning, sign, what is usual, what was seen.

    Args:
        environment: Its legend.
        quantities: Names, in order.
        values: By episode the quantities of its steps, name -> `(T,)`.
    """
    rows = []
    for name in quantities:
        about = environment.legend[name]
        column = np.concatenate([one[name] for one in values])
        there = column[np.isfinite(column)]
        parts = [about.meaning, f"positive: {about.sign}" if about.sign else ""]
        if np.isfinite([about.low, about.high]).all():
            parts.append(f"usually {figure(about.low)} to {figure(about.high)}")
        if len(there):
            least, low, high, most = (figure(float(value)) for value in np.quantile(there, [0, 0.1, 0.9, 1]))
            parts.append(f"seen {least} to {most}, mostly {low} to {high}")
        if len(there) < len(column):
            parts.append(f"NaN in {100 * (1 - len(there) / max(len(column), 1)):.0f} % of the steps seen")
        rows.append(f"- {name} [{about.unit}]: {'; '.join(part for part in parts if part)}.")
    return "\n".join(rows)
