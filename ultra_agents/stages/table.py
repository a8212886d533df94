"""The advice table of a run and the engine that acts on it, as refining and the joint test use them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ultra_agents.advice import AdviceTable, build_table
from ultra_agents.modulation import ModulationEngine
from ultra_agents.records import Advice, Trajectory, Variant
from ultra_agents.stages.context import RunContext


def advice_table(
    context: RunContext,
    trajectories: Sequence[Trajectory],
    advice: Sequence[Advice],
    reaches: Sequence[float] | None = None,
) -> AdviceTable:
    """The table that `advice` makes, with this run's matching.

    Args:
        context: The run.
        trajectories: The collected episodes.
        advice: The rows.
        reaches: By row, how far it was tested to hold, below 0 nowhere; nothing may exceed it, nor the calibrated
            radius. Empty: all rows as far as that radius. None sets no limit: nothing was tested.
    """
    config = context.config.advice
    limits = None if reaches is None else np.full(len(advice), np.inf) if not len(reaches) else np.asarray(reaches)
    kept = range(len(advice)) if limits is None else np.flatnonzero(limits >= 0).tolist()
    return build_table(
        [advice[index] for index in kept],
        trajectories,
        context.environment,
        match=config.match,
        hit_rate=config.hit_rate,
        hit_per_entry=config.hit_per_entry,
        adaptive=config.adaptive,
        reach=None if limits is None else limits[kept].tolist(),
    )


def modulation_engine(
    context: RunContext,
    trajectories: Sequence[Trajectory],
    advice: Sequence[Advice],
    variant: Variant,
    rng: np.random.Generator,
    reaches: Sequence[float] | None = None,
) -> ModulationEngine:
    """The engine that acts on `advice`, as this run is configured; `reaches` as `advice_table` has it."""
    return ModulationEngine(
        advice_table(context, trajectories, advice, reaches),
        context.environment.features,
        variant,
        context.modulation,
        rng,
        continuous=bool(context.environment.action_space.shape),
    )
