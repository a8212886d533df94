"""A made-up comparison of four methods on two tasks with three seeds."""

from __future__ import annotations

import math

from tests.ui import sample_run
from ultra_agents.events import Evaluated, Event, RunStarted, StageFinished, StageStarted, TrainingProgress
from ultra_agents.ui.compare.cell_table import CellStatus
from ultra_agents.ui.compare.state import CellProgress, ComparisonState
from ultra_agents.ui.run_state import RunState, reduce

METHODS = {"none": 0.0, "continue": 4.0, "ultra-ra": 11.0, "rice": 6.0}
STEPS = 80_000


def trained(method: str, seed: int, share: float, top: float) -> list[Event]:
    """A cell's events until `share` of its training is done."""
    stage = f"refine {method}"
    made: list[Event] = [
        RunStarted(
            method, f"runs/demo/cells/{method}", "0", False, (("collect", 0.2), (stage, 0.7), ("evaluate", 0.1))
        ),
        StageStarted("collect", "Play 4 episodes"),
        StageFinished("collect", 2.0, "mean return -14"),
        Evaluated(method, 0, "before", (-14.5 + 0.2 * seed, -13.5)),
        StageStarted(stage, f"Refine the policy: {method}", STEPS, "steps"),
    ]
    for step in range(0, int(STEPS * share) + 1, 10_000):
        value = -14 + top * (1 - math.exp(-step / 30_000)) + 0.6 * (seed - 1)
        made.append(Evaluated(method, step, "curve", (value - 1, value + 1)))
    made.append(TrainingProgress(method, int(STEPS * share), STEPS))
    if share >= 1:
        made += [
            StageFinished(stage, 90.0, ""),
            StageFinished("evaluate", 4.0, ""),
            Evaluated(method, STEPS, "last", (-14 + top + seed - 1,) * 2),
        ]
    return made


def comparison() -> tuple[ComparisonState, float]:
    """The comparison at a moment, and its time: the first task all but done, the second waiting."""
    cells, now = [], 220.0
    for task in ("pong", "hopper"):
        for method, top in METHODS.items():
            for seed in range(3):
                at = (list(METHODS).index(method) * 3 + seed) if task == "pong" else 99
                status = "finished" if at < 8 else "running" if at < 10 else "failed" if at == 10 else "waiting"
                state, note = RunState(), ""
                if at < 10:
                    began = 20.0 * at
                    for event in trained(method, seed, 1.0 if at < 8 else 0.3 + 0.2 * (10 - at), top):
                        state = reduce(state, event, began)
                if status == "finished":
                    note = f"{-14 + top + seed - 1:.4g}"
                elif status == "failed":
                    note = "its worker died 3 times"
                took = 20.0 if status == "finished" else None
                cells.append(CellProgress(CellStatus(task, method, seed, status, note, seconds=took), state))
    live, _ = sample_run.state()
    return ComparisonState("demo", "runs/demo", tuple(cells), 8, True, False, live, 20.0), now
