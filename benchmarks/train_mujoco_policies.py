"""Train the policies that ship with the MuJoCo tasks, from scratch, with PPO.

    python benchmarks/train_mujoco_policies.py --task hopper --which suboptimal --seed 1
    python benchmarks/train_mujoco_policies.py --task hopper --which expert --seed 2
    python benchmarks/train_mujoco_policies.py --task hopper --which expert --sparse

`suboptimal` stops at the first evaluation whose mean return lies in the wanted band: it moves forward, and falls.
`expert` keeps the best of its evaluations. The score in the file is that of 32 held-out episodes, sampled actions,
which decided nothing. `--sparse` trains nothing: it scores the file that is there for the dense reward on the sparse
one and keeps it as the starting policy of that task.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

from _keep import FOLDER, keep

from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.policies import load_policy
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.training import trained_with

SELECTION = 16
SETTINGS: dict[str, dict[str, Any]] = {
    "suboptimal": {"steps": 1_000_000, "first": 100_000, "every": 25_000},
    "expert": {"steps": 2_000_000, "first": 500_000, "every": 100_000},
}
BANDS: dict[str, tuple[float, float]] = {
    "hopper": (800.0, 1500.0),
    "walker2d": (600.0, 1500.0),
    "half-cheetah": (500.0, 1200.0),
    "reacher": (-20.0, -12.0),
}
"""Mean returns at which `suboptimal` is good enough and no better, by task."""
FIRST = {"reacher": 20_000}
"""Steps of the first evaluation of `suboptimal`, and between two, where a task is learnt sooner than the others."""
PPO_OPTIONS: dict[str, Any] = {
    "learning_rate": 3e-4,
    "num_steps": 128,
    "update_epochs": 10,
    "num_minibatches": 32,
    "ent_coef": 0.0,
    "target_kl": None,
    "log_std_floor": -2.5,
}


def main() -> None:
    """Train, evaluate, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="hopper", choices=BANDS, help="name of a MuJoCo environment plugin")
    parser.add_argument("--which", choices=sorted(SETTINGS), required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, help="environment steps, instead of the setting's own")
    parser.add_argument("--ppo", type=json.loads, default={}, help="further options of PPO, as JSON")
    parser.add_argument("--sparse", action="store_true", help="score the dense policy on the sparse reward")
    parser.add_argument("--output", type=Path, default=FOLDER)
    args = parser.parse_args()
    if args.sparse:
        rescore(args.output, args.task, args.which)
        return
    settings = SETTINGS[args.which]
    steps = args.steps or settings["steps"]
    if args.which == "suboptimal" and args.task in FIRST:
        settings = {**settings, "first": FIRST[args.task], "every": FIRST[args.task]}
    environment, streams = create_environment(args.task), Streams(args.seed)
    algorithm = create_algorithm("ppo", {**PPO_OPTIONS, **args.ppo})
    training = trained_with("ppo", algorithm)
    path = args.output / f"{args.task.replace('-', '_')}_{args.which}.safetensors"
    envs, scoring = make_simulators(environment, 16), make_simulators(environment, 16)
    policy = algorithm.create_policy(
        environment.observation_space, environment.action_space, streams.integer("weights")
    )
    trainer = algorithm.trainer(policy, envs, steps, streams.child("train"), fresh=True)
    following, began, best = settings["first"], time.perf_counter(), -math.inf
    command = f"python benchmarks/train_mujoco_policies.py --task {args.task} --which {args.which} --seed {args.seed}"
    command += f" --steps {args.steps}" if args.steps else ""
    command += f" --ppo '{json.dumps(args.ppo)}'" if args.ppo else ""
    while trainer.steps < steps:
        metrics = trainer.update()
        if trainer.steps < min(following, steps):
            continue
        following += settings["every"]
        rate = trainer.steps / (time.perf_counter() - began)
        selection = streams.child("selection", trainer.steps)
        seeds = selection.integers(SELECTION, "reset")
        mean = evaluate_returns(trainer.policy, environment, scoring, seeds, selection).mean
        print(
            f"{trainer.steps:>9,} steps  {rate:5,.0f}/s  training return {metrics['return_mean']:7.1f}  "
            f"selection episodes {mean:7.1f}",
            flush=True,
        )
        known = {"command": command, "ppo": algorithm.options.model_dump(), "seed": args.seed, "steps": trainer.steps}
        if args.which == "suboptimal":
            low, high = BANDS[args.task]
            if low <= mean <= high:
                keep(path, args.task, trainer.policy, environment, scoring, known, training)
                break
        elif mean > best:
            best = mean
            keep(path, args.task, trainer.policy, environment, scoring, known, training)
    envs.close()
    scoring.close()


def rescore(folder: Path, task: str, which: str) -> None:
    """Keep the dense reward's policy for the sparse one, with its score there."""
    dense, sparse = create_environment(task), create_environment(task, {"reward": "sparse"})
    name = task.replace("-", "_")
    loaded = load_policy(folder / f"{name}_{which}.safetensors", task, dense)
    known = dict(loaded.metadata["provenance"])
    known["command"] = f"python benchmarks/train_mujoco_policies.py --task {task} --which {which} --sparse"
    scoring = make_simulators(sparse, 16)
    path = folder / f"{name}_sparse_{which}.safetensors"
    keep(path, task, loaded.policy, sparse, scoring, known, loaded.metadata.get("training"))
    scoring.close()


if __name__ == "__main__":
    main()
