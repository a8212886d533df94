"""Nothing acts in training that was not tested as it will act: the table, its rows' radius, and what training sees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.stages.test_imitate import BAD, GOOD, advised, at_stage_8, rows, start
from ultra_agents.contracts import Environment
from ultra_agents.events import StepsSpent
from ultra_agents.pipeline import run_pipeline
from ultra_agents.records import Plan, TestResult
from ultra_agents.stages import AsJSON, Findings, Imitation, TableTest, try_table
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Explained, JointOutcome
from ultra_agents.stages.refine import _setting, refine_method
from ultra_agents.stages.table import modulation_engine
from ultra_agents.testing.corridor import Corridor

HELD = TestResult(0.5, 0.3, 0.7, 4, 40, True, "good")
PLAIN: dict[str, Any] = {
    "imitation": {"mode": "never"},
    "advice": {"hit_rate": 0.5, "hit_per_entry": 0.2},
    "modulation": {"probability": 0.5},
    "environment": {"options": {"length": 41, "max_steps": 60, "lure": -0.5}},
    "verification": {"horizon": 60, "joint_horizon": 60, "joint_pairs": 16, "min_gain": 0.0},
}

BRIEF = {"steps": 12_000, "num_envs": 8, "evaluate_every": 12_000}


def held(findings: Findings, plan: Plan) -> Findings:
    """With `plan` accepted, each time by a test of its own state."""
    return replace(findings, advice=[replace(row, test=HELD) for row in rows(findings.trajectories, plan)])


def at_table(root: Path, plan: Plan = GOOD, **changes: Any) -> tuple[RunContext, Findings, list[Any]]:
    events: list[Any] = []
    merged = {
        key: {**PLAIN.get(key, {}), **changes.get(key, {})} if isinstance(PLAIN.get(key, {}), dict) else changes[key]
        for key in {**PLAIN, **changes}
        if isinstance(changes.get(key, {}), dict)
    } | {key: value for key, value in changes.items() if not isinstance(value, dict)}
    context, findings = at_stage_8(root, **merged)
    return replace(context, emit=events.append), held(findings, plan), events


RIGHT = Plan((("RIGHT", 40),))
LEFT = Plan((("LEFT", 40),))


def test_a_table_that_holds_acts_as_far_as_its_rows_were_tested(tmp_path: Path) -> None:
    context, findings, events = at_table(tmp_path, RIGHT)
    found = try_table(context, findings)
    assert (found.verdict, found.acts) == ("holds", True)
    assert 0 < found.low <= found.gain <= found.high
    assert len(found.reaches) == found.rows == len(findings.advice)
    assert max(found.reaches) > 0
    assert found.neighbours > 0
    spent = [event.steps for event in events if isinstance(event, StepsSpent) and event.purpose == "table"]
    assert sum(spent) == found.env_steps > 0
    setting = _setting(context, "ultra-ra", replace(findings, table=found))
    assert setting.advised is not None
    assert setting.advised.refused == ""
    assert setting.advised.spent["table"] == found.env_steps
    engine: Any = setting.advised.engine("a")
    assert engine._table.radius == pytest.approx(max(found.reaches))
    assert found.headline.startswith("holds: ")
    assert "in force" in found.headline


def test_a_table_that_does_harm_does_not_act_although_every_row_held_at_its_own_state(tmp_path: Path) -> None:
    """The copy was refused, each row passed its test, and the table would spread them: training goes on without."""
    context, findings, _ = at_table(tmp_path, LEFT, verification={"reach_max_steps": 0}, refine=BRIEF)
    spread = replace(findings, advice=[replace(row, test=HELD) for row in findings.advice])
    found = try_table(context, spread)
    assert not found.acts
    assert found.verdict in ("loses", "no gain", "undecided")
    assert set(found.reaches) == {0.0}, "rows that were tested at no neighbour act at their own state only"
    told: list[str] = []
    context = replace(context, emit=lambda event: told.append(getattr(event, "note", "")))
    result = refine_method(context, "ultra-ra", replace(spread, table=found))
    assert any(f"no advice in force: the table is {found.verdict}" in line for line in told)
    assert not any(key.startswith("modulation/override") and value for key, value in result.metrics.items())
    assert result.env_steps.get("table", 0) == found.env_steps


def test_rows_that_lose_around_their_states_do_not_spread(tmp_path: Path) -> None:
    context, findings, _ = at_table(tmp_path, LEFT, verification={"confidence": 0.99})
    found = try_table(context, findings)
    assert max(found.reaches) <= 0.0
    assert not found.acts


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"advice": {"in_force": "always"}}, "advice.in_force: always"),
        ({"verification": {"mode": "none"}}, "verification.mode: none"),
        ({"verification": {"mode": "reflect"}}, "verification.mode: reflect"),
    ],
)
def test_untested_by_request_is_said_so_and_acts(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    context, findings, _ = at_table(tmp_path, LEFT, **changes)
    found = try_table(context, findings)
    assert (found.verdict, found.acts, found.env_steps) == ("untested", True, 0)
    assert found.headline.endswith(f"untested, as {why} asks")
    advised_setting = _setting(context, "ultra-ra", replace(findings, table=found)).advised
    assert advised_setting is not None
    engine: Any = advised_setting.engine("a")
    assert engine._table.reach is None


def test_a_table_nobody_consults_is_not_tested(tmp_path: Path) -> None:
    context, findings, _ = at_table(tmp_path)
    used = Imitation(6, 40, 0.5, 0.2, 0.8, 8, 90, True, "", context.policy, "holds")
    found = try_table(context, replace(findings, imitation=used))
    assert (found.verdict, found.acts, found.env_steps) == ("retired", False, 0)
    refused = replace(used, used=False, copy=None, verdict="undecided")
    assert try_table(context, replace(findings, imitation=refused)).pairs > 0, "now the table would act: it is tested"
    rewarded, findings, _ = at_table(tmp_path / "r", methods=["ultra-r", "continue"])
    assert try_table(rewarded, replace(findings, imitation=None)).pairs > 0
    assert try_table(context, replace(findings, advice=[])).verdict == "empty"


def test_what_held_together_as_a_table_is_not_tested_twice(tmp_path: Path) -> None:
    context, findings, _ = at_table(tmp_path)
    places = tuple((row.episode, row.step) for row in findings.advice)
    joint = JointOutcome(
        0.4, 0.2, 0.6, 8, 900, True, "good", tuple(range(len(places))), rows=len(places), advice=places
    )
    found = try_table(context, replace(findings, explained=Explained((), joint)))
    assert (found.verdict, found.acts, found.env_steps, found.gain) == ("holds", True, 0, 0.4)
    as_copy = replace(joint, imitated=True)
    assert try_table(context, replace(findings, explained=Explained((), as_copy))).env_steps > 0


def test_where_states_cannot_be_restored_the_table_is_tested_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Corridor, "snapshot", Environment.snapshot)
    context, findings, events = at_table(tmp_path)
    found = try_table(context, findings)
    assert found.pairs > 0
    assert found.neighbours == 0
    assert len(set(found.reaches)) == 1
    assert any("only as a whole" in getattr(event, "text", "") for event in events)


def test_rows_of_no_support_are_not_in_the_table(tmp_path: Path) -> None:
    context, findings, _ = at_table(tmp_path)
    reaches = (-1.0, *[0.05] * (len(findings.advice) - 1))
    rng = np.random.default_rng(0)
    engine: Any = modulation_engine(context, findings.trajectories, findings.advice, "a", rng, reaches)
    assert len(engine._table) == len(findings.advice) - 1
    assert engine._table.reach is not None
    assert engine._table.reach.max() <= 0.05


def test_the_report_says_what_became_of_the_table_and_a_resumed_run_pays_once(tmp_path: Path) -> None:
    folder = start(tmp_path, refine=BRIEF, imitation={"mode": "never"})
    run_pipeline(folder, folder.config, lambda event: None, lambda: False)
    done = folder.stage_done("table")
    assert done is not None
    value = done["value"]
    kept = AsJSON[TableTest](TableTest).read(value)
    report = json.loads(folder.report_json.read_text())
    assert report["table"]["verdict"] == kept.verdict
    assert report["table"]["acts"] == kept.acts
    assert report["imitation"]["verdict"] == ""
    assert report["env_steps"].get("table", 0) == kept.env_steps
    assert report["methods"]["ultra-ra"]["env_steps"].get("table", 0) == kept.env_steps
    assert "table" not in report["methods"]["continue"]["env_steps"]
    assert isinstance(report["advice"]["undecided"], int)
    page = folder.report_html.read_text()
    assert "Advice table" in page


def test_undecided_is_its_own_word() -> None:
    row = advised(Findings([], explained=Explained()), BAD)
    assert row.advice == []
    words = {
        why: replace(HELD, passed=False, stopped=why).verdict
        for why in ("pairs", "steps", "outdone", "bad", "hopeless")
    }
    assert words == {
        "pairs": "undecided", "steps": "undecided", "outdone": "undecided", "bad": "refuted", "hopeless": "refuted",
    }  # fmt: skip
    assert HELD.verdict == "holds"
