"""Stage 11: score the starting, the last and the best policy of every method on seeds that no training has seen.

A policy that is several of these is played once, in a run that was interrupted and in the cells of a comparison that
share their starting policy, too: what was played is kept in the run folder, by a fingerprint of the policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ultra_agents.contracts import Policy
from ultra_agents.events import Evaluated, StageProgress, StepsSpent
from ultra_agents.policies import load_policy
from ultra_agents.records import MethodResult, Returns
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.runs.files import PLAYED, WITH_RULES
from ultra_agents.seeding import Streams
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.played import PlayedOnce


def evaluate_methods(context: RunContext, results: Sequence[MethodResult]) -> list[MethodResult]:
    """The starting, last and best policies of all methods, on the same seeds.

    Args:
        context: The run.
        results: What refining made, its returns not known yet.

    Returns:
        The same with `before`, `last` and `best`.
    """
    config = context.config
    streams = context.streams.child("evaluate")
    seeds = streams.integers(config.evaluate.episodes, "reset")
    simulators = context.simulators(min(len(seeds), config.refine.num_envs))
    ruled = [result.method for result in results if _checkpoint(context, result.method, WITH_RULES).exists()]
    evaluation = _Evaluation(context, simulators, seeds, streams, 1 + 2 * len(results) + len(ruled))

    def made(result: MethodResult) -> MethodResult:
        last, best = (
            evaluation.play(_read(context, result.method, which), result.method, which, step)
            for which, step in (("last", sum(result.env_steps.values())), ("best", result.best_step))
        )
        if result.method not in ruled:
            return replace(result, before=before, last=last, best=best)
        step = sum(result.env_steps.values())
        acting = evaluation.play(_read(context, result.method, WITH_RULES), result.method, "with rules", step)
        return replace(result, before=before, last=last, best=best, with_rules=acting)

    try:
        before = evaluation.play(context.policy, "none", "before", 0)
        return [made(result) for result in results]
    finally:
        simulators.close()


class _Evaluation:
    """Plays policies on one set of seeds, each once, and tells of it."""

    def __init__(
        self, context: RunContext, simulators: Simulators, seeds: Sequence[int], streams: Streams, total: int
    ) -> None:
        self._context, self._total, self._done = context, total, 0
        # told before it is kept: a run that ends between the two plays and tells it again
        self._played = PlayedOnce(context, simulators, seeds, streams, PLAYED, self._spent)

    def play(self, policy: Policy, method: str, which: str, step: int) -> Returns:
        context, found = self._context, self._played.play(policy)
        self._done += 1
        context.emit(Evaluated(method, step, which, found.values))
        context.emit(StageProgress("evaluate", self._done, self._total))
        return found

    def _spent(self, returns: Returns, weights: str) -> None:
        self._context.emit(StepsSpent("evaluate", sum(returns.lengths), weights[:16]))


def _checkpoint(context: RunContext, method: str, which: str) -> Path:
    return context.folder.checkpoints / f"{method}-{which}.safetensors"


def _read(context: RunContext, method: str, which: str) -> Policy:
    path = _checkpoint(context, method, which)
    return load_policy(path, context.config.environment.name, context.environment).policy
