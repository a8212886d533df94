"""RICE, StateMask-R and JSRL tuned a little: a small grid over what their papers tune, on seeds that no report uses.

    python benchmarks/rivals.py --tasks hopper mountain-car pong

Tasks, budgets, starting policies and evaluation are those of `examples/experiments/results.yaml`; every cell pays for
its mask and its episodes out of the same budget as `continue`. The first seed tries all settings (`--settings N`: the
first N of each rival); on the others run the default and the best of the rest. Of settings with all seeds the one with
the best mean return minus that of `continue` on the same seeds is chosen; of equals the first, the default, stays. Two
seeds tell large differences from none and little more: `--seeds` takes others.

A finished cell is read back from `--out`, so the command can be stopped and started again. Prints a Markdown table,
then what was chosen as `settings_of` of each task, ready for an experiment file.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from rich.console import Console

from ultra_agents.evaluation.wording import number
from ultra_agents.experiments.cells import CellOutcome, CellResult
from ultra_agents.experiments.drive import drive, finished_cells
from ultra_agents.experiments.engines import LocalEngine
from ultra_agents.experiments.presets import Settings
from ultra_agents.experiments.spec import Experiment, cells_of, load_experiment
from ultra_agents.ui.compare.cell_table import CellTable

FILE = Path(__file__).parent.parent / "examples" / "experiments" / "results.yaml"
SEEDS = (1000, 1001)
"""No example, test or table of this repository trains with these two and a rival."""
BASELINE = "continue"
MASK_STEPS = {"long": None, "short": 0.1}
"""StateMask-R's mask training: 3 of 13 parts of the budget (the default), or a tenth."""
GRID: dict[str, tuple[Settings, ...]] = {
    "rice": tuple(
        {"rice": {"probability": probability, "bonus": bonus}}
        for probability, bonus in product((0.25, 0.5), (0.01, 0.001, 0.1))
    ),
    "statemask-r": tuple(
        {"statemask": {"mask": {"alpha": alpha, "steps": steps}}}
        for steps, alpha in product(MASK_STEPS, (0.01, 0.001, 0.0001))
    ),
    "jsrl": tuple(
        {"jsrl": {"stages": stages, "tolerance": tolerance, "until": until}}
        for stages, tolerance, until in (
            (10, 0.05, 0.8),
            (10, 0.05, 0.4),
            (3, 0.05, 0.8),
            (10, 0.3, 0.8),
            (3, 0.05, 0.4),
            (30, 0.05, 0.8),
        )
    ),
}
"""By rival, what is tried; the defaults come first. `until` is ours: the share of the budget after which JSRL's guide
never acts, within which the stages fall."""


def tried(rival: str, place: int, budget: int) -> Settings:
    """One setting of the grid for a task with `budget` environment steps."""
    found = GRID[rival][place]
    if rival != "statemask-r":
        return found
    mask = found["statemask"]["mask"]
    share = MASK_STEPS[mask["steps"]]
    return {"statemask": {"mask": {**mask, "steps": None if share is None else round(budget * share)}}}


def experiment(task: str, seeds: Sequence[int], rivals: Sequence[str]) -> Experiment:
    """`results.yaml` on one task with the grid in the place of its methods; earlier choices are left out."""
    asked = load_experiment(FILE)
    kept = {key: value for key, value in asked.tasks[task].items() if key not in ("without", "settings_of", "seeds")}
    variants: list[Any] = [BASELINE]
    for rival in rivals:
        for place in range(len(GRID[rival])):
            settings = tried(rival, place, kept["refine"]["steps"])
            variants.append({"name": f"{rival}.{place}", "method": rival, "settings": settings})
    return Experiment(
        name="rivals-tuning", seeds=tuple(seeds), methods=tuple(variants), tasks={task: kept}, common=asked.common
    )


def flat(settings: Mapping[str, Any]) -> str:
    """`probability 0.25, bonus 0.01`."""
    parts = []
    for key, value in settings.items():
        parts.append(flat(value) if isinstance(value, Mapping) else f"{key} {'3/13' if value is None else value}")
    return ", ".join(parts)


def returns_of(results: Mapping[str, CellResult], task: str, method: str, seeds: Sequence[int]) -> dict[int, float]:
    """Mean return after refining by seed, of the finished cells."""
    names = {seed: f"{task}-{method}-{seed}" for seed in seeds}
    return {seed: float(np.mean(results[name].method.last.values)) for seed, name in names.items() if name in results}


def best_of(gains: Mapping[int, Sequence[float]], seeds: int) -> int | None:
    """The place in the grid with the best mean gain; the first of equals. None while the default is not finished."""
    whole = {place: float(np.mean(found)) for place, found in sorted(gains.items()) if len(found) >= seeds}
    return max(whole, key=lambda place: whole[place]) if 0 in whole else None


def wanted(task: str, results: Mapping[str, CellResult], seeds: Sequence[int], settings: int) -> set[str]:
    """Names of the cells to be finished, as far as they can be told from those that are."""
    names = {f"{task}-{BASELINE}-{seed}" for seed in seeds}
    for rival, grid in GRID.items():
        names |= {f"{task}-{rival}.{place}-{seeds[0]}" for place in range(min(settings, len(grid)))}
        first = {
            place: list(returns_of(results, task, f"{rival}.{place}", seeds[:1]).values())
            for place in range(len(grid))
        }
        if all(first[place] for place in range(min(settings, len(grid)))):
            rest = best_of({0: [-np.inf], **{place: row for place, row in first.items() if place}}, 1)
            names |= {f"{task}-{rival}.{place}-{seed}" for place in {0, rest} for seed in seeds[1:]}
    return names


def table(
    task: str, results: Mapping[str, CellResult], seeds: Sequence[int], rivals: Sequence[str], budget: int
) -> tuple[list[str], dict[str, Settings]]:
    """The rows of one task, and the setting chosen for each rival."""
    base = returns_of(results, task, BASELINE, seeds)
    lines, chosen = [], dict[str, Settings]()
    if base:
        each = " ".join(number(value, 1) for value in base.values())
        lines.append(f"| {task} | `{BASELINE}` | | {each} | | |")
    for rival in rivals:
        found = {place: returns_of(results, task, f"{rival}.{place}", seeds) for place in range(len(GRID[rival]))}
        gains = {
            place: [value - base[seed] for seed, value in row.items() if seed in base] for place, row in found.items()
        }
        best = best_of(gains, len(seeds))
        if best is not None:
            chosen[rival] = tried(rival, best, budget)
        for place, row in found.items():
            if row:
                each = " ".join(number(value, 1) for value in row.values())
                apart = " ".join(f"{value:+.1f}" for value in gains[place])
                mean = f"{np.mean(gains[place]):+.1f}" if gains[place] else ""
                mark = "**" if place == best else ""
                told = flat(tried(rival, place, budget))
                lines.append(f"| {task} | `{rival}` | {mark}{told}{mark} | {each} | {apart} | {mark}{mean}{mark} |")
    return lines, chosen


def main() -> None:
    """Run what is missing, print what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["hopper", "mountain-car", "pong"])
    parser.add_argument("--rivals", nargs="+", default=list(GRID), choices=list(GRID))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--settings", type=int, default=8, help="of each rival, on the first seed")
    parser.add_argument("--workers", type=int, default=1, help="cells side by side")
    parser.add_argument("--out", type=Path, default=Path("runs/rivals"))
    parser.add_argument("--print-only", action="store_true", help="run nothing")
    args = parser.parse_args()
    rows, choices = list[str](), dict[str, dict[str, Settings]]()
    for task in args.tasks:
        asked = experiment(task, args.seeds, args.rivals)
        cells = cells_of(asked, args.out, FILE.parent)
        results, failed, engine = finished_cells(cells, args.out), dict[str, CellOutcome](), LocalEngine(args.workers)
        while not args.print_only and not failed:
            names = wanted(task, results, args.seeds, args.settings)
            part = [cell for cell in cells if cell.name in names]
            if all(cell.name in results for cell in part):
                break
            with CellTable(Console(), plain=True) as shown:
                results, failed = drive(part, args.out, engine, lambda: False, shown.update, finished=results)
        for outcome in failed.values():
            print(f"# {outcome.cell}: {outcome.status} {outcome.error}")
        budget = asked.tasks[task]["refine"]["steps"]
        lines, choices[task] = table(task, results, args.seeds, args.rivals, budget)
        rows += lines
    print("\n| task | method | settings | return, by seed | minus `continue`, by seed | mean |\n" + "|---" * 6 + "|")
    print("\n".join(rows))
    print("\n" + yaml.safe_dump({task: {"settings_of": found} for task, found in choices.items()}, sort_keys=False))


if __name__ == "__main__":
    main()
