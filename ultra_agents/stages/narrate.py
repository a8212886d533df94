"""Stage 2: can states be restored, which segments are worth telling, and where in them to look."""

from __future__ import annotations

from collections.abc import Sequence

from ultra_agents.contracts import capabilities
from ultra_agents.events import Warned
from ultra_agents.narration import choose_segments, narrate
from ultra_agents.narration.prescreen import Evidence, by_simulator, by_value, reserve, with_evidence
from ultra_agents.plugin_calls import plugin_name
from ultra_agents.records import Narration, Trajectory
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings, Restoring
from ultra_agents.verification import restore_is_exact

TRIED = 8
"""Steps for which a pre-screening holds an action where `agents.max_hold` goes by the model."""
PARALLEL = 16
"""Rollouts of a pre-screening played at once."""


def probe_restoring(context: RunContext) -> Restoring:
    """Whether states of the collected episodes can be restored exactly, asked before anything is built on it."""
    name = f"the environment {plugin_name(context.environment)}"
    if "snapshot" not in capabilities(context.environment):
        return Restoring(False, f"{name} cannot restore states")
    dataset = (context.folder.stage_done("collect") or {}).get("dataset")
    if dataset is not None:
        return Restoring(False, f"the episodes of the dataset {dataset} have no simulator states")
    found = restore_is_exact(context.environment, context.policy, context.streams.child("probe"))
    why = "" if found.ok else f"{name} does not restore states exactly ({found.differed})"
    return Restoring(found.ok, why, found.env_steps)


def restores(context: RunContext, findings: Findings, otherwise: str) -> bool:
    """Whether states can be restored; if not, a warning says what is done instead (`otherwise`)."""
    if not findings.restoring.exact:
        context.emit(Warned(f"{findings.restoring.why}: {otherwise}"))
    return findings.restoring.exact


def narrate_episodes(context: RunContext, findings: Findings) -> list[Narration]:
    """The segments worth telling, told; with where to look, if that is asked for and anybody reads it."""
    config = context.narration
    looks = config.prescreen != "none" and context.config.proposer == "llm"
    if looks:
        config = reserve(config)
    returns = [trajectory.episode_return for trajectory in findings.trajectories]
    told: list[tuple[Trajectory, Narration]] = []
    for trajectory in findings.trajectories:
        rng = context.telling(findings.trajectories).generator("segments", trajectory.episode)
        for segment in choose_segments(trajectory, context.environment, config, rng):
            told.append((trajectory, narrate(trajectory, segment, context.environment, config, returns)))
    if not looks:
        return [narration for _, narration in told]
    evidence = _prescreened(context, findings, told)
    return [with_evidence(narration, one) for (_, narration), one in zip(told, evidence, strict=True)]


def _prescreened(
    context: RunContext, findings: Findings, told: Sequence[tuple[Trajectory, Narration]]
) -> list[Evidence]:
    config, environment = context.config, context.environment
    by = config.narration.prescreen
    if by == "simulator" and not restores(context, findings, "pre-screening goes by value estimates"):
        by = "value"
    if by == "value":
        return [by_value(trajectory, narration, context.narration) for trajectory, narration in told]
    found: list[Evidence] = []
    with context.simulators(PARALLEL, workers=0) as simulators:
        for trajectory, narration in told:
            context.check_stop()
            found.append(
                by_simulator(
                    trajectory,
                    narration,
                    context.narration,
                    environment=environment,
                    policy=context.policy,
                    simulators=simulators,
                    streams=context.telling(findings.trajectories).child("prescreen"),
                    hold=config.agents.max_hold or TRIED,
                    discount=config.verification.discount,
                )
            )
    return found
