"""Training metrics in Weights & Biases and MLflow: written for real, offline, and read back."""

from __future__ import annotations

import json
import struct
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.cli.event_dispatcher import EventDispatcher
from ultra_agents.cli.run_display import preflight
from ultra_agents.config import Config, parse_config
from ultra_agents.errors import ConfigError
from ultra_agents.events import Evaluated, Event, TrainingProgress, Warned
from ultra_agents.runs import RunFolder
from ultra_agents.ui import trackers
from ultra_agents.ui.trackers import QueuedTracker, Tracker
from ultra_agents.ui.training_log import TrainingLog

EVENTS: list[Event] = [
    Evaluated("ultra-ra", 0, "curve", (1.0, 3.0)),
    TrainingProgress("ultra-ra", 128, 256, {"return_mean": float("nan"), "losses/v_loss": 0.5}),
    TrainingProgress("ultra-ra", 256, 256, {"return_mean": 2.0, "losses/v_loss": 0.25}),
    TrainingProgress("continue", 128, 256, {"return_mean": 1.0}),
]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def feed(folder: Path, which: str, events: list[Event]) -> None:
    log = TrainingLog(
        folder / "metrics.jsonl", folder / "tensorboard", lambda: 1000.0, trackers=(which,), settings={"seed": 7}
    )
    for event in events:
        log.handle(event)
    log.close()
    assert log.troubles() == []
    assert not (folder / "tensorboard").exists(), "only what was asked for"


def records(path: Path) -> Iterator[Any]:
    """The records of an offline run's file (LevelDB's log format)."""
    from wandb.proto import wandb_internal_pb2

    data, place, whole = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield wandb_internal_pb2.Record.FromString(whole)
            whole = b""


def test_wandb_offline_holds_the_same_numbers(tmp_path: Path) -> None:
    import wandb

    feed(tmp_path, "wandb", EVENTS)
    wandb.teardown()  # what the end of a process does: its service has written everything
    found: dict[str, list[tuple[int, str, float]]] = {}
    for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb"):
        name, rows = "", []
        for record in records(path):
            if record.HasField("run"):
                name = record.run.display_name
                assert record.run.run_group == tmp_path.name
                assert record.run.project == "ultra-agents"
            for item in record.history.item:
                key = item.key or "/".join(item.nested_key)
                if not key.startswith("_") and key != "time":
                    rows.append((int(record.history.step.num), key, json.loads(item.value_json)))
        found[name] = sorted(rows)
    assert found == {
        f"{tmp_path.name}-ultra-ra": [
            (0, "evaluation/return_mean", 2.0),
            (0, "evaluation/return_std", 1.0),
            (128, "losses/v_loss", 0.5),
            (256, "losses/v_loss", 0.25),
            (256, "train/return_mean", 2.0),
        ],
        f"{tmp_path.name}-continue": [(128, "train/return_mean", 1.0)],
    }


def test_mlflow_files_hold_the_same_numbers_and_a_resumed_run_goes_on_in_them(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    feed(tmp_path, "mlflow", EVENTS[:2])
    feed(tmp_path, "mlflow", EVENTS)  # taken up: metrics.jsonl says what is there already
    client = MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("ultra-agents")
    runs = {run.data.tags["method"]: run for run in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {"ultra-ra", "continue"}
    assert runs["ultra-ra"].info.status == "FINISHED"
    assert runs["ultra-ra"].data.params == {"seed": "7"}
    history = client.get_metric_history(runs["ultra-ra"].info.run_id, "losses/v_loss")
    assert [(one.step, one.value, one.timestamp) for one in history] == [(128, 0.5, 1_000_000), (256, 0.25, 1_000_000)]
    assert runs["ultra-ra"].data.metrics["evaluation/return_mean"] == 2.0
    assert runs["continue"].data.metrics == {"train/return_mean": 1.0}


class Odd(Tracker):
    """A service that fails, or hangs until it is let go."""

    title = "Odd"

    def __init__(self, hang: threading.Event | None = None) -> None:
        super().__init__(Path(), {})
        self.hang, self.calls = hang, 0

    def log(self, method: str, steps: int, seconds: float, metrics: Mapping[str, float]) -> None:
        self.calls += 1
        if self.hang is None:
            raise ConnectionError("no route to\nhost")
        self.hang.wait()

    def close(self) -> None:
        pass


def test_a_failing_service_is_told_once_and_left_alone() -> None:
    tracker = Odd()
    behind = QueuedTracker(tracker)
    behind.log("m", 1, 0.0, {})
    behind.close()
    assert behind.trouble() == "Odd gets no more training metrics: ConnectionError: no route to host"
    assert behind.trouble() is None
    behind.log("m", 2, 0.0, {})
    behind.close()
    assert tracker.calls == 1


def test_a_hanging_service_holds_nobody_up() -> None:
    free = threading.Event()
    behind = QueuedTracker(Odd(free), close_s=0.05)
    for step in range(1000):
        behind.log("m", step, 0.0, {"a": 1.0})
    behind.close()
    assert behind.trouble() == "Odd gets no more training metrics: it did not finish within 0.05 seconds"
    free.set()


def settings(**more: Any) -> Config:
    return parse_config(
        {"name": "one", "environment": {"name": "corridor"}, "policy": {"train_steps": 10}, **more}, "test"
    )


class Mute:
    """A display that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[Event] = []

    def start(self) -> None:
        pass

    def handle(self, event: Event) -> None:
        self.told.append(event)

    def stop(self) -> None:
        pass


def test_a_run_whose_tracker_fails_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(trackers.KINDS, "mlflow", lambda folder, settings: Odd())  # type: ignore[arg-type]
    folder, display = RunFolder.create(tmp_path, settings(trackers=["mlflow"])), Mute()
    with EventDispatcher(folder, display) as emit:
        for event in EVENTS:
            emit(event)
    told = [event.text for event in display.told if isinstance(event, Warned)]
    assert told == ["Odd gets no more training metrics: ConnectionError: no route to host"]
    assert len(folder.metrics.read_text().splitlines()) == len(EVENTS)


def test_a_missing_package_is_said_before_the_run_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="the tracker wandb needs a package") as error:
        preflight(settings(trackers=["wandb"]))
    assert "pip install 'ultra-agents[wandb]'" in str(error.value.hint)
    trackers.check_trackers(None)


def test_trackers_are_no_part_of_what_a_run_is(tmp_path: Path) -> None:
    assert settings(trackers=["wandb"]).hash() == settings().hash()
    with pytest.raises(ConfigError, match="trackers"):
        settings(trackers=["excel"])
