"""Training metrics on disk: one JSON line per update and method; TensorBoard events and other trackers beside it.

A line holds `method`, `steps` (environment steps of refinement so far), `time` (seconds since the epoch) and the
update's metrics by their own names. An evaluation between updates has a line of its own, with
`evaluation/return_mean` and `evaluation/return_std` (unmodulated episodes on the selection seeds). Steps that a
resumed run trains again from its last checkpoint are not written again: their metrics are bit-identical.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ultra_agents.events import Evaluated, Event, TrainingProgress
from ultra_agents.files import add_line
from ultra_agents.text import json_row
from ultra_agents.ui.trackers import make_trackers


class TrainingLog:
    """Writes `TrainingProgress` and the curve's `Evaluated` events; other events pass.

    Args:
        metrics: The `.jsonl` file, added to.
        tensorboard: Folder of event files, one sub-folder per method; made with the first event.
        clock: Seconds since the epoch.
        trackers: Further destinations; None for TensorBoard where it is installed.
        settings: The run's configuration, for trackers that record it.
    """

    def __init__(
        self,
        metrics: Path,
        tensorboard: Path,
        clock: Callable[[], float] = time.time,
        trackers: Sequence[str] | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self._path, self._tensorboard, self._clock = metrics, tensorboard, clock
        self._trackers = make_trackers(trackers, metrics.parent, settings or {})
        self._file: int | None = None
        self._writers: dict[str, Any] = {}
        self._reached: dict[tuple[str, bool], int] = _reached(metrics)
        wanted = trackers is None or "tensorboard" in trackers
        self._can_tensorboard = wanted and find_spec("tensorboard") is not None

    def handle(self, event: Event) -> None:
        """Write the event, unless an earlier part of the run has.

        Raises:
            OSError: The disk is full or gone.
        """
        if isinstance(event, TrainingProgress):
            self._write(event.method, event.steps, False, event.metrics)
        elif isinstance(event, Evaluated) and event.purpose == "curve" and event.returns:
            mean, spread = _mean_and_spread(event.returns)
            row = {"evaluation/return_mean": mean, "evaluation/return_std": spread}
            self._write(event.method, event.steps, True, row)

    def close(self) -> None:
        """Close the files; the next event opens them again."""
        self._close_file()
        for writer in self._writers.values():
            writer.close()
        self._writers = {}
        for tracker in self._trackers:
            tracker.close()

    def troubles(self) -> list[str]:
        """Failures of trackers since the last call, for the user."""
        return [text for tracker in self._trackers if (text := tracker.trouble()) is not None]

    def _write(self, method: str, steps: int, evaluation: bool, metrics: dict[str, float]) -> None:
        if steps <= self._reached.get((method, evaluation), -1):
            return
        self._reached[method, evaluation] = steps
        told = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        now = round(self._clock(), 3)
        row = {"method": method, "steps": steps, "time": now, **told}
        if first := self._file is None:
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            add_line(self._file, (json.dumps(row) + "\n").encode(), first=first)
        except OSError:
            self._close_file()
            raise
        points = {
            name if "/" in name else f"train/{name}": value for name, value in metrics.items() if math.isfinite(value)
        }
        if self._can_tensorboard:
            writer = self._writer(method)
            for name, value in points.items():
                writer.add_scalar(name, value, steps, walltime=now)
        for tracker in self._trackers:
            tracker.log(method, steps, now, points)

    def _close_file(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            os.close(file)

    def _writer(self, method: str) -> Any:
        if method not in self._writers:
            from torch.utils.tensorboard import SummaryWriter

            self._writers[method] = SummaryWriter(str(self._tensorboard / method), flush_secs=10)
        return self._writers[method]


def _mean_and_spread(values: Iterable[float]) -> tuple[float, float]:
    numbers = list(values)
    mean = math.fsum(numbers) / len(numbers)
    return mean, math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / len(numbers))


def _reached(metrics: Path) -> dict[tuple[str, bool], int]:
    """The last step written by method and whether it was an evaluation; damaged lines are skipped."""
    found: dict[tuple[str, bool], int] = {}
    if not metrics.is_file():
        return found
    with metrics.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json_row(line) or {}
                key = (str(row["method"]), "evaluation/return_mean" in row)
                found[key] = max(found.get(key, -1), int(row["steps"]))
            except (ValueError, KeyError, TypeError, OverflowError):
                continue
    return found
