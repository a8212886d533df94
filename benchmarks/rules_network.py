"""Can a network carry a residual rule, and does training on keep it? Hopper, `examples/rules/hopper_residual.yaml`.

    python benchmarks/rules_network.py --seeds 3 --steps 52000 92000

Each cell is an ordinary run with `proposer: file`, the rules tested, learnt and trained on, all of it charged:

    continue     PPO alone
    imitate      a copy of the network that learnt the rules, trained on alone (`advice.apply: imitate`)
    both         the rules in force, over the policy or over the copy (`advice.apply: both`)
    small        `imitate`, a fifth of the step size, KL per update at most 0.01
    warm         `imitate`, ten updates first in which only the critic learns
    far          `imitate`, discount 0.998 and lambda 0.98
    far-small    `imitate`, all three

Finished cells below `--out` are read back, so the command can be stopped and started again. Prints a Markdown table,
means over seeds with 95 % intervals (Student's t): the return of the start that was chosen and of what training made
of it, both on the run's selection seeds (not used for anything but the curve), whether training was kept, and the
network alone after all of it on seeds never trained on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

RULES = Path(__file__).parent.parent / "examples" / "rules" / "hopper_residual.yaml"
SMALL: dict[str, Any] = {"learning_rate": 6e-5, "target_kl": 0.01}
WARM: dict[str, Any] = {"value_warmup_updates": 10}
FAR: dict[str, Any] = {"gamma": 0.998, "gae_lambda": 0.98}
ARMS: dict[str, tuple[str, dict[str, Any]]] = {
    "continue": ("auto", {}),
    "imitate": ("imitate", {}),
    "both": ("both", {}),
    "small": ("imitate", SMALL),
    "warm": ("imitate", WARM),
    "far": ("imitate", FAR),
    "far-small": ("imitate", {**SMALL, **WARM, **FAR}),
}


def settings(arm: str, seed: int, steps: int, options: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a cell."""
    apply, changed = ARMS[arm]
    return {
        "name": f"{arm}-{steps}-{seed}",
        "seed": seed,
        "environment": {"name": "hopper"},
        "policy": {"shipped": "suboptimal"},
        "proposer": "file",
        "advice": {"file": str(RULES), "apply": apply},
        "methods": ["continue" if arm == "continue" else "ultra-a"],
        "collect": {"episodes": 4},
        "verification": {"rules": {"horizon": 1000}},
        "refine": {
            "steps": steps, "num_envs": 16, "workers": 0, "evaluate_every": steps, "curve_episodes": 32,
            "algorithm": {"name": "ppo", "options": {**changed, **options}},
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


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % interval."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return f"{mean:,.0f}"
    half = float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return f"{mean:,.0f} [{mean - half:,.0f}, {mean + half:,.0f}]"


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
        f"{', '.join(dict.fromkeys(starts))} | {np.mean(trained):,.0f} | {interval(first)} | {interval(last)} | "
        f"{' '.join(kept)} | {interval(after)} | {' '.join(f'{one:,.0f}' for one in after)} | "
        f"{interval(with_rules) if with_rules else ''}"
    )


def main() -> None:
    """Run what is missing, print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/rules-network"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, nargs="+", default=[52_000, 92_000], help="charged steps of a run")
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="options of PPO for all arms")
    args = parser.parse_args()
    options = {key: json.loads(value) for key, _, value in (one.partition("=") for one in args.set)}
    args.out.mkdir(parents=True, exist_ok=True)
    columns = "arm", "charged", "start", "steps trained", "start, return", "trained, return", "kept"
    print(f"| {' | '.join((*columns, 'network after', 'by seed', 'with rules'))} |")
    print("|---" * 10 + "|")
    for steps in args.steps:
        for arm in args.arms:
            found = [cell(args.out, settings(arm, seed, steps, options)) for seed in args.seeds]
            print(f"| {arm} | {steps:,} | {row(found)} |", flush=True)


if __name__ == "__main__":
    main()
