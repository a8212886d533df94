"""Stages 9 and 10: train on under the engine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ultra_agents.config import variant_of
from ultra_agents.contracts import Advised, Policy, Setting
from ultra_agents.events import StageProgress, StepsSpent, Warned
from ultra_agents.methods import EngineServices, method_of, terms_of
from ultra_agents.records import MethodResult, Returns
from ultra_agents.refinement.refine import refine
from ultra_agents.rollout.restarts import critical_snapshots
from ultra_agents.runs.files import SCORED, WITH_RULES
from ultra_agents.stages import keep
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings
from ultra_agents.stages.played import PlayedOnce
from ultra_agents.stages.start import ruled
from ultra_agents.stages.table import modulation_engine


def refine_method(context: RunContext, method: str, findings: Findings) -> MethodResult:
    """Stages 9 and 10: what the method prepares, then training; the same seeds and budget for every method."""
    config, folder = context.config, context.folder
    chosen = method_of(config, method)
    prepared = chosen.prepare(_setting(context, method, findings))
    if prepared.note:
        context.emit(StageProgress(f"refine {method}", 0, 0, prepared.note))
    spent, checkpoint = dict(prepared.spent), folder.checkpoints / f"{method}-trainer.safetensors"
    if not checkpoint.exists():  # else they were told of before the interruption
        told = {"collect", "effects", "test", "imitate", "table", "rules", "compare starts"}
        for purpose in sorted(spent.keys() - told):
            context.emit(StepsSpent(purpose, spent[purpose], method))
    selection = context.streams.child("selection")
    seeds = selection.integers(config.refine.curve_episodes, "reset")
    simulators = context.simulators(config.refine.num_envs)
    scoring = context.simulators(min(len(seeds), config.refine.num_envs))

    played = PlayedOnce(context, scoring, seeds, selection, SCORED)

    def save(which: str, policy: Policy) -> None:
        context.save_policy(folder.checkpoints / f"{method}-{which}.safetensors", policy, method)

    def scored(policy: Policy, steps: int) -> Sequence[float]:
        return played.play(prepared.as_trained(policy), keep=steps == 0).values  # others meet the start, too

    reserved = config.refine.steps // keep.SHARE if prepared.confirm else 0
    episode = 2 * max(map(len, findings.trajectories), default=config.verification.rules.horizon)
    if prepared.confirm and (warning := keep.unaffordable(config, episode)):
        context.emit(Warned(warning))
    gone = sum(spent.values()) + reserved
    try:
        done = refine(
            method=method,
            start=prepared.start,
            algorithm=context.algorithm,
            simulators=simulators if prepared.restarts is None else prepared.restarts(simulators),
            total_steps=config.refine.steps,
            already_spent=gone if chosen.trains else config.refine.steps,
            streams=context.streams.child("refine"),
            modulation=prepared.modulation,
            score=scored,
            evaluate_every=config.refine.evaluate_every,
            checkpoint=checkpoint,
            save=save,
            emit=context.emit,
            stop=context.stop,
            fresh=prepared.fresh,
        )
    finally:
        simulators.close()
        scoring.close()
    nothing, kept = Returns((), (), ()), None
    metrics = {**prepared.metrics, **done.metrics}
    spent |= {"refine": done.env_steps}
    if prepared.confirm:
        trained = done.best if done.best_step else done.last
        network, kept, spent["confirm"] = keep.better_of(context, method, prepared, trained, reserved, episode)
        save("last", network)
        if prepared.over is not None:
            save(WITH_RULES, prepared.over(network))
    return MethodResult(
        method, nothing, nothing, nothing, done.best_step, spent, done.curve,
        {key: value for key, value in metrics.items() if np.isfinite(value)}, done.seconds, kept=kept,
    )  # fmt: skip


def _setting(context: RunContext, method: str, findings: Findings) -> Setting:
    """What this run gives a method."""
    trajectories, explanations, advice = findings.trajectories, findings.explanations, findings.advice
    table = findings.table
    advised: Advised | None = None
    if variant_of(method) is not None:
        advised = Advised(
            engine=lambda variant: modulation_engine(
                context,
                trajectories,
                advice,
                variant,
                context.streams.generator("modulation"),
                None if table is None or table.verdict == "untested" else table.reaches,
            ),
            spent=_spent(findings),
            refused="" if table is None or table.acts else table.verdict,
            copy=findings.copy,
            copying=findings.imitating + findings.iterating,
            critical=critical_snapshots(trajectories, explanations, advice)
            if context.config.modulation.restart_probability
            else (),
            rules=ruled(context, findings),
        )
    return Setting(
        terms=terms_of(context.config, context.environment, context.algorithm),
        start=context.policy,
        streams=context.streams,
        trajectories=trajectories,
        services=EngineServices(
            context.config,
            context.environment,
            context.policy,
            context.streams,
            context.simulators,
            context.folder.checkpoints,
        ),
        advised=advised,
        on_progress=lambda done, total, what: context.emit(StageProgress(f"refine {method}", done, total, what)),
        check_stop=context.check_stop,
    )


def _spent(findings: Findings) -> dict[str, int]:
    """Environment steps that advice has cost, by purpose."""
    spent = {
        "collect": sum(map(len, findings.trajectories)),
        "test": sum(one.env_steps for one in findings.explanations),
    }
    if findings.effects.env_steps:
        spent["effects"] = findings.effects.env_steps
    if findings.rules is not None:
        spent["rules"] = findings.rules.env_steps
    if findings.table is not None and findings.table.env_steps:
        spent["table"] = findings.table.env_steps
    if findings.start is not None:
        spent |= {"imitate": findings.start.imitating, "compare starts": findings.start.comparing}
    return spent
