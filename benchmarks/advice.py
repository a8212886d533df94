"""Is advice worth its environment steps? Proposers side by side, at an equal total budget, on three tasks.

For Pong, Hopper (dense) and MountainCar (`pong-short`: Pong by 1,500 steps): what share of the suggestions of each
proposer holds in the simulator, and what the policy scores after refining, where collecting, testing, replaying and
comparing are paid out of the same budget of environment steps that `continue` trains with:

    continue      the algorithm goes on without advice
    random        random states, random plans, tested
    value         states of the largest fall of value, random plans, tested (suggestions only, nothing is refined)
    search        the same states, plans that a search in the simulator finds, tested (suggestions only)
    oracle        the environment's expert plays on from chosen states, tested
    llm           the embedded model (SmolLM2-135M), tested
    llm-untested  the same suggestions believed as they are, which is the ULTRA paper's way
    table         the oracle's longer plans, each tested at its own state, not imitated: the table acts if it held
    table-untested  the same plans, the table in force whatever it does (`advice.in_force: always`)

    python benchmarks/advice.py --seeds 5

Every cell is an ordinary run folder under `--out`: a finished one is read back, so the command can be stopped and
started again. Prints two Markdown tables; intervals are 95 % (returns: Student's t over seeds, paired by seed with
`continue`; shares: Wilson; gains: bootstrap over suggestions).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from _intervals import interval as mean_with_interval
from scipy import stats

Row = dict[str, Any]

HOPPER_PPO = {
    "learning_rate": 3e-4,
    "update_epochs": 10,
    "num_minibatches": 32,
    "ent_coef": 0.0,
    "target_kl": None,
    "log_std_floor": -2.5,
}
TASKS: dict[str, Row] = {
    "pong": {
        "environment": {"name": "pong"},
        "policy": {"shipped": "suboptimal"},
        "collect": {"episodes": 4, "max_steps": 1250},
        "refine": {"steps": 80_000},
    },
    "pong-short": {  # scored by 1,500 steps, not by whole games: a tenth of the time
        "environment": {"name": "pong", "options": {"max_steps": 1500}},
        "policy": {"shipped": "suboptimal"},
        "collect": {"episodes": 4, "max_steps": 1250},
        "refine": {"steps": 80_000},
        "evaluate": {"episodes": 32},
    },
    "mountain-car": {
        "environment": {"name": "mountain-car"},
        "policy": {"train_steps": 50_000},
        "collect": {"episodes": 8},
        "agents": {"expert_steps": 120, "max_hold": 20, "max_moves": 4},
        "refine": {"steps": 100_000},
    },
    "hopper": {
        "environment": {"name": "hopper"},
        "policy": {"shipped": "suboptimal"},
        "collect": {"episodes": 8},
        "refine": {"steps": 80_000, "algorithm": {"name": "ppo", "options": HOPPER_PPO}},
    },
}
ALL: Row = {
    "methods": ["ultra-ra"],
    "narration": {"segments_per_episode": 6, "segment_steps": 60},
    "agents": {"max_critical": 4, "max_hold": 6, "max_moves": 4, "max_revisions": 0, "concurrency": 4},
    "refine": {"num_envs": 16, "workers": 0, "evaluate_every": 1_000_000, "curve_episodes": 2},
    "evaluate": {"episodes": 10},
}
LLM: Row = {
    "proposer": "llm",
    "narration": {"segments_per_episode": 1, "segment_steps": 60, "token_budget": 600},
    "agents": {"max_critical": 2, "max_moves": 1},
    "llms": {"default": {"provider": "local", "options": {"threads": 1, "slots": 2, "max_tokens": 256, "seed": 1}}},
}
TABLE: Row = {
    "proposer": "oracle",
    "agents": {"max_hold": 16, "max_moves": 6},
    "verification": {"decide": "single"},
    "imitation": {"mode": "never"},
}
ARMS: dict[str, Row] = {
    "continue": {"methods": ["continue"]},
    "random": {"proposer": "random"},
    "value": {"proposer": "value"},
    "search": {"proposer": "search"},
    "oracle": {"proposer": "oracle"},
    "llm": LLM,
    "table": TABLE,
    "table-untested": {**TABLE, "advice": {"in_force": "always"}},
    "llm-untested": {**LLM, "verification": {"mode": "none"}, "imitation": {"mode": "never"}},
}
ONLY_MEASURED = ("value", "search")
UNTESTED = ("continue", "llm-untested")


def main() -> None:
    """Run what is missing, print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/advice"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tasks", nargs="+", default=["pong", "mountain-car", "hopper"], choices=list(TASKS))
    parser.add_argument(
        "--arms", nargs="+", default=[arm for arm in ARMS if not arm.startswith("table")], choices=list(ARMS)
    )
    parser.add_argument("--workers", type=int, default=2, help="cells run side by side")
    parser.add_argument("--print-only", action="store_true", help="run nothing")
    args = parser.parse_args()
    cells = [(task, arm, seed) for seed in range(args.seeds) for task in args.tasks for arm in args.arms]
    if not args.print_only:
        # The tested suggestions come first: the untested ones are the same answers, out of the same cache.
        for part in ([c for c in cells if c[1] != "llm-untested"], [c for c in cells if c[1] == "llm-untested"]):
            run_all(part, args.out, args.workers)
    print_tables(cells, args.out)


def run_all(cells: Sequence[tuple[str, str, int]], out: Path, workers: int) -> None:
    """Run cells side by side; one that fails is told and left out."""
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        futures = {pool.submit(run_cell, *cell, out): cell for cell in cells}
        for future in as_completed(futures):
            task, arm, seed = futures[future]
            error = future.exception()
            print(f"# {task} {arm} seed {seed}: {error or f'{future.result():.0f} s'}", flush=True)


def run_cell(task: str, arm: str, seed: int, out: Path) -> float:
    """One run folder, finished; seconds it took now."""
    from ultra_agents.config import Config
    from ultra_agents.events import ignore
    from ultra_agents.pipeline import run_pipeline
    from ultra_agents.runs import RunFolder

    began = time.monotonic()
    config = Config(**merged(ALL, TASKS[task], ARMS[arm], {"name": f"{task}-{arm}-{seed}", "seed": seed}))
    if arm.startswith("llm"):
        cache = (out / f"{task}-{seed}-answers.sqlite").resolve()
        config = config.model_copy(update={"gateway": config.gateway.model_copy(update={"cache": cache})})
    path = out / config.name
    folder = RunFolder.open(path) if (path / "state.json").is_file() else RunFolder.create(out, config)
    with folder.lock():
        if arm in ONLY_MEASURED:
            run_pipeline(folder, folder.config, ignore, lambda: False, "measure")
        else:
            run_pipeline(folder, folder.config, ignore, lambda: False)
    folder.close()
    return time.monotonic() - began


def merged(*rows: Row) -> Row:
    """Nested mappings put together; later ones win."""
    made: Row = {}
    for row in rows:
        for key, value in row.items():
            nested = isinstance(value, dict) and isinstance(made.get(key), dict)
            made[key] = merged(made[key], value) if nested else value
    return made


def print_tables(cells: Sequence[tuple[str, str, int]], out: Path) -> None:
    """What finished, as Markdown."""
    print("\n| task | proposer | seeds | suggestions | held | precision | mean gain | steps a test, median |")
    print("|---|---|---|---|---|---|---|---|")
    for task, arm, found in by_arm(cells, out, "measures.json"):
        trials = [trial for one in found.values() for trial in one["trials"]]
        if arm in UNTESTED or not trials:
            continue
        held, gains = sum(one["held"] for one in found.values()), [float(trial["gain"]) for trial in trials]
        share = stats.binomtest(held, len(trials)).proportion_ci(method="wilson")
        spread = stats.bootstrap((gains,), np.mean, rng=0) if len(set(gains)) > 1 else None
        ends = f" [{spread.confidence_interval.low:+.3f}, {spread.confidence_interval.high:+.3f}]" if spread else ""
        median = np.median([trial["env_steps"] for trial in trials])
        print(
            f"| {task} | {arm} | {len(found)} | {len(trials)} | {held} | {held / len(trials):.0%} "
            f"[{share.low:.0%}, {share.high:.0%}] | {np.mean(gains):+.3f}{ends} | {median:.0f} |"
        )
    print(
        "\n| task | method | seeds | before | after | against `continue`, paired | by seed | advice kept | copy used |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    scores: dict[str, dict[int, float]] = {}
    for task, arm, found in by_arm(cells, out, "report.json"):
        start = np.mean([_mean_return(one, "before") for one in found.values()])
        after = {seed: _mean_return(one, "after") for seed, one in found.items()}
        if arm == "continue":
            scores[task] = after
        apart = [after[seed] - scores[task][seed] for seed in after if seed in scores.get(task, {})]
        against = "" if arm == "continue" else interval(apart)
        kept = "" if arm == "continue" else f"{np.mean([len(_advice(out, task, arm, seed)) for seed in found]):.0f}"
        each = ", ".join(f"{value:.1f}" for value in after.values())
        print(
            f"| {task} | {arm} | {len(found)} | {start:.1f} | {interval(list(after.values()))} | {against} | "
            f"{each} | {kept} | {_copies(out, task, arm, found)} |"
        )


def by_arm(cells: Sequence[tuple[str, str, int]], out: Path, name: str) -> Iterator[tuple[str, str, dict[int, Row]]]:
    """Task, arm, and `name` of each seed whose run has it."""
    for task, arm in dict.fromkeys((task, arm) for task, arm, _ in cells):
        found = {
            seed: json.loads((out / f"{task}-{arm}-{seed}" / name).read_text(encoding="utf-8"))
            for t, a, seed in cells
            if (t, a) == (task, arm) and (out / f"{task}-{arm}-{seed}" / name).is_file()
        }
        if found:
            yield task, arm, found


def interval(values: list[float]) -> str:
    """Mean with its Student-t interval; a single value has none."""
    return mean_with_interval(values, "+.1f") if values else ""


def _mean_return(report: Row, which: str) -> float:
    (method,) = report["methods"].values()
    return float(np.mean(method[f"returns_{which}"]["values"]))


def _advice(out: Path, task: str, arm: str, seed: int) -> list[str]:
    path = out / f"{task}-{arm}-{seed}" / "advice.jsonl"
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _copies(out: Path, task: str, arm: str, found: dict[int, Row]) -> str:
    if arm in UNTESTED:
        return ""
    used = sum((out / f"{task}-{arm}-{seed}" / "checkpoints" / "imitated.safetensors").is_file() for seed in found)
    return f"{used} of {len(found)}"


if __name__ == "__main__":
    main()
