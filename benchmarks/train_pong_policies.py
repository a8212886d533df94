"""Train the policies that ship with Pong, from scratch, with PPO.

    python benchmarks/train_pong_policies.py --which suboptimal --seed 1
    python benchmarks/train_pong_policies.py --which expert --seed 2 --ppo '{"learning_rate": 0.002, "gamma": 0.995}'

`suboptimal` stops at the first evaluation whose mean return lies in the wanted band: good enough to return balls, far
from winning. `expert` is written every half million steps and ends at two million of a schedule of three. The score in
the file is that of 32 held-out episodes, sampled actions, which decided nothing.
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
SELECTION = 16
SETTINGS: dict[str, dict[str, Any]] = {
    "suboptimal": {"steps": 400_000, "first": 165_000, "every": 15_000, "band": (-8.0, -4.0)},
    "expert": {"steps": 3_000_000, "first": 500_000, "every": 500_000, "stop": 2_000_000, "band": None},
}
PPO_OPTIONS = {"ent_coef": 0.003, "update_epochs": 6}


def main() -> None:
    """Train, evaluate, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--which", choices=sorted(SETTINGS), required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, help="environment steps, instead of the setting's own")
    parser.add_argument("--workers", type=int, default=0, help="processes that step the emulators")
    parser.add_argument("--ppo", type=json.loads, default={}, help="further options of PPO, as JSON")
    parser.add_argument("--output", type=Path, default=FOLDER)
    args = parser.parse_args()
    settings = SETTINGS[args.which]
    steps = args.steps or settings["steps"]
    environment, streams = create_environment("pong"), Streams(args.seed)
    algorithm = create_algorithm("ppo", {**PPO_OPTIONS, **args.ppo})
    path = args.output / f"pong_{args.which}.safetensors"
    envs = make_simulators(environment, 16, args.workers)
    scoring = make_simulators(environment, 16, args.workers)
    policy = algorithm.create_policy(
        environment.observation_space, environment.action_space, streams.integer("weights")
    )
    trainer = algorithm.trainer(policy, envs, steps, streams.child("train"), fresh=True)
    following, began = settings["first"], time.perf_counter()
    while trainer.steps < min(steps, settings.get("stop", steps)):
        metrics = trainer.update()
        if trainer.steps < min(following, steps):
            continue
        following += settings["every"]
        rate = trainer.steps / (time.perf_counter() - began)
        print(f"{trainer.steps:>9,} steps  {rate:5,.0f}/s  training return {metrics['return_mean']:+.1f}", flush=True)
        if settings["band"] is not None:
            low, high = settings["band"]
            selection = streams.child("selection", trainer.steps)
            seeds = selection.integers(SELECTION, "reset")
            mean = evaluate_returns(trainer.policy, environment, scoring, seeds, selection).mean
            print(f"  selection episodes: {mean:+.2f}", flush=True)
            if not low <= mean <= high:
                continue
        command = f"python benchmarks/train_pong_policies.py --which {args.which} --seed {args.seed}"
        command += f" --steps {args.steps}" if args.steps else ""
        command += f" --ppo '{json.dumps(args.ppo)}'" if args.ppo else ""
        known = {"command": command, "ppo": algorithm.options.model_dump(), "seed": args.seed, "steps": trainer.steps}
        keep(path, trainer.policy, environment, scoring, known)
        if settings["band"] is not None:
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
