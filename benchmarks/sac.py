"""Native SAC beside Stable-Baselines3's, at SB3's default hyperparameters: Pendulum-v1, one thread.

    python benchmarks/sac.py speed      gradient steps and environment steps per second, in turns
    python benchmarks/sac.py learning   mean return of the training episodes (area under the curve), by seed

Speed is of processor time (and of wall time beside it), so that other work on the machine disturbs it less.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import gymnasium
import numpy as np
import torch
from ultra_agents_plugins.algorithms.sac import SAC, SACOptions

from ultra_agents.registry import create_environment
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.seeding import Streams

CHUNK = 100


class Native:
    """This project's."""

    def __init__(self, seed: int, total: int) -> None:
        environment = create_environment("gymnasium:Pendulum-v1", {})
        algorithm = SAC(SACOptions(num_steps=CHUNK))
        policy = algorithm.create_policy(environment.observation_space, environment.action_space, seed)
        envs = make_simulators(environment, 1)
        self.trainer = algorithm.trainer(policy, envs, total, Streams(seed), fresh=True)
        self.returns: list[float] = []

    def advance(self) -> None:
        """CHUNK environment steps."""
        metrics = self.trainer.update()
        if metrics["episodes"]:
            self.returns += [metrics["return_mean"]] * int(metrics["episodes"])


class Theirs:
    """Stable-Baselines3's."""

    def __init__(self, seed: int, total: int) -> None:
        from stable_baselines3 import SAC as TheirSAC
        from stable_baselines3.common.monitor import Monitor

        self._env: Any = Monitor(gymnasium.make("Pendulum-v1"))
        self.model = TheirSAC("MlpPolicy", self._env, seed=seed, device="cpu")
        self._first = True

    def advance(self) -> None:
        """CHUNK environment steps."""
        self.model.learn(CHUNK, reset_num_timesteps=self._first)
        self._first = False

    @property
    def returns(self) -> list[float]:
        """Of the training episodes."""
        return [float(value) for value in self._env.get_episode_rewards()]


def speed(rounds: int) -> None:
    """Print steps per second of both, round by round."""
    sides: dict[str, Any] = {"native": Native(0, 10**6), "sb3": Theirs(0, 10**6)}
    for side in sides.values():
        side.advance()
        side.advance()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            busy, wall = time.process_time(), time.perf_counter()
            side.advance()
            found[name].append((CHUNK / (time.process_time() - busy), CHUNK / (time.perf_counter() - wall)))
    for name, rows in found.items():
        cpu, wall = np.median(rows, axis=0)
        print(f"{name:>7}: {cpu:6.1f} steps per processor second, {wall:6.1f} per second (median of {rounds})")
    ratios = [ours[0] / theirs[0] for ours, theirs in zip(found["native"], found["sb3"], strict=True)]
    low, middle, high = np.quantile(ratios, [0.1, 0.5, 0.9])
    print(f"  ratio: {middle:.2f} (10 % to 90 % of the rounds: {low:.2f} to {high:.2f})")


def learning(seeds: int, steps: int) -> None:
    """Print the mean training return of both, seed by seed."""
    means: dict[str, list[float]] = {"native": [], "sb3": []}
    for seed in range(seeds):
        for name, make in (("native", Native), ("sb3", Theirs)):
            side: Any = make(seed, steps)
            for _ in range(steps // CHUNK):
                side.advance()
            means[name].append(float(np.mean(side.returns)))
            last = float(np.mean(side.returns[-5:]))
            print(f"seed {seed} {name:>7}: AUC {means[name][-1]:8.1f}, last five episodes {last:8.1f}", flush=True)
    for name, values in means.items():
        print(
            f"{name:>7}: AUC {np.mean(values):8.1f}, standard error {np.std(values, ddof=1) / len(values) ** 0.5:.1f}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "learning"))
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what == "speed":
        speed(arguments.rounds)
    else:
        learning(arguments.seeds, arguments.steps)
