"""`narration.effects` through the pipeline: measured once, told to every agent, charged, resumed, turned off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ultra_agents.config import Config, parse_config
from ultra_agents.contracts import Environment
from ultra_agents.errors import Interrupted
from ultra_agents.events import Event, StageStarted, StepsSpent, Warned
from ultra_agents.narration.describe import estimate_tokens
from ultra_agents.pipeline import run_pipeline
from ultra_agents.runs import RunFolder
from ultra_agents.stages import effects, tells_effects
from ultra_agents.testing.corridor import Corridor

SETTINGS: dict[str, Any] = {
    "name": "one",
    "environment": {"name": "corridor", "options": {"length": 25, "max_steps": 40}},
    "policy": {"train_steps": 512},
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
    "narration": {"effects": True},
    "collect": {"episodes": 2},
    "imitation": {"mode": "never"},
    "methods": ["ultra-ra", "continue"],
    "verification": {"mode": "both", "max_pairs": 4, "horizon": 30, "decide": "single"},
    "refine": {"steps": 4000, "num_envs": 2, "workers": 0, "evaluate_every": 2000, "curve_episodes": 2},
    "evaluate": {"episodes": 2, "video": False},
}


def start(root: Path, **changes: Any) -> RunFolder:
    return RunFolder.create(root, parse_config({**SETTINGS, **changes}, "test"))


def run(folder: RunFolder, stop: Any = lambda: False, until: Any = "measure") -> list[Event]:
    events: list[Event] = []
    run_pipeline(folder, folder.config, events.append, stop, until)
    return events


def value(folder: RunFolder, stage: str) -> Any:
    done = folder.stage_done(stage)
    assert done is not None
    return done["value"]


def prompts(folder: RunFolder) -> list[str]:
    rows = map(json.loads, folder.transcript.read_text().splitlines())
    return [row["messages"][0][1] for row in rows if row["messages"]]  # a call that was cut off has no words


def spent(events: list[Event], purpose: str) -> int:
    return sum(event.steps for event in events if isinstance(event, StepsSpent) and event.purpose == purpose)


def test_every_agent_is_told_and_the_steps_are_part_of_the_price(tmp_path: Path) -> None:
    told, untold = start(tmp_path / "a"), start(tmp_path / "b", narration={"effects": False})
    events = run(told)
    run(untold)
    found = value(told, "effects")
    assert found["effects"]["effects"]
    assert "LEFT" in found["text"]
    assert "cell [cells, + to the right]" in found["text"]
    assert estimate_tokens(found["text"]) <= told.config.narration.effects_tokens
    assert prompts(told)
    assert all(f"\n{found['text']}\n\nWhat the policy did:" in text for text in prompts(told))
    assert not any("What actions do" in text for text in prompts(untold))
    assert spent(events, "effects") == found["env_steps"] > 0
    tests = sum(trial["env_steps"] for trial in value(told, "measure")["trials"])
    assert value(told, "measure")["cost"]["env_steps"] == tests + found["env_steps"]


def test_the_methods_that_use_advice_pay_and_the_control_does_not(tmp_path: Path) -> None:
    folder = start(tmp_path)
    events = run(folder, until=None)
    report = json.loads(folder.report_json.read_text())
    paid = value(folder, "effects")["env_steps"]
    assert report["methods"]["ultra-ra"]["env_steps"]["effects"] == report["env_steps"]["effects"] == paid
    assert "effects" not in report["methods"]["continue"]["env_steps"]
    assert spent(events, "effects") == paid, "told of once"
    for row in report["methods"].values():
        assert row["env_steps"]["total"] <= 4000 + 2 * 2048


def test_a_resumed_run_measures_and_pays_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = start(tmp_path / "whole")
    run(whole)
    folder = start(tmp_path / "cut")
    with pytest.raises(Interrupted):
        run(folder, lambda: folder.transcript.exists())
    folder.close()
    monkeypatch.setattr(effects, "measure_effects", None)  # whoever measures again fails
    again = RunFolder.open(folder.path)
    events = run(again)
    assert spent(events, "effects") == 0
    assert value(again, "effects") == value(whole, "effects")
    assert value(again, "measure")["cost"]["env_steps"] == value(whole, "measure")["cost"]["env_steps"]
    assert set(prompts(again)) == set(prompts(whole))


def test_other_effects_ask_anew(tmp_path: Path) -> None:
    folder = start(tmp_path)
    run(folder)
    folder.close()
    state = json.loads((folder.path / "state.json").read_text())
    for stage in ("explain", "tabulate", "measure"):
        del state["done"][stage]
    state["done"]["effects"]["value"]["text"] = "What actions do: nothing is known."
    (folder.path / "state.json").write_text(json.dumps(state))
    before = len(prompts(folder))
    again = RunFolder.open(folder.path)
    run(again)
    assert all("nothing is known" in text for text in prompts(again)[before:])
    assert len(prompts(again)) > before


def test_where_nothing_restores_only_events_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corridor, "snapshot", Environment.snapshot)
    folder = start(tmp_path, collect={"episodes": 6})
    events = run(folder)
    found = value(folder, "effects")
    assert (found["effects"], found["env_steps"]) == (None, 0)
    assert found["events"]
    assert any("what actions do is not measured" in event.text for event in events if isinstance(event, Warned))


def test_without_quantities_there_is_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corridor, "absent", frozenset({"quantities"}))
    folder = start(tmp_path)
    run(folder)
    assert value(folder, "effects") == {"text": "", "effects": None, "events": [], "env_steps": 0}
    assert not any("What actions do" in text for text in prompts(folder))


def test_nobody_measures_what_nobody_reads(tmp_path: Path) -> None:
    folder = start(tmp_path, proposer="random")
    events = run(folder)
    assert folder.stage_done("effects") is None
    assert "effects" not in [event.stage for event in events if isinstance(event, StageStarted)]


def config(provider: str, effects: bool | None, **changes: Any) -> Config:
    options = {
        "local": {},
        "openai": {"base_url": "http://127.0.0.1:9/v1", "model": "m"},
        "scripted": {"replies": ["{}"]},
    }
    llms = {"default": {"provider": provider, "options": options[provider]}}
    return parse_config({**SETTINGS, "llms": llms, "narration": {"effects": effects}, **changes}, "test")


@pytest.mark.parametrize(
    ("provider", "asked", "told"),
    [
        ("local", None, False), ("scripted", None, False), ("openai", None, True), ("local", True, True),
        ("openai", False, False),
    ],
)  # fmt: skip
def test_models_that_can_read_it_are_told_unless_the_configuration_says_otherwise(
    provider: str, asked: bool | None, told: bool
) -> None:
    assert tells_effects(config(provider, asked)) is told


def test_it_is_the_advisors_model_that_counts() -> None:
    two = {
        "small": {"provider": "local"},
        "large": {"provider": "openai", "options": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}},
    }
    agents = {"advisor": {"llm": "large"}, "identifier": {"llm": "small"}, "critic": {"llm": "small"}}
    assert tells_effects(config("local", None, llms=two, agents=agents))
