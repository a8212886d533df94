"""Train the policies that ship with Pong, with PPO.

    python benchmarks/train_pong_policies.py --which suboptimal
    python benchmarks/train_pong_policies.py --which expert

`suboptimal` is trained from scratch and stops at the first evaluation whose mean return lies in the wanted band: good
enough to return balls, far from winning.

`expert` has two phases. The first is two million steps from scratch, of a schedule of three. What it makes (+17.8) is
strong along its own path only: asked what to do where the sub-optimal policy has led the game, it gave advice that did
not help. So it trains on for two million steps while the sub-optimal policy takes over now and then
(`Takeover`), and learns what to do with the games that leaves it.

The score in the file is that of 32 held-out episodes, sampled actions, which decided nothing.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _keep import FOLDER, keep

from ultra_agents.contracts import Environment, Learn, Modulated, Policy
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.policies import load_policy
from ultra_agents.records import Array, FloatArray
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams
from ultra_agents.training import trained_with

SELECTION = 16
PPO: dict[str, dict[str, Any]] = {
    "suboptimal": {"ent_coef": 0.003, "update_epochs": 6},
    "expert": {"ent_coef": 0.003, "update_epochs": 6, "learning_rate": 0.002, "gamma": 0.995},
    "among takeovers": {"ent_coef": 0.003, "learning_rate": 0.001, "value_warmup_updates": 4},
}
SETTINGS: dict[str, dict[str, Any]] = {
    "suboptimal": {"seed": 1, "steps": 400_000, "first": 165_000, "every": 15_000, "band": (-8.0, -4.0)},
    "expert": {"seed": 2, "steps": 3_000_000, "first": 500_000, "every": 500_000, "band": None, "stop": 2_000_000},
}
SECOND = {"seed": 5, "steps": 2_000_000, "num_envs": 32}
TAKEOVERS = {"rate": 1 / 150, "mean_length": 60.0}


class Takeover:
    """Implements `ultra_agents.contracts.Modulation`: another policy plays now and then, and nothing is learnt there.

    Args:
        policy: Who takes over; its actions are sampled.
        rate: Chance per game and step that it does.
        mean_length: Of a takeover, geometrically distributed, in steps. It does not end with the game.
    """

    learn: Learn = "mask"

    def __init__(self, policy: Policy, rate: float, mean_length: float) -> None:
        self._policy, self._rate, self._mean_length = policy, rate, mean_length
        self._rng = np.random.default_rng(0)
        self._left = np.zeros(0, dtype=int)

    def begin(self, num_envs: int) -> None:
        """Nobody has taken over."""
        self._left = np.zeros(num_envs, dtype=int)

    def set_progress(self, progress: float) -> None:
        """The same throughout."""

    def act(self, observations: Array, actions: Array) -> Modulated:
        """Observations `(n, ...)` and the learner's actions `(n, ...)` -> what is executed."""
        begins = (self._left == 0) & (self._rng.random(len(actions)) < self._rate)
        self._left[begins] = self._rng.geometric(1 / self._mean_length, begins.sum())
        taken = self._left > 0
        self._left[taken] -= 1
        executed = np.array(actions)
        if taken.any():
            uniforms = self._rng.random((int(taken.sum()), 1)).clip(1e-9, 1 - 1e-9)
            executed[taken] = self._policy.act_with_uniforms(observations[taken], uniforms)
        return Modulated(executed, taken, taken, taken.astype(float), executed, taken.astype(float))

    def behaviour_log_prob(self, policy_log_prob: FloatArray, modulated: Modulated) -> FloatArray:
        """As given: the steps taken over are masked."""
        return policy_log_prob

    def reward(self, rewards: FloatArray, modulated: Modulated, next_observations: Array, ended: Array) -> FloatArray:
        """The environment's own."""
        return rewards

    def metrics(self) -> dict[str, float]:
        """None."""
        return {}

    def state(self) -> dict[str, Any]:
        """What goes on, and the generator's state."""
        return {"left": self._left.tolist(), "rng": self._rng.bit_generator.state}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        self._left = np.array(state["left"], dtype=int)
        self._rng.bit_generator.state = state["rng"]


def main() -> int:
    """Train, evaluate, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--which", choices=sorted(SETTINGS), required=True)
    parser.add_argument("--seed", type=int, help="of the training from scratch, instead of the setting's own")
    parser.add_argument("--steps", type=int, help="environment steps of each phase, instead of the setting's own")
    parser.add_argument("--workers", type=int, default=0, help="processes that step the emulators")
    parser.add_argument("--ppo", type=json.loads, default={}, help="options of the training from scratch, as JSON")
    parser.add_argument("--output", type=Path, default=FOLDER)
    args = parser.parse_args()
    settings = SETTINGS[args.which]
    seed = settings["seed"] if args.seed is None else args.seed
    environment, ppo = create_environment("pong"), {**PPO[args.which], **args.ppo}
    policy, taken = from_scratch(environment, settings, ppo, seed, args.steps or settings["steps"], args.workers)
    if policy is None:
        print(f"no evaluation lay in {settings['band']}; nothing is kept", file=sys.stderr)
        return 1
    phases: list[dict[str, Any]] = [{"seed": seed, "steps": taken, "ppo": ppo}]
    if args.which == "expert":
        policy, taken = among_takeovers(environment, policy, args.steps or SECOND["steps"], args.workers)
        phases.append({**SECOND, "steps": taken, "ppo": PPO["among takeovers"], "takeovers": TAKEOVERS})
    command = f"python benchmarks/train_pong_policies.py --which {args.which}"
    command += f" --seed {args.seed}" if args.seed is not None else ""
    command += f" --steps {args.steps}" if args.steps else ""
    command += f" --ppo '{json.dumps(args.ppo)}'" if args.ppo else ""
    training = trained_with("ppo", create_algorithm("ppo", phases[-1]["ppo"]))
    total = sum(phase["steps"] for phase in phases)
    known = {"command": command, "seed": phases[-1]["seed"], "steps": total, "phases": phases}
    with make_simulators(environment, 16, args.workers) as scoring:
        keep(args.output / f"pong_{args.which}.safetensors", "pong", policy, environment, scoring, known, training)
    return 0


def from_scratch(
    environment: Environment, settings: dict[str, Any], ppo: dict[str, Any], seed: int, steps: int, workers: int
) -> tuple[Policy | None, int]:
    """A policy whose selection episodes lie in the band, or the last where there is none; and the steps it took."""
    streams, algorithm, band = Streams(seed), create_algorithm("ppo", ppo), settings["band"]
    policy = algorithm.create_policy(
        environment.observation_space, environment.action_space, streams.integer("weights")
    )
    following, began = settings["first"], time.perf_counter()
    with make_simulators(environment, 16, workers) as envs, make_simulators(environment, 16, workers) as scoring:
        trainer = algorithm.trainer(policy, envs, steps, streams.child("train"), fresh=True)
        while trainer.steps < min(steps, settings.get("stop", steps)):
            metrics = trainer.update()
            if trainer.steps < min(following, steps):
                continue
            following += settings["every"]
            tell(trainer.steps, began, metrics)
            if band is not None:
                selection = streams.child("selection", trainer.steps)
                seeds = selection.integers(SELECTION, "reset")
                mean = evaluate_returns(trainer.policy, environment, scoring, seeds, selection).mean
                print(f"  selection episodes: {mean:+.2f}", flush=True)
                if band[0] <= mean <= band[1]:
                    return trainer.policy, trainer.steps
    return (trainer.policy if band is None else None), trainer.steps


def among_takeovers(environment: Environment, policy: Policy, steps: int, workers: int) -> tuple[Policy, int]:
    """The policy trained on while the sub-optimal one takes over now and then; and the steps it took."""
    weak = load_policy(environment.policies()["suboptimal"], "pong", environment).policy
    takeover = Takeover(weak, **TAKEOVERS)
    algorithm = create_algorithm("ppo", PPO["among takeovers"])
    following, began = 250_000, time.perf_counter()
    with make_simulators(environment, SECOND["num_envs"], workers) as envs:
        trainer = algorithm.trainer(policy, envs, steps, Streams(SECOND["seed"]), takeover)
        while trainer.steps < steps:
            metrics = trainer.update()
            if trainer.steps >= min(following, steps):
                following += 250_000
                tell(trainer.steps, began, metrics)
    return trainer.policy, trainer.steps


def tell(steps: int, began: float, metrics: dict[str, float]) -> None:
    """One line of progress."""
    rate = steps / (time.perf_counter() - began)
    print(f"{steps:>9,} steps  {rate:5,.0f}/s  training return {metrics['return_mean']:+.1f}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
