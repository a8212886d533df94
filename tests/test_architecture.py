"""The house keeps its shape: one-way imports, engine blind to plugins, every package shipped."""

from __future__ import annotations

import ast
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ultra_agents.registry import GROUPS

ROOT = Path(__file__).parent.parent
BASE = {
    "records", "errors", "contracts", "events", "seeding", "registry", "config", "cluster", "version", "runs",
    "policies", "training", "text", "option_errors", "plugin_calls", "files", "worker_signals", "yaml_text",
    "postgres",
}  # fmt: skip
MIDDLE = {"rollout", "narration", "effects", "advice", "modulation", "verification", "llm"}
MAY_IMPORT = {
    **{name: BASE for name in BASE},
    "rollout": BASE | {"rollout"},
    "rules": {"records", "errors", "option_errors", "contracts", "yaml_text", "rules"},
    "policies": BASE | {"rules"},
    "narration": BASE | {"narration"},
    "effects": BASE | {"effects", "narration", "rollout"},
    "advice": BASE | {"advice"},
    "modulation": BASE | {"modulation", "advice", "rules"},
    "verification": BASE | {"verification", "rollout", "rules"},
    "llm": BASE | {"llm"},
    "evaluation": BASE | {"evaluation", "rollout"},
    "exchange": BASE | {"exchange", "evaluation", "rollout"},
    "agents": BASE | MIDDLE | {"rules", "agents"},
    "refinement": BASE | MIDDLE | {"refinement"},
    "methods": BASE | MIDDLE | {"methods"},
    "stages": BASE | MIDDLE | {"agents", "refinement", "evaluation", "methods", "rules", "stages"},
    "pipeline": BASE | {"stages"},
    "forks": BASE | {"llm", "pipeline", "forks"},
    "experiments": BASE | {"evaluation", "methods", "pipeline", "ui", "experiments"},
    "ui": {"records", "events", "errors", "files", "text", "ui", "version"},
    "testing": {"records", "errors", "contracts", "seeding", "testing"},
    "cli": BASE
    | MIDDLE
    | {"agents", "exchange", "evaluation", "experiments", "forks", "methods", "pipeline", "refinement"}
    | {"rules", "stages", "ui", "cli", "testing"},
}
METHOD_TRIAL = {"config", "methods", "registry", "rollout"}
"""What `testing/_method_trial.py` may import besides: a method is tried with the engine's own services."""
PLUGINS_MAY_IMPORT = {"contracts", "records", "errors", "seeding", "testing"}


def imports(path: Path, package: str = "") -> set[str]:
    """Every module a file imports, anywhere in it; relative ones are taken from `package`, the file's own."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def engine_files() -> list[Path]:
    return sorted((ROOT / "ultra_agents").rglob("*.py"))


@pytest.mark.parametrize("path", engine_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_engine_imports_run_one_way(path: Path) -> None:
    part = path.relative_to(ROOT / "ultra_agents").parts[0].removesuffix(".py")
    if part == "__init__":
        part = "version"
    inner = {name.split(".")[1] for name in imports(path) if name.startswith("ultra_agents.")}
    may = MAY_IMPORT[part] | (METHOD_TRIAL if path.name == "_method_trial.py" else set())
    assert inner <= may, f"{path} may not import {inner - may}"
    assert not any(name.startswith(("ultra_agents_plugins", "plugins")) for name in imports(path))


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_plugins_see_only_the_contracts(path: Path) -> None:
    inner = {name.split(".")[1] for name in imports(path) if name.startswith("ultra_agents.")}
    assert inner <= PLUGINS_MAY_IMPORT


def test_a_forbidden_import_is_seen(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from ultra_agents.pipeline import run_pipeline\n")
    assert "ultra_agents.pipeline.run_pipeline" in imports(bad)


def import_graph(root: Path) -> dict[str, set[str]]:
    """Which files of the engine and of the plugins import which, by path; a package stands for its `__init__.py`."""
    installed = {"ultra_agents": "ultra_agents", "plugins": "ultra_agents_plugins"}
    paths = {str(path.relative_to(root)): path for top in installed for path in (root / top).rglob("*.py")}
    modules, packages = {}, {}
    for name in paths:
        top, *parts = name.removesuffix(".py").split("/")
        packages[name] = ".".join([installed[top], *parts[:-1]])
        modules[".".join([installed[top], *parts]).removesuffix(".__init__")] = name
    graph = {}
    for name, path in paths.items():
        found = {modules.get(one) or modules.get(one.rpartition(".")[0]) for one in imports(path, packages[name])}
        graph[name] = {other for other in found if other is not None and other != name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Groups of files each of which imports, directly or through others, every other one of its group."""
    reached = {name: _reached(graph, name) for name in graph}
    groups = [{name, *(other for other in reached[name] if name in reached[other])} for name in graph]
    return [group for index, group in enumerate(groups) if len(group) > 1 and group not in groups[:index]]


def _reached(graph: dict[str, set[str]], name: str) -> set[str]:
    found: set[str] = set()
    waiting = list(graph[name])
    while waiting:
        if (one := waiting.pop()) not in found:
            found.add(one)
            waiting += graph[one]
    return found


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(import_graph(ROOT)) == []


def test_a_circle_is_found_through_functions_and_through_packages(tmp_path: Path) -> None:
    package = tmp_path / "ultra_agents" / "ui"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from ultra_agents.ui.one import f\n")
    (package / "one.py").write_text("def f():\n    from ultra_agents.ui import two\n")
    (package / "two.py").write_text("from ultra_agents.ui.three import g\n")
    (package / "three.py").write_text("import ultra_agents.ui.one\n")
    (package / "four.py").write_text("from ultra_agents.ui.one import f\n")
    there = {f"ultra_agents/ui/{name}.py" for name in ("one", "two", "three")}
    assert circles(import_graph(tmp_path)) == [there]


def test_every_package_is_listed_and_every_listed_one_exists() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    names = {"ultra_agents": "ultra_agents", "plugins": "ultra_agents_plugins", "prompts": "ultra_agents_prompts"}
    found = set()
    for folder, installed in names.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([installed, *init.parent.relative_to(ROOT / folder).parts]))
    assert set(settings["packages"]) == found


BUILT_IN = {
    "environments": {
        "pong": "Pong", "pong-pixels": "PixelPong", "mountain-car": "MountainCar", "corridor": "Corridor",
        "hopper": "Hopper", "walker2d": "Walker2d", "half-cheetah": "HalfCheetah", "reacher": "Reacher",
        "gymnasium": "AnyGymnasium",
    },
    "algorithms": {
        "ppo": "PPO", "sac": "SAC", "sb3-ppo": "SB3PPO", "sb3-a2c": "SB3A2C", "sb3-sac": "SB3SAC",
        "sb3-td3": "SB3TD3", "sb3-dqn": "SB3DQN",
    },
    "llms": {
        "local": "Local", "openai": "OpenAI", "ollama": "Ollama", "langchain": "Langchain", "replay": "Replay",
        "scripted": "Scripted",
    },
    "formats": {"sb3": "SB3", "cleanrl": "CleanRL", "torchscript": "TorchScript", "onnx": "ONNX"},
    "methods": {
        "none": "Unrefined", "continue": "Continued", "ultra-a": "UltraA", "ultra-r": "UltraR", "ultra-ra": "UltraRA",
        "statemask-r": "StateMaskR", "rice": "RICE", "jsrl": "JSRL",
    },
}  # fmt: skip
"""Names and classes of the built-in plugins."""


def test_every_kind_of_plugin_is_looked_at() -> None:
    assert {f"ultra_agents.{group}" for group in BUILT_IN} == set(GROUPS.values())


@pytest.mark.parametrize("group", BUILT_IN)
def test_every_builtin_entry_point_loads(group: str) -> None:
    points = entry_points(group=f"ultra_agents.{group}")
    ours = {p.name: p.load().__name__ for p in points if p.dist and p.dist.name == "ultra-agents"}
    assert ours == BUILT_IN[group]


def test_no_pickle_and_no_eval_anywhere() -> None:
    for path in [*engine_files(), *(ROOT / "plugins").rglob("*.py")]:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in {"eval", "exec", "pickle.load", "pickle.loads", "torch.load"}, f"{path}: {name}"


def test_top_level_holds_only_what_belongs_there() -> None:
    allowed = {
        "pyproject.toml", "README.md", "ultra_agents", "plugins", "prompts", "tests", "examples", "benchmarks", "docs",
        "Makefile", "LICENSE", "CHANGELOG.md", "constraints.txt",
    }  # fmt: skip
    made = {"runs", "build", "dist", "shared"}
    there = {p.name for p in ROOT.iterdir() if not p.name.startswith(".") and not p.name.endswith(".egg-info")}
    assert there - made == allowed


@pytest.mark.parametrize("folder", ["ultra_agents", "plugins"])
def test_no_file_outgrows_400_lines(folder: str) -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in (ROOT / folder).rglob("*.py")}
    assert {name: n for name, n in lengths.items() if n > 400} == {}
