"""A mean with its interval, as the tables of several benchmarks print it."""

from __future__ import annotations

from collections.abc import Sequence

from ultra_agents.evaluation.statistics import t_interval


def interval(values: Sequence[float], spec: str) -> str:
    """Mean and 95 % interval (Student's t) of `values`, each by the format `spec`; a single value has none."""
    found = t_interval(values)
    if found.low is None or found.high is None:
        return f"{found.value:{spec}}"
    return f"{found.value:{spec}} [{found.low:{spec}}, {found.high:{spec}}]"
