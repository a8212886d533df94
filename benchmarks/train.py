"""How fast and how well PPO trains here, beside Stable-Baselines3, SBX and a trainer in CleanRL's structure.

    python benchmarks/train.py --part speed                       # at most 10 minutes on 2 cores
    python benchmarks/train.py --part modulation --tasks pong hopper
    python benchmarks/train.py --part learning --seeds 5          # at most 25 minutes
    python benchmarks/train.py --part dip

speed       Each contender is a process of its own and trains in turns of `--seconds`, one at a time, `--rounds` times
            round, so that what else the machine does hits them alike. All have the same environments (16, in the
            trainer's process or in 2 worker processes), networks of two 64-unit tanh layers each for actor and critic,
            rollouts of 128 steps, 4 epochs of 16 minibatches; screens: 8 environments, 4 minibatches, the Nature CNN.
            Figures are environment steps per second, learning included: median and range over the turns. `of bound` is
            the share of the best median of the rows `stepping only` (random actions, the same environments), `x SB3`
            the ratio to SB3's best row. Torch and BLAS have one thread, except in the row `2 threads`; JAX uses what
            cores it likes. `ours` normalises observations, which the others are not asked to do. `ours, autograd` has
            the gradient of its tanh networks from PyTorch instead of the formulas in `ppo/mlp.py`. `core us` is
            processor time per step, in all processes, which a busy machine hardly changes; memory is their peak.
modulation  The same for `ours` alone with tables of 0, 10,000 and 1,000,000 rows that cover a tenth of the states.
learning    Area under the learning curve: the mean, over the budget, of the mean return of the last 20 training
            episodes, 0 at random play and 1 at the reference return. SB3 has the same hyperparameters (linear decay,
            target_kl), its VecNormalize for observations, and float seeds of its own. The difference of the means over
            seeds has a 95 % bootstrap interval.
dip         Refining the policy that ships with Hopper: its score after each of the first 10 updates.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
TASKS = ("pong", "hopper", "half-cheetah", "pong-pixels")
ROWS: dict[str, tuple[str, int, int]] = {
    "stepping only": ("bound", 0, 1),
    "stepping only, 1 worker": ("bound", 1, 1),
    "stepping only, 2 workers": ("bound", 2, 1),
    "ours": ("ours", 0, 1),
    "ours, 1 worker": ("ours", 1, 1),
    "ours, 2 workers": ("ours", 2, 1),
    "ours, autograd": ("ours", 0, 1),
    "SB3": ("sb3", 0, 1),
    "SB3, 2 threads": ("sb3", 0, 2),
    "SB3, 2 workers": ("sb3", 2, 1),
    "SBX": ("sbx", 0, 1),
    "SBX, 2 workers": ("sbx", 2, 1),
    "CleanRL style": ("cleanrl", 0, 1),
    "CleanRL style, 2 workers": ("cleanrl", 2, 1),
}
"""Row: contender, worker processes that step, torch threads."""


class Contender:
    """A process that trains when told to."""

    def __init__(self, name: str, task: str, workers: int, threads: int, **options: Any) -> None:
        command = [sys.executable, __file__, "--serve", name, task, str(workers), str(threads), json.dumps(options)]
        environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip
        self.rates: list[float] = []
        self.core_us: list[float] = []
        self.peak_mib = float("nan")
        self._hear("ready")

    def turn(self, seconds: float) -> None:
        """Train for so long."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        said = json.loads(self._hear("{"))
        self.rates.append(said["steps"] / said["seconds"])
        self.core_us.append(1e6 * said["core"] / said["steps"])

    def close(self) -> None:
        """End it, and note its memory."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        if self._process.poll() is None:
            self.peak_mib = json.loads(self._hear("{"))["peak_mib"]
        self._process.wait()

    def _hear(self, start: str) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        raise RuntimeError(f"a contender ended: exit code {self._process.wait()}")


@contextmanager
def running(rows: dict[str, tuple[str, int, int]], task: str, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All contenders that can be started."""
    with ExitStack() as stack:
        found = {}
        for row, (name, workers, threads) in rows.items():
            try:
                found[row] = Contender(name, task, workers, threads, **options.get(row, {}))
                stack.callback(found[row].close)
            except RuntimeError as error:
                print(f"{task}: {row} cannot be measured: {error}", file=sys.stderr)
        yield found


def measured(rows: Any, task: str, rounds: int, seconds: float, options: dict[str, Any]) -> dict[str, Contender]:
    """Every row's turns, taken in turns."""
    with running(rows, task, options) as found:
        for _ in range(rounds):
            for contender in found.values():
                contender.turn(seconds)
    return found


def speed(console: Console, args: argparse.Namespace) -> None:
    """Steps per second of everybody."""
    for task in args.tasks:
        rows = {row: how for row, how in ROWS.items() if row.startswith(("stepping", *args.rows))}
        if task == "pong-pixels":
            rows.pop("ours, autograd", None)  # convolutions have no other
        found = measured(rows, task, args.rounds, args.seconds, {"ours, autograd": {"autograd": True}})
        bound = max(np.median(found[row].rates) for row in found if row.startswith("stepping"))
        best = {
            name: max((np.median(one.rates) for row, one in found.items() if row.startswith(name)), default=np.nan)
            for name in ("SB3", "SBX", "CleanRL")
        }
        table = Table("row", title=task)
        for column in ("steps/s", "range", "of bound", "x SB3", "x SBX", "core us", "MiB"):
            table.add_column(column, justify="right", no_wrap=True)
        for row, one in found.items():
            rate = float(np.median(one.rates))
            ratios = (f"{rate / best[name]:.2f}" for name in ("SB3", "SBX"))
            span = f"{min(one.rates):,.0f}-{max(one.rates):,.0f}"
            core = f"{np.median(one.core_us):,.0f}"
            table.add_row(row, f"{rate:,.0f}", span, f"{rate / bound:.0%}", *ratios, core, f"{one.peak_mib:,.0f}")
        console.print(table)
        _paired(console, found)


def _paired(console: Console, found: dict[str, Contender]) -> None:
    """Ours over each rival, round by round, each at its best number of workers and threads."""
    if "ours" in found and "ours, autograd" in found:
        ratios = np.array(found["ours, autograd"].core_us) / np.array(found["ours"].core_us)
        console.print(
            f"  written-out gradient / autograd, processor time: {np.median(ratios):.2f} times as fast "
            f"(rounds {ratios.min():.2f} to {ratios.max():.2f})"
        )
    mine = max(
        (one for row, one in found.items() if row.startswith("ours") and row != "ours, autograd"),
        key=lambda one: np.median(one.rates),
    )
    for name in ("SB3", "SBX", "CleanRL"):
        rivals = [one for row, one in found.items() if row.startswith(name)]
        if rivals:
            rival = max(rivals, key=lambda one: np.median(one.rates))
            ratios = np.array(mine.rates) / np.array(rival.rates)
            console.print(
                f"  ours / {name}, each at its best setting: {np.median(ratios):.2f} "
                f"(rounds {ratios.min():.2f} to {ratios.max():.2f})"
            )


def modulation(console: Console, args: argparse.Namespace) -> None:
    """What tables of advice cost."""
    for task in (task for task in args.tasks if task != "pong-pixels"):
        sizes = (0, 10_000, 1_000_000)
        rows = {f"{size:,} rows, {workers} workers": ("ours", workers, 1) for workers in (0, 1) for size in sizes}
        options = {row: {"entries": size} for row, size in zip(rows, sizes * 2, strict=True)}
        found = measured(rows, task, args.rounds, args.seconds, options)
        table = Table("table of advice", "steps/s", "of the speed without (rounds)", "MiB", title=task)
        for row, one in found.items():
            base = next(found[f"{0} rows, {w} workers"] for w in (0, 1) if row.endswith(f" {w} workers"))
            ratios = np.array(one.rates) / np.array(base.rates)
            share = f"{np.median(ratios):.1%}  ({ratios.min():.1%} to {ratios.max():.1%})"
            table.add_row(row, f"{np.median(one.rates):,.0f}", share, f"{one.peak_mib:,.0f}")
        console.print(table)


def learning(console: Console, args: argparse.Namespace) -> None:
    """Areas under learning curves."""
    from _train_learning import BUDGETS, compare

    compare(console, list(BUDGETS), args.seeds, args.jobs)


def dip(console: Console, args: argparse.Namespace) -> None:
    """First updates of refining."""
    from _train_learning import first_updates

    first_updates(console, args.seeds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"speed": speed, "modulation": modulation, "learning": learning, "dip": dip}
    parser.add_argument("--part", choices=list(parts), default="speed")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--rows", nargs="+", default=["ours", "SB3", "SBX", "CleanRL"], help="as they begin")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="trainings at a time, for `learning`")
    args = parser.parse_args()
    console, began = Console(width=110), time.perf_counter()
    console.print(
        f"{args.part}: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f}; {args.rounds} rounds of {args.seconds:g} s"
    )
    parts[args.part](console, args)
    console.print(f"{time.perf_counter() - began:,.0f} s in all; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    if sys.argv[1:2] == ["--serve"]:
        from _train_contenders import serve

        serve()
    else:
        main()
