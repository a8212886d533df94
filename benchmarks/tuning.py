"""What does it cost to tune a residual rule, and what does it bring? Gain on fresh episodes, and charged steps.

    python benchmarks/tuning.py --task hopper --seeds 5

    written     the file as it is, confirmed only: constants that measured feedback found, charged nowhere
    tune        the same with `verification.rules.tune: true`
    zeroed      its structure with every gain where it does nothing, tuned: what a structure without numbers is worth
    constants   24 draws of its constants (`proposer: constants`), raced and tuned
    random      24 random structures (`proposer: random`), raced and tuned

Every cell is a file under `--out`: a finished one is read back, so the command can be stopped and started again.
Prints a Markdown table: the paired gain over the policy alone in fresh episodes that chose nothing (uncharged, the
same for all arms of a seed), mean over seeds with a 95 % interval (Student's t), and the environment steps charged, by
purpose.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _intervals import interval

from ultra_agents.config import RuleTestConfig
from ultra_agents.contracts import Environment, Policy
from ultra_agents.policies import load_policy
from ultra_agents.records import Trajectory
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.rules import RuleSet, interface_of, load_rules, parse_rules
from ultra_agents.rules.drawing import quantiles_of, random_constants, random_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.seeding import Streams
from ultra_agents.verification import RuleTester
from ultra_agents.verification.paired import Budget, Entrant, Episodes, Horizon

RULES = Path(__file__).parent.parent / "examples" / "rules"


@dataclass(frozen=True)
class Task:
    """An environment with a set of rules, the constants with which it corrects nothing, and settings of the test."""

    environment: str
    rules: str
    nothing: dict[str, float]
    settings: dict[str, Any]


TASKS = {
    "hopper": Task("hopper", "hopper_residual", dict.fromkeys(("lean_gain", "lean_v_gain", "push"), 0.0), {}),
    "walker2d": Task("walker2d", "walker2d_residual", dict.fromkeys(("kp", "kd", "push", "leg"), 0.0), {}),
    "half-cheetah": Task(
        "half-cheetah",
        "half_cheetah_residual",
        {"s": 1.0, "sa": 1.0, **dict.fromkeys(("mix", "f0", "f1", "f2", "k1", "k2", "h", "dive"), 0.0)},
        {"horizon": 300},
    ),
}
"""Walker2d's ankles are led in the air also with its gains at 0."""
ARMS = ("written", "tune", "zeroed", "constants", "random")
DRAWN, COLLECTED, FRESH, WIDTH = 24, 4, 64, 16
"""Sets drawn; episodes collected for windows; paired episodes of the gain on fresh seeds, so many side by side."""
PURPOSES = ("windows", "race", "tune", "settle", "leave out", "confirm")


def proposals(task: Task, arm: str, seed: int, environment: Environment, seen: Sequence[Trajectory]) -> list[RuleSet]:
    """What is handed to the test."""
    interface, rng = interface_of(environment), np.random.default_rng(seed)
    written = load_rules(RULES / f"{task.rules}.yaml", interface)
    if arm == "zeroed":
        return [written.with_constants(task.nothing)]
    if arm == "constants":
        return [random_constants(written, rng) for _ in range(DRAWN)]
    if arm == "random":
        quantiles = quantiles_of(environment.quantities(np.concatenate([one.observations for one in seen])))
        return [random_rules(interface, quantiles, rng, tunable=True) for _ in range(DRAWN)]
    return [written]


def cell(task: Task, arm: str, seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    """One tested arm."""
    environment = create_environment(task.environment, {})
    policy = load_policy(environment.policies()["suboptimal"], task.environment, environment).policy
    streams = Streams(seed).child("tuning")
    with make_simulators(environment, COLLECTED) as simulators:
        seeds = streams.integers(COLLECTED, "collect")
        seen = collect(policy, environment, simulators, seeds, streams.child("collect"), 1000)
    began = time.monotonic()
    config = RuleTestConfig(**{"tune": arm != "written", **task.settings, **changes})
    tester = RuleTester(environment, policy, config, streams.child("test"), trajectories=seen)
    found = tester.test(proposals(task, arm, seed, environment, seen))
    took = time.monotonic() - began
    alone, layer = fresh(environment, policy, parse_rules(found.rules, interface_of(environment)), seed)
    return {
        "arm": arm,
        "seed": seed,
        "gain": float(np.subtract(layer, alone).mean()),
        "alone": float(np.mean(alone)),
        "verdict": found.verdict,
        "confirmed": found.gain,
        "collected": sum(map(len, seen)),
        "spent": {**found.spent},
        "rules": found.rules,
        "seconds": took,
    }


def fresh(environment: Environment, policy: Policy, rules: RuleSet, seed: int) -> tuple[list[float], list[float]]:
    """Returns of the policy alone and with the rules in force, by pair."""
    both = Entrant(policy), Entrant(RulePolicy(policy, rules, environment))
    horizon, budget = Horizon(1000, 1.0, value_at_truncation=False), Budget(10**9)
    streams = Streams(10_000 + seed).child("fresh")
    with Episodes(environment, policy, streams, horizon, budget, width=WIDTH) as episodes:
        episodes.extend(both, FRESH)
    return both[0].returns, both[1].returns


def main() -> None:
    """Run what is missing, print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="hopper")
    parser.add_argument("--out", type=Path, default=Path("runs/tuning"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="of verification.rules")
    parser.add_argument("--print-only", action="store_true", help="run nothing")
    args = parser.parse_args()
    changes = {key: json.loads(value) for key, _, value in (one.partition("=") for one in args.set)}
    folder = args.out / args.task
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        for arm in args.arms:
            path = folder / f"{arm}-{seed}.json"
            if not path.exists() and not args.print_only:
                row = cell(TASKS[args.task], arm, seed, changes)
                path.write_text(json.dumps(row, indent=1), encoding="utf-8")
                print(f"# {arm} {seed}: {row['gain']:+,.0f}, {sum(row['spent'].values()):,} steps", flush=True)
    print(f"\n| arm | gain, fresh seeds | by seed | accepted | steps charged | {' | '.join(PURPOSES)} |")
    print("|---" * (5 + len(PURPOSES)) + "|")
    for arm in args.arms:
        paths = [folder / f"{arm}-{seed}.json" for seed in range(args.seeds)]
        rows = [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]
        if not rows:
            continue
        gains = [row["gain"] for row in rows]
        spent = [f"{np.mean([row['spent'].get(purpose, 0) for row in rows]):,.0f}" for purpose in PURPOSES]
        total = np.mean([sum(row["spent"].values()) for row in rows])
        held = sum(row["verdict"] == "accepted" for row in rows)
        each = " ".join(f"{gain:+,.0f}" for gain in gains)
        told = interval(gains, "+,.0f")
        print(f"| {arm} | {told} | {each} | {held} of {len(rows)} | {total:,.0f} | {' | '.join(spent)} |")


if __name__ == "__main__":
    main()
