"""Stage 11: score the starting, the last and the best policy of every method on seeds that no training has seen.

A policy that is several of these is played once, in a run that was interrupted and in the cells of a comparison that
share their starting policy, too: what was played is kept in the run folder, by a fingerprint of the policy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from ultra_agents.contracts import Policy
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.events import Evaluated, StageProgress, StepsSpent
from ultra_agents.policies import load_policy
from ultra_agents.records import MethodResult, Returns
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.runs import RunFolder
from ultra_agents.runs.files import PLAYED
from ultra_agents.seeding import Streams
from ultra_agents.stages.context import RunContext

_KEPT = TypeAdapter(dict[str, Returns])


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
    evaluation = _Evaluation(context, simulators, seeds, streams, 1 + 2 * len(results))

    def made(result: MethodResult) -> MethodResult:
        last, best = (
            evaluation.play(_read(context, result.method, which), result.method, which, step)
            for which, step in (("last", sum(result.env_steps.values())), ("best", result.best_step))
        )
        if not _checkpoint(context, result.method, "with-rules").exists():
            return replace(result, before=before, last=last, best=best)
        step = sum(result.env_steps.values())
        ruled = evaluation.play(_read(context, result.method, "with-rules"), result.method, "with rules", step)
        return replace(result, before=before, last=last, best=best, with_rules=ruled)

    try:
        before = evaluation.play(context.policy, "none", "before", 0)
        return [made(result) for result in results]
    finally:
        simulators.close()


class _Evaluation:
    """Plays policies on one set of seeds, each once."""

    def __init__(
        self, context: RunContext, simulators: Simulators, seeds: Sequence[int], streams: Streams, total: int
    ) -> None:
        self._context, self._simulators, self._seeds, self._streams = context, simulators, seeds, streams
        self._total, self._done = total, 0
        self._played = {
            key: returns for key, returns in _kept(context.folder).items() if returns.seeds == tuple(map(int, seeds))
        }

    def play(self, policy: Policy, method: str, which: str, step: int) -> Returns:
        context, weights = self._context, _fingerprint(policy)
        context.check_stop()
        if weights not in self._played:
            found = evaluate_returns(
                policy, context.environment, self._simulators, self._seeds, self._streams,
                poll=context.check_stop, on_note=partial(context.note, "cut episodes"),
            )  # fmt: skip
            self._played[weights] = found
            # told before it is kept: a run that ends between the two plays and tells it again
            context.emit(StepsSpent("evaluate", sum(found.lengths), weights[:16]))
            context.folder.write_json(PLAYED, _KEPT.dump_python(self._played, mode="json"))
        self._done += 1
        context.emit(Evaluated(method, step, which, self._played[weights].values))
        context.emit(StageProgress("evaluate", self._done, self._total))
        return self._played[weights]


def _kept(folder: RunFolder) -> dict[str, Returns]:
    """What was played before; nothing, where the file is not what was written there."""
    try:
        return _KEPT.validate_json((folder.path / PLAYED).read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}


def _checkpoint(context: RunContext, method: str, which: str) -> Path:
    return context.folder.checkpoints / f"{method}-{which}.safetensors"


def _read(context: RunContext, method: str, which: str) -> Policy:
    path = _checkpoint(context, method, which)
    return load_policy(path, context.config.environment.name, context.environment).policy


def _fingerprint(policy: Policy) -> str:
    """Equal for policies that act alike: of everything they are made of."""
    arrays, description = policy.state()
    found = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()
