"""The advice table of a run and the engine that acts on it, as refining and the joint test use them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ultra_agents.advice import AdviceTable, build_table
from ultra_agents.modulation import ModulationEngine
from ultra_agents.records import Advice, Trajectory, Variant
from ultra_agents.stages.context import RunContext


def advice_table(context: RunContext, trajectories: Sequence[Trajectory], advice: Sequence[Advice]) -> AdviceTable:
    """The table that `advice` makes, with this run's matching."""
    config = context.config.advice
    return build_table(
        advice,
        trajectories,
        context.environment,
        match=config.match,
        hit_rate=config.hit_rate,
        hit_per_entry=config.hit_per_entry,
        adaptive=config.adaptive,
    )


def modulation_engine(
    context: RunContext,
    trajectories: Sequence[Trajectory],
    advice: Sequence[Advice],
    variant: Variant,
    rng: np.random.Generator,
) -> ModulationEngine:
    """The engine that acts on `advice`, as this run is configured."""
    return ModulationEngine(
        advice_table(context, trajectories, advice),
        context.environment.features,
        variant,
        context.config.modulation,
        rng,
        continuous=bool(context.environment.action_space.shape),
    )
