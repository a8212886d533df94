"""`ultra config schema`: the files kept in docs, and the examples that name them."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from ultra_agents.config import Config
from ultra_agents.experiments import Experiment

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = {"run": [], "experiment": ["--experiment"]}
EXAMPLES = {
    **{path: "run" for path in (ROOT / "examples").glob("*.yaml")},
    **{path: "run" for path in (ROOT / "examples" / "recorded").glob("*/run.yaml")},
    **{path: "experiment" for path in (ROOT / "examples" / "experiments").glob("*.yaml")},
    ROOT / "examples" / "third_party_plugin" / "run.yaml": "run",
}


def kept(name: str) -> Any:
    return json.loads((ROOT / "docs" / "schema" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_kept_schema_is_what_the_command_prints(name: str, ultra: Any) -> None:
    """After a change that is meant: `ultra config schema [--experiment] > docs/schema/NAME.json`."""
    assert ultra("config", "schema", *SCHEMAS[name]).out == (ROOT / f"docs/schema/{name}.json").read_text()
    Draft202012Validator.check_schema(kept(name))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_names_its_schema_and_follows_it(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    named = first.removeprefix("# yaml-language-server: $schema=")
    assert (path.parent / named).resolve() == ROOT / "docs" / "schema" / f"{EXAMPLES[path]}.json"
    Draft202012Validator(kept(EXAMPLES[path])).validate(yaml.safe_load(path.read_text(encoding="utf-8")))


RUN: dict[str, Any] = {"environment": {"name": "pong"}, "policy": {"shipped": "suboptimal"}}
COMPARISON: dict[str, Any] = {"name": "x", "methods": ["none"], "tasks": {"pong": {}}}


@pytest.mark.parametrize(
    "more",
    [{}, {"engine": "ray"}, {"engine": {"workers": 2}}, {"agents": {"critic": {"llm": ["default", "default"]}}},
     {"agents": {"identifier": {"llm": "default"}}}],
)  # fmt: skip
def test_short_forms_of_a_run_are_in_the_schema(more: dict[str, Any]) -> None:
    Config(**RUN, **more)
    Draft202012Validator(kept("run")).validate({**RUN, **more})


@pytest.mark.parametrize("more", [{"seeds": 5}, {"seeds": [0, 2]}, {"seeds": 1, "engine": "local"}])
def test_short_forms_of_a_comparison_are_in_the_schema(more: dict[str, Any]) -> None:
    Experiment(**COMPARISON, **more)
    Draft202012Validator(kept("experiment")).validate({**COMPARISON, **more})


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("run", {**RUN, "colour": "red"}),
        ("run", {"environment": {"name": "pong"}}),
        ("run", {**RUN, "engine": "cloud"}),
        ("run", {**RUN, "verification": {"enabled": False}}),
        ("experiment", {**COMPARISON, "seeds": "five"}),
        ("experiment", {**COMPARISON, "seeds": 5, "methods": [7]}),
    ],
)
def test_what_is_refused_breaks_the_schema(name: str, wrong: dict[str, Any]) -> None:
    assert not Draft202012Validator(kept(name)).is_valid(wrong)


def test_every_setting_is_described() -> None:
    """A section's own description is its docstring."""
    missing = [
        f"{section}.{setting}"
        for section, rule in kept("run")["$defs"].items()
        for setting, value in (rule["properties"] if "properties" in rule else rule["anyOf"][1]["properties"]).items()
        if "description" not in value and "$ref" not in value
    ]
    assert missing == []


def settings_named(source: str) -> set[str]:
    """What a module's texts tell to set, as `section.key=...`."""
    texts = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return {
        found for text in texts if isinstance(text, str) for found in re.findall(r"\b([a-z_]+\.[a-z_.]+)=\w", text)
    }


def test_messages_tell_to_set_only_what_can_be_set() -> None:
    sections = {
        name: set(field.annotation.model_fields)
        for name, field in Config.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("ultra_agents", "plugins")
        for path in (ROOT / folder).rglob("*.py")
        for name in settings_named(path.read_text(encoding="utf-8"))
        if name.split(".")[0] in sections and name.split(".")[1] not in sections[name.split(".")[0]]
    }
    assert wrong == set()
    assert settings_named('hint = f"set verification.enabled=false, {x}"') == {"verification.enabled"}
