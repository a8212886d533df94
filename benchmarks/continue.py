"""How far does training on get, without any advice? The starting policies that ship, over a growing budget.

For each task the same PPO goes on from the shipped sub-optimal policy with two settings: `file`, those that the policy
file carries (what `continue` starts from by default), and `defaults`, the plugin's own. One training per setting and
seed is scored on the way, at each of `--points` environment steps, by whole episodes on seeds that no training sees:

    python benchmarks/continue.py --tasks pong hopper --seeds 1000 1001 1002 1003 1004

A finished training is read back from `--out`, so the command can be stopped and started again. Writes there, and
prints, `continue.md`: mean return and 95 % interval (Student's t over seeds), and the difference `file - defaults`
paired by seed; `continue.png`: the curves with their bands; `continue.json`: every return.

The step size falls to 0 over the whole training (`anneal_lr`), so a point before the last is not what a run of that
budget ends with. `--points 50000` alone measures that.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from ultra_agents.evaluation.statistics import Interval, t_interval
from ultra_agents.evaluation.wording import digits_for, number
from ultra_agents.files import write_whole

SETTINGS = ("file", "defaults")
COLOURS = {"file": "#0072b2", "defaults": "#d55e00"}
Scores = dict[str, dict[str, dict[int, dict[int, float]]]]
"""Mean return by task, setting, seed and point."""


def train(task: str, setting: str, seed: int, points: Sequence[int], episodes: int, kept: Path) -> dict[int, float]:
    """Go on with a task's shipped policy and score it at each of `points`; mean returns by point, 0 included.

    What `kept` holds of a training with the same settings is read back.
    """
    from ultra_agents.evaluation.returns import evaluate_returns
    from ultra_agents.policies import carried_by, load_policy
    from ultra_agents.registry import create_algorithm, create_environment
    from ultra_agents.rollout.simulators import make_simulators
    from ultra_agents.seeding import Streams

    environment, streams = create_environment(task), Streams(seed)
    path = Path(environment.policies()["suboptimal"])
    loaded = load_policy(path, task, environment)
    options = dict(carried_by(loaded.metadata, path.name).options) if setting == "file" else {}
    if kept.exists() and (made := json.loads(kept.read_text()))["options"] == options:
        return {int(point): float(value) for point, value in made["returns"].items()}
    algorithm, scoring = create_algorithm(loaded.algorithm, options), streams.child("evaluate")
    seeds, returns = scoring.integers(episodes, "reset"), {}
    with make_simulators(environment, 16) as envs, make_simulators(environment, min(episodes, 16)) as games:
        trainer = algorithm.trainer(loaded.policy, envs, max(points), streams.child("refine"))
        for point in (0, *points):
            while trainer.steps < point:
                trainer.update()
            returns[point] = evaluate_returns(trainer.policy, environment, games, seeds, scoring).mean
            print(f"{task} {setting} seed {seed}: {returns[point]:.2f} after {trainer.steps:,} steps", flush=True)
    write_whole(kept, json.dumps({"options": options, "returns": returns}, indent=1) + "\n")
    return returns


def main() -> None:
    """Train what is missing, then write table and plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["pong", "hopper"], help="environments that ship a policy")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1000, 1001, 1002, 1003, 1004])
    parser.add_argument("--points", nargs="+", type=int, default=[50_000, 100_000, 200_000, 400_000])
    parser.add_argument("--episodes", type=int, default=16, help="of each score")
    parser.add_argument("--workers", type=int, default=1, help="trainings at once")
    parser.add_argument("--out", type=Path, default=Path("runs/continue"))
    args = parser.parse_args()
    points = sorted(set(args.points))
    args.out.mkdir(parents=True, exist_ok=True)
    scores: Scores = {task: {setting: {} for setting in SETTINGS} for task in args.tasks}
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        asked = {}
        for seed in args.seeds:
            for task in args.tasks:
                for setting in SETTINGS:
                    name = f"{task}-{setting}-{seed}-{'-'.join(map(str, points))}-{args.episodes}.json"
                    future = pool.submit(train, task, setting, seed, points, args.episodes, args.out / name)
                    asked[future] = (task, setting, seed)
        for future in as_completed(asked):
            task, setting, seed = asked[future]
            scores[task][setting][seed] = future.result()
    text = table(scores, [0, *points])
    write_whole(args.out / "continue.md", text)
    write_whole(args.out / "continue.json", json.dumps(scores, indent=1) + "\n")
    draw(scores, [0, *points], args.out / "continue.png")
    print(text)


def table(scores: Mapping[str, Any], points: Sequence[int]) -> str:
    """Mean and interval by task, setting and point, and the difference paired by seed, in Markdown."""
    head = ["task", "settings", "seeds", *(f"{point:,} steps" for point in points)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for task, found in scores.items():
        rows = {setting: [spread(found[setting], point) for point in points] for setting in SETTINGS}
        seeds = sorted(found["file"].keys() & found["defaults"].keys())
        gaps = {seed: {p: found["file"][seed][p] - found["defaults"][seed][p] for p in points} for seed in seeds}
        rows["file - defaults"] = [spread(gaps, point) for point in points]
        digits = digits_for([{"low": one.low, "high": one.high, "value": one.value} for one in rows["file"]])
        for name, row in rows.items():
            lines.append("| " + " | ".join([task, name, str(len(seeds)), *(told(one, digits) for one in row)]) + " |")
    return "\n".join(lines) + "\n"


def spread(by_seed: Mapping[int, Mapping[int, float]], point: int) -> Interval:
    """Mean over seeds at one point, with its 95 % interval."""
    return t_interval([by_seed[seed][point] for seed in sorted(by_seed)])


def told(found: Interval, digits: int) -> str:
    """`-6.3 [-8.3, -4.4]`, or the value alone where there is no interval."""
    text = number(found.value, digits)
    return text if found.low is None else f"{text} [{number(found.low, digits)}, {number(found.high, digits)}]"


def draw(scores: Mapping[str, Any], points: Sequence[int], path: Path) -> None:
    """The curves of all tasks side by side, with their bands."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(scores), 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (task, found) in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores.items(), strict=True):
        for setting in SETTINGS:
            rows = [spread(found[setting], point) for point in points]
            values = np.array([one.value for one in rows])
            axes.plot(points, values, color=COLOURS[setting], marker="o", label=f"settings: {setting}")
            if all(one.low is not None for one in rows):
                ends = [[one.low for one in rows], [one.high for one in rows]]
                axes.fill_between(points, *ends, color=COLOURS[setting], alpha=0.18, linewidth=0)
        axes.set(title=f"{task}: continue, {len(found['file'])} seeds", xlabel="environment steps", ylabel="return")
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1000:,.0f}k")
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
