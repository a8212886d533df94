"""The rules of a run at the command line: shown, exported, browsed, in its policy files and its report."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.made_run import make_run, run_pipeline_for
from tests.cli.test_rules import RIGHT
from ultra_agents.runs import RunFolder

SMALL: dict[str, Any] = {
    "environment": {"name": "corridor", "options": {}},
    "policy": {"train_steps": 64},
    "proposer": "file",
    "collect": {"episodes": 2},
    "verification": {"rules": {"horizon": 50}},
    "refine": {"steps": 9_000, "num_envs": 4, "workers": 0, "evaluate_every": 9_000, "curve_episodes": 2},
    "evaluate": {"episodes": 2, "video": False},
}
NEVER = "rules:\n  - {when: cell < -1, do: LEFT, why: there is no such cell}\n"


HARMED = RIGHT.replace("{when: cell > at, do: RIGHT", "{when: cell > at, do: LEFT")
"""Its first rule turns back before the goal, so that the set holds without it only."""


def run_with(root: Path, text: str, **advice: Any) -> RunFolder:
    path = root / "rules.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return run_pipeline_for(root, **SMALL, advice={"file": str(path), **advice})


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose rules held and act to its end; the first of the two was dropped."""
    return run_with(tmp_path_factory.mktemp("held"), HARMED, apply="layer")


@pytest.fixture(scope="module")
def refuted(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return run_with(tmp_path_factory.mktemp("refuted"), NEVER)


@pytest.fixture(scope="module")
def rewarded(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with an implicit reward and no rules."""
    return run_with(tmp_path_factory.mktemp("rewarded"), "reward: next.cell - cell\n")


@pytest.fixture(scope="module")
def moves(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("moves"))


@pytest.fixture
def damaged(held: RunFolder, tmp_path: Path) -> Path:
    """A copy of the run whose rules are damaged in its state."""
    path = tmp_path / "damaged"
    shutil.copytree(held.path, path)
    state = json.loads((path / "state.json").read_text())
    state["done"]["rules"]["value"]["proposals"][0]["text"] = "rules: [{when: __import__('os'), do: RIGHT}]"
    (path / "state.json").write_text(json.dumps(state))
    return path


def test_show_prints_the_set_with_what_became_of_each_rule(ultra: Any, held: RunFolder) -> None:
    done = ultra("rules", "show", str(held.path))
    assert done.code == 0, done.err
    for piece in (
        "walk: accepted: +",
        "refining began from the policy with its rules in force",
        "set 1 of 1 (file): accepted",
        " 1  when cell > at",
        "do LEFT  brings -",
        " per episode, dropped",
        "why: the goal is there",
        "constant at = 6 in [0, 8]",
        "potential: cell / 8",
    ):
        assert piece in done.out, done.out


def test_show_as_json_holds_the_same(ultra: Any, held: RunFolder) -> None:
    done = ultra("rules", "show", str(held.path), "--json")
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert [row["dropped"] for row in shown["set"]] == [True, False]
    assert [row["place"] for row in shown["set"]] == [None, 0]
    assert (shown["verdict"], shown["held"], shown["start"]["chosen"]) == ("accepted", True, "policy+rules")
    assert shown["test"]["env_steps"] == shown["env_steps"] > 0


def test_an_implicit_reward_is_shown_with_what_its_test_found(ultra: Any, rewarded: RunFolder) -> None:
    shown = ultra("rules", "show", str(rewarded.path))
    assert shown.code == 0, shown.err
    assert "  reward: next.cell - cell\n      used: the 2 collected episodes cannot judge it" in shown.out
    browsed = ultra("inspect", str(rewarded.path), "--plain")
    assert "reward implicit reward used: the 2 collected episodes cannot judge it" in browsed.out
    found = json.loads(ultra("rules", "show", str(rewarded.path), "--json").out)["reward_test"]
    assert (found["agreement"], found["acts"], found["race"]) == ("unjudged", True, None)


def test_what_is_exported_can_be_checked_and_proposed_again(ultra: Any, held: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "below" / "rules.yaml"
    done = ultra("rules", "export", str(held.path), "-o", str(out))
    assert done.code == 0, done.err
    assert str(out) in done.out
    assert out.read_text().startswith("# From the run walk, corridor: accepted")
    assert [row["when"] for row in yaml.safe_load(out.read_text())["rules"]] == ["cell > 0"], "the other was dropped"
    checked = ultra("rules", "check", str(out), "-e", "corridor")
    assert checked.code == 0, checked.err
    before = out.read_bytes()
    again = ultra("rules", "export", str(held.path), "-o", str(out))
    assert (again.code, again.out) == (2, "")
    assert "exists already" in again.err
    out.write_text("mine")
    assert ultra("rules", "export", str(held.path), "-o", str(out), "--overwrite").code == 0
    assert out.read_bytes() == before


def test_where_no_rules_held_there_is_nothing_to_export(ultra: Any, refuted: RunFolder, tmp_path: Path) -> None:
    shown = ultra("rules", "show", str(refuted.path))
    assert shown.code == 0
    assert "set 1 of 1 (file): rejected" in shown.out
    done = ultra("rules", "export", str(refuted.path), "-o", str(tmp_path / "no.yaml"))
    assert (done.code, done.out) == (2, "")
    assert "no rules held" in done.err
    assert "rejected" in done.err
    assert not (tmp_path / "no.yaml").exists()


def test_bad_input_is_one_message_and_2(
    ultra: Any, moves: RunFolder, damaged: Path, held: RunFolder, tmp_path: Path
) -> None:
    out = str(tmp_path / "x.yaml")
    for arguments, told in (
        (("show", str(moves.path)), "has no rules"),
        (("export", str(moves.path), "-o", out), "has no rules"),
        (("show", "nothing-there"), "no run folder"),
        (("export", "nothing-there", "-o", out), "no run folder"),
        (("show", str(damaged)), "state.json is damaged"),
        (("export", str(damaged), "-o", out), "state.json is damaged"),
        (("export", str(held.path)), "--out"),
        (("export", str(held.path), "-o", str(held.config_path / "x.yaml")), "cannot write"),
    ):
        done = ultra("rules", *arguments)
        assert (done.code, done.out) == (2, ""), arguments
        assert told in done.err, (arguments, done.err)
        assert "Traceback" not in done.err
    assert not Path(out).exists()


def test_inspect_says_who_acts_at_each_step(ultra: Any, held: RunFolder) -> None:
    done = ultra("inspect", str(held.path), "--plain")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert any(line.startswith("rules accepted: +") for line in lines)
    assert any(re.match(r"rule 1 acts=dropped brings=-\S+ when cell > at do LEFT", line) for line in lines)
    rows = {line.split()[1]: line.split()[2:] for line in lines if line.startswith("acts ")}
    shown = json.loads(ultra("inspect", str(held.path), "--json").out)
    acts = shown["rules"]["acts"]
    for episode in shown["episodes"]:
        numbers = acts[str(episode["episode"])]
        assert len(numbers) == episode["steps"]
        assert set(numbers) <= {0, 2}, "rule 1 was dropped, and keeps its number"
        spelled = [
            number
            for part in rows[str(episode["episode"])]
            for span, _, who in [part.partition(":")]
            for number in [0 if who == "policy" else int(who)]
            * (int(span.split("-")[1]) - int(span.split("-")[0]) + 1)
        ]
        assert spelled == numbers
    assert shown["methods"][0]["with_rules"] is not None


def test_a_step_says_what_the_rules_do_there(held: RunFolder) -> None:
    from ultra_agents.cli.inspect.run_reader import RunFolderReader
    from ultra_agents.ui.inspect.details import details

    view, source = RunFolderReader(held.path).read()
    assert view.rules is not None
    acting = next(
        (episode, step) for episode, numbers in view.rules.acts.items() for step, one in enumerate(numbers) if one
    )
    told = details(view, source.step(*acting), 60).plain
    assert "with the rules rule 2 → RIGHT" in told
    assert "when cell > 0" in told
    source.close()


def test_inspect_of_a_damaged_run_is_one_message(ultra: Any, damaged: Path) -> None:
    done = ultra("inspect", str(damaged), "--plain")
    assert (done.code, done.out) == (2, "")
    assert "state.json is damaged" in done.err


def test_policy_show_prints_the_rules_of_a_file(ultra: Any, held: RunFolder, tmp_path: Path) -> None:
    done = ultra("policy", "show", str(held.checkpoints / "ultra-ra-with-rules.safetensors"))
    assert done.code == 0, done.err
    assert "acts by rules where they cover a state" in done.out
    assert "when: cell > 0" in done.out
    alone = ultra("policy", "show", str(held.checkpoints / "ultra-ra-last.safetensors"), "--json")
    assert json.loads(alone.out)["rules"] is None
    for path in ("gone.safetensors", str(held.config_path)):
        failed = ultra("policy", "show", path)
        assert (failed.code, failed.out) == (2, "")
        assert "Traceback" not in failed.err


def test_other_tools_get_the_network_without_its_rules(ultra: Any, held: RunFolder, tmp_path: Path) -> None:
    file = held.checkpoints / "ultra-ra-with-rules.safetensors"
    done = ultra("policy", "export", str(file), "-o", str(tmp_path / "it.zip"))
    assert done.code == 0, done.err
    assert "acts by rules where they cover a state; sb3 holds the policy alone, without them" in done.err
    own = ultra(
        "policy", "import", str(file), "-e", "corridor", "-o", str(tmp_path / "own.safetensors"), "--episodes", "2"
    )
    assert own.code == 0, own.err
    assert "when: cell > 0" in ultra("policy", "show", str(tmp_path / "own.safetensors")).out


def test_the_report_tells_what_became_of_the_rules(held: RunFolder, refuted: RunFolder) -> None:
    report, page = json.loads(held.report_json.read_text()), held.report_html.read_text()
    rules = report["rules"]
    assert (rules["verdict"], rules["steps"]) == ("accepted", report["env_steps"]["collect"])
    assert rules["set"][0]["coverage"] is None
    assert 0 < rules["set"][1]["coverage"] <= 1
    assert rules["set"][1]["example"]["does"] == "RIGHT"
    for words in ("<h2>Rules</h2>", "Held", "Last, with rules", "the policy with its rules in force", 'class="gone"'):
        assert words in page
    assert "From episodes to advice" not in page
    assert "Did not hold" in refuted.report_html.read_text()


def test_a_run_keeps_its_file_of_rules_by_its_full_path(held: RunFolder) -> None:
    assert held.config.advice.file is not None
    assert held.config.advice.file.is_absolute()
    assert not held.config_changed
