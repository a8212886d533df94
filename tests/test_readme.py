"""README: its commands, configurations, paths, environments and flow table are those of the program."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from ultra_agents import pipeline
from ultra_agents.cli.main import app
from ultra_agents.config import parse_config
from ultra_agents.registry import catalogue, create_environment

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BEFORE, _, AFTER = README.partition("\n## Use your own model\n")
OURS = BEFORE + AFTER[AFTER.index("\n## ") :]
"""What tests/cli/llm/test_llm_readme.py does not run."""


def fenced(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", OURS, re.MULTILINE | re.DOTALL)


def commands(program: str) -> list[str]:
    """Each command line of the page that begins with `program`, in blocks and in the text, without its comment."""
    lines = [line for block in fenced("sh") for line in block.splitlines()]
    lines += re.findall(r"`((?:ultra|python) [^`]*)`", README)
    return sorted({line.split(" #")[0].strip() for line in lines if line.startswith(f"{program} ")})


def understood(line: str) -> None:
    """Let the command line's own parser read `line`, without running it."""
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    if words:
        command.make_context(command.name, words)


@pytest.mark.parametrize("line", commands("ultra"))
def test_commands_are_understood(line: str) -> None:
    understood(line)


@pytest.mark.parametrize("line", ["ultra expalin x", "ultra run c.yaml --plian", "ultra plugins new world NAME"])
def test_the_check_above_sees_mistakes(line: str) -> None:
    with pytest.raises(Exception, match=r"expalin|plian|world"):
        understood(line)


@pytest.mark.parametrize("line", commands("python"))
def test_benchmarks_take_these_options(line: str) -> None:
    script, *words = shlex.split(line)[1:]
    if script == "-m":
        script = f"{words.pop(0).replace('.', '/')}.py"
    source = (ROOT / script).read_text(encoding="utf-8")
    assert [word for word in words if word.startswith("--") and f'add_argument("{word}"' not in source] == []


@pytest.mark.parametrize("text", fenced("yaml"))
def test_configurations_are_valid(text: str) -> None:
    config = parse_config(yaml.safe_load(text), "README")
    environment = create_environment(config.environment.name, config.environment.options)
    assert config.policy.shipped is None or config.policy.shipped in environment.policies()


def test_every_environment_is_listed() -> None:
    listed = set(re.findall(r"`([a-z0-9-]+)[`:]", OURS.partition("\n## Environments\n")[2].partition("\n```")[0]))
    ours = {row.name for row in catalogue() if (row.kind, row.distribution) == ("environment", "ultra-agents")}
    assert ours <= listed


def test_what_is_said_of_the_shipped_policies_is_in_their_files() -> None:
    from ultra_agents.policies import load_policy

    pong = create_environment("pong")
    row = next(line for line in OURS.splitlines() if line.startswith("| `pong` |"))
    for name, path in pong.policies().items():
        score = load_policy(path, "pong", pong).metadata["score"]["mean"]
        assert f"`{name}` ({score:+.1f})" in row


def test_the_flow_is_that_of_the_pipeline() -> None:
    def stages(text: str) -> list[tuple[str, ...]]:
        return re.findall(r"^\| (\d+) \| ([a-z, ]+) \|", text, re.MULTILINE)

    assert len(stages(README)) == 12
    assert stages(README) == stages(pipeline.__doc__ or "")


def test_paths_exist() -> None:
    beginnings = ("ultra_agents/", "plugins/", "prompts/", "benchmarks/", "examples/")
    named = re.findall(r"[`(]([\w./-]+)", README) + re.findall(r"(?:python|ultra run|ultra explain) ([\w./]+)", README)
    paths = {path for path in named if path.startswith(beginnings)}
    assert len(paths) > 15
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
