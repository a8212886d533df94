"""Training metrics for Weights & Biases and MLflow, beside `metrics.jsonl` and TensorBoard.

Each method of a run is one run there, continued when the run is resumed. A tracker is used from a thread of its own,
so that a slow or absent network neither stops nor delays a run: a failure is reported once, and at the end a tracker
has `CLOSE_S` seconds to send what is queued.

Destinations are set by each tool's own environment variables:
  - Weights & Biases: `WANDB_MODE`, `WANDB_API_KEY`, `WANDB_PROJECT`, `WANDB_ENTITY`. Without a key and a mode it works
    offline, in `wandb/` of the run's folder; `wandb sync` sends that later.
  - MLflow: `MLFLOW_TRACKING_URI`, `MLFLOW_EXPERIMENT_NAME`; by default files in `mlruns/` of the run's folder.
"""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ultra_agents.errors import ConfigError

CLOSE_S = 15.0
"""Seconds a tracker may take at the end of a run; metrics it has not sent by then are lost."""
PACKAGES = {"tensorboard": "tensorboard", "wandb": "wandb", "mlflow": "mlflow"}
PROJECT = "ultra-agents"


class Tracker(ABC):
    """One tracking service; used from one thread only.

    Args:
        folder: The run folder.
        settings: The run's configuration, JSON types.
    """

    title: str

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, self.settings = folder, settings

    @abstractmethod
    def log(self, method: str, steps: int, seconds: float, metrics: Mapping[str, float]) -> None:
        """Finite metrics of a method after `steps` environment steps, at `seconds` since the epoch."""

    @abstractmethod
    def close(self) -> None:
        """Send what is queued and disconnect."""

    def identity(self, method: str) -> str:
        """An id that is the same whenever the run is resumed: a hash of run folder and method."""
        return hashlib.sha256(f"{self.folder.resolve()}\0{method}".encode()).hexdigest()[:16]


class WandbTracker(Tracker):
    """Weights & Biases: one run per method, grouped by the run's name; `steps` is the step."""

    title = "Weights & Biases"

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(folder, settings)
        self._runs: dict[str, Any] = {}

    def log(self, method: str, steps: int, seconds: float, metrics: Mapping[str, float]) -> None:
        """Add a row; updates and evaluations after the same step go into the same one."""
        self._run(method).log({**metrics, "time": seconds}, step=steps)

    def close(self) -> None:
        """Finish all runs."""
        runs, self._runs = self._runs, {}
        for run in runs.values():
            run.finish()

    def _run(self, method: str) -> Any:
        if method not in self._runs:
            import wandb

            mode: Any = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
            self._runs[method] = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                group=self.folder.name,
                name=f"{self.folder.name}-{method}",
                id=self.identity(method),
                resume=None if mode == "offline" else "allow",
                dir=str(self.folder),
                mode=mode,
                reinit="create_new",
                config={**self.settings, "method": method},
                settings=wandb.Settings(silent=True, console="off", init_timeout=10),
            )
        return self._runs[method]


class MlflowTracker(Tracker):
    """MLflow: one run per method in the experiment of the project; `steps` is the step."""

    title = "MLflow"

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(folder, settings)
        self._client: Any = None
        self._runs: dict[str, str] = {}

    def log(self, method: str, steps: int, seconds: float, metrics: Mapping[str, float]) -> None:
        """Add all metrics at once."""
        run = self._run(method)
        from mlflow.entities import Metric

        rows = [Metric(name, value, round(1000 * seconds), steps) for name, value in metrics.items()]
        self._client.log_batch(run, metrics=rows)

    def close(self) -> None:
        """Mark all runs as finished."""
        runs, self._runs = self._runs, {}
        for run in runs.values():
            self._client.set_terminated(run)

    def _run(self, method: str) -> str:
        if method not in self._runs:
            from mlflow import MlflowClient

            if self._client is None:
                place = os.environ.get("MLFLOW_TRACKING_URI") or (self.folder / "mlruns").resolve().as_uri()
                if place.startswith("file:"):  # MLflow 3 asks for this word before it writes files
                    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
                self._client = MlflowClient(tracking_uri=place)
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            experiment = self._client.get_experiment_by_name(name)
            number = experiment.experiment_id if experiment is not None else self._client.create_experiment(name)
            tag = self.identity(method)
            found = self._client.search_runs([number], filter_string=f"tags.ultra_agents = '{tag}'", max_results=1)
            if found:
                self._client.update_run(found[0].info.run_id, status="RUNNING")
                self._runs[method] = found[0].info.run_id
            else:
                tags = {"ultra_agents": tag, "run": self.folder.name, "method": method}
                made = self._client.create_run(number, run_name=f"{self.folder.name}-{method}", tags=tags)
                for key, value in self.settings.items():
                    self._client.log_param(made.info.run_id, key, str(value)[:500])
                self._runs[method] = made.info.run_id
        return self._runs[method]


KINDS: dict[str, type[Tracker]] = {"wandb": WandbTracker, "mlflow": MlflowTracker}


class QueuedTracker:
    """A tracker behind a queue and a thread: calls return at once and never raise.

    Args:
        tracker: Used from this object's thread only.
        close_s: Seconds `close` waits at most.
    """

    def __init__(self, tracker: Tracker, close_s: float = CLOSE_S) -> None:
        self._tracker, self._close_s = tracker, close_s
        self._rows: queue.SimpleQueue[tuple[str, int, float, dict[str, float]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._failure: str | None = None
        self._told = False

    def log(self, method: str, steps: int, seconds: float, metrics: Mapping[str, float]) -> None:
        """Queue a row."""
        if self._failure is not None:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, daemon=True, name=f"tracker {self._tracker.title}")
            self._thread.start()
        self._rows.put((method, steps, seconds, dict(metrics)))

    def close(self) -> None:
        """Let the tracker finish, for at most `close_s` seconds; a later row starts it again."""
        if self._thread is None:
            return
        self._rows.put(None)
        self._thread.join(self._close_s)
        if self._thread.is_alive() and self._failure is None:
            self._failure = f"it did not finish within {self._close_s:g} seconds"
        self._thread = None

    def trouble(self) -> str | None:
        """The failure to report to the user; None if there is none, or it was reported."""
        if self._failure is None or self._told:
            return None
        self._told = True
        return f"{self._tracker.title} gets no more training metrics: {self._failure}"

    def _work(self) -> None:
        try:
            while (row := self._rows.get()) is not None:
                self._tracker.log(*row)
            self._tracker.close()
        except BaseException as error:  # third-party code in a thread: SystemExit included
            self._failure = " ".join(f"{type(error).__name__}: {error}".split())[:300]


def check_trackers(wanted: Sequence[str] | None) -> None:
    """Refuse trackers whose package is missing.

    Raises:
        ConfigError: A package is not installed.
    """
    missing = [name for name in wanted or () if find_spec(PACKAGES[name]) is None]
    if missing:
        raise ConfigError(
            f"the tracker {missing[0]} needs a package that is not installed",
            found=f"trackers: {', '.join(wanted or ())}",
            expected=f"the package {PACKAGES[missing[0]]}",
            hint=f"pip install 'ultra-agents[{missing[0]}]', or leave it out of trackers",
        )


def make_trackers(wanted: Sequence[str] | None, folder: Path, settings: Mapping[str, Any]) -> list[QueuedTracker]:
    """The services among `wanted`, each behind its queue."""
    return [QueuedTracker(KINDS[name](folder, settings)) for name in wanted or () if name in KINDS]
