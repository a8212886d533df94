"""Cells that are stopped or whose worker is killed end as those that nothing happened to."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from typing import Any

import pytest

from tests.experiments.conftest import COMMON
from tests.experiments.test_engines import scores
from ultra_agents.experiments.cells import cells_folder, result_of, run_cell
from ultra_agents.experiments.drive import drive
from ultra_agents.experiments.engines import LocalEngine
from ultra_agents.experiments.ray_engine import RayEngine

LONG = {"steps": 20_000, "num_envs": 2, "workers": 0, "evaluate_every": 2_048, "curve_episodes": 2}


def with_steps(common: dict[str, Any]) -> dict[str, Any]:
    return {**common, "refine": LONG}


@pytest.fixture(scope="module")
def kept() -> dict[str, tuple[float, ...]]:
    """What `undisturbed` found."""
    return {}


@pytest.fixture
def undisturbed(small: Any, kept: dict[str, tuple[float, ...]]) -> dict[str, tuple[float, ...]]:
    """Scores of the long cell when nothing happens to it; it runs once."""
    if not kept:
        _, (cell,), root = small(seeds=1, methods=["continue"], common=with_steps(COMMON), name="whole")
        assert run_cell(cell, root).status == "finished"
        kept.update(scores([cell], root))
    return kept


def test_stopping_keeps_everything_and_going_on_gives_the_same(small: Any, undisturbed: Any) -> None:
    _, (cell,), root = small(seeds=1, methods=["continue"], common=with_steps(COMMON))
    trained = cells_folder(root) / cell.name / "checkpoints" / "continue-trainer.safetensors"
    results, outcomes = drive([cell], root, LocalEngine(1), trained.exists, lambda _: None)
    assert not results
    assert outcomes[cell.name].status == "stopped"
    assert result_of(cell, root) is None, "a half-written cell is no result"
    drive([cell], root, LocalEngine(1), lambda: False, lambda _: None)
    assert scores([cell], root) == undisturbed


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest) -> Any:
    return LocalEngine(1) if request.param == "local" else RayEngine(None)


def test_a_killed_worker_is_replaced_and_its_cell_goes_on(small: Any, engine: Any, undisturbed: Any) -> None:
    _, (cell,), root = small(seeds=1, methods=["continue"], common=with_steps(COMMON))
    folder = cells_folder(root) / cell.name
    killed: list[int] = []

    def kill() -> None:
        while not (folder / "checkpoints" / "continue-trainer.safetensors").exists():
            time.sleep(0.02)
        killed.append(int((folder / ".lock").read_text()))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    results, outcomes = drive([cell], root, engine, lambda: False, lambda _: None)
    killer.join(60)
    assert killed
    assert not outcomes
    assert set(results) == {cell.name}
    begun = sum(
        row["event"] == "RunStarted" for row in map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    )
    assert begun == 2, "it went on once"
    assert scores([cell], root) == undisturbed
