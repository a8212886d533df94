"""Which stage a setting belongs to: the table against what the stages of real runs read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from ultra_agents.config import Config, Section, parse_config
from ultra_agents.events import Event, StageFinished, StageStarted
from ultra_agents.forks import changes
from ultra_agents.forks.settings import FREE
from ultra_agents.pipeline import plan_of, run_pipeline
from ultra_agents.runs import RunFolder

SCRIPT = "ultra_agents.testing.corridor_script:good"
BASE: dict[str, Any] = {
    "name": "read",
    "environment": {"name": "corridor", "options": {"length": 31, "max_steps": 80, "lure": 0.5}},
    "policy": {"train_steps": 2_000},
    "llms": {"default": {"provider": "scripted", "options": {"callable": SCRIPT}}},
    "collect": {"episodes": 2},
    "agents": {"max_hold": 16, "max_revisions": 0},
    "verification": {"mode": "both", "max_pairs": 4},
    "refine": {
        "steps": 2_000, "num_envs": 8, "workers": 0, "evaluate_every": 1_000, "curve_episodes": 2,
        "algorithm": {"name": "ppo", "options": {"clone_steps": 100}},
    },
    "evaluate": {"episodes": 2, "video": False},
}  # fmt: skip
RUNS: dict[str, dict[str, Any]] = {
    "moves": {},
    "moves decided together as a table": {
        "verification": {"mode": "simulate", "max_pairs": 4, "decide": "joint", "joint_as": "table"},
        "narration": {"prescreen": "simulator"},
        "modulation": {"restart_probability": 0.5},
    },
    "rewards only": {"methods": ["ultra-r", "continue"], "narration": {"effects": True, "prescreen": "value"}},
    "rules at random": {"proposer": "random", "advice": {"form": "rules", "candidates": 4}},
    "a reward that is raced": {
        "proposer": "random",
        "methods": ["ultra-r"],
        "advice": {"form": "rules", "draws": "reward", "candidates": 4},
        "verification": {"rules": {"reward_pairs": 2, "reward_steps": 1000, "horizon": 20}},
        "refine": {**BASE["refine"], "steps": 20_000, "evaluate_every": 20_000},
    },
    "searched moves": {"proposer": "search", "agents": {"max_moves": 2, "search": {"horizon": 20}}},
    "moves that a search improves": {"agents": {"max_hold": 16, "search": {"refine": True, "horizon": 20}}},
    "both at random": {"proposer": "random", "advice": {"form": "both", "candidates": 4}, "methods": ["ultra-a"]},
}


class Reads:
    """Notes which settings the stage that is running reads, by their dotted names."""

    def __init__(self, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stage = ""
        self.by_stage: dict[str, set[str]] = {}
        self._names = {id(config): "", **dict(_named(config))}
        plain = Section.__getattribute__

        def noted(section: Section, name: str) -> Any:
            value = plain(section, name)
            place = self._names.get(id(section))
            caller = sys._getframe(1).f_globals.get("__name__", "")
            inside = caller.startswith(("ultra_agents.", "ultra_agents_plugins.")) and not _settling()
            if place is not None and self.stage and inside and name in type(section).model_fields:
                key = f"{place}{name}"
                if not isinstance(value, BaseModel):
                    self.by_stage.setdefault(self.stage, set()).add(key)
            return value

        monkeypatch.setattr(Section, "__getattribute__", noted)

    def emit(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self.stage = event.stage
        elif isinstance(event, StageFinished):
            self.stage = ""


def _settling() -> bool:
    """What goes by the models' capacity is compared as a whole (`forks.settings`), not setting by setting."""
    frame = sys._getframe(2)
    for _ in range(8):
        if frame.f_globals.get("__name__") == "ultra_agents.config.capacity":
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


def _named(section: BaseModel, above: str = "") -> Iterator[tuple[int, str]]:
    for name in type(section).model_fields:
        value = section.__dict__[name]
        if isinstance(value, BaseModel):
            yield id(value), f"{above}{name}."
            yield from _named(value, f"{above}{name}.")


def owner(key: str, config: Config, joint: Any) -> str | None:
    """The first stage that reads a setting, as a fork that changes it would be told."""
    from ultra_agents.forks.settings import _reads

    return next((stage for stage in plan_of(config) if _reads(stage, key, config, config, joint)), None)


@pytest.mark.parametrize("which", RUNS)
def test_no_stage_reads_a_setting_that_a_fork_from_there_may_not_change(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.create(tmp_path, parse_config({**BASE, **RUNS[which]}, "test"))
    config = folder.config
    with monkeypatch.context() as patching:
        reads = Reads(config, patching)
        run_pipeline(folder, config, reads.emit, lambda: False)
    joint = ((folder.stage_done("explain") or {}).get("value") or {}).get("joint")
    plan = list(plan_of(config))
    assert len(reads.by_stage) > 6, "stages were seen reading"
    late = {}
    for stage, keys in reads.by_stage.items():
        for key in keys - {"methods", "method_options"}:  # looked through for kinds, and for the method's own
            if any(key == free or key.startswith(f"{free}.") for free in FREE):
                continue
            if (stage, key, joint) == ("explain", "refine.steps", None):
                continue  # it caps a test that then did not run
            first = owner(key, config, joint)
            if first is None or plan.index(first) > plan.index(stage):
                late[f"{stage} reads {key}"] = first
    assert late == {}


def told(old: dict[str, Any], new: dict[str, Any], joint: dict[str, Any] | None = None) -> dict[str, str | None]:
    """By changed setting, the stage it belongs to."""
    before, after = parse_config({**BASE, **old}, "old"), parse_config({**BASE, **new}, "new")
    return {one.key: one.stage for one in changes(before, after, list(plan_of(after)), joint)}


@pytest.mark.parametrize(
    ("settings", "stage"),
    [
        ({"seed": 1}, "policy"),
        ({"environment": {**BASE["environment"], "options": {"length": 9, "max_steps": 80, "lure": 0.5}}}, "policy"),
        ({"collect": {"episodes": 3}}, "collect"),
        ({"narration": {"stride": 2}}, "narrate"),
        ({"agents": {**BASE["agents"], "max_hold": 8}}, "explain"),
        ({"agents": {**BASE["agents"], "search": {"refine": True}}}, "explain"),
        ({"llms": {"default": {"provider": "local"}}}, "explain"),
        ({"llms": {"default": {**BASE["llms"]["default"], "prompts": "full"}}}, "narrate"),
        ({"gateway": {"missing": "drop"}}, "explain"),
        ({"advice": {"reward": "measured"}}, "tabulate"),
        ({"evaluate": {"episodes": 2, "video": False, "confidence": 0.9}}, "measure"),
        ({"imitation": {"mode": "better"}}, "imitate"),
        ({"modulation": {"beta": 0.5}}, "table"),
        ({"verification": {**BASE["verification"], "reach_rings": 1}}, "table"),
        ({"verification": {**BASE["verification"], "joint_pairs": 8}}, "explain"),
        ({"refine": {**BASE["refine"], "evaluate_every": 500}}, "refine ultra-ra"),
        ({"evaluate": {"episodes": 4, "video": False}}, "evaluate"),
        ({"gateway": {"budget": {"calls": 9}}}, None),
        ({"trackers": []}, None),
        ({"rice": {"probability": 0.3}}, "report"),
    ],
)
def test_a_setting_belongs_to_the_first_stage_that_reads_it(settings: dict[str, Any], stage: str | None) -> None:
    assert set(told({}, settings).values()) == {stage}


def test_conditions_that_make_an_earlier_stage_read_a_setting() -> None:
    beta, held = {"modulation": {"beta": 0.5}}, {"agents": {**BASE["agents"], "max_hold": 8}}
    assert told({}, beta, {"imitated": False}) == {"modulation.beta": "explain"}, "tested together as a table"
    assert told({}, beta, {"imitated": True}) == {"modulation.beta": "table"}
    drawn, wider = RUNS["rules at random"], {"agents": {**BASE["agents"], "search": {"population": 9}}}
    assert told(drawn, {**drawn, **wider}) == {"agents.search.population": "report"}, "rules are not searched"
    tried = {"narration": {"prescreen": "simulator"}}
    assert told(tried, {**tried, **held}) == {"agents.max_hold": "narrate"}
    given = {"policy": {"shipped": "stuck"}}
    envs = {"refine": {**BASE["refine"], "num_envs": 4}}
    assert told({}, envs) == {"refine.num_envs": "policy"}, "the starting policy was trained with it"
    assert told(given, {**given, **envs}) == {"refine.num_envs": "refine ultra-ra"}


def test_other_methods_concern_only_the_stages_that_ask_what_kinds_there_are() -> None:
    assert told({}, {"methods": ["ultra-ra", "continue", "rice"]}) == {"methods": "evaluate"}
    assert told({}, {"methods": ["ultra-ra", "ultra-r"]}) == {"methods": "imitate"}


def test_values_are_told_as_yaml_on_one_line() -> None:
    before, after = parse_config(BASE, "old"), parse_config({**BASE, "methods": ["rice", "continue"]}, "new")
    (one,) = changes(before, after, list(plan_of(after)), None)
    assert [yaml.safe_load(text) for text in one.words] == [["ultra-ra", "continue"], ["rice", "continue"]]
    assert not any("\n" in text for text in one.words)


def test_every_setting_has_a_stage_or_is_free_in_every_kind_of_run() -> None:
    def leaves(section: BaseModel, above: str = "") -> Iterator[str]:
        for name, value in section.__dict__.items():
            yield from leaves(value, f"{above}{name}.") if isinstance(value, BaseModel) else (f"{above}{name}",)

    def lost(config: Config, allowed: Sequence[str]) -> list[str]:
        found = [key for key in leaves(config) if owner(key, config, None) is None]
        return [key for key in found if not key.startswith(tuple(allowed))]

    report_reads_all = parse_config(BASE, "test")
    assert lost(report_reads_all, (*FREE,)) == []
