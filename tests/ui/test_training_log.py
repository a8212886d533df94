"""`metrics.jsonl` and TensorBoard events, written from a run's events."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.cli.event_dispatcher import EventDispatcher
from ultra_agents.config import parse_config
from ultra_agents.events import Evaluated, Event, TrainingProgress
from ultra_agents.runs import RunFolder, read_lines
from ultra_agents.ui import training_log
from ultra_agents.ui.training_log import TrainingLog

EVENTS: list[Event] = [
    Evaluated("ultra-ra", 0, "curve", (1.0, 3.0)),
    TrainingProgress("ultra-ra", 128, 256, {"return_mean": math.nan, "losses/v_loss": 0.5}),
    TrainingProgress("ultra-ra", 256, 256, {"return_mean": 2.0, "losses/v_loss": 0.25}),
    TrainingProgress("continue", 128, 256, {"return_mean": 1.0}),
    Evaluated("ultra-ra", 256, "last", (9.0,)),
]


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "metrics.jsonl", tmp_path / "tensorboard"


def write(place: tuple[Path, Path], events: list[Event]) -> list[dict[str, Any]]:
    log = TrainingLog(*place, clock=lambda: 1000.0)
    for event in events:
        log.handle(event)
    log.close()
    return [json.loads(line, parse_constant=pytest.fail) for line in place[0].read_text().splitlines()]


def test_one_line_per_update_and_method(place: tuple[Path, Path]) -> None:
    assert write(place, EVENTS) == [
        {
            "method": "ultra-ra",
            "steps": 0,
            "time": 1000.0,
            "evaluation/return_mean": 2.0,
            "evaluation/return_std": 1.0,
        },
        {"method": "ultra-ra", "steps": 128, "time": 1000.0, "return_mean": None, "losses/v_loss": 0.5},
        {"method": "ultra-ra", "steps": 256, "time": 1000.0, "return_mean": 2.0, "losses/v_loss": 0.25},
        {"method": "continue", "steps": 128, "time": 1000.0, "return_mean": 1.0},
    ]


def test_what_a_resumed_run_repeats_is_not_written_twice(place: tuple[Path, Path]) -> None:
    write(place, EVENTS[:2])
    with place[0].open("a") as file:
        file.write('{"method": "ultra-ra", "ste')  # a crash
    rows = []
    log = TrainingLog(*place)
    for event in EVENTS:
        log.handle(event)
    log.close()
    for line in place[0].read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    assert [(row["method"], row["steps"]) for row in rows] == [
        ("ultra-ra", 0), ("ultra-ra", 128), ("ultra-ra", 256), ("continue", 128),
    ]  # fmt: skip


def test_tensorboard_reads_the_same_numbers(place: tuple[Path, Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write(place, EVENTS)
    assert sorted(path.name for path in place[1].iterdir()) == ["continue", "ultra-ra"]
    read = EventAccumulator(str(place[1] / "ultra-ra")).Reload()
    assert set(read.Tags()["scalars"]) == {
        "train/return_mean", "losses/v_loss", "evaluation/return_mean", "evaluation/return_std",
    }  # fmt: skip
    assert [(one.step, one.value, one.wall_time) for one in read.Scalars("losses/v_loss")] == [
        (128, 0.5, 1000.0),
        (256, 0.25, 1000.0),
    ]
    assert [one.step for one in read.Scalars("train/return_mean")] == [256], "NaN is no point"


def test_without_tensorboard_the_lines_are_there_all_the_same(
    place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_log, "find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert len(write(place, EVENTS)) == 4
    assert not place[1].exists()


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


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    settings = {"name": "one", "environment": {"name": "corridor"}, "policy": {"train_steps": 10}}
    return RunFolder.create(tmp_path / "runs", parse_config(settings, "test"))


def test_a_run_leaves_its_metrics_in_its_folder(folder: RunFolder) -> None:
    with EventDispatcher(folder, Mute()) as emit:
        for event in EVENTS:
            emit(event)
    assert [row["method"] for row in read_lines(folder.metrics)] == ["ultra-ra"] * 3 + ["continue"]
    assert list(folder.tensorboard.glob("*/events.out.tfevents.*"))


def test_a_failing_log_is_said_once_and_the_run_goes_on(folder: RunFolder) -> None:
    folder.metrics.mkdir()
    display = Mute()
    with EventDispatcher(folder, display) as emit:
        for event in EVENTS:
            emit(event)
    told = [event.text for event in display.told if type(event).__name__ == "Warned"]  # type: ignore[attr-defined]
    assert len(told) == 1
    assert told[0].startswith("training metrics are not logged any more: ")
    assert len(list(read_lines(folder.events))) == len(EVENTS)
