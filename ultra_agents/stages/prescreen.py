"""Before the explaining: which steps' actions matter, asked once per segment and kept in the run folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ultra_agents.narration.prescreen import Evidence, by_simulator, by_value, with_evidence
from ultra_agents.records import Narration, Trajectory
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.restore_check import restores

FILE = "prescreen.json"
PARALLEL = 16
"""Rollouts played at once."""


def prescreens(context: RunContext) -> bool:
    """Whether anybody is told where to look; controls do not read narrations."""
    return context.config.narration.prescreen != "none" and context.config.proposer == "llm"


def prescreened(
    context: RunContext, told: Sequence[tuple[Trajectory, Narration]]
) -> list[tuple[Trajectory, Narration]]:
    """The narrations with their evidence; what is known already is read back, so that no step is taken twice."""
    known, missing = evidence_of(context), []
    for trajectory, narration in told:
        if narration.segment.name not in known:
            missing.append((trajectory, narration))
    if missing:
        known |= _look(context, missing)
        rows = {name: {"lines": list(one.lines), "env_steps": one.env_steps} for name, one in known.items()}
        context.folder.write_json(FILE, rows)
    return [(trajectory, with_evidence(narration, known[narration.segment.name])) for trajectory, narration in told]


def evidence_of(context: RunContext) -> dict[str, Evidence]:
    """What the run folder holds, by name of the segment."""
    path = context.folder.path / FILE
    if not prescreens(context) or not path.is_file():
        return {}
    rows: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return {name: Evidence(tuple(row["lines"]), int(row["env_steps"])) for name, row in rows.items()}


def _look(context: RunContext, told: Sequence[tuple[Trajectory, Narration]]) -> dict[str, Evidence]:
    config, environment = context.config, context.environment
    kind = config.narration.prescreen
    if kind == "simulator" and not restores(context, "pre-screening goes by value estimates"):
        kind = "value"
    if kind == "value":
        return {narration.segment.name: by_value(t, narration, config.narration) for t, narration in told}
    found: dict[str, Evidence] = {}
    simulators: Simulators
    with context.simulators(PARALLEL, workers=0) as simulators:
        for trajectory, narration in told:
            context.check_stop()
            found[narration.segment.name] = by_simulator(
                trajectory,
                narration,
                config.narration,
                environment=environment,
                policy=context.policy,
                simulators=simulators,
                streams=context.streams.child("prescreen"),
                hold=config.agents.max_hold,
                discount=config.verification.discount,
            )
    return found
