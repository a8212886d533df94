"""What the modulation engine costs: time of `act` + `reward` against stepping 16 Pong environments, side by side.

    python benchmarks/modulation.py

Prints, for tables of 100 to 1,000,000 entries, the engine's time per vector step as a share of the environments' own.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from ultra_agents.advice import AdviceTable
from ultra_agents.config import ModulationConfig
from ultra_agents.modulation import ModulationEngine
from ultra_agents.registry import create_environment
from ultra_agents.rollout.simulators import make_simulators


def main() -> None:
    """Step, then modulate the very same observations, and compare."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=400)
    args = parser.parse_args()
    environment, rng = create_environment("pong"), np.random.default_rng(0)
    simulators = make_simulators(environment, args.num_envs)
    simulators.reset(seed=list(range(args.num_envs)))
    seen = []
    began = time.perf_counter()
    for _ in range(args.steps):
        observations, rewards, terminated, truncated, _ = simulators.step(rng.integers(0, 3, args.num_envs))
        seen.append((np.array(observations), np.array(rewards), np.array(terminated | truncated)))
    stepping = (time.perf_counter() - began) / args.steps
    simulators.close()
    print(f"{args.num_envs} Pong environments: {stepping * 1e6:,.0f} us per vector step\n")
    print("| entries | hit rate | engine, us per vector step | share of stepping |")
    print("|---|---|---|---|")
    visited = environment.features(np.concatenate([row[0] for row in seen])).astype(np.float64)
    scale = np.where(visited.std(0) > 1e-8, visited.std(0), 1.0)
    for entries in (100, 1_000, 10_000, 100_000, 1_000_000):
        rows = visited[rng.integers(len(visited), size=entries)] / scale
        rows = rows + rng.normal(0, 0.05, rows.shape)
        table = AdviceTable(
            features=rows,
            scale=scale,
            plans=rng.integers(0, 3, (entries, 8)),
            holds=rng.integers(1, 9, entries),
            rewards=rng.uniform(-1, 1, entries),
            taken_actions=rng.integers(0, 3, entries),
            taken_rewards=rng.uniform(-1, 1, entries),
            weights=np.ones(entries),
            radius=0.1,
            match="nearest",
        )
        config = ModulationConfig(probability=0.3, schedule="constant")
        engine = ModulationEngine(table, environment.features, "ra", config, np.random.default_rng(0))
        engine.begin(args.num_envs)
        proposed = rng.integers(0, 3, (args.steps, args.num_envs))
        began = time.perf_counter()
        for actions, (observations, rewards, ended) in zip(proposed, seen, strict=True):
            modulated = engine.act(observations, actions)
            engine.behaviour_log_prob(np.full(args.num_envs, -1.1), modulated)
            engine.reward(rewards, modulated, observations, ended)
        spent = (time.perf_counter() - began) / args.steps
        print(f"| {entries:,} | {engine.metrics()['hit_rate']:.2f} | {spent * 1e6:,.0f} | {spent / stepping:.1%} |")


if __name__ == "__main__":
    main()
