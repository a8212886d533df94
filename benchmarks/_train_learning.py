"""The parts of `train.py` that are about what is learnt: areas under learning curves, and the first updates."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console
from rich.table import Table

BUDGETS = {"pong": 100_000, "gymnasium:CartPole-v1": 50_000, "hopper": 100_000, "half-cheetah": 100_000}
LAST, GRID = 20, 50


class Recorder(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Notes the return of every training episode and when it ended; else the environments it is given."""

    def __init__(self, envs: Any) -> None:
        self.envs, self.num_envs, self.metadata = envs, envs.num_envs, envs.metadata
        self.single_observation_space, self.observation_space = envs.single_observation_space, envs.observation_space
        self.single_action_space, self.action_space = envs.single_action_space, envs.action_space
        self._running, self.steps = np.zeros(envs.num_envs), 0
        self.episodes: list[tuple[int, float]] = []

    def reset(self, **kwargs: Any) -> Any:
        """Start anew."""
        self._running[:] = 0.0
        return self.envs.reset(**kwargs)

    def step_async(self, actions: Any) -> None:
        """Keep the actions."""
        self._actions = actions

    def step_wait(self) -> Any:
        """Step."""
        return self.step(self._actions)

    def step(self, actions: Any) -> Any:
        """Step and note."""
        result = self.envs.step(actions)
        self._running += result[1]
        self.steps += self.num_envs
        for index in np.flatnonzero(result[2] | result[3]).tolist():
            self.episodes.append((self.steps, float(self._running[index])))
            self._running[index] = 0.0
        return result


def area(episodes: list[tuple[int, float]], budget: int) -> float:
    """Mean over the budget of the mean return of the last 20 episodes; before the first one its return counts."""
    curve, recent, upcoming = [], deque(episodes[:1], maxlen=LAST), list(reversed(episodes[1:]))
    for point in np.linspace(budget / GRID, budget, GRID):
        while upcoming and upcoming[-1][0] <= point:
            recent.append(upcoming.pop())
        curve.append(float(np.mean([value for _, value in recent])))
    return float(np.mean(curve))


def train_once(name: str, task: str, seed: int) -> float:
    """Area under one learning curve, normalised."""
    import torch
    from _train_contenders import VECTOR, baseline_model, ours, simulators

    from ultra_agents.registry import create_environment

    torch.set_num_threads(1)
    sims, budget = simulators(task, 0), BUDGETS[task]
    envs: Any = Recorder(sims)
    if name == "ours":
        train = ours(task, envs, seed, total=budget, anneal_lr=True, target_kl=0.03)
        while envs.steps < budget:
            train()
    else:
        decay = {"learning_rate": lambda left: VECTOR.learning_rate * left, "target_kl": 0.03}
        baseline_model(task, envs, seed, "sb3", normalize=True, **decay).learn(budget)
    reference = create_environment(task).reference_returns
    return (area(envs.episodes, budget) - reference.random) / (reference.reference - reference.random)


def compare(console: Console, tasks: list[str], seeds: int, jobs: int) -> None:
    """Ours against SB3, every seed in a process of its own."""
    here = os.path.dirname(os.path.abspath(__file__))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

    def run(job: tuple[str, str, int]) -> float:
        command = [sys.executable, os.path.join(here, "_train_learning.py"), *map(str, job)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=here)
        return float(json.loads(done.stdout.splitlines()[-1]))

    work = [(name, task, seed) for task in tasks for seed in range(seeds) for name in ("ours", "sb3")]
    with ThreadPoolExecutor(jobs) as pool:
        areas = dict(zip(work, pool.map(run, work), strict=True))
    table = Table("task", "ours", "SB3", "difference, 95 % interval", title=f"area under the curve, {seeds} seeds")
    rng, differences = np.random.default_rng(0), []
    for task in tasks:
        mine, theirs = (np.array([areas[name, task, seed] for seed in range(seeds)]) for name in ("ours", "sb3"))
        drawn = [_resampled(rng, mine) - _resampled(rng, theirs) for _ in range(5000)]
        differences.append(drawn)
        table.add_row(
            f"{task}, {BUDGETS[task]:,} steps", _spread(mine), _spread(theirs), _interval(mine, theirs, drawn)
        )
    every = np.mean(differences, axis=0)
    low, high = np.quantile(every, [0.025, 0.975])
    table.add_row("mean of the tasks", "", "", f"{every.mean():+.3f} ({low:+.3f} to {high:+.3f})")
    console.print(table)


def _resampled(rng: np.random.Generator, values: Any) -> float:
    return float(rng.choice(values, len(values)).mean())


def _spread(values: Any) -> str:
    return f"{values.mean():.3f} (s.d. {values.std(ddof=1) if len(values) > 1 else math.nan:.3f})"


def _interval(mine: Any, theirs: Any, drawn: list[float]) -> str:
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{mine.mean() - theirs.mean():+.3f} ({low:+.3f} to {high:+.3f})"


def first_updates(console: Console, seeds: int, updates: int = 10, episodes: int = 32) -> None:
    """Score of the shipped Hopper policy after each update of refining it, on the same episodes, sampled actions."""
    from ultra_agents.evaluation.returns import evaluate_returns
    from ultra_agents.policies import load_policy
    from ultra_agents.registry import create_algorithm, create_environment
    from ultra_agents.rollout.simulators import make_simulators
    from ultra_agents.seeding import Streams

    environment = create_environment("hopper")
    start = load_policy(environment.policies()["suboptimal"], "hopper", environment).policy
    starts = [Streams(99).integer("start", number) for number in range(episodes)]
    table = Table("update", title=f"Hopper, refined; {seeds} seeds, {episodes} episodes each: change of score, s.e.")
    columns: list[list[str]] = []
    for warmup in (2, None):
        table.add_column(f"{'the default' if warmup is None else warmup} warm-up updates")
        changes = []
        for seed in range(seeds):
            with make_simulators(environment, 16) as sims, make_simulators(environment, 16) as scoring:
                trainer = create_algorithm("ppo", {"value_warmup_updates": warmup}).trainer(
                    start, sims, 100_000, Streams(seed)
                )
                scores = []
                for _ in range(updates + 1):
                    found = evaluate_returns(trainer.policy, environment, scoring, starts, Streams(99))
                    scores.append(float(np.mean(found.values)))
                    trainer.update()
                changes.append(np.array(scores) - scores[0])
        rows = np.array(changes)
        error = rows.std(axis=0, ddof=1) / math.sqrt(seeds) if seeds > 1 else np.full(updates + 1, math.nan)
        columns.append([f"{mean:+7.1f} ({e:.1f})" for mean, e in zip(rows.mean(axis=0), error, strict=True)])
        console.print(f"score of the policy as shipped: {scores[0]:.1f}")
    for number, cells in enumerate(zip(*columns, strict=True)):
        table.add_row(str(number), *cells)
    console.print(table)


if __name__ == "__main__":
    print(json.dumps(train_once(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
