"""`agents.approve`: what held in the test is used only when a person says so."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.made_run import SETTINGS, make_run
from tests.test_pipeline_rules import GOOD
from tests.test_pipeline_rules import settings as of_rules
from ultra_agents.agents.approval import Question, Said, approved
from ultra_agents.errors import ApprovalNeeded
from ultra_agents.runs import RunFolder, read_lines


@pytest.fixture
def waiting(tmp_path: Path, ultra: Any) -> list[str]:
    """A run, `walk`, stopped where suggestions wait: what waits."""
    made = {**SETTINGS, "agents": {**SETTINGS["agents"], "approve": True}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(made))
    done = ultra("run", "c.yaml", "--plain")
    assert done.code == 3, done.err
    (line,) = [line for line in done.err.splitlines() if "found:" in line]
    waits: list[str] = line.partition("waiting: ")[2].split(", ")
    assert f"{len(waits)} of {len(waits)} suggestions that held wait for a person's word" in done.err
    assert "ultra resume runs/walk --approve all, none, or a list" in done.err
    assert len(waits) > 1
    return waits


def used() -> list[str]:
    return [f"{row['episode']}:{row['step']}" for row in read_lines(Path("runs/walk/advice.jsonl"))]


def no_more_calls(before: int) -> bool:
    return len(list(read_lines(Path("runs/walk/transcript.jsonl")))) == before


def test_without_a_terminal_a_run_waits_and_goes_on_with_what_is_approved(waiting: list[str], ultra: Any) -> None:
    calls = len(list(read_lines(Path("runs/walk/transcript.jsonl"))))
    assert RunFolder.open(Path("runs/walk")).done[-1] == "explain"
    wrong = ultra("resume", "walk", "--plain", "--approve", f"{waiting[0]},77:77")
    assert wrong.code == 2
    assert "found:    77:77" in wrong.err
    assert ultra("resume", "walk", "--plain").code == 3, "nobody has said anything yet"
    done = ultra("resume", "walk", "--plain", "--approve", waiting[1])
    assert done.code == 0, done.err
    assert used() == [waiting[1]]
    assert no_more_calls(calls)
    shown = json.loads(ultra("inspect", "walk", "--json").out)
    fates = {f"{one['episode']}:{one['step']}": (one["fate"], one["reason"]) for one in shown["critical"]}
    assert fates[waiting[1]] == ("accepted", "")
    assert fates[waiting[0]] == ("rejected", "a person said no")
    report = json.loads(Path("runs/walk/report.json").read_text())
    assert report["advice"]["accepted"] == 1
    assert report["advice"]["dropped"]["by_reason"]["a person said no"] == len(waiting) - 1


@pytest.mark.parametrize(("word", "left"), [("all", slice(None)), ("none", slice(0))])
def test_all_or_none(waiting: list[str], ultra: Any, word: str, left: slice) -> None:
    assert ultra("resume", "walk", "--plain", "--approve", word).code == 0
    assert used() == waiting[left]


def test_a_person_is_asked_on_a_terminal_and_goes_on_another_time_where_they_stopped(
    waiting: list[str], ultra: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed, asked = ["what?", "y", "q", "s"], list[str]()

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return typed.pop(0)

    monkeypatch.setattr(builtins, "input", answer)
    monkeypatch.setattr("ultra_agents.cli.approval._on_terminal", lambda: True)
    stopped = ultra("resume", "walk", "--plain")
    assert stopped.code == 3
    assert f"{len(waiting) - 1} of {len(waiting)} suggestions" in stopped.err
    assert f"{waiting[0]}  RIGHT" in stopped.out
    done = ultra("resume", "walk", "--plain")
    assert done.code == 0
    assert f"\n{waiting[0]}  " not in done.out, "what is answered is not asked again"
    assert used() == [waiting[0]]
    assert len(asked) == 4
    assert typed == []


def test_rules_that_held_wait_too(tmp_path: Path, ultra: Any) -> None:
    made = of_rules(tmp_path, GOOD, agents={"approve": True})
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(made))
    done = ultra("run", "c.yaml", "--plain")
    assert done.code == 3, done.err
    assert "waiting: rules" in done.err
    assert ultra("fork", "rules", "--from", "approve rules", "--name", "no", "--plain").code == 3
    done = ultra("resume", "no", "--plain", "--approve", "none")
    assert done.code == 0, done.err
    report = json.loads(Path("runs/no/report.json").read_text())
    assert not report["rules"]["held"]
    assert report["rules"]["headline"].startswith("refused by a person; accepted")
    assert ultra("rules", "show", "no").out.startswith("no: refused by a person; accepted")
    assert ultra("resume", "rules", "--plain", "--approve", "rules").code == 0
    assert json.loads(Path("runs/rules/report.json").read_text())["rules"]["held"]


def test_answers_are_kept_with_the_question_that_waits(tmp_path: Path) -> None:
    place = tmp_path / "explain.sqlite"
    questions = [("0:1", "one"), ("0:2", "two"), ("1:3", "three"), ("1:4", "four")]
    asked: list[str] = []

    def once(said: Said | None, *more: Said | None) -> Any:
        given = [said, *more]

        def answer(question: Question, left: int) -> Said | None:
            asked.append(f"{question[0]} {left}")
            return given.pop(0)

        return answer

    with pytest.raises(ApprovalNeeded, match="3 of 4 suggestions that held wait"):
        approved(place, questions, once("no", None))
    assert approved(place, questions, once("yes", "all")) == [False, True, True, True]
    assert asked == ["0:1 3", "0:2 2", "0:2 2", "1:3 1"]
    assert approved(place, questions, once(None)) == [False, True, True, True], "nothing is asked again"
    with pytest.raises(ApprovalNeeded):
        approved(place, questions[:2], once(None))
    assert approved(place, [], once(None)) == []


def test_a_run_that_asks_nobody_takes_no_answers(tmp_path: Path, ultra: Any) -> None:
    run = make_run(tmp_path)
    before = run.events.read_bytes()
    done = ultra("resume", str(run.path), "--approve", "all")
    assert done.code == 2
    assert "asks nobody for a word on its advice" in done.err
    assert run.events.read_bytes() == before, "nothing was run again"
