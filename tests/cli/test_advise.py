"""`ultra advise`: a person's moves and rules are tested, kept, charged and reported like a model's, once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.made_run import SETTINGS, make_run
from tests.cli.test_rules_run import NEVER, SMALL
from ultra_agents.config import parse_config
from ultra_agents.pipeline import run_pipeline
from ultra_agents.runs import RunFolder

RIGHT = "rules:\n  - {when: cell >= 0, do: RIGHT, why: the goal is right}\n"


def explained(runs: Path, **changes: Any) -> RunFolder:
    folder = RunFolder.create(runs, parse_config({**SETTINGS, **changes}, "test"))
    run_pipeline(folder, folder.config, lambda event: None, lambda: False, "measure")
    return folder


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was explained and not refined."""
    return explained(tmp_path_factory.mktemp("walk")).path


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with rules, none of which holds."""
    root = tmp_path_factory.mktemp("ruled")
    (root / "never.yaml").write_text(NEVER)
    return explained(root, **SMALL, advice={"file": str(root / "never.yaml"), "form": "rules"}).path


@pytest.fixture
def run(walk: Path, tmp_path: Path) -> Path:
    """A copy of the explained run, at `runs/walk` of the working directory."""
    return Path(shutil.copytree(walk, tmp_path / "runs" / "walk"))


@pytest.fixture
def rules_run(ruled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ruled, tmp_path / "runs" / "walk"))


def state(path: Path) -> dict[str, Any]:
    done: dict[str, Any] = json.loads((path / "state.json").read_text())["done"]
    return done


def everything(path: Path) -> dict[str, bytes]:
    kept = {one.name: one.read_bytes() for one in path.rglob("*") if one.is_file()}
    return {name: content for name, content in kept.items() if name != ".lock"}


def test_moves_that_hold_are_kept_charged_and_shown(ultra: Any, run: Path) -> None:
    done = ultra("advise", "walk", "--step", "0:5", "--moves", "RIGHT x16", "--why", "the goal is right")
    assert done.code == 0, done.err
    assert "RIGHT for 16 steps, from step 5 of episode 0" in done.out
    assert "verdict   holds: +" in done.out
    assert "paired replays (4 better, 0 worse)" in done.out
    assert "ended     surely better" in done.out
    assert "charged to the methods that use advice" in done.out
    assert "ultra resume runs/walk" in done.out
    assert "steps so far" not in done.out
    mine = state(run)["explain"]["value"]["explanations"][-1]
    (case,) = mine["states"]
    assert (mine["source"], case["fate"], case["step"]) == ("human", "accepted", 5)
    assert case["attempts"][0]["rationale"] == "the goal is right"
    assert mine["env_steps"] == case["attempts"][0]["test"]["env_steps"] > 0
    row = json.loads((run / "advice.jsonl").read_text().splitlines()[-1])
    assert (row["source"], row["episode"], row["step"], row["reward"], row["taken_reward"]) == ("human", 0, 5, 1, -1)
    assert state(run)["tabulate"]["value"][-1]["source"] == "human"
    shown = ultra("inspect", "walk", "--plain").out
    assert "critical 0:5" in shown
    assert "person" in shown
    again = ultra("explain", "walk", "--plain").out
    assert "A person's advice: 1 of 1 suggestion holds." in again


def test_a_model_s_measures_know_nothing_of_a_person_s_advice(ultra: Any, run: Path) -> None:
    before = json.loads((run / "measures.json").read_text())
    assert ultra("advise", "walk", "--step", "0:5", "--moves", "RIGHT x16").code == 0
    after = json.loads((run / "measures.json").read_text())
    human = after.pop("human")
    assert (human["tested"], human["held"]) == (1, 1)
    assert after.pop("headline") == f"{before.pop('headline')} {human['headline']}"
    assert after == before
    assert state(run)["measure"]["value"]["human"] == human


def test_the_same_moves_are_paid_once_whoever_made_them(ultra: Any, run: Path) -> None:
    first = ultra("advise", "walk", "--step", "0:5", "--moves", "RIGHT x16, LEFT", "--json")
    kept = everything(run)
    again = ultra("advise", "walk", "--step", "0:5", "--moves", "RIGHT*10, RIGHT x6,LEFT x1", "--json")
    assert everything(run) == kept
    one, two = json.loads(first.out), json.loads(again.out)
    assert (one.pop("known"), one.pop("kept"), one.pop("charged")) == (False, True, True)
    assert (two.pop("known"), two.pop("kept"), two.pop("charged")) == (True, False, False)
    assert "suggested by you" in two.pop("told")
    one.pop("told")
    assert one == two
    models = ultra("advise", "walk", "--step", "0:0", "--moves", "RIGHT x16")
    assert "suggested by the run's own proposer (scripted): shown again, nothing was played" in models.out
    assert everything(run) == kept


def test_a_dry_test_measures_the_same_and_leaves_no_trace(ultra: Any, run: Path) -> None:
    before = everything(run)
    dry = ultra("advise", "walk", "--step", "1:3", "--moves", "LEFT x2", "--dry", "--json")
    assert dry.code == 0
    assert everything(run) == before
    wet = json.loads(ultra("advise", "walk", "--step", "1:3", "--moves", "LEFT x2", "--json").out)
    found = json.loads(dry.out)
    for key in ("gain", "low", "high", "pairs", "env_steps", "stopped", "verdict"):
        assert found[key] == wet[key]
    assert (found["kept"], found["charged"]) == (False, False)


def test_of_two_plans_at_a_state_the_better_one_is_in_the_table(ultra: Any, run: Path) -> None:
    told = {
        plan: json.loads(ultra("advise", "walk", "--step", "0:5", "--moves", plan, "--json").out)
        for plan in ("LEFT x3", "RIGHT x16", "RIGHT x16, LEFT")
    }
    assert all(one["verdict"] == "holds" for one in told.values())
    (row,) = [row for row in state(run)["tabulate"]["value"] if (row["episode"], row["step"]) == (0, 5)]
    best = max(told.values(), key=lambda one: one["gain"])
    assert row["plan"]["moves"] == best["moves"] == [["RIGHT", 16]]
    assert "RIGHT for 16 steps gained more at this step and stays in the table" in told["RIGHT x16, LEFT"]["told"]
    assert "is in the run's advice" in told["RIGHT x16"]["told"]


def test_refining_uses_the_advice_and_pays_for_it(ultra: Any, run: Path) -> None:
    told = json.loads(ultra("advise", "walk", "--step", "0:5", "--moves", "RIGHT x16", "--json").out)
    tests = sum(one["env_steps"] for one in state(run)["explain"]["value"]["explanations"])
    done = ultra("resume", "walk", "--plain")
    assert done.code == 0, done.err
    report = json.loads((run / "report.json").read_text())
    assert report["methods"]["ultra-ra"]["env_steps"]["test"] == tests
    assert report["advice"]["human"]["env_steps"] == told["env_steps"]
    assert [one["source"] for one in report["advice"]["rows"]].count("human") == 1
    assert report["flow"]["suggestions"] == 9
    page = (run / "report.html").read_text()
    assert "A person’s advice" in page
    assert "language models, and a person beside them" in page
    refused = ultra("advise", "walk", "--step", "0:6", "--moves", "RIGHT x16")
    assert refused.code == 2
    assert "has used its advice already" in refused.err
    assert "ultra fork runs/walk --from imitate --name walk-2" in refused.err
    assert "--dry tests it all the same" in refused.err
    assert ultra("advise", "walk", "--step", "0:6", "--moves", "RIGHT x16", "--dry").code == 0


def test_rules_that_hold_take_the_place_of_a_set_that_did_not(ultra: Any, rules_run: Path, tmp_path: Path) -> None:
    (tmp_path / "right.yaml").write_text(RIGHT)
    before = state(rules_run)["rules"]["value"]
    done = ultra("advise", "walk", "--rule", "right.yaml")
    assert done.code == 0, done.err
    assert "verdict   accepted: +" in done.out
    assert "takes the place of the run's own set, which did not hold" in done.out
    found = state(rules_run)["rules"]["value"]
    assert [one["source"] for one in found["proposals"]] == ["file", "human"]
    assert (found["chosen"], found["test"]["verdict"]) == (1, "accepted")
    assert found["proposals"][0]["env_steps"] == before["test"]["env_steps"]  # what was paid stays charged
    kept = everything(rules_run)
    again = ultra("advise", "walk", "--rule", "right.yaml")
    assert "tested before, proposed by you: shown again" in again.out
    assert everything(rules_run) == kept
    assert json.loads((rules_run / "measures.json").read_text())["human"]["rules"] == 1


def test_rules_that_do_not_hold_change_nothing_but_the_list(ultra: Any, rules_run: Path, tmp_path: Path) -> None:
    before = state(rules_run)["rules"]["value"]
    (tmp_path / "left.yaml").write_text(NEVER.replace("-1", "-2"))
    done = ultra("advise", "walk", "--rule", "left.yaml")
    assert "the run's own set stays, as it was" in done.out
    found = state(rules_run)["rules"]["value"]
    assert found["proposals"][0] == before["proposals"][0]
    assert (found["chosen"], found["test"], found["rules"]) == (before["chosen"], before["test"], before["rules"])
    assert found["proposals"][1]["env_steps"] > 0
    assert "rules: rejected" in ultra("inspect", "walk", "--plain").out


STEP = ("--step", "0:5")
BAD = [
    ((), "the advice is incomplete", "--rule FILE"),
    ((*STEP,), "the advice is incomplete", "--step"),
    ((*STEP, "--moves", "LEFT", "--rule", "f"), "not both at once", "--rule FILE"),
    (("--step", "five", "--moves", "LEFT"), "--step names no step", "EPISODE:STEP"),
    (("--step", "0:-1", "--moves", "LEFT"), "--step names no step", "EPISODE:STEP"),
    (("--step", f"0:{'9' * 5000}", "--moves", "LEFT"), "--step names no step", "EPISODE:STEP"),
    (("--step", "7:0", "--moves", "LEFT"), "there is no episode 7", "one of 0, 1, 2"),
    (("--step", "0:999", "--moves", "LEFT"), "episode 0 has no step 999", "a step from 0 to"),
    ((*STEP, "--moves", ""), "there are no moves", "UP x2, STAY x3"),
    ((*STEP, "--moves", "LEFT,,LEFT"), "a move has no action", "UP x2, STAY x3"),
    ((*STEP, "--moves", "RIGT x2"), "there is no action 'RIGT'", "did you mean 'RIGHT'?"),
    ((*STEP, "--moves", "left"), "there is no action 'left'", "one of: LEFT, RIGHT"),
    ((*STEP, "--moves", "LEFT x0"), "cannot be held for so many steps", "a whole number of steps from 1 to 500"),
    ((*STEP, "--moves", "LEFT x-3"), "cannot be held for so many steps", "from 1 to 500"),
    ((*STEP, "--moves", "LEFT x1.5"), "cannot be held for so many steps", "from 1 to 500"),
    ((*STEP, "--moves", "LEFT x1000000000"), "cannot be held for so many steps", "from 1 to 500"),
    ((*STEP, "--moves", f"LEFT x{'9' * 1500}"), "cannot be held for so many steps", "from 1 to 500"),
    ((*STEP, "--moves", "LEFT x400, RIGHT x400"), "take 800 environment steps", "at most 500 steps"),
    ((*STEP, "--moves", "LEFT," * 2000), "the moves are too long", "at most 2,000"),
    ((*STEP, "--moves", "LEFT", "--why", "x" * 1001), "the reason is too long", "at most 1,000"),
    (("--rule", "absent.yaml"), "cannot use rules", "advice.form: rules or both"),
    (("--rule", "absent.yaml", "--dry"), "cannot read the rules absent.yaml", "a UTF-8 YAML file"),
]


@pytest.mark.parametrize(("given", "said", "expected"), BAD, ids=range(len(BAD)))
def test_bad_advice_is_one_clear_message_and_changes_nothing(
    ultra: Any, run: Path, given: tuple[str, ...], said: str, expected: str
) -> None:
    before = everything(run)
    done = ultra("advise", "walk", *given)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert expected in done.err
    assert "Traceback" not in done.err
    assert everything(run) == before


@pytest.mark.parametrize(
    "text", ["rules: [", "rules: []", "potential: cell", "rules:\n  - {when: nothing > 1, do: LEFT}"]
)
def test_rules_that_cannot_be_used(ultra: Any, rules_run: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    before = everything(rules_run)
    done = ultra("advise", "walk", "--rule", "bad.yaml")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert "bad.yaml" in done.err or "there is no rule to act by" in done.err
    assert everything(rules_run) == before


def test_a_run_that_is_not_there_or_has_nothing_yet(ultra: Any, tmp_path: Path) -> None:
    unknown = ultra("advise", "nowhere", *STEP, "--moves", "LEFT")
    assert (unknown.code, "there is no run folder nowhere" in unknown.err) == (2, True)
    RunFolder.create(tmp_path / "runs", parse_config(SETTINGS, "test"))
    for more in ((), ("--dry",)):
        empty = ultra("advise", "walk", *STEP, "--moves", "LEFT", *more)
        assert (empty.code, "walk has no episodes yet" in empty.err) == (2, True)
        assert "ultra resume runs/walk" in empty.err


def test_a_run_without_simulator_states(ultra: Any, run: Path) -> None:
    from dataclasses import replace

    from ultra_agents.rollout.store import load_trajectories, save_trajectories

    bare = [replace(one, snapshots=None) for one in load_trajectories(run / "trajectories")]
    save_trajectories(run / "trajectories", bare)
    before = everything(run)
    done = ultra("advise", "walk", *STEP, "--moves", "LEFT")
    assert done.code == 2
    assert "collected without simulator states" in done.err
    assert "--rule FILE" in done.err
    assert everything(run) == before


def test_a_run_that_another_process_holds(ultra: Any, run: Path) -> None:
    folder = RunFolder.open(run)
    with folder.lock():
        before = everything(run)
        done = ultra("advise", "walk", *STEP, "--moves", "RIGHT x3")
        assert done.code == 2
        assert "is being run by process" in done.err
        assert "--dry tests meanwhile and keeps nothing" in done.err
        assert everything(run) == before
        assert ultra("advise", "walk", *STEP, "--moves", "RIGHT x3", "--dry").code == 0
        assert everything(run) == before


def test_agents_that_have_not_finished(ultra: Any, run: Path) -> None:
    kept = json.loads((run / "state.json").read_text())
    for stage in ("explain", "tabulate", "measure"):
        del kept["done"][stage]
    (run / "state.json").write_text(json.dumps(kept))
    done = ultra("advise", "walk", *STEP, "--moves", "RIGHT x3")
    assert done.code == 2
    assert "have not finished" in done.err
    assert "ultra explain runs/walk" in done.err
    assert ultra("advise", "walk", *STEP, "--moves", "RIGHT x3", "--dry").code == 0


def test_a_disk_that_is_full_loses_nothing(ultra: Any, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(run)

    def full(target: Path, content: str | bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ultra_agents.runs.folder.write_whole", full)
    done = ultra("advise", "walk", *STEP, "--moves", "RIGHT x3")
    assert done.code == 2
    assert "No space left" in done.err
    assert everything(run) == before


def test_a_finished_run_of_records_only(ultra: Any, tmp_path: Path) -> None:
    """Advice is refused before anything is played."""
    make_run(tmp_path / "runs")
    done = ultra("advise", "walk", *STEP, "--moves", "RIGHT x3")
    assert (done.code, "has used its advice already" in done.err) == (2, True)
