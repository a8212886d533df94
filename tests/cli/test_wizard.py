"""What the wizard stands on: the file it writes, the facts it tells, and `ultra` without a terminal."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents import contracts
from ultra_agents.cli.run_display import preflight
from ultra_agents.cli.terminal_check import terminal_problem
from ultra_agents.cli.wizard import command
from ultra_agents.cli.wizard.facts import RegistryFacts, calls_of
from ultra_agents.cli.wizard.write_yaml import settings_of, text_of
from ultra_agents.config import load_config, method_names, parse_config
from ultra_agents.errors import ConfigError
from ultra_agents.ui.wizard.answers import Answers, Checked, Speed

SCRIPT = "callable=ultra_agents.testing.corridor_script:good"


@pytest.mark.parametrize(
    "answers",
    [
        Answers(),
        Answers(proposer="oracle"),
        Answers(calls=50, tokens=100_000, methods=("continue",)),
        Answers(environment="mountain-car", policy_kind="train", name="mc", file=Path("mc.yaml")),
        Answers(environment="gymnasium:CartPole-v1", policy_kind="train", proposer="random"),
        Answers(environment="corridor", policy_kind="train", proposer="scripted", options=SCRIPT),
        Answers(environment="mountain-car", policy_kind="train", proposer="random", form="rules"),
        Answers(
            environment="mountain-car",
            policy_kind="train",
            proposer="file",
            form="rules",
            rules=str(Path(__file__).parents[2] / "examples" / "rules" / "mountain_car.yaml"),
        ),
        Answers(proposer="openai", model="a model: with a colon", base_url="http://127.0.0.1:8000/v1"),
    ],
    ids=lambda answers: f"{answers.environment}-{answers.proposer}",
)
def test_the_file_is_what_a_run_reads(answers: Answers, tmp_path: Path) -> None:
    text = text_of(answers)
    path = tmp_path / "it.yaml"
    path.write_text(text)
    config = load_config(path)
    preflight(config)
    assert config == parse_config(settings_of(answers), "test")
    assert config.environment.name == answers.environment
    assert config.methods == answers.methods
    assert config.gateway.budget.calls == answers.calls
    assert config.refine.steps == answers.steps
    assert config.form == answers.form
    keys = [line.partition(":")[0] for line in text.splitlines() if line and line[0] not in "# -"]
    assert keys == list(settings_of(answers))
    for number, line in enumerate(text.splitlines()):
        if line and line[0] not in "# -":
            assert text.splitlines()[number - 1].startswith("# "), f"no comment on {line}"


def test_the_default_file_is_pong_with_the_embedded_model() -> None:
    settings = yaml.safe_load(text_of(Answers()))
    assert settings["environment"] == {"name": "pong"}
    assert settings["policy"] == {"shipped": "suboptimal"}
    assert settings["llms"]["default"]["provider"] == "local"
    assert "gateway" not in settings


@pytest.mark.parametrize(
    "answers", [Answers(steps=0), Answers(name="a b"), Answers(methods=("magic",)), Answers(options="a=[")]
)
def test_answers_that_make_no_configuration_are_refused(answers: Answers) -> None:
    with pytest.raises(ConfigError):
        text_of(answers)


def test_the_facts_of_the_registry() -> None:
    facts = RegistryFacts()
    names = facts.environments()
    assert names[0] == "pong"
    assert names[-1] == "corridor"
    pong = facts.environment("pong")
    assert pong.policies[0] == "suboptimal"
    assert pong.policies[-1] == "expert"
    assert pong.expert
    assert dict(pong.brief)["Goal"].startswith("Win points")
    assert facts.environment("pong") is pong
    assert "no-such" in facts.environment("gymnasium:no-such-v0").problem.lower()
    assert facts.environment("gymnasium:CartPole-v1").problem == ""
    providers = {one.name: one for one in facts.providers()}
    assert providers["openai"].needs == ("options.model",)
    assert providers["openai"].base_url == "https://api.openai.com/v1"
    assert providers["local"].base_url is None
    assert providers["local"].model


def test_the_check_is_the_one_of_llm_check() -> None:
    replies = '["hello",{"reasoning":"so","action":"UP","hold":2}]'
    facts = RegistryFacts()
    found = facts.check(Answers(proposer="scripted", options=f"replies={replies}"), lambda: False, lambda text: None)
    assert dict(found.rows)["provider"] == "scripted", found
    failed = facts.check(Answers(proposer="nobody"), lambda: False, lambda text: None)
    assert not failed.ok
    assert "nobody" in failed.problem


def test_the_speed_is_measured_by_learning() -> None:
    found = RegistryFacts().speed(Answers(environment="corridor", policy_kind="train"))
    assert found.problem == ""
    assert found.steps_per_s > 10
    assert "unknown" in RegistryFacts().speed(Answers(environment="no-such")).problem


def test_every_method_is_offered_with_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = RegistryFacts().methods(Answers())
    assert {one.name for one in facts} == set(method_names())
    assert not any(one.problem for one in facts), "Pong has all that any method needs"
    whole = contracts.capabilities
    monkeypatch.setattr(contracts.method, "capabilities", lambda plugin: frozenset(whole(plugin)) - {"snapshot"})
    without = RegistryFacts().methods(Answers())
    assert {one.name for one in without if one.problem} >= {"rice", "statemask-r"}
    assert all("snapshot" in one.problem for one in without if one.name in ("rice", "statemask-r"))
    assert next(one for one in without if one.name == "continue").problem == ""


def test_methods_that_ask_nobody_cost_no_calls_and_the_untrained_one_no_steps() -> None:
    answers = Answers(steps=10_000, methods=("continue", "none", "rice"))
    rows = dict(RegistryFacts().cost(answers, Speed(100.0), None))
    assert rows["environment steps"].startswith("20k ")
    assert "model calls" not in rows
    parse_config(settings_of(answers), "test")


def test_the_cost_adds_up() -> None:
    facts, answers = RegistryFacts(), Answers(steps=10_000, methods=("ultra-ra", "continue"), calls=30)
    rows = dict(facts.cost(answers, Speed(100.0), Checked(True, (), tokens_per_s=10.0)))
    assert rows["environment steps"].startswith("20k ")
    assert rows["  of these tests"] == "at most 10k"
    assert rows["learning"].startswith("about 3 min at 100 steps/s")
    assert rows["model calls"].endswith("; stops at 30")
    low, high = calls_of(parse_config(settings_of(answers), "test"))
    assert 0 < low < high == 6 + 12 * 3 * 2
    assert rows["model calls"].startswith(f"about {low}, at most {high}")
    unknown = dict(facts.cost(answers, None, None))
    assert "learning" not in unknown
    assert unknown["asking"].startswith("unknown")
    control = dict(facts.cost(replace(answers, proposer="random"), None, None))
    assert "model calls" not in control
    trained = dict(facts.cost(replace(answers, policy_kind="train", train_steps=5_000), None, None))
    assert trained["environment steps"].startswith("25k ")


def test_files_are_written_whole_and_never_over_another(tmp_path: Path) -> None:
    facts, answers = RegistryFacts(), Answers(file=tmp_path / "new" / "pong.yaml")
    assert facts.write(answers, "one", overwrite=False)
    assert not facts.write(answers, "two", overwrite=False)
    assert answers.file.read_text() == "one"
    assert facts.write(answers, "two", overwrite=True)
    assert answers.file.read_text() == "two"
    with pytest.raises(ConfigError, match="cannot write"):
        facts.write(replace(answers, file=answers.file / "below"), "three", overwrite=False)


def test_without_a_terminal_there_is_the_help_and_one_word(ultra: Any) -> None:
    done = ultra()
    assert done.code == 2
    assert "Usage: ultra" in done.out
    assert "standard input is no terminal" in done.err or "standard output is no terminal" in done.err
    assert "ultra run examples/pong.yaml" in done.err


@pytest.mark.parametrize("stdin", [subprocess.DEVNULL, subprocess.PIPE])
def test_in_a_pipe_it_ends_by_itself(stdin: int) -> None:
    done = subprocess.Popen(
        [sys.executable, "-m", "ultra_agents.cli.main"], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert done.wait(timeout=60) == 2  # the other end of its standard input stays open meanwhile
    finally:
        done.kill()
        done.communicate()


def test_other_commands_and_the_help_are_as_before(ultra: Any) -> None:
    shown = ultra("--help")
    assert shown.code == 0
    assert all(word in shown.out for word in ("run", "resume", "inspect", "doctor"))
    assert ultra("--version").code == 0
    assert ultra("rum").code == 2


def test_a_terminal_without_a_cursor_or_utf_8_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Tty:
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Tty())
    monkeypatch.setattr(sys, "stdout", Tty())
    monkeypatch.setenv("TERM", "xterm")
    assert terminal_problem() is None
    monkeypatch.setenv("TERM", "dumb")
    assert terminal_problem() == "TERM=dumb cannot move a cursor"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(Tty, "encoding", "ascii")
    assert "not UTF-8" in str(terminal_problem())


def test_running_becomes_ultra_run(monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr("os.execv", lambda program, arguments: became.append(arguments))
    command.run(Path("my file.yaml"))
    assert became == [[sys.executable, "-m", "ultra_agents.cli.main", "run", "my file.yaml"]]
