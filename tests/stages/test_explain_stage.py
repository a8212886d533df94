"""Stages 2-7 through the pipeline: pre-screening is charged once, controls read nothing, nothing restores: reflect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ultra_agents.config import parse_config
from ultra_agents.contracts import Environment
from ultra_agents.errors import Interrupted
from ultra_agents.pipeline import run_pipeline
from ultra_agents.records import CriticalState
from ultra_agents.runs import RunFolder
from ultra_agents.stages import joint, narrate
from ultra_agents.testing.corridor import Corridor
from ultra_agents.verification import JointResult, Probe

SETTINGS: dict[str, Any] = {
    "name": "one",
    "environment": {"name": "corridor", "options": {"length": 15, "max_steps": 30}},
    "policy": {"train_steps": 512},
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
    "collect": {"episodes": 2},
    "imitation": {"mode": "never"},
    "verification": {"mode": "both", "max_pairs": 4, "horizon": 30, "decide": "single"},
    "refine": {"steps": 4000, "num_envs": 2, "workers": 0, "evaluate_every": 2000, "curve_episodes": 2},
    "evaluate": {"episodes": 2},
}


def start(root: Path, **changes: Any) -> RunFolder:
    return RunFolder.create(root, parse_config({**SETTINGS, **changes}, "test"))


def explain(folder: RunFolder, stop: Any = lambda: False) -> tuple[dict[str, Any], list[Any]]:
    """The measures, and the events."""
    events: list[Any] = []
    run_pipeline(folder, folder.config, events.append, stop, "measure")
    done = folder.stage_done("measure")
    assert done is not None
    return done["value"], events


def value(folder: RunFolder, stage: str) -> Any:
    """What the folder keeps of a finished stage."""
    done = folder.stage_done(stage)
    assert done is not None
    return done["value"]


def steps_of_prescreening(folder: RunFolder) -> int:
    return sum(row["env_steps"] for row in value(folder, "narrate"))


def steps_of_tests(measures: dict[str, Any]) -> int:
    return sum(trial["env_steps"] for trial in measures["trials"])


def test_without_prescreening_the_tests_are_all_that_is_charged(tmp_path: Path) -> None:
    folder = start(tmp_path)
    measures, _ = explain(folder)
    assert measures["cost"]["env_steps"] == steps_of_tests(measures) > 0
    assert steps_of_prescreening(folder) == 0


def test_prescreening_by_simulator_is_told_and_charged(tmp_path: Path) -> None:
    folder = start(tmp_path, narration={"prescreen": "simulator", "prescreen_states": 4, "prescreen_horizon": 10})
    measures, _ = explain(folder)
    spent = steps_of_prescreening(folder)
    assert spent > 0
    assert measures["cost"]["env_steps"] == steps_of_tests(measures) + spent
    told = [json.loads(line)["messages"][0][1] for line in folder.transcript.read_text().splitlines()]
    assert all("Evidence: in short simulations" in text for text in told)


def test_an_interrupted_prescreening_is_charged_once_and_in_full(tmp_path: Path) -> None:
    narration = {"prescreen": "simulator", "prescreen_states": 4, "prescreen_horizon": 10}
    whole, _ = explain(start(tmp_path / "whole", narration=narration))
    folder = start(tmp_path / "cut", narration=narration)
    with pytest.raises(Interrupted):
        explain(folder, lambda: folder.transcript.exists())
    folder.close()
    again, _ = explain(RunFolder.open(folder.path))
    assert again["cost"]["env_steps"] == whole["cost"]["env_steps"]
    assert again["trials"] == whole["trials"]


def test_the_report_and_the_method_are_charged_for_it(tmp_path: Path) -> None:
    folder = start(tmp_path, narration={"prescreen": "simulator", "prescreen_horizon": 10}, methods=["ultra-ra"])
    run_pipeline(folder, folder.config, lambda event: None, lambda: False)
    report = json.loads(folder.report_json.read_text())
    spent = steps_of_prescreening(folder)
    assert spent > 0
    assert (
        report["env_steps"]["test"]
        == report["measures"]["cost"]["env_steps"]
        == steps_of_tests(report["measures"]) + spent
    )
    assert report["methods"]["ultra-ra"]["env_steps"]["test"] == report["env_steps"]["test"]
    assert report["advice"]["tested"] == report["measures"]["tested"]


def test_controls_read_no_evidence_and_pay_for_none(tmp_path: Path) -> None:
    folder = start(tmp_path, proposer="random", narration={"prescreen": "simulator"})
    measures, _ = explain(folder)
    assert measures["cost"]["env_steps"] == steps_of_tests(measures)
    assert steps_of_prescreening(folder) == 0


def test_where_nothing_restores_advice_is_reflected_on_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Corridor, "snapshot", Environment.snapshot)
    evaluate = {"episodes": 2, "fidelity": 2}
    measures, events = explain(start(tmp_path, narration={"prescreen": "simulator"}, evaluate=evaluate))
    warnings = [event.text for event in events if type(event).__name__ == "Warned"]
    assert any("advice is reflected on, not simulated" in text for text in warnings)
    assert any("pre-screening goes by value estimates" in text for text in warnings)
    assert any("fidelity is not measured" in text for text in warnings)
    assert (measures["tested"], measures["precision"], measures["cost"]["env_steps"]) == (0, None, 0)


def test_fidelity_is_measured_but_charged_to_nobody(tmp_path: Path) -> None:
    plain, _ = explain(start(tmp_path / "plain"))
    more, _ = explain(start(tmp_path / "more", evaluate={"episodes": 2, "fidelity": 2}))
    assert more["fidelity"]["env_steps"] > 0
    assert [row["share"] for row in more["fidelity"]["scores"]] == [0.1, 0.2, 0.3, 0.4]
    assert more["cost"]["env_steps"] == plain["cost"]["env_steps"]


def test_another_model_in_the_same_folder_is_asked_anew(tmp_path: Path) -> None:
    folder = start(tmp_path)
    explain(folder)
    folder.close()
    state = json.loads((folder.path / "state.json").read_text())
    for stage in ("explain", "tabulate", "measure"):
        del state["done"][stage]
    (folder.path / "state.json").write_text(json.dumps(state))
    config = folder.config_path.read_text().replace("corridor_script:good", "corridor_script:bad")
    folder.config_path.write_text(config)
    asked = len(folder.transcript.read_text().splitlines())
    measures, _ = explain(RunFolder.open(folder.path))
    assert len(folder.transcript.read_text().splitlines()) > asked
    assert {trial["plan"].split()[0] for trial in measures["trials"]} == {"LEFT"}


class FakeJoint:
    """Keeps the first row of the set."""

    asked: ClassVar[list[list[Any]]] = []

    def __init__(
        self, environment: Any, policy: Any, config: Any, streams: Any, build: Any, seeds: Any, progress: Any
    ) -> None:
        self.build = build

    def __class_getitem__(cls, item: Any) -> type[FakeJoint]:
        return cls

    def __enter__(self) -> FakeJoint:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def select(self, rows: Any, lean: bool = False) -> JointResult:
        self.build(rows).begin(2)
        self.asked.append(list(rows))
        return JointResult(0.3, 0.1, 0.5, 8, 777, True, "good", (0,))


def _any_refuted(state: CriticalState) -> Any:
    """The last attempt that was tested and did not hold."""
    found = [one for one in state.attempts if one.test is not None and not one.test.passed]
    return found[-1] if found else None


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[list[Any]]:
    """The sets that were tested together."""
    monkeypatch.setattr(joint, "JointTester", FakeJoint)
    monkeypatch.setattr(CriticalState, "set_candidate", property(_any_refuted))
    FakeJoint.asked = []
    return FakeJoint.asked


BAD = {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:bad"}}


def rule(decide: str) -> dict[str, Any]:
    undecided = {"screen_pairs": 0, "confidence": 0.99}
    return {**SETTINGS["verification"], **undecided, "decide": decide, "joint_min_rows": 2}


def test_what_is_undecided_alone_is_tested_together(tmp_path: Path, together: list[list[Any]]) -> None:
    llms = {"default": BAD}
    alone, _ = explain(start(tmp_path / "single", llms=llms, verification=rule("single")))
    assert together == []
    folder = start(tmp_path / "both", llms=llms, verification=rule("both"))
    both, events = explain(folder)
    ((first, *rest),) = together
    assert both["accepted"] == alone["accepted"] + 1
    assert both["cost"]["env_steps"] == alone["cost"]["env_steps"] + 777
    assert both["precision"] == alone["precision"], "precision is of the tests of one suggestion"
    assert (both["joint"]["rows"], both["joint"]["kept"]) == (1 + len(rest), [0])
    rows = [json.loads(line) for line in (tmp_path / "both" / "one" / "advice.jsonl").read_text().splitlines()]
    (row,) = [row for row in rows if (row["episode"], row["step"]) == (first.episode, first.step)]
    assert row["joint"] == {"kept": True, "gain": 0.3, "low": 0.1, "high": 0.5, "pairs": 8, "stopped": "good"}
    assert row["taken_reward"] == 0.0, "no penalty for what the policy did, of an action that did not hold alone"
    drops = [event for event in events if type(event).__name__ == "Dropped" and event.reason == "no gain together"]
    assert len(drops) == len(rest)
    assert all("+0.3 per episode (+0.1 to +0.5), 8 pairs" in drop.detail for drop in drops)
    states = [state for one in value(folder, "explain")["explanations"] for state in one["states"] if state["joint"]]
    assert len(states) == 1 + len(rest)
    assert sorted((state["fate"], state["stage"], state["reason"], state["joint"]["kept"]) for state in states) == [
        ("accepted", "", "", True), *[("rejected", "test", "no gain together", False)] * len(rest),
    ]  # fmt: skip
    assert value(folder, "explain")["joint"]["advice"] == [[first.episode, first.step]]


def test_tested_together_nothing_is_tested_alone(tmp_path: Path, together: list[list[Any]]) -> None:
    measures, _ = explain(start(tmp_path, verification=rule("joint")))
    ((first, *rest),) = together
    assert first.test is None
    assert len(rest) >= 1
    assert (measures["tested"], measures["accepted"]) == (0, 1)
    assert measures["cost"]["env_steps"] == 777


def test_a_set_nobody_can_pay_for_is_dropped_where_only_the_set_decides(tmp_path: Path) -> None:
    folder = start(tmp_path, verification={**rule("joint"), "joint_max_steps": 10})
    measures, events = explain(folder)
    assert (measures["accepted"], measures["cost"]["env_steps"]) == (0, 0)
    states = [state for one in value(folder, "explain")["explanations"] for state in one["states"]]
    asked = [state for state in states if state["joint"]]
    assert len(asked) >= 2
    assert {(state["fate"], state["stage"], state["reason"]) for state in asked} == {
        ("dropped", "test", "joint test budget spent")
    }
    assert {(state["joint"]["kept"], state["joint"]["pairs"]) for state in asked} == {(False, 0)}
    told = [event for event in events if type(event).__name__ == "Dropped" and event.reason == asked[0]["reason"]]
    assert len(told) == len(asked)


def test_without_a_simulator_nothing_is_tested_together(tmp_path: Path, together: list[list[Any]]) -> None:
    explain(start(tmp_path, verification={**rule("both"), "mode": "reflect"}))
    assert together == []


def test_a_joint_test_nobody_can_pay_for_changes_nothing(tmp_path: Path) -> None:
    alone, _ = explain(start(tmp_path / "single", verification=rule("single")))
    poor = {**rule("both"), "joint_max_steps": 10}
    folder = start(tmp_path / "both", verification=poor)
    measures, events = explain(folder)
    assert (measures["joint"]["pairs"], measures["joint"]["env_steps"]) == (0, 0)
    assert (measures["tested"], measures["accepted"]) == (alone["tested"], alone["accepted"])
    assert not any(getattr(event, "reason", "") == "no gain together" for event in events)
    found = value(folder, "explain")
    assert not any(state["joint"] for one in found["explanations"] for state in one["states"])
    assert found["joint"]["pairs"] == 0


def test_an_inexact_restore_is_found_out_and_advice_is_reflected_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Probe(False, "reward, 7 steps after restoring into another slot", 900)
    monkeypatch.setattr(narrate, "restore_is_exact", lambda *_: found)
    folder = start(tmp_path)
    measures, events = explain(folder)
    warnings = [event.text for event in events if type(event).__name__ == "Warned"]
    assert any("does not restore states exactly (reward, 7 steps after" in text for text in warnings)
    assert measures["tested"] == 0
    assert (value(folder, "probe")["exact"], value(folder, "probe")["env_steps"]) == (False, 900)


def test_an_environment_is_probed_once_per_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(narrate, "restore_is_exact", lambda *_: asked.append(1) or Probe(True, "", 5))
    explain(start(tmp_path, narration={"prescreen": "simulator"}, evaluate={"episodes": 2, "fidelity": 1}))
    assert asked == [1]


def test_a_search_is_charged_told_and_reported(tmp_path: Path) -> None:
    folder = start(tmp_path, proposer="search", agents={"max_moves": 2, "search": {"horizon": 20}})
    measures, events = explain(folder)
    found = measures["search"]
    spent = sum(event.steps for event in events if type(event).__name__ == "StepsSpent" and event.purpose == "search")
    assert measures["cost"]["env_steps"] == steps_of_tests(measures) + spent
    assert found["suggestions"] + found["nothing"] + found["fallback"] == measures["critical"] > 0
    assert (found["fallback"], 0 < found["env_steps"] <= spent) == (0, found["suggestions"] > 0)
    assert not (tmp_path / "one" / "llm.jsonl").exists()


def test_where_nothing_restores_a_search_proposes_nothing_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(narrate, "restore_is_exact", lambda *_, **__: Probe(False, "reward", 0))
    measures, events = explain(start(tmp_path, proposer="search"))
    warned = [event.text for event in events if type(event).__name__ == "Warned"]
    assert any("the simulator cannot search plans, so nothing is proposed" in text for text in warned)
    assert (measures["proposed"], measures["search"]["fallback"]) == (0, measures["critical"])


def test_a_share_below_one_rollout_is_told(tmp_path: Path) -> None:
    measures, events = explain(start(tmp_path, proposer="search", agents={"search": {"total_steps": 50}}))
    warned = [event.text for event in events if type(event).__name__ == "Warned"]
    assert any("agents.search.total_steps pays for" in text for text in warned)
    assert (measures["proposed"], measures["search"]["fallback"]) == (0, measures["critical"])


def test_a_models_suggestions_are_improved(tmp_path: Path) -> None:
    folder = start(tmp_path, agents={"search": {"refine": True, "horizon": 20}})
    measures, _ = explain(folder)
    assert measures["search"]["suggestions"] == measures["tested"] > 0
    assert measures["cost"]["env_steps"] == steps_of_tests(measures) + measures["search"]["env_steps"]
    plain, _ = explain(start(tmp_path, name="plain"))
    assert plain["search"] is None
    assert measures["trials"][0]["written"] == plain["trials"][0]["plan"]
