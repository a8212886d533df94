"""`ultra config schema`: the files kept in docs, and the examples that name them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from ultra_agents.config import Config
from ultra_agents.experiments import Experiment

ROOT = Path(__file__).parent.parent.parent
SCHEMAS = {"run": [], "experiment": ["--experiment"]}
EXAMPLES = {
    **{path: "run" for path in (ROOT / "examples").glob("*.yaml")},
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
        for setting, value in (rule.get("properties") or rule["anyOf"][1]["properties"]).items()
        if "description" not in value and "$ref" not in value
    ]
    assert missing == []
