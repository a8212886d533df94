"""Stage 11: every policy on the same seeds, the same policy once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.config import parse_config
from ultra_agents.contracts import Policy
from ultra_agents.evaluation.returns import evaluate_returns
from ultra_agents.events import Evaluated, Event, StepsSpent
from ultra_agents.pipeline import run_pipeline
from ultra_agents.records import Returns
from ultra_agents.runs import RunFolder
from ultra_agents.runs.files import PLAYED, SCORED
from ultra_agents.stages import played


def run(root: Path, methods: list[str], played: str | None = None) -> tuple[list[Event], dict[str, Any]]:
    row = {
        "environment": {"name": "corridor", "options": {"length": 11}},
        "policy": {"train_steps": 256},
        "methods": methods,
        "collect": {"episodes": 1},
        "refine": {"steps": 512, "num_envs": 2, "workers": 0, "evaluate_every": 256, "curve_episodes": 2},
        "evaluate": {"episodes": 3},
    }
    folder = RunFolder.create(root, parse_config(row, "a test"))
    if played is not None:
        folder.write_text(PLAYED, played)
    told: list[Event] = []
    run_pipeline(folder, folder.config, told.append, lambda: False)
    done = folder.stage_done("evaluate")
    assert done is not None
    return told, {one["method"]: one for one in done["value"]}


def test_a_policy_that_is_start_last_and_best_is_played_once(tmp_path: Path) -> None:
    told, results = run(tmp_path, ["none"])
    finals = [event for event in told if isinstance(event, Evaluated) and event.purpose in ("before", "last", "best")]
    assert [event.purpose for event in finals] == ["before", "last", "best"]
    assert len({event.returns for event in finals}) == 1
    assert plays(told) == 1
    assert results["none"]["last"] == results["none"]["before"]


def plays(told: list[Event]) -> int:
    return sum(isinstance(event, StepsSpent) and event.purpose == "evaluate" for event in told)


def test_what_was_played_is_kept_and_not_played_again(tmp_path: Path) -> None:
    told, results = run(tmp_path / "one", ["none"])
    kept = (tmp_path / "one" / "run" / PLAYED).read_text()
    again, same = run(tmp_path / "two", ["none"], kept)
    assert (plays(told), plays(again)) == (1, 0)
    assert same == results
    (fingerprint,) = json.loads(kept)
    other = json.dumps({fingerprint: {"values": [9.0], "seeds": [1], "lengths": [1]}})
    anew, same = run(tmp_path / "three", ["none"], other)
    assert plays(anew) == 1, "episodes of other seeds say nothing about these"
    assert same == results


def test_curves_of_one_start_begin_with_the_same_episodes_played_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def playing(policy: Policy, *others: Any, **more: Any) -> Returns:
        counted.append(1)
        return evaluate_returns(policy, *others, **more)

    monkeypatch.setattr(played, "evaluate_returns", playing)
    told, _ = run(tmp_path, ["none", "continue"])
    first = [
        event.returns
        for event in told
        if isinstance(event, Evaluated) and (event.purpose, event.steps) == ("curve", 0)
    ]
    assert len(first) == 2
    assert first[0] == first[1]
    points = [event for event in told if isinstance(event, Evaluated) and event.purpose == "curve"]
    assert len(counted) == plays(told) + len(points) - 1
    assert len(json.loads((tmp_path / "run" / SCORED).read_text())) == 1


@pytest.mark.parametrize("damage", ["", "[1]", '{"x": {"values": "many"}}'])
def test_a_damaged_note_of_what_was_played_costs_nothing_but_time(tmp_path: Path, damage: str) -> None:
    told, results = run(tmp_path, ["none"], damage)
    assert plays(told) == 1
    assert len(results["none"]["before"]["values"]) == 3


@pytest.mark.parametrize("methods", [["continue"], ["none", "continue"]])
def test_different_policies_are_played_each(tmp_path: Path, methods: list[str]) -> None:
    told, results = run(tmp_path, methods)
    best_is_last = results["continue"]["best"] == results["continue"]["last"]
    assert plays(told) == (2 if best_is_last else 3)
    assert results["continue"]["last"]["seeds"] == results["continue"]["before"]["seeds"]
