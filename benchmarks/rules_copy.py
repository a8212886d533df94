"""What a network has to see to copy planned rules on Pong: its own inputs, the quantities of the rules, their margins.

    python benchmarks/rules_copy.py --seeds 0 1 2 3

For each seed and each kind of further input (`imitation.widen`) one copy of the shipped `suboptimal` policy learns
what the rules do from `--states` states: half met under the rules, half under rules and policy in turn. On other
states it is seen how often it agrees with the rules where they act, and where they move the paddle (they keep still
in three of four such states, so that an agreement of 0.75 says nothing); then it plays alone, sampled, on seeds that
nothing was learnt on, beside the policy and the policy with the rules in force. Points are told per 1,000 steps.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _intervals import interval

RULES = Path(__file__).parent.parent / "examples" / "rules" / "pong_after_feedback.yaml"
KINDS = ("none", "quantities", "margins")
ENVS, HORIZON = 16, 1500


def met(environment: Any, policy: Any, layer: Any, states: int, first_seed: int, rng: np.random.Generator) -> Any:
    """`(states, ...)` observations: under the rules, then under rules and policy in turn."""
    seen = []
    for half in range(2):
        envs = environment.make(ENVS)
        seeds = list(range(first_seed + half * ENVS, first_seed + (half + 1) * ENVS))
        observations = np.array(envs.reset(seed=seeds)[0])
        for _ in range(states // 2 // ENVS):
            seen.append(observations)
            actions = layer.act(observations, rng)
            if half:
                actions = np.where(rng.random(ENVS) < 0.3, policy.act(observations, rng), actions)
            observations = np.array(envs.step(actions)[0])
        envs.close()
    return np.concatenate(seen)


def demonstrations(policy: Any, layer: Any, observations: Any) -> Any:
    """What the rules do in these states."""
    from ultra_agents.contracts import Demonstrations

    actions, decision = layer.over(observations, policy.act(observations, deterministic=True))
    covered = decision.covered
    weights = np.ones(int(covered.sum()))
    return Demonstrations(observations[covered], actions[covered], weights, observations[~covered])


def score(environment: Any, policy: Any, seed: int) -> tuple[float, float]:
    """Points in 1,000 steps, and the share of games that lose more than 9 of them: circles without an end."""
    envs, rng = environment.make(ENVS), np.random.default_rng(seed)
    observations = np.array(envs.reset(seed=[10_000 + seed * ENVS + one for one in range(ENVS)])[0])
    total = np.zeros(ENVS)
    for _ in range(HORIZON):
        observations, rewards = (np.array(one) for one in envs.step(policy.act(observations, rng))[:2])
        total += rewards
    envs.close()
    points = total * 1000 / HORIZON
    return float(points.mean()), float((points < -9).mean())


def one_seed(rules_file: Path, seed: int, states: int) -> dict[str, tuple[float, ...]]:
    """Agreement where rules act, where they move, points and circles, by what plays."""
    from ultra_agents.contracts import Widening
    from ultra_agents.policies import load_policy
    from ultra_agents.registry import create_algorithm, create_environment
    from ultra_agents.rules import interface_of, load_rules
    from ultra_agents.rules.layer import RulePolicy
    from ultra_agents.rules.margins import Margins
    from ultra_agents.seeding import Streams

    environment, algorithm = create_environment("pong"), create_algorithm("ppo")
    rules = load_rules(rules_file, interface_of(environment))
    policy = load_policy(environment.policies()["suboptimal"], "pong", environment).policy
    layer, rng = RulePolicy(policy, rules, environment), np.random.default_rng(seed)
    shown = met(environment, policy, layer, states, 1000 * seed, rng)
    held_out, judged = (met(environment, policy, layer, 4000, 1000 * seed + 500 + 100 * one, rng) for one in (0, 1))
    lesson, stop, others = (demonstrations(policy, layer, one) for one in (shown, held_out, judged))
    lesson, moves = replace(lesson, held_out=stop), others.actions != 0
    found: dict[str, tuple[float, ...]] = {
        "policy": (np.nan, np.nan, *score(environment, policy, seed)),
        "rules in force": (1.0, 1.0, *score(environment, layer, seed)),
    }
    for kind in KINDS:
        told = Margins(environment, [rules.to_yaml()] if kind == "margins" else [])
        names = (*rules.names, *told.names)
        start = policy
        if kind != "none":
            start = algorithm.widen(policy, Widening.of(told, names, shown, told.texts))
        copy = algorithm.imitate(start, lesson, Streams(seed))
        agrees = copy.act(others.observations, deterministic=True) == others.actions
        found[f"copy, {kind}"] = (float(agrees.mean()), float(agrees[moves].mean()), *score(environment, copy, seed))
    return found


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rules", type=Path, default=RULES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--states", type=int, default=16_000)
    args = parser.parse_args()
    found = [one_seed(args.rules, seed, args.states) for seed in args.seeds]
    print(f"{args.rules.name}, {args.states:,} states, {len(found)} seeds\n")
    print("| what plays | agrees | where they move | points in 1,000 steps | circles |\n|---|---|---|---|---|")
    for name in found[0]:
        columns = np.array([one[name] for one in found])
        agreement = ["-" if np.isnan(column).any() else f"{column.mean():.2f}" for column in columns.T[:2]]
        print(f"| {name} | {' | '.join(agreement)} | {interval(columns[:, 2], '+.1f')} | {columns[:, 3].mean():.0%} |")


if __name__ == "__main__":
    main()
