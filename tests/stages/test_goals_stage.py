"""Goals through the pipeline: scripted ones in the corridor, whose right outcome is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.cli.explain_members import member
from ultra_agents.cli.main import invoke
from ultra_agents.config import parse_config
from ultra_agents.contracts import Environment
from ultra_agents.errors import ConfigError, RunError
from ultra_agents.pipeline import run_pipeline
from ultra_agents.records import Explanation
from ultra_agents.runs import RunFolder
from ultra_agents.stages import narrate
from ultra_agents.stages.check import check_run
from ultra_agents.stages.human import check_takes
from ultra_agents.testing.corridor import Corridor
from ultra_agents.verification import Probe

from .test_explain_stage import SETTINGS, explain, steps_of_tests, value


def settings(**changes: Any) -> dict[str, Any]:
    agents = {"search": {"max_steps": 400}, "max_critical": 2, **changes.pop("agents", {})}
    return {**SETTINGS, "advice": {"form": "goals"}, "agents": agents, **changes}


def start(root: Path, **changes: Any) -> RunFolder:
    return RunFolder.create(root, parse_config(settings(**changes), "test"))


def warned(events: list[Any]) -> str:
    return " | ".join(event.text for event in events if type(event).__name__ == "Warned")


def test_a_run_with_goals_from_episodes_to_report(tmp_path: Path) -> None:
    folder = start(tmp_path, methods=["ultra-ra"], imitation={"mode": "better"})
    events: list[Any] = []
    run_pipeline(folder, folder.config, events.append, lambda: False)
    report = json.loads(folder.report_json.read_text())
    found, rows = report["measures"]["search"], report["advice"]["rows"]
    assert found["goals"]["set"] == report["measures"]["critical"] > 0
    spent = sum(event.steps for event in events if type(event).__name__ == "StepsSpent" and event.purpose == "search")
    assert report["measures"]["cost"]["env_steps"] == steps_of_tests(report["measures"]) + spent
    assert report["methods"]["ultra-ra"]["env_steps"]["test"] >= report["measures"]["cost"]["env_steps"] > 0
    assert rows, "walking to the right end is right"
    for row in rows:
        assert row["search"]["goal"]["goal"] == "cell maximised, at the end of 8 steps"
        value_of, alone = (row["search"]["goal"][key] for key in ("value", "alone"))
        assert alone is None or value_of > alone, "None: the policy alone is lured"
        assert row["moves"][0][0] == "RIGHT"
        assert row["test"]["passed"]
    page = folder.report_html.read_text()
    assert "<dt>The goal</dt><dd>cell maximised, at the end of 8 steps: the best of" in page
    assert f"of {found['goals']['set']} goals 0 reached" in page
    assert value(folder, "imitate")["verdict"] != ""
    for _, call in (("advisor", row) for row in map(json.loads, folder.transcript.read_text().splitlines())):
        assert "Which action would have earned more" not in str(call["messages"])


def test_what_was_to_be_reached_is_looked_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = start(tmp_path)
    measures, _ = explain(folder)
    assert {trial["goal"] for trial in measures["trials"]} == {"cell maximised, at the end of 8 steps"}
    folder.close()
    assert invoke(["inspect", str(folder.path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    searches = [one["search"] for case in told["critical"] for one in case["suggestions"]]
    assert {one["goal"]["goal"] for one in searches} == {"cell maximised, at the end of 8 steps"}
    assert all("came to" in one["goal"]["words"] for one in searches)


def test_the_test_tells_bad_goals_from_good_ones(tmp_path: Path) -> None:
    script = {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:bad"}}
    good, _ = explain(start(tmp_path, name="good"))
    bad, _ = explain(start(tmp_path, name="bad", llms={"default": script}))
    assert bad["search"]["goals"]["set"] > 0
    assert good["gain"]["value"] > 0 > bad["gain"]["value"]
    assert good["precision"]["value"] > bad["precision"]["value"]


def test_goals_at_random_are_the_control(tmp_path: Path) -> None:
    folder = start(tmp_path, proposer="random")
    measures, _ = explain(folder)
    found = measures["search"]
    assert found["goals"]["set"] == measures["critical"] > 0
    assert found["suggestions"] + found["nothing"] == measures["critical"]
    assert not folder.transcript.exists()
    plain, _ = explain(start(tmp_path, name="moves", proposer="random", advice={"form": "moves"}))
    assert plain["search"] is None


def test_where_nothing_restores_moves_are_asked_for_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrate, "restore_is_exact", lambda *_, **__: Probe(False, "reward", 0))
    measures, events = explain(start(tmp_path))
    assert "the simulator cannot search plans, so moves are proposed instead of goals" in warned(events)
    assert measures["search"] is None
    assert measures["proposed"] > 0


def test_a_share_below_one_rollout_is_told_and_moves_are_asked_for(tmp_path: Path) -> None:
    measures, events = explain(start(tmp_path, agents={"search": {"total_steps": 12}}))
    assert "which is below one rollout: moves are proposed instead of goals" in warned(events)
    assert (measures["search"], measures["proposed"] > 0) == (None, True)


def test_a_small_share_makes_goals_shorter(tmp_path: Path) -> None:
    measures, events = explain(start(tmp_path, agents={"search": {"total_steps": 60}}))
    assert "so goals are of at most" in warned(events)
    assert {trial["goal"] for trial in measures["trials"]} < {
        f"cell maximised, at the end of {steps} step{'' if steps == 1 else 's'}" for steps in range(1, 8)
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"proposer": "value"}, "'value' proposes moves only"),
        ({"proposer": "search"}, "'search' proposes moves only"),
        ({"agents": {"search": {"refine": True}}}, "there is nothing to refine"),
        ({"agents": {"search": {"max_steps": 9}, "min_hold": 5}}, "the budget of a search is below one rollout"),
    ],
)
def test_what_cannot_work_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_run(parse_config(settings(**changes), "test"))


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        (("snapshot", "restore"), "cannot restore states, so nothing can be searched"),
        (("quantities",), "goals have nothing to speak of in 'Corridor"),
    ],
)
def test_an_environment_that_cannot_is_refused(
    lacks: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in lacks:
        monkeypatch.setattr(Corridor, name, getattr(Environment, name))
    with pytest.raises(ConfigError, match=said) as caught:
        check_run(parse_config(settings(), "test"))
    assert "advice.form: goals" in (caught.value.found or "")


def test_goals_are_compared_with_goals_at_random_and_with_the_search_alone() -> None:
    config = parse_config(settings(), "test")
    forms = {name: member(config, name).form for name in ("random", "search", "value", "default")}
    assert forms == {"random": "goals", "search": "moves", "value": "moves", "default": "goals"}


def test_a_person_may_add_moves_and_no_rules(tmp_path: Path) -> None:
    folder = start(tmp_path)
    explain(folder)
    check_takes(folder, rules=False)
    with pytest.raises(RunError, match="cannot use rules: its advice is goals"):
        check_takes(folder, rules=True)


def test_the_explanations_are_read_back(tmp_path: Path) -> None:
    folder = start(tmp_path)
    explain(folder)
    rows = value(folder, "explain")["explanations"]
    from pydantic import TypeAdapter

    made = [TypeAdapter(Explanation).validate_python(row) for row in rows]
    goals = {attempt.goal.quantity for one in made for attempt in one.attempts if attempt.goal is not None}
    assert goals == {"cell"}
