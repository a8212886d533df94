"""README and docs/: every block, command, link, path, setting, environment and stage in them is the program's."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from ultra_agents import pipeline
from ultra_agents.cli.main import app
from ultra_agents.config import Config, load_config, parse_config
from ultra_agents.errors import UltraError
from ultra_agents.experiments import load_experiment
from ultra_agents.registry import catalogue, create_environment
from ultra_agents.rules import interface_of, parse_rules

ROOT = Path(__file__).parent.parent
PAGES = {path.relative_to(ROOT).as_posix(): path for path in [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))]}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in PAGES.items()}
README = TEXTS["README.md"]
FENCE = re.compile(r"^```(\S*) ?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXECUTED = {("sh", ""), ("bash", ""), ("yaml", ""), ("yaml", "experiment"), ("yaml", "rules")}
"""Kinds of blocks that tests of this file execute; `text` marks a block that is not meant to run."""
ELSEWHERE = ("docs/models.md", "\n## Use your own model\n")
"""The configurations of this section are run by tests/cli/llm/test_llm_readme.py."""
PROGRAMS = ("ultra", "python", "make", "pip", "ray")
FILES = {
    "csv", "html", "json", "jsonl", "md", "npz", "onnx", "pkl", "py", "safetensors", "sqlite", "tex", "toml", "webp",
    "yaml", "zip",
}  # fmt: skip
"""What follows the last dot in the name of a file, which is no setting."""


def fenced(language: str, rest: str = "") -> list[tuple[str, str]]:
    """(page, text) of each block of one kind that is executed here."""
    found = []
    for name, text in TEXTS.items():
        if name == ELSEWHERE[0] and language == "yaml":
            before, _, after = text.partition(ELSEWHERE[1])
            text = before + after[after.index("\n## ") :]
        found += [(name, block) for kind, more, block in FENCE.findall(text) if (kind, more) == (language, rest)]
    return found


def spans() -> Iterator[tuple[str, str]]:
    """(page, text) of everything in backticks outside blocks."""
    for name, text in TEXTS.items():
        yield from ((name, " ".join(span.split())) for span in re.findall(r"`([^`]+)`", FENCE.sub("", text)))


def command_lines() -> list[str]:
    """Each command line of the pages, in blocks and in the text, without its comment."""
    lines = [line for _, block in fenced("sh") for line in block.splitlines()]
    lines += [line for _, block in fenced("bash") for line in block.splitlines() if line.startswith("ultra ")]
    lines += [span for _, span in spans() if span.startswith(tuple(f"{program} " for program in PROGRAMS))]
    return sorted({line.split(" #")[0].strip() for line in lines if line.strip()})


def commands(program: str) -> list[str]:
    return [line for line in command_lines() if line.split()[0] == program and line != program]


def settings() -> list[tuple[str, str | None]]:
    """(key, value) of each setting named in backticks or by `--set`; the value is None where none is given."""
    found: set[tuple[str, str | None]] = set()
    for _, span in spans():
        match = re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)*)(?:(?:: |=)(.+))?", span)
        if match is None or span.startswith("ultra_agents.") or match[1].rpartition(".")[2] in FILES:
            continue
        if "." in match[1] or (match[2] is not None and match[1] in Config.model_fields):
            found.add((match[1], match[2]))
    for line in commands("ultra"):
        if line.split()[1] in ("run", "explain", "resume", "data"):
            found |= {(key, None) for key in re.findall(r"--set ([a-z_.]+)=", line)}
    return sorted(found, key=str)


def understood(line: str, command: Any = None) -> None:
    """Let the command line's own parser read `line`, without running it."""
    command = command or typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while words and hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    if words:
        command.make_context(command.name, words)


def is_setting(key: str) -> bool:
    """Whether a configuration has the key, as its JSON schema tells."""
    schema: Any = Config.model_json_schema()
    node = schema
    for part in key.split("."):
        while "$ref" in node or "anyOf" in node:
            node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node["anyOf"][0]
        following = node.get("properties", {}).get(part) or node.get("additionalProperties")
        if not following:
            return False
        if following is True:
            return True
        node = following
    return True


def anchors(text: str) -> set[str]:
    """Names by which links reach the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_links(text: str, folder: Path) -> list[str]:
    """Relative links of a page in `folder` that lead nowhere."""
    lost = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = folder / path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            lost.append(link)
    return lost


def test_readme_is_read_in_one_sitting() -> None:
    assert len(README.splitlines()) <= 130


@pytest.mark.parametrize("name", PAGES)
def test_every_block_is_executed_or_marked(name: str) -> None:
    kinds = {(kind, more) for kind, more, _ in FENCE.findall(TEXTS[name])}
    assert kinds <= EXECUTED | {("text", "")}
    assert TEXTS[name].count("```") == 2 * len(FENCE.findall(TEXTS[name]))


def test_blocks_hold_commands_that_are_checked() -> None:
    lines = [line for _, block in fenced("sh") for line in block.splitlines() if line.strip()]
    assert {line.split()[0] for line in lines} <= set(PROGRAMS)
    assert len(lines) > 30


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


@pytest.mark.parametrize("line", commands("make"))
def test_make_knows_these_targets(line: str) -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert set(line.split()[1:]) <= set(targets)


def test_the_extras_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    installed = [extras for line in commands("pip") for extras in re.findall(r"\[([a-z0-9,]+)\]", line)]
    named = set(",".join(installed).split(","))
    for text in TEXTS.values():
        for several in re.findall(r"\bextras? ((?:`[a-z0-9]+`(?:, )?)+)", text):
            named |= set(re.findall(r"[a-z0-9]+", several))
    assert len(named) > 10
    assert named <= set(project["optional-dependencies"])


@pytest.mark.parametrize("line", commands("ray"))
def test_ray_understands_these_commands(line: str) -> None:
    understood(line, pytest.importorskip("ray.scripts.scripts").cli)


@pytest.mark.parametrize(("page", "script"), fenced("bash"))
def test_scripts_are_valid_bash(page: str, script: str) -> None:
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, ""), page


@pytest.mark.parametrize(("page", "text"), fenced("yaml", "rules"))
def test_rules_are_valid(page: str, text: str) -> None:
    assert parse_rules(text, interface_of(create_environment("pong")), page).document.rules


@pytest.mark.parametrize(("page", "text"), fenced("yaml"))
def test_configurations_are_valid(page: str, text: str) -> None:
    config = parse_config(yaml.safe_load(text), page)
    environment = create_environment(config.environment.name, config.environment.options)
    assert config.policy.shipped is None or config.policy.shipped in environment.policies()


@pytest.mark.parametrize(("page", "text"), fenced("yaml", "experiment"))
def test_experiments_are_valid(page: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(text, encoding="utf-8")
    experiment = load_experiment(path)
    assert experiment.tasks, page


@pytest.mark.parametrize(("key", "value"), settings())
def test_settings_exist_and_take_these_values(key: str, value: str | None) -> None:
    assert is_setting(key)
    if value is not None:
        load_config(ROOT / "examples" / "pong.yaml", [f"{key}={value}"])


def test_the_check_above_sees_wrong_settings() -> None:
    assert len(settings()) > 30
    assert is_setting("refine.algorithm.options.learning_rate")
    assert is_setting("llms.default.provider")
    assert not any(map(is_setting, ["verification.enabled", "imitate.mode", "llms.default.price"]))
    with pytest.raises(UltraError):
        load_config(ROOT / "examples" / "pong.yaml", ["imitation.table=burn"])


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    assert missing_links(TEXTS[name], PAGES[name].parent) == []


def test_the_check_above_sees_lost_links() -> None:
    text = "[a](docs/method.md#rivals) [b](docs/method.md#rivales) [c](nowhere.md) [d](https://example.org/x.md)"
    assert missing_links(text, ROOT) == ["docs/method.md#rivales", "nowhere.md"]


def test_every_page_is_linked_from_readme() -> None:
    assert {name for name in PAGES if name.startswith("docs/")} <= set(re.findall(r"\]\(([^)#\s]+)\)", README))


def test_what_the_code_cites_is_there() -> None:
    cited = []
    for folder in ("ultra_agents", "plugins", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            source = " ".join(path.read_text(encoding="utf-8").split())
            assert "METHOD section" not in source, path
            cited += re.findall(r'`(docs/[\w-]+\.md)`, "([^"]+)"', source)
    assert len(cited) >= 7
    assert [(page, heading) for page, heading in cited if f"\n## {heading}\n" not in TEXTS[page]] == []


def test_every_environment_is_listed() -> None:
    table = TEXTS["docs/environments.md"].partition("\n## Built in\n")[2].partition("\n```")[0]
    listed = set(re.findall(r"`([a-z0-9-]+)[`:]", table))
    ours = {row.name for row in catalogue() if (row.kind, row.distribution) == ("environment", "ultra-agents")}
    assert ours <= listed


def test_what_is_said_of_the_shipped_policies_is_in_their_files() -> None:
    from ultra_agents.policies import load_policy

    pong = create_environment("pong")
    row = next(line for line in TEXTS["docs/environments.md"].splitlines() if line.startswith("| `pong` |"))
    for name, path in pong.policies().items():
        score = load_policy(path, "pong", pong).metadata["score"]["mean"]
        assert f"`{name}` ({score:+.1f})" in row


def test_the_flow_is_that_of_the_pipeline() -> None:
    def stages(text: str) -> list[tuple[str, ...]]:
        return re.findall(r"^\| (\d+) \| ([a-z, ]+) \|", text, re.MULTILINE)

    assert len(stages(README)) == 16
    assert stages(README) == stages(pipeline.__doc__ or "")


def test_paths_exist() -> None:
    beginnings = ("ultra_agents/", "plugins/", "prompts/", "benchmarks/", "examples/", "tests/", "docs/")
    paths = set()
    for text in TEXTS.values():
        named = re.findall(r"`([\w./-]+)", text)
        named += re.findall(r"(?:python|ultra run|ultra explain|ultra compare) ([\w./]+)", text)
        paths |= {path for path in named if path.startswith(beginnings)}
    assert len(paths) > 60
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_the_walk_names_what_is_in_the_code() -> None:
    walk = [span for name, span in spans() if name == "docs/internals.md"]
    names = {part for span in walk if re.fullmatch(r"_?[A-Z]\w+(\.\w+)?", span) for part in span.split(".")}
    code = "".join(
        path.read_text("utf-8") for top in ("ultra_agents", "plugins") for path in (ROOT / top).rglob("*.py")
    )
    assert len(names) > 20
    assert [name for name in sorted(names) if not re.search(rf"\b{name}\b", code)] == []
