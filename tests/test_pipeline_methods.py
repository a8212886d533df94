"""Every rival of ULTRA through the whole pipeline, on the corridor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultra_agents.config import parse_config
from ultra_agents.errors import ConfigError, Interrupted
from ultra_agents.events import Event, StageProgress, TrainingProgress
from ultra_agents.pipeline import run_pipeline
from ultra_agents.policies import read_safetensors
from ultra_agents.runs import RunFolder

METHODS = ["none", "continue", "rice", "statemask-r", "jsrl"]
ENVS, BUDGET = 8, 2400


def begin(root: Path, **changes: Any) -> RunFolder:
    options = {"hidden": [16, 16], "num_steps": 32}
    mask = {"steps": 600, "algorithm": {"name": "ppo", "options": {**options, "num_steps": 16}}}
    config: dict[str, Any] = {
        "name": "e2e",
        "environment": {"name": "corridor", "options": {"length": 15, "max_steps": 40, "slip": 0.1}},
        "policy": {"train_steps": 1500},
        "methods": METHODS,
        "collect": {"episodes": 3},
        "rice": {"probability": 0.5, "mask": mask},
        "statemask": {"episodes": 3, "mask": mask},
        "jsrl": {"window": 4},
        "refine": {
            "steps": BUDGET, "num_envs": ENVS, "workers": 0, "evaluate_every": 1200, "curve_episodes": 2,
            "algorithm": {"name": "ppo", "options": options},
        },
        "evaluate": {"episodes": 4, "fidelity": 1},
        **changes,
    }  # fmt: skip
    return RunFolder.create(root, parse_config(config, "test"))


def run(folder: RunFolder, emit: Callable[[Event], None] = lambda event: None, stop: Any = lambda: False) -> Any:
    run_pipeline(folder, folder.config, emit, stop)
    return json.loads(folder.report_json.read_text())


def weights(folder: RunFolder, name: str) -> dict[str, Any]:
    return read_safetensors(folder.checkpoint(name))[1]


def same(left: dict[str, Any], right: dict[str, Any]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Any]:
    folder = begin(tmp_path_factory.mktemp("whole"))
    return folder, run(folder)


def test_all_methods_are_in_the_report(whole: tuple[RunFolder, Any]) -> None:
    folder, report = whole
    assert list(report["methods"]) == METHODS
    assert set(report["comparison"]) == set(METHODS) - {"continue"}
    page = folder.report_html.read_text()
    labels = [row["label"] for row in report["methods"].values()]
    assert labels == ["the starting policy", "continued PPO", "RICE", "StateMask-R", "JSRL"]
    assert all(label in page for label in labels)
    assert report["headline"].startswith("RICE ended at")
    assert not any("budgets differ" in caveat for caveat in report["caveats"])


def test_budgets_are_equal_and_say_what_for(whole: tuple[RunFolder, Any]) -> None:
    _, report = whole
    steps = {name: row["env_steps"] for name, row in report["methods"].items()}
    for row in steps.values():
        assert row["total"] == sum(value for key, value in row.items() if key != "total")
    assert steps["none"] == {"total": 0, "refine": 0}
    assert set(steps["rice"]) == {"total", "collect", "rice mask", "refine"}
    assert set(steps["statemask-r"]) == {"total", "statemask-r mask", "statemask-r episodes", "refine"}
    assert steps["jsrl"]["collect"] == report["env_steps"]["collect"] > 0
    for name in METHODS[1:]:
        assert BUDGET <= steps[name]["total"] < BUDGET + 2 * ENVS, name
    assert report["env_steps"]["rice mask"] == steps["rice"]["rice mask"] == 600
    assert report["env_steps"]["statemask-r episodes"] == steps["statemask-r"]["statemask-r episodes"] > 0


def test_none_leaves_the_weights_alone_and_the_others_do_not(whole: tuple[RunFolder, Any]) -> None:
    folder, report = whole
    start = weights(folder, "start")
    assert same(weights(folder, "none-last"), start)
    assert same(weights(folder, "none-best"), start)
    lasts = [weights(folder, f"{name}-last") for name in METHODS[1:]]
    assert not any(same(last, start) for last in lasts)
    assert not any(same(left, right) for i, left in enumerate(lasts) for right in lasts[:i])
    none = report["methods"]["none"]
    assert none["returns_before"]["values"] == none["returns_last"]["values"] == none["returns_best"]["values"]
    assert len(none["curve"]) == 1


def test_the_masks_have_a_fidelity(whole: tuple[RunFolder, Any]) -> None:
    _, report = whole
    for name in ("rice", "statemask-r"):
        assert "fidelity_40" in report["methods"][name]["metrics"], name
    assert "fidelity_40" not in report["methods"]["jsrl"]["metrics"]


def stripped(report: Any) -> Any:
    return {name: {k: v for k, v in row.items() if k != "seconds"} for name, row in report["methods"].items()}


@pytest.mark.parametrize("where", ["rice", "jsrl", "mask"])
def test_an_interrupted_run_resumes_exactly(whole: tuple[RunFolder, Any], tmp_path: Path, where: str) -> None:
    folder, seen = begin(tmp_path), [0]

    def count(event: Event) -> None:
        training = isinstance(event, TrainingProgress) and event.method == where
        mask = isinstance(event, StageProgress) and event.note == "mask network of statemask-r"
        seen[0] += training or (mask and where == "mask")

    with pytest.raises(Interrupted):
        run(folder, count, lambda: seen[0] >= 2)
    folder.close()
    report = run(RunFolder.open(folder.path))
    assert stripped(report) == stripped(whole[1])
    assert all(same(weights(folder, f"{name}-last"), weights(whole[0], f"{name}-last")) for name in METHODS)


def test_what_a_method_lacks_is_said_before_anything_is_spent(tmp_path: Path) -> None:
    folder = begin(tmp_path, methods=["rice", "continue"], rice={"mask": {"steps": BUDGET}})
    with pytest.raises(ConfigError, match="need what is not there"):
        run(folder)
    assert folder.done == ()
    assert not list(folder.checkpoints.iterdir())
