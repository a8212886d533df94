"""Stage 10: drive an algorithm on modulated rollouts within a budget; the last and the best policy are kept apart.

The budget counts environment steps, those already spent on testing and collecting advice included, so that methods are
compared at equal cost. Scoring episodes are unmodulated, on seeds of their own, and charged to nobody. At every
scoring the whole state is written to one file; a run that was stopped goes on from it and ends with the same weights.
When it is stopped in between the state is written, too, unless the trainer's is exact at scorings only.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ultra_agents.contracts import Algorithm, Modulation, Policy, Trainer
from ultra_agents.errors import ConfigError, Interrupted, PolicyError, RunError
from ultra_agents.events import Emit, Evaluated, TrainingProgress
from ultra_agents.policies import read_safetensors, write_safetensors
from ultra_agents.records import Array, CurvePoint
from ultra_agents.seeding import Streams
from ultra_agents.text import parsed_json

CHECKPOINT_VERSION = 1
_KEY = "ultra_agents_trainer"
AVERAGED = ("modulation/hit_rate", "modulation/override_rate")
"""Metrics of one update that say little alone; their mean over all updates is kept as `<name>_mean`."""

Score = Callable[[Policy, int], Sequence[float]]
Save = Callable[[str, Policy], None]


@dataclass(frozen=True, eq=False)
class Refined:
    """What refining made of a policy.

    Attributes:
        last: The policy when the budget was spent.
        best: The one with the highest mean score, the starting policy included; the earliest of equals.
        best_step: Environment steps of refinement at which `best` was taken.
        curve: Mean score over environment steps of refinement, from the starting policy to `last`.
        metrics: The last known finite value of each training metric.
        env_steps: Environment steps of refinement, `already_spent` not included.
        seconds: Wall time of training updates, interruptions not included.
    """

    last: Policy
    best: Policy
    best_step: int
    curve: tuple[CurvePoint, ...]
    metrics: dict[str, float]
    env_steps: int
    seconds: float


def refine(
    *,
    method: str,
    start: Policy,
    algorithm: Algorithm,
    simulators: gymnasium.vector.VectorEnv,
    total_steps: int,
    already_spent: int,
    streams: Streams,
    modulation: Modulation | None,
    score: Score,
    evaluate_every: int,
    checkpoint: Path,
    save: Save,
    emit: Emit,
    stop: Callable[[], bool],
    fresh: bool = False,
) -> Refined:
    """Train `start` on until the budget is spent, or take up a checkpoint and do so.

    Args:
        method: Name of the method, for events.
        start: Where to start; left alone.
        algorithm: What trains it.
        simulators: Parallel environments, used and reset by the trainer alone.
        total_steps: Budget in environment steps.
        already_spent: Environment steps of the budget that are gone (testing, collecting).
        streams: Randomness of training.
        modulation: The engine that overrides and rewards; None trains plainly.
        score: Policy and environment steps of refinement -> unmodulated returns on selection seeds.
        evaluate_every: Environment steps between two scorings.
        checkpoint: File of the resumable state; read if it is there.
        save: Called with (`last` or `best`, policy) whenever one of them is new.
        emit: Where events go.
        stop: True as soon as the user wants to stop; asked between updates.
        fresh: `start` was just created, nothing learnt needs protecting.

    Raises:
        ConfigError: There is no budget.
        Interrupted: `stop` said so; the checkpoint is written.
        RunError: The checkpoint is not one, or belongs to another budget or method.
    """
    if total_steps < 1:
        raise ConfigError(
            f"refining by {method} has no budget",
            found=f"{total_steps} environment steps",
            expected="at least 1",
            hint="set refine.steps to the environment steps each method may take, 100000 for instance",
        )
    budget = max(total_steps - already_spent, 0)
    trainer = algorithm.trainer(start, simulators, max(budget, 1), streams, modulation, fresh)
    progress = _Progress(method, algorithm, simulators, budget, evaluate_every, trainer, start, score, save, emit)
    if checkpoint.exists():
        progress.load(checkpoint)
    else:
        progress.score_now()
        progress.write(checkpoint)
    while trainer.steps < budget:
        if stop():
            if not trainer.exact_at_checkpoints_only:
                progress.write(checkpoint)
            again = "" if progress.written == trainer.steps else f"; it goes on from step {progress.written:,}"
            raise Interrupted(
                f"refining by {method} was stopped after {trainer.steps:,} of {budget:,} environment steps{again}",
                found=f"everything so far is kept in {checkpoint}",
                hint="run the same command again, or `ultra resume`, to go on from there",
            )
        began = time.perf_counter()
        progress.note(trainer.update())
        progress.seconds += time.perf_counter() - began
        emit(TrainingProgress(method, min(trainer.steps, budget), budget, dict(progress.metrics)))
        if trainer.steps >= progress.next_score or trainer.steps >= budget:
            progress.score_now()
            progress.write(checkpoint)
    save("last", trainer.policy)
    return Refined(
        last=progress.copy(trainer.policy),
        best=progress.best,
        best_step=progress.best_step,
        curve=tuple(progress.curve),
        metrics=progress.metrics,
        env_steps=trainer.steps,
        seconds=progress.seconds,
    )


class _Progress:
    """What refining knows beside the trainer, and its way to and from a file."""

    def __init__(
        self,
        method: str,
        algorithm: Algorithm,
        simulators: gymnasium.vector.VectorEnv,
        budget: int,
        evaluate_every: int,
        trainer: Trainer,
        start: Policy,
        score: Score,
        save: Save,
        emit: Emit,
    ) -> None:
        self.method, self.algorithm, self.simulators, self.budget = method, algorithm, simulators, budget
        self.evaluate_every, self.trainer = evaluate_every, trainer
        self.score, self.save, self.emit = score, save, emit
        self.best, self.best_step, self.best_score = start, 0, -math.inf
        self.curve: list[CurvePoint] = []
        self.metrics: dict[str, float] = {}
        self.next_score = 0
        self.updates = self.written = 0
        self.seconds = 0.0

    def note(self, metrics: dict[str, float]) -> None:
        """Keep the last finite value of each metric, and the mean so far of the modulation's shares of states."""
        self.updates += 1
        self.metrics |= {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        for name in AVERAGED:
            if name in metrics:
                before = self.metrics.get(f"{name}_mean", 0.0)
                self.metrics[f"{name}_mean"] = before + (float(metrics[name]) - before) / self.updates

    def score_now(self) -> None:
        """Score the policy as it is now; keep it if it is the best."""
        steps, policy = self.trainer.steps, self.trainer.policy
        returns = tuple(float(value) for value in self.score(policy, steps))
        mean = float(np.mean(returns))
        self.curve.append(CurvePoint(steps, mean))
        self.emit(Evaluated(self.method, steps, "curve", returns))
        if mean > self.best_score:
            self.best, self.best_step, self.best_score = self.copy(policy), steps, mean
            self.save("best", self.best)
        self.next_score = (steps // self.evaluate_every + 1) * self.evaluate_every

    def copy(self, policy: Policy) -> Policy:
        """An independent policy that acts alike."""
        arrays, description = policy.state()
        return self._rebuild({name: np.array(array) for name, array in arrays.items()}, description)

    def _rebuild(self, arrays: dict[str, Array], description: dict[str, Any]) -> Policy:
        spaces = self.simulators.single_observation_space, self.simulators.single_action_space
        policy = self.algorithm.load_policy(arrays, description, *spaces)
        widening = self.trainer.policy.widening
        if widening is not None and widening.environment is not None:
            policy.bind(widening.environment)
        return policy

    def write(self, path: Path) -> None:
        """Write everything needed to go on."""
        arrays, trainer = self.trainer.state()
        best, best_description = self.best.state()
        named = {f"trainer/{name}": array for name, array in arrays.items()}
        named |= {f"best/{name}": array for name, array in best.items()}
        rest = {
            "version": CHECKPOINT_VERSION,
            "method": self.method,
            "budget": self.budget,
            "trainer": trainer,
            "best": {"description": best_description, "step": self.best_step, "score": self.best_score},
            "curve": [[point.steps, point.value] for point in self.curve],
            "metrics": self.metrics,
            "next_score": self.next_score,
            "updates": self.updates,
            "seconds": self.seconds,
        }
        try:
            write_safetensors(path, named, {_KEY: json.dumps(rest)})
        except PolicyError as error:
            raise RunError(error.problem, found=error.found, hint=error.hint) from error
        self.written = self.trainer.steps

    def load(self, path: Path) -> None:
        """Inverse of `write`."""
        again = f"delete {path} to refine by {self.method} from the start"
        try:
            header, arrays = read_safetensors(path)
            rest = dict(parsed_json(header[_KEY]))
        except (PolicyError, KeyError, ValueError, TypeError) as error:
            raise RunError(f"{path} is not a training checkpoint", found=error, hint=again) from error
        wanted = {"version": CHECKPOINT_VERSION, "method": self.method, "budget": self.budget}
        if any(rest.get(name) != value for name, value in wanted.items()):
            raise RunError(
                f"the training checkpoint {path} belongs to another run",
                found=", ".join(f"{name} {rest.get(name)}" for name in wanted),
                expected=", ".join(f"{name} {value}" for name, value in wanted.items()),
                hint=again,
            )
        try:
            self.trainer.load_state(_below("trainer/", arrays), rest["trainer"])
            kept = rest["best"]
            self.best = self._rebuild(_below("best/", arrays), kept["description"])
            self.best_step, self.best_score = kept["step"], kept["score"]
            self.curve = [CurvePoint(int(steps), float(value)) for steps, value in rest["curve"]]
            self.metrics, self.next_score, self.seconds = rest["metrics"], rest["next_score"], rest["seconds"]
            self.updates, self.written = rest["updates"], self.trainer.steps
        except (PolicyError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"the training checkpoint {path} does not fit the algorithm as it is set up now",
                found=error,
                hint=f"set its options back, or {again}",
            ) from error


def _below(prefix: str, arrays: dict[str, Array]) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
