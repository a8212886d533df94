"""The house keeps its shape: one-way imports, engine blind to plugins, every package shipped."""

from __future__ import annotations

import ast
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BASE = {
    "records", "errors", "contracts", "events", "seeding", "registry", "config", "cluster", "version", "runs",
    "policies",
}  # fmt: skip
MIDDLE = {"rollout", "narration", "advice", "modulation", "verification", "llm"}
MAY_IMPORT = {
    **{name: BASE for name in BASE},
    "rollout": BASE | {"rollout"},
    "rules": {"records", "errors", "contracts", "rules"},
    "policies": BASE | {"rules"},
    "narration": BASE | {"narration"},
    "advice": BASE | {"advice"},
    "modulation": BASE | {"modulation", "advice"},
    "verification": BASE | {"verification", "rollout", "rules"},
    "llm": BASE | {"llm"},
    "evaluation": BASE | {"evaluation", "rollout"},
    "exchange": BASE | {"exchange", "evaluation", "rollout"},
    "agents": BASE | MIDDLE | {"agents"},
    "refinement": BASE | MIDDLE | {"refinement"},
    "methods": BASE | MIDDLE | {"methods"},
    "stages": BASE | MIDDLE | {"agents", "refinement", "evaluation", "methods", "stages"},
    "pipeline": BASE | {"stages"},
    "experiments": BASE | {"evaluation", "methods", "pipeline", "ui", "experiments"},
    "ui": {"records", "events", "errors", "ui", "version"},
    "testing": {"records", "errors", "contracts", "seeding", "testing"},
    "cli": BASE
    | MIDDLE
    | {"agents", "exchange", "evaluation", "experiments", "methods", "pipeline", "refinement", "ui", "cli", "testing"}
    | {"rules"},
}
PLUGINS_MAY_IMPORT = {"contracts", "records", "errors", "seeding", "testing"}


def imports(path: Path) -> set[str]:
    """Every module a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def engine_files() -> list[Path]:
    return sorted((ROOT / "ultra_agents").rglob("*.py"))


@pytest.mark.parametrize("path", engine_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_engine_imports_run_one_way(path: Path) -> None:
    part = path.relative_to(ROOT / "ultra_agents").parts[0].removesuffix(".py")
    if part == "__init__":
        part = "version"
    inner = {name.split(".")[1] for name in imports(path) if name.startswith("ultra_agents.")}
    assert inner <= MAY_IMPORT[part], f"{path} may not import {inner - MAY_IMPORT[part]}"
    assert not any(name.startswith(("ultra_agents_plugins", "plugins")) for name in imports(path))


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_plugins_see_only_the_contracts(path: Path) -> None:
    inner = {name.split(".")[1] for name in imports(path) if name.startswith("ultra_agents.")}
    assert inner <= PLUGINS_MAY_IMPORT


def test_a_forbidden_import_is_seen(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from ultra_agents.pipeline import run_pipeline\n")
    assert "ultra_agents.pipeline.run_pipeline" in imports(bad)


def test_every_package_is_listed_and_every_listed_one_exists() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    names = {"ultra_agents": "ultra_agents", "plugins": "ultra_agents_plugins", "prompts": "ultra_agents_prompts"}
    found = set()
    for folder, installed in names.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([installed, *init.parent.relative_to(ROOT / folder).parts]))
    assert set(settings["packages"]) == found


def test_every_builtin_entry_point_loads() -> None:
    ours = [
        point
        for group in ("environments", "algorithms", "llms")
        for point in entry_points(group=f"ultra_agents.{group}")
        if point.dist and point.dist.name == "ultra-agents"
    ]
    assert {point.load().__name__ for point in ours} >= {"Pong", "MountainCar", "PPO", "Local", "OpenAI", "Ollama"}


def test_no_pickle_and_no_eval_anywhere() -> None:
    for path in [*engine_files(), *(ROOT / "plugins").rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in {"eval", "exec", "pickle.load", "pickle.loads", "torch.load"}, f"{path}: {name}"


def test_top_level_holds_only_what_belongs_there() -> None:
    allowed = {
        "pyproject.toml", "README.md", "ultra_agents", "plugins", "prompts", "tests", "examples", "benchmarks",
        "Makefile", "LICENSE", "CHANGELOG.md", "constraints.txt",
    }  # fmt: skip
    made = {"runs", "build", "dist", "shared"}
    there = {p.name for p in ROOT.iterdir() if not p.name.startswith(".") and not p.name.endswith(".egg-info")}
    assert there - made == allowed


@pytest.mark.parametrize("folder", ["ultra_agents", "plugins"])
def test_no_file_outgrows_400_lines(folder: str) -> None:
    long = {p.name: n for p in (ROOT / folder).rglob("*.py") if (n := len(p.read_text().splitlines())) > 420}
    assert not long
