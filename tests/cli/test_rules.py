"""`ultra rules check` and `ultra rules test`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from ultra_agents.verification import RuleTest

RIGHT = """\
constants: {at: [6, 0, 8]}
rules:
  - {when: cell > at, do: RIGHT, why: the goal is there}
  - {when: cell > 0, do: RIGHT}
potential: cell / 8
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RIGHT)
    return path


def test_check_says_what_rules_see_and_decide(ultra: Callable[..., Any], rules: Path) -> None:
    done = ultra("rules", "check", str(rules), "--environment", "corridor", "--set", "length=11")
    assert done.code == 0
    assert "can be used in Corridor-11x50" in done.out
    for line in (
        "rules       2,",
        "quantities  cell",
        "decides     LEFT, RIGHT",
        "at = 6 in [0, 8]",
        "potential   cell / 8",
    ):
        assert line in done.out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules:\n  - {when: celll > 1, do: RIGHT}", ("line 2, column 12", "did you mean 'cell'?")),
        ("rules:\n  - {when: cell > 1, do: UP}", ("line 2", "UP", "LEFT")),
        ("rules:\n  - {when: cell > , do: LEFT}", ("line 2",)),
        ("rules: [", ("line",)),
        ("rules:\n  - {when: __import__('os'), do: LEFT}", ("line 2",)),
        ("constants: {at: [9, 0, 8]}\nrules:\n  - {when: cell > at, do: LEFT}", ("9 is not within [0, 8]",)),
        ("rules:\n  - {when: cell > 3 and cell < 3 and False, do: LEFT}", ("can never be true",)),
        ("rules:\n  - {when: ball_y > 3, do: LEFT}", ("ball_y", "known: cell")),
    ],
)  # fmt: skip
def test_bad_rules_end_with_2_and_the_place(
    ultra: Callable[..., Any], rules: Path, config: Path, text: str, told: tuple[str, ...]
) -> None:
    rules.write_text(text)
    for done in (
        ultra("rules", "check", str(rules), "-e", "corridor"),
        ultra("rules", "test", str(rules), str(config)),
    ):
        assert done.code == 2
        assert "Traceback" not in done.err
        for piece in (*told, "rules.yaml"):
            assert piece in done.err, done.err
        assert done.out == ""


def test_other_bad_input_ends_with_2(ultra: Callable[..., Any], rules: Path, config: Path) -> None:
    for arguments, told in (
        (("check", "gone.yaml", "-e", "corridor"), "gone.yaml"),
        (("check", str(rules), "-e", "corridr"), "did you mean 'corridor'?"),
        (("check", str(rules), "-e", "corridor", "--set", "lenght=9"), "lenght"),
        (("check", str(rules), "-e", "pong"), "cell"),
        (("check", str(rules)), "--environment"),
        (("test", str(rules), "gone.yaml"), "gone.yaml"),
        (("test", str(rules), str(config), "--episodes", "1"), "--episodes"),
        (("test", str(rules), str(config), "--set", "verification.rules.pair=3"), "pairs"),
        (("test", str(rules), str(config), "--set", "policy.train_steps=null", "--set", "policy.path=gone"), "gone"),
    ):
        done = ultra("rules", *arguments)
        assert done.code == 2, arguments
        assert told in done.err, (arguments, done.err)
        assert "Traceback" not in done.err


def test_a_hunch_is_tested(ultra: Callable[..., Any], rules: Path, config: Path, tmp_path: Path) -> None:
    done = ultra("rules", "test", str(rules), str(config), "--set", "policy.train_steps=64")
    assert done.code == 0, done.err
    assert done.out.startswith("accepted: +")
    assert "% confidence" in done.out
    assert "rules act at  100.0% of the steps" in done.out
    assert re.search(r"steps paid    \d+ \(confirm \d+\)", done.out), "one that holds is not taken apart"
    assert "training the starting policy for 64 steps" in done.err
    assert not (tmp_path / "runs").exists(), "a test leaves no run folder"


def test_a_rule_that_does_harm_is_left_out(ultra: Callable[..., Any], rules: Path, config: Path) -> None:
    rules.write_text(rules.read_text().replace("{when: cell > at, do: RIGHT", "{when: cell > at, do: LEFT"))
    done = ultra("rules", "test", str(rules), str(config), "--set", "policy.train_steps=64")
    assert done.code == 0, done.err
    assert done.out.startswith("accepted: +")
    assert re.search(r"rule 1        -\S+ per episode is what having it brings, so it was left out", done.out)
    assert "confirm the rest" in done.out


def test_as_json_it_can_be_read_back_and_the_seed_repeats_it(
    ultra: Callable[..., Any], rules: Path, config: Path
) -> None:
    command = ("rules", "test", str(rules), str(config), "--json", "--tune", "--episodes", "6")
    settings = ("--set", "policy.train_steps=64", "--set", "verification.rules.tune_settings=4")
    done = ultra(*command, *settings)
    assert done.code == 0, done.err
    row = json.loads(done.out)
    assert row.pop("file") == str(rules)
    assert row.pop("environment").startswith("Corridor-9x50")
    found = TypeAdapter(RuleTest).validate_python(row)
    assert found.verdict == "accepted"
    assert found.pairs <= 6
    assert found.spent["tune"] > 0
    assert ultra(*command, *settings).out == done.out
    assert ultra(*command, *settings, "--set", "seed=7").out != done.out


def test_what_is_undecided_is_called_so(ultra: Callable[..., Any], rules: Path, config: Path) -> None:
    done = ultra(
        "rules", "test", str(rules), str(config), "--set", "policy.train_steps=64",
        "--set", "verification.rules.max_steps=100",
    )  # fmt: skip
    assert done.code == 0
    assert done.out.startswith("undecided: the budget of 100 steps did not pay for a first look")


def test_a_policy_with_rules_is_scored_with_them_and_exported_without(
    ultra: Callable[..., Any], rules: Path, tmp_path: Path
) -> None:
    from ultra_agents.policies import save_policy
    from ultra_agents.registry import create_algorithm, create_environment
    from ultra_agents.rules import load_rules
    from ultra_agents.rules.layer import RulePolicy

    world = create_environment("corridor")
    alone = create_algorithm("ppo", {"hidden": [8]}).create_policy(world.observation_space, world.action_space, seed=3)
    both = RulePolicy(alone, load_rules(rules), world)
    path = tmp_path / "both.safetensors"
    save_policy(path, both, algorithm="ppo", environment_name="corridor", environment=world, provenance={}, score=None)
    done = ultra("policy", "score", str(path), "--episodes", "4", "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out)["score"]["mean"] == pytest.approx(world.reference_returns.reference)
    assert "acts by rules where they cover a state" in ultra("policy", "score", str(path), "--episodes", "2").out
    done = ultra("policy", "export", str(path), "-o", "alone.zip")
    assert done.code == 0, done.err
    assert " ".join(done.err.split()).startswith("warning: ")
    assert "sb3 holds the policy alone, without them" in " ".join(done.err.split())
    assert (tmp_path / "alone.zip").is_file()
