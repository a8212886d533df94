"""How should overridden steps be learnt from? MountainCar-v0 from a policy that never reaches the flag.

The advice is right (push along the velocity), so what is measured is the engine: strength of the override, and the way
the update treats it. Every arm starts from the same policy (50,000 steps of PPO) and gets the same budget:

    python benchmarks/mountain_car_learning.py --seeds 8

Prints the final return by seed (-200: the flag is never reached), the mean, and the paired difference to `continue`
with a 95 % bootstrap interval over seeds. Writes the same as JSON where `--json FILE` says.
"""

from __future__ import annotations

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

ARMS: dict[str, dict[str, Any] | None] = {
    "continue (no advice)": None,
    "R only, +-0.2": {"variant": "r", "beta": 0.2},
    "A, p from 1, ratio under pi (literal)": {"variant": "a", "probability": 1.0, "learn": "policy"},
    "A, p from 0.3, ratio under pi": {"variant": "a", "probability": 0.3, "learn": "policy"},
    "RA, p from 0.3, ratio under pi": {"variant": "ra", "probability": 0.3, "learn": "policy"},
    "RA, p from 0.5, mask": {"variant": "ra", "probability": 0.5, "learn": "mask"},
    "RA, p from 0.5, imitate": {"variant": "ra", "probability": 0.5, "learn": "imitate"},
    "A, p from 0.5, mixture": {"variant": "a", "probability": 0.5, "learn": "mixture"},
    "RA, p from 0.5, mixture": {"variant": "ra", "probability": 0.5, "learn": "mixture"},
    "RA, p from 0.5, mixture, radius fixed": {"variant": "ra", "probability": 0.5, "learn": "mixture", "fixed": True},
    "RA, p from 0.3, mixture": {"variant": "ra", "probability": 0.3, "learn": "mixture"},
}


def one_seed(seed: int, start_steps: int, steps: int, entries: int, hit_rate: float) -> dict[str, float]:
    """Train the starting policy of `seed`, then every arm from it; final returns by arm."""
    from ultra_agents.advice import build_table
    from ultra_agents.config import ModulationConfig
    from ultra_agents.evaluation.returns import evaluate_returns
    from ultra_agents.modulation import ModulationEngine
    from ultra_agents.records import Advice, Plan
    from ultra_agents.registry import create_algorithm, create_environment
    from ultra_agents.rollout.collect import collect
    from ultra_agents.rollout.simulators import make_simulators
    from ultra_agents.seeding import Streams

    streams = Streams(seed)
    environment, algorithm = create_environment("mountain-car"), create_algorithm("ppo")

    def train(policy: Any, total: int, modulation: Any, address: str, fresh: bool) -> Any:
        with make_simulators(environment, 16) as simulators:
            trainer = algorithm.trainer(policy, simulators, total, streams.child(address), modulation, fresh)
            while trainer.steps < total:
                trainer.update()
            return trainer.policy

    def score(policy: Any, episodes: int = 32) -> float:
        seeds = streams.integers(episodes, "evaluate")
        with make_simulators(environment, 16) as simulators:
            return evaluate_returns(policy, environment, simulators, seeds, streams.child("evaluate")).mean

    made = algorithm.create_policy(environment.observation_space, environment.action_space, streams.integer("weights"))
    start = train(made, start_steps, None, "start", True)
    with make_simulators(environment, 8) as simulators:
        episodes = collect(start, environment, simulators, streams.integers(8, "collect"), streams, 200, False)
    rng, expert = streams.generator("entries"), environment.expert()
    advice = []
    for _ in range(entries):
        episode = episodes[int(rng.integers(len(episodes)))]
        step = int(rng.integers(len(episode)))
        action = environment.actions.decode(expert(episode.observations[step][None])[0])
        taken = environment.actions.decode(episode.actions[step])
        taken_reward = 1.0 if taken == action else -1.0
        plan = Plan(((action, 1),))
        advice.append(Advice(episode.episode, step, plan, 1.0, taken, taken_reward, "", "", "", 1.0, "rule"))
    tables = {
        fixed: build_table(advice, episodes, environment, hit_rate=hit_rate, adaptive=not fixed)
        for fixed in (False, True)
    }

    found = {"starting policy": score(start)}
    for arm, options in ARMS.items():
        engine = None
        if options is not None:
            settings = {key: value for key, value in options.items() if key not in ("variant", "fixed")}
            config = ModulationConfig(until=1.0, **settings)
            engine = ModulationEngine(
                tables[bool(options.get("fixed"))],
                environment.features,
                options["variant"],
                config,
                streams.generator("modulation"),
            )
        found[arm] = score(train(start, steps, engine, "refine", False))
        print(f"seed {seed}  {arm:<40} {found[arm]:8.1f}", flush=True)
    return found


def main() -> None:
    """Run every arm on every seed and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--start-steps", type=int, default=50_000)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--entries", type=int, default=60)
    parser.add_argument("--hit-rate", type=float, default=0.65)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    began = time.monotonic()
    work = partial(
        one_seed, start_steps=args.start_steps, steps=args.steps, entries=args.entries, hit_rate=args.hit_rate
    )
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(work, range(1, args.seeds + 1)))
    control = np.array([row["continue (no advice)"] for row in found])
    print(f"\n| arm | {' | '.join(f'seed {s}' for s in range(1, args.seeds + 1))} | mean | minus `continue` [95 %] |")
    print("|---" * (args.seeds + 3) + "|")
    table = []
    for arm in found[0]:
        values = np.array([row[arm] for row in found])
        difference = values - control
        if np.ptp(difference) > 0:
            ends = stats.bootstrap((difference,), np.mean, rng=np.random.default_rng(0), method="percentile")
            interval = f"[{ends.confidence_interval.low:+.0f}, {ends.confidence_interval.high:+.0f}]"
        else:
            interval = ""
        print(
            f"| {arm} | {' | '.join(f'{v:.0f}' for v in values)} | {values.mean():.1f} | "
            f"{difference.mean():+.1f} {interval} |"
        )
        table.append(
            {"arm": arm, "returns": values.tolist(), "difference": float(difference.mean()), "interval": interval}
        )
    print(f"\n{args.seeds} seeds, {args.steps:,} steps after {args.start_steps:,}; {time.monotonic() - began:.0f} s")
    if args.json:
        args.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
