"""Expert iteration in the corridor: the better copy's episodes are searched for more, charged, capped, resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.config import parse_config
from ultra_agents.errors import ConfigError, Interrupted
from ultra_agents.events import Event, StepsSpent
from ultra_agents.pipeline import plan_of, rounds_of, run_pipeline
from ultra_agents.runs import RunFolder
from ultra_agents.stages import iterate
from ultra_agents.stages.context import RunContext

BUDGET = 30_000
SETTINGS: dict[str, Any] = {
    "name": "rounds",
    "environment": {"name": "corridor", "options": {"length": 15, "max_steps": 30, "lure": -0.5, "slip": 0.2}},
    "policy": {"train_steps": 64},
    "proposer": "search",
    "collect": {"episodes": 3},
    "agents": {"max_hold": 8, "max_critical": 4, "search": {"total_steps": 6000, "max_steps": 600}},
    "verification": {
        "max_pairs": 4, "horizon": 30, "decide": "single", "joint_pairs": 16, "joint_horizon": 30,
        "joint_max_steps": 8000,
    },
    "imitation": {"mode": "better", "iterations": 3, "weights": "gain"},
    "methods": ["ultra-ra", "continue"],
    "refine": {
        "steps": BUDGET, "num_envs": 8, "workers": 0, "evaluate_every": BUDGET, "curve_episodes": 2,
        "algorithm": {"name": "ppo", "options": {"hidden": [16, 16], "clone_steps": 40, "clone_learning_rate": 0.01}},
    },
    "evaluate": {"episodes": 2, "video": False},
}  # fmt: skip


def begin(root: Path, **changes: Any) -> RunFolder:
    merged = {key: {**SETTINGS[key], **value} if isinstance(value, dict) else value for key, value in changes.items()}
    return RunFolder.create(root, parse_config({**SETTINGS, **merged}, "test"))


def finish(folder: RunFolder, emit: Any = lambda event: None, stop: Any = lambda: False) -> dict[str, Any]:
    run_pipeline(folder, folder.config, emit, stop)
    found: dict[str, Any] = json.loads(folder.report_json.read_text())
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, dict[str, Any], list[Event]]:
    folder, events = begin(tmp_path_factory.mktemp("whole")), list[Event]()
    return folder, finish(folder, events.append), events


def test_a_round_plays_searches_tests_and_learns_from_the_better_copy(whole: Any) -> None:
    _, report, _ = whole
    assert report["imitation"]["used"]
    second = report["rounds"][0]
    assert (second["number"], second["episodes"]) == (2, 3)
    before = report["methods"]["ultra-ra"]["returns_before"]["mean"]
    assert second["mean_return"] > before, "its episodes are the copy's, not the starting policy's"
    assert min(second["collecting"], second["testing"], second["imitating"], second["steps"]) > 0
    assert second["tested"] >= second["plans"] > 0
    assert second["agreement"][0] < second["agreement"][1] <= 1
    assert f"{second['tested']} suggestions tested" in second["headline"]


def test_every_round_is_charged_and_told(whole: Any) -> None:
    folder, report, events = whole
    rounds = report["rounds"]
    assert len(rounds) == len(rounds_of(folder.config)) == 2
    spent = report["methods"]["ultra-ra"]["env_steps"]
    paid = sum(one["collecting"] + one["testing"] + one["imitating"] for one in rounds)
    assert spent["imitate"] == report["imitation"]["env_steps"] + paid
    assert 0.9 * BUDGET <= spent["total"] <= BUDGET + 8
    assert "imitate" not in report["methods"]["continue"]["env_steps"]
    told = {(one.purpose, one.work): one.steps for one in events if isinstance(one, StepsSpent)}
    of_rounds = sum(steps for (_, work), steps in told.items() if work.startswith("round "))
    assert of_rounds == paid, "what the screen adds up is what is charged"
    page = folder.report_html.read_text()
    assert all(f"Copy of round {one['number']}" in page for one in rounds)


def test_refining_starts_from_the_newest_copy_that_is_used(whole: Any) -> None:
    folder, report, _ = whole
    used = [f"imitated-{one['number']}" for one in report["rounds"] if one["used"]]
    newest = folder.checkpoint(used[-1] if used else "imitated")
    assert newest.exists()
    for one in report["rounds"]:
        assert folder.checkpoint(f"imitated-{one['number']}").exists() == one["used"]


def test_it_ends_at_the_first_copy_that_is_not_used(tmp_path: Path) -> None:
    folder = begin(tmp_path, verification={"min_gain": 50.0}, imitation={"iterations": 2})
    report = finish(folder)
    assert not report["imitation"]["used"]
    (second,) = report["rounds"]
    assert second["headline"].startswith("not begun: no copy is better")
    assert (second["collecting"], second["testing"], second["imitating"], second["verdict"]) == (0, 0, 0, "")


def test_rounds_leave_half_of_the_budget_for_refining(tmp_path: Path) -> None:
    folder = begin(tmp_path, refine={"steps": 9000, "evaluate_every": 9000})
    report = finish(folder)
    spent = report["methods"]["ultra-ra"]["env_steps"]
    before = spent["collect"] + spent["test"] + report["imitation"]["env_steps"]
    rounds = sum(one["collecting"] + one["testing"] + one["imitating"] for one in report["rounds"])
    assert rounds <= max(9000 - before, 0) // 2
    assert any(one["headline"].startswith("not begun") for one in report["rounds"])


def test_a_resumed_run_ends_with_the_same_rounds(whole: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, report, _ = whole
    folder = begin(tmp_path)

    def stopped(context: RunContext, findings: Any) -> Any:
        raise Interrupted("stopped in the middle of a round")

    with monkeypatch.context() as patched:
        patched.setattr(iterate, "imitate_advice", stopped)
        with pytest.raises(Interrupted):
            finish(folder)
    assert folder.stage_done("imitate") is not None
    assert folder.stage_done("iterate 2") is None
    assert folder.explain.with_name(f"{folder.explain.stem}-2{folder.explain.suffix}").exists()
    folder.close()
    folder = RunFolder.open(folder.path)
    again = finish(folder)
    assert again["rounds"] == report["rounds"]
    assert again["env_steps"] == report["env_steps"]
    assert again["methods"]["ultra-ra"]["returns_after"] == report["methods"]["ultra-ra"]["returns_after"]


def test_one_iteration_is_what_there_always_was() -> None:
    config = parse_config({**SETTINGS, "imitation": {}}, "test")
    assert rounds_of(config) == {}
    assert not any(stage.startswith("iterate") for stage in plan_of(config))
    said = parse_config({**SETTINGS, "imitation": {"iterations": 1, "weights": "equal"}}, "test")
    assert said.hash() == config.hash()
    assert parse_config({**SETTINGS, "imitation": {"weights": "gain"}}, "test").hash() != config.hash()


@pytest.mark.parametrize("proposer", ["llm", "file"])
def test_models_and_files_are_not_asked_again(proposer: str) -> None:
    advice = {"advice": {"file": "rules.yaml"}} if proposer == "file" else {}
    with pytest.raises(ConfigError, match="asks the proposer again") as caught:
        parse_config({**SETTINGS, "proposer": proposer, **advice}, "test")
    assert "search" in str(caught.value.expected)
