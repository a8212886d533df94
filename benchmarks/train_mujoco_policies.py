r"""Train the policies that ship with the MuJoCo tasks, with PPO.

    python benchmarks/train_mujoco_policies.py --task hopper --which suboptimal --seed 1
    python benchmarks/train_mujoco_policies.py --task walker2d --which expert --seed 1
    python benchmarks/train_mujoco_policies.py --task hopper --which beginning --seed 2 --output .
    python benchmarks/train_mujoco_policies.py --task hopper --which expert --seed 3 \
        --start hopper_beginning.safetensors
    python benchmarks/train_mujoco_policies.py --task hopper --which expert --sparse

`suboptimal` stops at the first evaluation whose mean return lies in the wanted band: it moves forward, and falls.
`beginning` trains plainly and keeps the best of its evaluations. `expert` is to be strong where the sub-optimal policy
is, too: half of its training episodes begin in states that policy led to, and in half of the worlds its actions are
carried out with that policy's spread, which a clone of it acts with. Kept is the best of its evaluations (`Judge`).

The score in the file is that of 32 held-out episodes, sampled actions, which decided nothing; `experts.py` measures
the rest. `--sparse` trains nothing: it scores the file that is there for the dense reward on the sparse one and keeps
it as the policy of that task.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

from _keep import FOLDER, keep
from _weak_states import AsCloned, SpreadWorlds, returns_from, states_of, weak_episodes, weak_policy

from ultra_agents.contracts import Algorithm, Environment, Policy
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.policies import load_policy
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.restarts import Restarts
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.training import trained_with

SELECTION = 16
SETTINGS: dict[str, dict[str, Any]] = {
    "suboptimal": {"steps": 1_000_000, "first": 100_000, "every": 25_000},
    "beginning": {"steps": 2_000_000, "first": 500_000, "every": 100_000},
    "expert": {"first": 150_000, "every": 150_000, "restarts": 0.5, "spread": 8},
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
EXPERTS: dict[str, dict[str, Any]] = {
    "hopper": {"steps": 1_200_000, "stop": 900_000, "ppo": {"target_kl": 0.05}},
    "walker2d": {"steps": 1_500_000, "ppo": {"target_kl": 0.05, "num_minibatches": 16}},
    "half-cheetah": {
        "steps": 4_000_000,
        "stop": 1_500_000,
        "spread": 0,
        "ppo": {"target_kl": 0.05, "gamma": 0.98, "gae_lambda": 0.92},
    },
    "reacher": {"steps": 500_000, "first": 60_000, "every": 60_000, "ppo": {"gamma": 0.95, "num_minibatches": 16}},
}
"""Steps, and options of PPO unlike the others', of `expert`, by task."""
WEAK_EPISODES, WEAK_STATES = 64, 4_000
"""Episodes of the sub-optimal policy, and how many of their states training episodes of `expert` begin in."""
PLAYED = 300
"""Steps played from such a state to judge an expert."""
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
    parser.add_argument("--start", type=Path, help="policy file to train on from, instead of from scratch")
    parser.add_argument("--sparse", action="store_true", help="score the dense policy on the sparse reward")
    parser.add_argument("--output", type=Path, default=FOLDER)
    args = parser.parse_args()
    if args.sparse:
        rescore(args.output, args.task, args.which)
        return
    settings: dict[str, Any] = {"restarts": 0.0, "spread": 0, "ppo": {}, **SETTINGS[args.which]}
    if args.which == "expert":
        settings |= EXPERTS[args.task]
    elif args.which == "suboptimal" and args.task in FIRST:
        settings |= {"first": FIRST[args.task], "every": FIRST[args.task]}
    options, steps = {**PPO_OPTIONS, **settings["ppo"], **args.ppo}, args.steps or settings["steps"]
    environment, streams = create_environment(args.task), Streams(args.seed)
    algorithm = create_algorithm("ppo", options)
    training = trained_with("ppo", algorithm)
    path = args.output / f"{args.task.replace('-', '_')}_{args.which}.safetensors"
    policy, earlier = begun(args, algorithm, environment, streams)
    envs, scoring = make_simulators(environment, 16), make_simulators(environment, 16)
    training_envs: Any = envs
    judge = Judge(environment, scoring, None, [])
    if settings["restarts"]:
        weak, child, other = (
            weak_policy(environment, args.task),
            streams.child("weak"),
            streams.child("weak", "judged"),
        )
        starts = states_of(weak_episodes(weak, environment, scoring, child, WEAK_EPISODES), WEAK_STATES, child)
        judged = states_of(weak_episodes(weak, environment, scoring, other, SELECTION), 2 * SELECTION, other)
        judge = Judge(environment, scoring, weak if settings["spread"] else None, judged)
        restarts = Restarts(envs, lambda: starts, settings["restarts"], streams.child("restarts"))
        training_envs = SpreadWorlds(restarts, weak, settings["spread"], streams.generator("spread"))
    trainer = algorithm.trainer(policy, training_envs, steps, streams.child("train"), fresh=not earlier)
    following, began, best = settings["first"], time.perf_counter(), -math.inf
    command = f"python benchmarks/train_mujoco_policies.py --task {args.task} --which {args.which} --seed {args.seed}"
    command += f" --steps {args.steps}" if args.steps else ""
    command += f" --ppo '{json.dumps(args.ppo)}'" if args.ppo else ""
    command += f" --start {args.start.name}" if args.start else ""
    while trainer.steps < min(steps, settings.get("stop", steps)):
        metrics = trainer.update()
        if trainer.steps < min(following, steps):
            continue
        following += settings["every"]
        rate = trainer.steps / (time.perf_counter() - began)
        mean, score, words = judge(trainer.policy, streams.child("selection", trainer.steps))
        trained = f"{trainer.steps:>9,} steps  {rate:5,.0f}/s  training return {metrics['return_mean']:7.1f}"
        print(f"{trained}  {words}", flush=True)
        known = {
            "command": command, "ppo": algorithm.options.model_dump(), "seed": args.seed, "steps": trainer.steps,
            **{name: settings[name] for name in ("restarts", "spread") if settings[name]}, **earlier,
        }  # fmt: skip
        if args.which == "suboptimal":
            low, high = BANDS[args.task]
            if low <= mean <= high:
                keep(path, args.task, trainer.policy, environment, scoring, known, training)
                break
        elif score > best:
            best = score
            keep(path, args.task, trainer.policy, environment, scoring, known, training)
    envs.close()
    scoring.close()


def begun(
    args: argparse.Namespace, algorithm: Algorithm, environment: Environment, streams: Streams
) -> tuple[Policy, dict[str, Any]]:
    """Where the training begins, and how that was made: nothing of a fresh policy."""
    if args.start is None:
        spaces = environment.observation_space, environment.action_space
        return algorithm.create_policy(*spaces, streams.integer("weights")), {}
    loaded = load_policy(args.start, args.task, environment)
    return loaded.policy, {"began with": dict(loaded.metadata["provenance"])}


class Judge:
    """What decides which evaluation is kept: the reward per step that could be played, added up over what is played.

    Args:
        environment: The plugin.
        scoring: Simulators of it.
        weak: The policy whose clones are considered, too; None for none.
        states: Simulator states to play on from; none where only episodes from reset count.
    """

    def __init__(
        self, environment: Environment, scoring: Simulators, weak: Policy | None, states: list[bytes]
    ) -> None:
        self._environment, self._scoring, self._weak, self._states = environment, scoring, weak, states

    def __call__(self, policy: Policy, selection: Streams) -> tuple[float, float, str]:
        """Mean return of episodes from reset, the score that decides, and both in words."""
        seeds, limit = selection.integers(SELECTION, "reset"), self._environment.options.max_steps
        mean = evaluate_returns(policy, self._environment, self._scoring, seeds, selection).mean
        score, words = mean / limit, f"selection episodes {mean:7.1f}"
        if self._weak is not None:
            cloned: Any = AsCloned(policy, self._weak)
            noisy = evaluate_returns(cloned, self._environment, self._scoring, seeds, selection).mean
            score, words = score + noisy / limit, f"{words}, as a clone {noisy:7.1f}"
        if self._states:
            far = min(PLAYED, limit)
            there = returns_from(policy, self._environment, self._scoring, self._states, selection, far).mean()
            score, words = score + float(there) / far, f"{words}, from weak states {there:7.1f}"
        return mean, score, words


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
