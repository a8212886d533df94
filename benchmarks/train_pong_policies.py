"""Train the policies that ship with Pong, from scratch, with PPO.

    python benchmarks/train_pong_policies.py --which suboptimal --seed 1
    python benchmarks/train_pong_policies.py --which expert --seed 1

`suboptimal` stops at the first evaluation whose mean return lies in the wanted band: good enough to return balls, far
from winning. `expert` runs its budget and keeps the best evaluated policy. What decides is the mean of selection
episodes; the score stored in the file is that of 32 other, held-out episodes, sampled actions.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ultra_agents.contracts import Environment, Policy
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.policies import save_policy
from ultra_agents.records import Returns
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.seeding import Streams

FOLDER = Path(__file__).parents[1] / "plugins" / "environments" / "policies"
EPISODES = 32
SETTINGS: dict[str, dict[str, Any]] = {
    "suboptimal": {
        "steps": 600_000,
        "evaluate_every": 12_000,
        "selection": 32,
        "band": (-7.0, -5.0),
        "ppo": {"ent_coef": 0.003, "update_epochs": 6},
    },
    "expert": {
        "steps": 3_000_000,
        "evaluate_every": 150_000,
        "selection": 32,
        "band": (math.inf, math.inf),
        "ppo": {"ent_coef": 0.003, "update_epochs": 6},
    },
}


def main() -> None:
    """Train, evaluate, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--which", choices=sorted(SETTINGS), required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, help="environment steps, instead of the setting's own")
    parser.add_argument("--workers", type=int, default=2, help="processes that step the emulators")
    parser.add_argument("--ppo", type=json.loads, default={}, help="further options of PPO, as JSON")
    parser.add_argument("--output", type=Path, default=FOLDER)
    args = parser.parse_args()
    settings = SETTINGS[args.which]
    steps = args.steps or settings["steps"]
    low, high = settings["band"]
    environment, streams = create_environment("pong"), Streams(args.seed)
    options = {**settings["ppo"], **args.ppo}
    algorithm = create_algorithm("ppo", options)
    seeds = streams.child("selection").integers(settings["selection"], "reset")
    path = args.output / f"pong_{args.which}.safetensors"
    envs = make_simulators(environment, 16, args.workers)
    scoring = make_simulators(environment, 16, args.workers)
    policy = algorithm.create_policy(
        environment.observation_space, environment.action_space, streams.integer("weights")
    )
    trainer = algorithm.trainer(policy, envs, steps, streams.child("train"), fresh=True)
    best, next_evaluation, began = -math.inf, settings["evaluate_every"], time.perf_counter()
    window: list[float] = []
    while trainer.steps < steps:
        metrics = trainer.update()
        window = ([*window, metrics["return_mean"]] if metrics["episodes"] else window)[-5:]
        if trainer.steps < min(next_evaluation, steps):
            continue
        next_evaluation += settings["evaluate_every"]
        if args.which == "suboptimal" and (not window or np.mean(window) < low - 4):
            continue  # far too weak: no need to evaluate
        selected = evaluate_returns(trainer.policy, environment, scoring, seeds, streams.child("selection")).mean
        rate = trainer.steps / (time.perf_counter() - began)
        print(f"{trainer.steps:>9,} steps  {rate:6,.0f}/s  return {selected:+.2f}  training {window[-1:]}", flush=True)
        inside = low <= selected <= high
        if inside or (args.which == "expert" and selected > best):
            best = selected
            command = f"python benchmarks/train_pong_policies.py --which {args.which} --seed {args.seed}"
            command += f" --steps {args.steps}" if args.steps else ""
            command += f" --ppo '{json.dumps(args.ppo)}'" if args.ppo else ""
            provenance = {
                "command": command,
                "ppo": algorithm.options.model_dump(),
                "seed": args.seed,
                "steps": trainer.steps,
            }
            keep(path, trainer.policy, environment, scoring, provenance)
        if inside:
            break
    envs.close()
    scoring.close()


def keep(
    path: Path, policy: Policy, environment: Environment, scoring: Simulators, provenance: dict[str, Any]
) -> None:
    """Score on held-out episodes and write the file."""
    held_out = Streams(10_000 + provenance["seed"]).child("held-out")
    returns = evaluate_returns(policy, environment, scoring, held_out.integers(EPISODES, "reset"), held_out)
    score = {**summary(returns), "episodes": EPISODES, "seed": held_out.seed}
    save_policy(
        path,
        policy,
        algorithm="ppo",
        environment_name="pong",
        environment=environment,
        provenance=provenance,
        score=score,
    )
    print(f"  kept {path.name}: {score}", flush=True)


def summary(returns: Returns) -> dict[str, float]:
    """Mean and its standard error."""
    values: Sequence[float] = returns.values
    return {
        "mean": round(float(np.mean(values)), 3),
        "stderr": round(float(np.std(values, ddof=1) / math.sqrt(len(values))), 3),
    }


if __name__ == "__main__":
    main()
