"""The recorded conversations: whatever the seed, every question of theirs is found, and no model is asked."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ultra_agents.cli.main import invoke
from ultra_agents.config import load_config

RECORDED = Path(__file__).parent.parent / "examples" / "recorded"
TASKS = sorted(path.parent.name for path in RECORDED.glob("*/run.yaml"))
CHEAP = tuple(
    f"verification.{one}"
    for one in ("rules.max_steps=600", "rules.windows=0", "rules.tune_max_steps=0", "max_steps=2000")
)
"""What the rules' whole test costs, which no question depends on."""


@pytest.mark.parametrize("task", TASKS)
def test_every_question_is_on_record_for_a_seed_of_its_own(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = [part for one in (*CHEAP, "seed=7") for part in ("--set", one)]
    code = invoke(["explain", str(RECORDED / task / "run.yaml"), "--plain", *settings])
    told = capsys.readouterr()
    assert code == 0, told.err
    rows = [json.loads(line) for line in (tmp_path / "runs" / f"recorded-{task}" / "transcript.jsonl").open()]
    assert {row["provider"] for row in rows} == {"replay"}
    measures = json.loads((tmp_path / "runs" / f"recorded-{task}" / "measures.json").read_text())
    assert measures["not_recorded"] == 0
    assert measures["rules"]["sets"] == load_config(RECORDED / task / "run.yaml").collect.episodes
    assert measures["rules"]["unusable"] == 0


@pytest.mark.parametrize("task", TASKS)
def test_a_recording_says_who_answered_and_nothing_of_the_machine(task: str) -> None:
    answers = "".join(path.read_text(encoding="utf-8") for path in (RECORDED / task).glob("*.jsonl"))
    assert {json.loads(line)["model"] for line in answers.splitlines()} == {"claude-opus"}
    assert not re.search(r"/(home|tmp|work|root)/|127\.0\.0\.1|https?:", answers)
    config = load_config(RECORDED / task / "run.yaml")
    assert config.gateway.missing == "drop"
    assert task in (RECORDED / "README.md").read_text(encoding="utf-8")


def test_the_recorded_goals_are_found_whatever_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code = invoke(["explain", str(RECORDED / "hopper" / "goals.yaml"), "--plain", "--set", "seed=7"])
    told = capsys.readouterr()
    assert code == 0, told.err
    measures = json.loads((tmp_path / "runs" / "recorded-hopper-goals" / "measures.json").read_text())
    assert measures["not_recorded"] == 0
    assert measures["tested"] == 24
