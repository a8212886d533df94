"""Stages 9-11: train on under the engine, and score what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ultra_agents.config import follows_actions, variant_of
from ultra_agents.contracts import Modulation, Policy
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.events import Evaluated, StageProgress
from ultra_agents.policies import load_policy
from ultra_agents.records import Advice, Explanation, MethodResult, Returns, Trajectory
from ultra_agents.refinement.refine import refine
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.imitate import Imitation, imitated_policy
from ultra_agents.stages.table import modulation_engine


def refine_method(
    context: RunContext,
    method: str,
    trajectories: Sequence[Trajectory],
    explanations: Sequence[Explanation],
    advice: Sequence[Advice],
    imitation: Imitation | None = None,
) -> MethodResult:
    """Stages 9 and 10: train on under the engine; the same seeds, environments and budget for every method."""
    config, folder = context.config, context.folder
    variant = variant_of(method)
    spent: dict[str, int] = {}
    engine: Modulation | None = None
    start = context.policy
    if variant is not None:
        spent = {"collect": sum(map(len, trajectories)), "test": sum(e.env_steps for e in explanations)}
        engine = modulation_engine(context, trajectories, advice, variant, context.streams.generator("modulation"))
    if imitation is not None and follows_actions(method):
        spent["imitate"] = imitation.env_steps
        start = imitated_policy(context, imitation)
    selection = context.streams.child("selection")
    seeds = selection.integers(config.refine.curve_episodes, "reset")
    simulators = context.simulators(config.refine.num_envs)
    scoring = context.simulators(min(len(seeds), config.refine.num_envs))

    def score(policy: Policy, steps: int) -> Sequence[float]:
        return evaluate_returns(policy, context.environment, scoring, seeds, selection).values

    def save(which: str, policy: Policy) -> None:
        context.save_policy(folder.checkpoints / f"{method}-{which}.safetensors", policy, method)

    try:
        done = refine(
            method=method,
            start=start,
            algorithm=context.algorithm,
            simulators=simulators,
            total_steps=config.refine.steps,
            already_spent=sum(spent.values()),
            streams=context.streams.child("refine"),
            modulation=engine,
            score=score,
            evaluate_every=config.refine.evaluate_every,
            checkpoint=folder.checkpoints / f"{method}-trainer.safetensors",
            save=save,
            emit=context.emit,
            stop=context.stop,
        )
    finally:
        simulators.close()
        scoring.close()
    nothing = Returns((), (), ())
    return MethodResult(
        method, nothing, nothing, nothing, done.best_step, {**spent, "refine": done.env_steps}, done.curve,
        {key: value for key, value in done.metrics.items() if np.isfinite(value)}, done.seconds,
    )  # fmt: skip


def evaluate_methods(context: RunContext, results: Sequence[MethodResult]) -> list[MethodResult]:
    """Stage 11: the starting, last and best policies on the same seeds, which no training has seen."""
    config = context.config
    streams = context.streams.child("evaluate")
    seeds = streams.integers(config.evaluate.episodes, "reset")
    simulators = context.simulators(min(len(seeds), config.refine.num_envs))
    done, total = 0, 1 + 2 * len(results)

    def play(policy: Policy, method: str, purpose: str, step: int) -> Any:
        nonlocal done
        context.check_stop()
        returns = evaluate_returns(policy, context.environment, simulators, seeds, streams)
        done += 1
        context.emit(Evaluated(method, step, purpose, returns.values))
        context.emit(StageProgress("evaluate", done, total))
        return returns

    def read(method: str, which: str) -> Policy:
        path = context.folder.checkpoints / f"{method}-{which}.safetensors"
        return load_policy(path, config.environment.name, context.environment).policy

    try:
        before = play(context.policy, "none", "before", 0)
        return [
            replace(
                result,
                before=before,
                last=play(read(result.method, "last"), result.method, "last", sum(result.env_steps.values())),
                best=play(read(result.method, "best"), result.method, "best", result.best_step),
            )
            for result in results
        ]
    finally:
        simulators.close()
