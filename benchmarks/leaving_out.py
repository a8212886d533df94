"""What does taking a set of rules apart that holds bring, and what does it cost? The sets of finished runs.

    ultra compare examples/experiments/results.yaml --method recorded-rules --seed 0
    python benchmarks/leaving_out.py runs/results/cells/lunar-lander-recorded-rules-0 ...

Each set that models proposed in a run plays without each of its rules (`verification.rules.weigh_pairs` episodes, the
budget that the test of rules used to have for it: half of its steps), and what carries no weight goes. The set and
what is left of it then play paired episodes that chose nothing. Prints a Markdown table: rules, how many stay (by
seed), environment steps of leaving out, and what the smaller set earns more, mean over seeds with a 95 % interval.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import yaml
from _intervals import interval

from ultra_agents.config import parse_config
from ultra_agents.policies import load_policy
from ultra_agents.registry import create_environment
from ultra_agents.rules import RuleSet, interface_of, parse_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.seeding import Streams
from ultra_agents.stages.rules import rule_terms
from ultra_agents.training import policy_file
from ultra_agents.verification.leaving import leave_out, some_of
from ultra_agents.verification.paired import Budget, Entrant, Episodes
from ultra_agents.verification.rules import CHOOSING, episodes_of, rule_of
from ultra_agents.verification.sequential import returns_spread

WIDTH = 16
"""Episodes side by side, of those that choose nothing."""


def main() -> None:
    """Take the sets of every run apart, print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs whose models proposed rules")
    parser.add_argument("--seeds", nargs="+", type=int, default=[100, 101, 102, 103])
    parser.add_argument("--fresh", type=int, default=32, help="paired episodes of the set and of what is left")
    args = parser.parse_args()
    print("| run | set | rules | left, by seed | steps | what is left minus the set | by seed | the set earns |")
    print("|---|---|---|---|---|---|---|---|")
    for run in args.runs:
        proposals = json.loads((run / "report.json").read_text(encoding="utf-8"))["rules"]["proposals"]
        texts = dict.fromkeys(one["text"] for one in proposals if one["text"])
        for number, text in enumerate(texts, 1):
            print(row(run, number, text, args.seeds, args.fresh), flush=True)


def row(run: Path, number: int, text: str, seeds: list[int], fresh: int) -> str:
    """One set of a run, taken apart with several seeds."""
    config = parse_config(yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8")), str(run))
    environment = create_environment(config.environment.name, config.environment.options)
    path = policy_file(config, environment)
    assert path is not None, "a run that trained its policy first has no file of it"
    policy, terms = load_policy(path, config.environment.name, environment).policy, rule_terms(config)
    rules = parse_rules(text, interface_of(environment))
    count, pairs = len(rules.document.rules), terms.weigh_pairs
    if count < 2 or not pairs:
        return f"| {run.name} | {number} | {count} | | | | | |"
    left, steps, gains, earned = [], [], [], []

    def over(some: RuleSet) -> RulePolicy:
        return RulePolicy(policy, some, environment)

    for seed in seeds:
        streams, horizon = episodes_of(terms, Streams(seed), "leave out")
        budget = Budget(int(CHOOSING * terms.max_steps))
        with Episodes(environment, policy, streams, horizon, budget, width=pairs) as episodes:
            found = leave_out(
                rules, over, episodes, pairs,
                lambda pairs, one: rule_of(terms, (pairs,), returns_spread(one.rewards, terms.discount)),
            )  # fmt: skip
        both = Entrant(over(rules)), Entrant(over(some_of(rules, found.kept)))
        streams, horizon = episodes_of(terms, Streams(10_000 + seed), "fresh")
        with Episodes(environment, policy, streams, horizon, Budget(10**9), width=WIDTH) as episodes:
            episodes.extend(both, fresh)
        left.append(len(found.kept))
        steps.append(budget.spent)
        gains.append(float(np.subtract(both[1].returns, both[0].returns).mean()))
        earned.append(both[0].mean())
    return (
        f"| {run.name} | {number} | {count} | {' '.join(map(str, left))} | {np.mean(steps):,.0f} | "
        f"{interval(gains, '+.3g')} | {' '.join(f'{one:+.3g}' for one in gains)} | {np.mean(earned):.4g} |"
    )


if __name__ == "__main__":
    main()
