"""The whole flow, offline: a corridor with a lure, a policy stuck at it, scripted answers of known quality."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.config import parse_config
from ultra_agents.errors import Interrupted
from ultra_agents.events import AgentSpoke, Event, TrainingProgress
from ultra_agents.pipeline import run_pipeline
from ultra_agents.runs import RunFolder

STUCK, FREE = 0, 1
"""Seeds whose 15,000 steps of PPO end at the lure (return 0.35) and at the goal (return 0.85)."""


VECTOR_STEP = 8
"""Environment steps of one step of all environments: as near as a budget can be met."""


def settings(quality: str, **changes: Any) -> dict[str, Any]:
    script = f"ultra_agents.testing.corridor_script:{quality}"
    return {
        "name": "e2e",
        "seed": STUCK,
        "environment": {"name": "corridor", "options": {"length": 31, "max_steps": 80, "lure": 0.5}},
        "policy": {"train_steps": 15_000},
        "llms": {"default": {"provider": "scripted", "options": {"callable": script}}},
        "collect": {"episodes": 4},
        "advice": {"hit_rate": 0.5, "hit_per_entry": 0.1},
        "modulation": {"probability": 0.5, "beta": 0.1},
        "verification": {"mode": "none", "max_pairs": 8},
        "refine": {
            "steps": 12_000, "num_envs": 8, "workers": 0, "evaluate_every": 6_000, "curve_episodes": 4,
            "algorithm": {"name": "ppo", "options": {"clone_steps": 300}},
        },
        "evaluate": {"episodes": 8},
        **changes,
    }  # fmt: skip


def never() -> bool:
    return False


def run(folder: RunFolder, emit: Callable[[Event], None] = lambda event: None, stop: Any = never) -> dict[str, Any]:
    run_pipeline(folder, folder.config, emit, stop)
    report: dict[str, Any] = json.loads(folder.report_json.read_text())
    return report


def start(tmp_path: Path, quality: str, **changes: Any) -> RunFolder:
    return RunFolder.create(tmp_path / "runs", parse_config(settings(quality, **changes), "test"))


def test_good_advice_frees_a_stuck_policy_and_the_control_stays_stuck(tmp_path: Path) -> None:
    folder = start(tmp_path, "good")
    report = run(folder)
    ours, control = report["methods"]["ultra-ra"], report["methods"]["continue"]
    assert ours["returns_before"]["mean"] == control["returns_before"]["mean"] == pytest.approx(0.35)
    assert control["returns_after"]["mean"] == pytest.approx(0.35)
    assert ours["returns_after"]["mean"] == pytest.approx(0.85), "the optimum"
    assert report["advice"]["accepted"] > 0
    assert abs(ours["env_steps"]["total"] - 12_000) <= VECTOR_STEP
    assert abs(control["env_steps"]["total"] - 12_000) <= VECTOR_STEP
    assert {"calls", "cached", "prompt_tokens", "completion_tokens", "seconds"} <= report["llm"].keys()
    assert report["config_hash"] == folder.config.hash()
    assert "</html>" in folder.report_html.read_text()


def test_bad_advice_is_refuted_by_the_simulator_and_does_no_harm(tmp_path: Path) -> None:
    report = run(start(tmp_path, "bad", seed=FREE, verification={"mode": "both", "max_pairs": 8}))
    assert report["advice"]["proposed"] > 0
    assert report["advice"]["accepted"] == 0
    assert report["methods"]["ultra-ra"]["returns_before"]["mean"] == pytest.approx(0.85)
    assert report["methods"]["ultra-ra"]["returns_after"]["mean"] == pytest.approx(0.85)


def test_it_is_the_simulator_that_keeps_bad_advice_out(tmp_path: Path) -> None:
    report = run(start(tmp_path, "bad", seed=FREE, methods=["ultra-ra"]))
    assert report["advice"]["accepted"] > 0
    assert report["methods"]["ultra-ra"]["returns_after"]["mean"] < 0.85


SMALL = {"policy": {"train_steps": 2000}, "refine": {**settings("good")["refine"], "steps": 4000}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report of a small run that nobody interrupted."""
    return run(start(tmp_path_factory.mktemp("whole"), "good", **SMALL))


def test_same_seed_same_report(tmp_path: Path, whole: dict[str, Any]) -> None:
    first, second = whole, run(start(tmp_path, "good", **SMALL))
    assert _without_seconds(first) == _without_seconds(second)
    assert first["advice"] == second["advice"]


def _without_seconds(report: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: value for key, value in row.items() if key != "seconds"} for name, row in report["methods"].items()
    }


@pytest.mark.parametrize("kind", [AgentSpoke, TrainingProgress])
def test_an_interrupted_run_resumes_exactly_and_asks_nothing_twice(
    tmp_path: Path, whole: dict[str, Any], kind: type[Event]
) -> None:
    folder = start(tmp_path, "good", **SMALL)
    seen: Counter[type[Event]] = Counter()
    with pytest.raises(Interrupted) as caught:
        run(folder, lambda event: seen.update([type(event)]), lambda: seen[kind] >= 3)
    assert caught.value.exit_code == 130
    assert not folder.report_json.exists()
    folder.close()

    resumed = RunFolder.open(folder.path)
    report = run(resumed)
    assert _without_seconds(report) == _without_seconds(whole)
    asked = [json.loads(line) for line in resumed.transcript.read_text().splitlines()]
    questions = Counter(json.dumps([row["agent"], row["messages"]]) for row in asked if not row["cached"])
    assert max(questions.values()) == 1


def test_testing_is_counted_against_the_method(tmp_path: Path) -> None:
    small = {"policy": {"train_steps": 2000}, "verification": {"mode": "both", "max_pairs": 4}}
    report = run(start(tmp_path, "bad", seed=FREE, **small))
    purposes = report["env_steps"]
    assert purposes["test"] > 0
    charged = ("test", "collect", "imitate", "table")
    left = 12_000 - sum(purposes.get(purpose, 0) for purpose in charged)
    assert abs(purposes["refine ultra-ra"] - left) <= VECTOR_STEP
    assert abs(purposes["refine continue"] - 12_000) <= VECTOR_STEP
