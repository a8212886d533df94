"""A method of another distribution, as `ultra plugins new method` writes it: everywhere the built-in ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.installed import pip_install, python, ultra
from ultra_agents.cli.plugins.new import write_plugin

MAIN = "ultra_agents.cli.main"
PPO = {"name": "ppo", "options": {"hidden": [8], "num_steps": 16}}
SMALL: dict[str, Any] = {
    "environment": {"name": "corridor", "options": {"length": 9, "max_steps": 20}},
    "policy": {"train_steps": 500},
    "collect": {"episodes": 2},
    "refine": {
        "steps": 800,
        "num_envs": 4,
        "workers": 0,
        "evaluate_every": 400,
        "curve_episodes": 2,
        "algorithm": PPO,
    },
    "evaluate": {"episodes": 4, "video": False},
}
RUN = {
    **SMALL,
    "name": "one",
    "methods": ["boiler-room", "continue"],
    "method_options": {"boiler-room": {"states": 3}},
}
ASK = """
import json
from ultra_agents.cli.wizard.facts import RegistryFacts
from ultra_agents.config import colours_of, method_class, variant_of
from ultra_agents.ui.wizard.answers import Answers
facts = {one.name: (one.about, one.problem, one.advised) for one in RegistryFacts().methods(Answers())}
print(json.dumps([facts["boiler-room"], list(facts)[-1], colours_of(["boiler-room", "continue", "rice"])]))
"""
REFUSED: dict[str, tuple[Any, list[str]]] = {
    "name": ({"boiler-room": {"staets": 3}}, ["method_options.boiler-room.staets", "did you mean 'states'?"]),
    "value": (
        {"boiler-room": {"states": 0}}, ["method_options.boiler-room.states", "found:    0", "more than 0"],
    ),
    "method": ({"boiler": {}}, ["method_options names 'boiler'", "did you mean 'boiler-room'?"]),
    "section": (
        {"rice": {"pool": 3}}, ["the options of 'rice' have a section of their own", "set them under rice"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the plugin is installed."""
    root = tmp_path_factory.mktemp("method")
    folder = write_plugin("method", "boiler-room", root)
    module = folder / "ultra_agents_boiler_room.py"
    text = module.read_text()
    assert '    label: ClassVar[str] = "Boiler room"\n' in text
    module.write_text(text.replace(
        '    label: ClassVar[str] = "Boiler room"\n',
        '    label: ClassVar[str] = "Boiler-room {algorithm}"\n    colour: ClassVar[int | None] = 1\n',
    ))  # fmt: skip
    pip_install(root / "site", folder)
    return root / "site"


def test_it_is_run_and_reported(site: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(RUN))
    done = python(site, tmp_path, "-m", MAIN, "run", "run.yaml", "--plain")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "runs" / "one" / "report.json").read_text())
    assert {name: row["label"] for name, row in report["methods"].items()} == {
        "boiler-room": "Boiler-room PPO", "continue": "continued PPO",
    }  # fmt: skip
    assert report["comparison"]["boiler-room"]["against"] == "continue"
    assert report["headline"].startswith("Boiler-room PPO ended at")
    assert report["config"]["method_options"] == {"boiler-room": {"probability": 0.5, "states": 3}}
    assert report["methods"]["boiler-room"]["env_steps"]["collect"] > 0
    assert "Boiler-room PPO" in (tmp_path / "runs" / "one" / "report.html").read_text()
    events = map(json.loads, (tmp_path / "runs" / "one" / "events.jsonl").read_text().splitlines())
    started = next(row for row in events if row["event"] == "RunStarted")
    assert started["colours"] == [["boiler-room", 1], ["continue", 4]], "who comes first has the colour it claims"


@pytest.fixture(scope="module")
def refused(site: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """Runs that are refused, by name; where they were begun."""
    folder = tmp_path_factory.mktemp("refused")
    for name, (options, _) in REFUSED.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump({**RUN, "method_options": options}))
    done = ultra(site, folder, *(["run", f"{name}.yaml", "--plain"] for name in REFUSED))
    return dict(zip(REFUSED, done, strict=True)), folder


@pytest.mark.parametrize("name", REFUSED)
def test_its_options_are_checked_by_its_model(refused: tuple[dict[str, Any], Path], name: str) -> None:
    done, folder = refused[0][name], refused[1]
    assert done.returncode == 2
    assert all(words in done.stderr for words in REFUSED[name][1]), done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "runs").exists()


def test_it_is_compared(site: Path, tmp_path: Path) -> None:
    few = {"name": "few", "method": "boiler-room", "settings": {"method_options": {"boiler-room": {"states": 1}}}}
    methods = ["boiler-room", "continue", few]
    task = {key: value for key, value in SMALL.items() if key != "evaluate"}
    told = {
        "name": "c", "seeds": 1, "methods": methods, "engine": {"workers": 1},
        "tasks": {"corridor": {**task, "evaluate": {"episodes": 4}}},
    }  # fmt: skip
    (tmp_path / "compare.yaml").write_text(yaml.safe_dump(told))
    done, listed = ultra(site, tmp_path, ["compare", "compare.yaml", "--plain"], ["plugins", "list"])
    assert done.returncode == 0, done.stderr + done.stdout
    (path,) = tmp_path.rglob("c/report.json")
    report = json.loads(path.read_text())
    assert report["methods"] == ["boiler-room", "continue", "few"]
    assert report["baseline"] == "continue"
    assert report["tasks"]["corridor"]["methods"]["boiler-room"]["difference"] is not None
    assert "boiler-room" in listed.stdout


def test_it_is_offered_by_the_wizard(site: Path, tmp_path: Path) -> None:
    done = python(site, tmp_path, "-c", ASK)
    assert done.returncode == 0, done.stderr
    fact, _, colours = json.loads(done.stdout)
    assert fact == ["some episodes begin where the starting policy was about to lose", "", False]
    assert colours == {"boiler-room": 1, "continue": 4, "rice": 5}
