"""Can a network carry a residual rule, and does training on keep it? Hopper, `examples/rules/hopper_residual.yaml`.

    python benchmarks/rules_network.py --seeds 0 1 2
    python benchmarks/rules_network.py --part runs --seeds 0 1 2 --steps 52000 92000

`train`: for each seed one copy of the shipped `suboptimal` policy that learnt what the rules do (the stage `start` of
a run, 6,400 environment steps), scored beside the policy and the policy with the rules in force. From that copy, and
from the policy, PPO trains on in several ways:

    carried      with the settings that trained the policy
    small        a fifth of the step size, KL per update at most 0.01
    warm         five updates first in which only the critic learns
    far          discount 0.998 and lambda 0.98
    all          these three

`runs`: ordinary runs with `proposer: file`, everything charged: `imitate` and `both` (`advice.apply`), `continue`.

Finished cells below `--out` are read back, so the command can be stopped and started again. Prints a Markdown table
of returns in 32 episodes by seed, on seeds that training does not use.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from _intervals import interval

RULES = Path(__file__).parent.parent / "examples" / "rules" / "hopper_residual.yaml"
SMALL: dict[str, Any] = {"learning_rate": 6e-5, "target_kl": 0.01}
WARM: dict[str, Any] = {"value_warmup_updates": 5}
FAR: dict[str, Any] = {"gamma": 0.998, "gae_lambda": 0.98}
WAYS: dict[str, dict[str, Any]] = {
    "carried": {},
    "small": SMALL,
    "warm": WARM,
    "far": FAR,
    "all": {**SMALL, **WARM, **FAR},
}
SCORED = 32
ARMS = ("imitate", "both", "continue")


def settings(arm: str, seed: int, steps: int, options: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a cell."""
    return {
        "name": f"{arm}-{steps}-{seed}",
        "seed": seed,
        "environment": {"name": "hopper"},
        "policy": {"shipped": "suboptimal"},
        "proposer": "file",
        "advice": {"file": str(RULES), "apply": "auto" if arm == "continue" else arm},
        "methods": ["continue" if arm == "continue" else "ultra-a"],
        "collect": {"episodes": 4},
        "verification": {"rules": {"horizon": 1000}},
        "refine": {
            "steps": steps, "num_envs": 16, "workers": 0, "evaluate_every": steps, "curve_episodes": 32,
            "algorithm": {"name": "ppo", "options": options},
        },
        "evaluate": {"episodes": 32, "video": False},
    }  # fmt: skip


def cell(out: Path, config: dict[str, Any]) -> dict[str, Any]:
    """One run, finished; its report."""
    from ultra_agents.config import parse_config
    from ultra_agents.events import ignore
    from ultra_agents.pipeline import run_pipeline
    from ultra_agents.runs import RunFolder

    path = out / config["name"]
    if not (path / "report.json").is_file():
        began = time.monotonic()
        whole = parse_config(config, "benchmark")
        folder = RunFolder.open(path) if (path / "state.json").is_file() else RunFolder.create(out, whole)
        with folder.lock():
            run_pipeline(folder, folder.config, ignore, lambda: False)
        folder.close()
        print(f"# {config['name']}: {time.monotonic() - began:.0f} s", flush=True)
    found: dict[str, Any] = json.loads((path / "report.json").read_text(encoding="utf-8"))
    return found


def row(reports: Sequence[dict[str, Any]]) -> str:
    """One line of the table."""
    methods = [next(iter(one["methods"].values())) for one in reports]
    starts = [(one.get("start") or {}).get("chosen", "policy") for one in reports]
    curves = [one["curve"] for one in methods]
    first, last = ([float(curve[at]["value"]) for curve in curves] for at in (0, -1))
    trained = [one["env_steps"]["refine"] for one in methods]
    kept = [(one.get("kept") or {}).get("what", "-") for one in methods]
    after = [float(np.mean(one["returns_after"]["values"])) for one in methods]
    ruled = [one.get("returns_after_with_rules") for one in methods]
    with_rules = [float(np.mean(one["values"])) for one in ruled if one]
    return (
        f"{', '.join(dict.fromkeys(starts))} | {np.mean(trained):,.0f} | "
        f"{interval(first, ',.0f')} | {interval(last, ',.0f')} | "
        f"{' '.join(kept)} | {interval(after, ',.0f')} | {' '.join(f'{one:,.0f}' for one in after)} | "
        f"{interval(with_rules, ',.0f') if with_rules else ''}"
    )


def trained(out: Path, seed: int, ways: Sequence[str], steps: Sequence[int]) -> dict[str, float]:
    """Returns by what acts: `policy`, `layer`, `copy`, `WAY STEPS` for the copy trained on, `policy, WAY STEPS`."""
    from ultra_agents import stages
    from ultra_agents.config import parse_config
    from ultra_agents.errors import Interrupted
    from ultra_agents.events import ignore
    from ultra_agents.pipeline import run_pipeline
    from ultra_agents.rules.layer import RulePolicy
    from ultra_agents.runs import RunFolder
    from ultra_agents.stages.findings import Start
    from ultra_agents.stages.rules import rules_file

    config = settings("imitate", seed, 10_000_000, {})
    config |= {"name": f"copy-{seed}", "imitation": {"mode": "always"}, "verification": {"mode": "none"}}
    path, kept = out / config["name"], out / f"trained-{seed}.json"
    folder = RunFolder.open(path) if path.is_dir() else RunFolder.create(out, parse_config(config, "benchmark"))
    if folder.stage_done("start") is None:
        with folder.lock(), contextlib.suppress(Interrupted):
            run_pipeline(folder, folder.config, ignore, lambda: folder.stage_done("start") is not None)
    context = stages.run_context(folder, folder.config, ignore, lambda: False)
    context = context.starting_with(stages.starting_policy(context))
    copy = stages.WithCopy(context, Start, "start-copy").read((folder.stage_done("start") or {})["value"]).copy
    rows: dict[str, float] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}

    def note(name: str, policy: Any) -> None:
        rows[name] = score(context, policy)
        kept.write_text(json.dumps(rows, indent=1), encoding="utf-8")
        print(f"# seed {seed}, {name}: {rows[name]:,.0f}", flush=True)

    layer = RulePolicy(context.policy, rules_file(context.config, context.environment), context.environment)
    for name, policy in {"policy": context.policy, "layer": layer, "copy": copy}.items():
        if name not in rows:
            note(name, policy)
    for (prefix, start), way, budget in product((("", copy), ("policy, ", context.policy)), ways, steps):
        if f"{prefix}{way} {budget}" in rows:
            continue
        algorithm = type(context.algorithm)(context.algorithm.options.model_copy(update=WAYS[way]))
        with context.simulators(16, workers=0) as simulators:
            trainer = algorithm.trainer(start, simulators, budget, context.streams.child("benchmark"))
            while trainer.steps < budget:
                trainer.update()
        note(f"{prefix}{way} {budget}", trainer.policy)
    return rows


def score(context: Any, policy: Any) -> float:
    """Mean return of `SCORED` episodes."""
    from ultra_agents.evaluation.returns import evaluate_returns

    streams = context.streams.child("held-out")
    with context.simulators(SCORED, workers=0) as simulators:
        seeds = streams.integers(SCORED, "reset")
        return float(np.mean(evaluate_returns(policy, context.environment, simulators, seeds, streams).values))


def main() -> None:
    """Run what is missing, print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["train", "runs"], default="train")
    parser.add_argument("--out", type=Path, default=Path("runs/rules-network"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, nargs="+", help="trained on; with `runs`: charged")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    if args.part == "train":
        steps = args.steps or [40_000, 80_000]
        found = [trained(args.out, seed, args.ways, steps) for seed in args.seeds]
        print("\n| what acts | return | by seed |\n|---|---|---|")
        for name in found[0]:
            returns = [rows[name] for rows in found if name in rows]
            print(f"| {name} | {interval(returns, ',.0f')} | {' '.join(f'{one:,.0f}' for one in returns)} |")
        return
    columns = "arm", "charged", "start", "steps trained", "start, return", "trained, return", "kept"
    print(f"| {' | '.join((*columns, 'network after', 'by seed', 'with rules'))} |")
    print("|---" * 10 + "|")
    for budget in args.steps or [52_000, 92_000]:
        for arm in args.arms:
            reports = [cell(args.out, settings(arm, seed, budget, {})) for seed in args.seeds]
            print(f"| {arm} | {budget:,} | {row(reports)} |", flush=True)


if __name__ == "__main__":
    main()
