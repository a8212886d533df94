"""What the live screen of a comparison showed at a given moment, from the event logs of its cells.

Where agents replied, the moment is that of the reply closest to the one asked for, and the selected cell is its cell.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ultra_agents.events import AgentSpoke, Event, RunFinished
from ultra_agents.ui.compare.cell_table import CellStatus
from ultra_agents.ui.compare.logs import CellLogs
from ultra_agents.ui.compare.state import ComparisonState
from ultra_agents.ui.event_log import EventLogReader
from ultra_agents.ui.run_state import RunState, reduce

Timed = list[tuple[float, Event]]


def comparison_at(folder: Path, share: float) -> tuple[ComparisonState, float]:
    """The comparison of the comparison in `folder` when `share` of its time had passed, in [0, 1]; and that moment.

    Raises:
        SystemExit: It is no comparison that has reported, or its cells have logged nothing.
    """
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        rows = [(row["name"], row["task"], row["method"], row["seed"]) for row in report["cells"]]
        name = str(report["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"there is no report of a comparison in {folder}: {error}") from error
    paths = [folder / "cells" / row[0] / "events.jsonl" for row in rows]
    logs = [[found for found in EventLogReader(path).poll() if found is not None] for path in paths]
    timed: list[Timed] = [[(when, event) for when, event in log if when is not None] for log in logs]
    times = [when for log in timed for when, _ in log]
    if not times:
        raise SystemExit(f"the cells of {folder} have logged nothing")
    wanted = min(times) + share * (max(times) - min(times))
    spoken = [(abs(when - wanted), when, at) for at, log in enumerate(timed) for when, event in log
              if isinstance(event, AgentSpoke)]  # fmt: skip
    moment, chosen = min(spoken)[1:] if spoken else (wanted, 0)
    states = [
        CellStatus(task, method, seed, *_status(log, moment))
        for (_, task, method, seed), log in zip(rows, timed, strict=True)
    ]
    if not spoken:
        chosen = next((at for at, one in enumerate(states) if one.status == "running"), 0)
    read = CellLogs(paths)
    cells = read.cells(states, states[chosen].task, moment)
    comparison = ComparisonState(
        name, str(folder), cells, chosen, run=read.run_state(chosen, states[chosen].status, moment)
    )
    return replace(comparison, started=min(times)), moment


def _status(log: Sequence[tuple[float, Event]], moment: float) -> tuple[str, str]:
    """A cell's status and note at a moment."""
    past = [(when, event) for when, event in log if when <= moment]
    if not past:
        return "waiting", ""
    if not any(isinstance(event, RunFinished) for _, event in past):
        return "running", ""
    state = RunState()
    for when, event in past:
        state = reduce(state, event, when)
    return "finished", f"{state.ends[-1].mean:.4g}" if state.ends else ""
