"""What does a layer of rules cost beside stepping the simulators it acts in?

    python benchmarks/rules_layer.py

For each task 16 environments of one process and the shipped `suboptimal` policy with the example's rules over it. Each
round takes one step of the simulators, one answer of the policy alone and one of the policy with rules, by turns, so
that a busy machine slows all three alike. Printed are medians over rounds, and what the layer adds (the median of the
paired differences) as a share of the step, with the 95 % bootstrap interval of that median.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

RULES = Path(__file__).parent.parent / "examples" / "rules"
TASKS = {
    "pong": ("pong", "pong.yaml", 0.05),
    "pong-after-feedback": ("pong", "pong_after_feedback.yaml", 0.05),
    "hopper": ("hopper", "hopper_residual.yaml", 0.10),
}
"""Environment, rules, and the share of a step that the layer may cost."""


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long `work` takes, and what it returns."""
    began = time.perf_counter()
    made = work()
    return time.perf_counter() - began, made


def measured(label: str, folder: Path, num_envs: int, rounds: int) -> None:
    """One line of the table."""
    from ultra_agents.policies import load_policy
    from ultra_agents.registry import create_environment
    from ultra_agents.rollout.simulators import make_simulators
    from ultra_agents.rules import interface_of, load_rules
    from ultra_agents.rules.layer import RulePolicy

    task, file, aim = TASKS[label]
    environment = create_environment(task)
    policy = load_policy(environment.policies()["suboptimal"], task, environment).policy
    both = RulePolicy(policy, load_rules(folder / file, interface_of(environment)), environment)
    rng = np.random.default_rng(0)
    width = max(int(np.prod(environment.action_space.shape or ())), 1)
    times, covered = np.zeros((rounds, 3)), 0.0
    with make_simulators(environment, num_envs) as simulators:
        observations, _ = simulators.reset(seed=0)
        for row in times:
            uniforms = rng.random((num_envs, width))
            row[1], _ = seconds(partial(policy.act_with_uniforms, observations, uniforms))
            row[2], (actions, ruled) = seconds(partial(both.act_and_cover, observations, uniforms))
            row[0], (observations, *_) = seconds(partial(simulators.step, actions))
            covered += float(ruled.mean()) / rounds
    step, alone, layered = np.median(times, axis=0) * 1e6
    added = times[:, 2] - times[:, 1]
    draws = rng.integers(rounds, size=(1000, rounds))
    shares = np.median(added[draws], axis=1) / np.median(times[:, 0][draws], axis=1)
    low, high = np.quantile(shares, [0.025, 0.975])
    share = float(np.median(added) / np.median(times[:, 0]))
    print(
        f"| {label} | {step:,.0f} | {alone:,.0f} | {layered:,.0f} | {covered:.0%} | "
        f"{share:.1%} [{low:.1%}, {high:.1%}] | {aim:.0%} |",
        flush=True,
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--rules", type=Path, default=RULES, help="folder of the rules")
    parser.add_argument("--num-envs", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2000)
    args = parser.parse_args()
    print("| task | step, us | policy, us | with rules, us | covered | added / step | aim |")
    print("|---|---|---|---|---|---|---|")
    for task in args.tasks:
        measured(task, args.rules, args.num_envs, args.rounds)


if __name__ == "__main__":
    main()
