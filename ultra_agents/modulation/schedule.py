"""How the strength of advice falls over training, so that the final policy stands alone."""

from __future__ import annotations

import math

from ultra_agents.config import ModulationConfig


def strength(config: ModulationConfig, progress: float) -> float:
    """Chance p of following the table at a match.

    Args:
        config: `probability` at the start, `schedule`, and `until`, the share of the budget after which p is 0.
        progress: Share of the budget spent, in [0, 1].
    """
    if config.schedule == "constant":
        return config.probability
    done = min(progress / config.until, 1.0)
    left = 1.0 - done if config.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
    return config.probability * left
