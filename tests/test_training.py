"""What a run refines with: its configuration, then what the policy's file carries, then defaults; and who is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultra_agents.config import parse_config, usable_methods
from ultra_agents.contracts import Widening
from ultra_agents.errors import ConfigError, Interrupted, RunError
from ultra_agents.events import Event, RefiningSettled, TrainingProgress, Warned
from ultra_agents.pipeline import run_pipeline
from ultra_agents.policies import (
    METADATA_KEY,
    Carried,
    carried_by,
    describe_policy_file,
    load_policy,
    read_policy_file,
    read_safetensors,
    save_policy,
    write_safetensors,
)
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rules import parse_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.runs import RunFolder
from ultra_agents.stages.context import run_context
from ultra_agents.stages.refine import refine
from ultra_agents.training import refining, trained_with, unusable

CORRIDOR = {"length": 9, "max_steps": 20}
OWN = {"ent_coef": 0.003, "update_epochs": 6}


def made_policy(path: Path, training: Any = None, **options: Any) -> Path:
    """A policy for the corridor whose file says `training`."""
    environment, algorithm = create_environment("corridor", CORRIDOR), create_algorithm("ppo", {"hidden": [8]})
    policy = algorithm.create_policy(environment.observation_space, environment.action_space, 3)
    if training is None and options:
        training = trained_with("ppo", create_algorithm("ppo", options))
    save_policy(
        path, policy, algorithm="ppo", environment_name="corridor", environment=environment, provenance={},
        score=None, training=None,
    )  # fmt: skip
    if training is not None:  # as a file from elsewhere: whatever it says
        header, arrays = read_safetensors(path)
        metadata = {**json.loads(header[METADATA_KEY]), "training": training}
        write_safetensors(path, arrays, {METADATA_KEY: json.dumps(metadata)})
    return path


def settings(policy: Path | None = None, methods: Any = ("continue",), **algorithm: Any) -> dict[str, Any]:
    return {
        "name": "run",
        "seed": 1,
        "environment": {"name": "corridor", "options": CORRIDOR},
        "policy": {"train_steps": 600} if policy is None else {"path": str(policy)},
        "methods": list(methods),
        "collect": {"episodes": 2},
        "proposer": "random",
        "verification": {"max_pairs": 4, "max_steps": 400, "joint_max_steps": 200},
        "refine": {
            "steps": 1200, "num_envs": 4, "workers": 0, "evaluate_every": 600, "curve_episodes": 2,
            "algorithm": {"name": "ppo", "options": algorithm},
        },
        "evaluate": {"episodes": 2, "video": False},
        "trackers": [],
    }  # fmt: skip


def run(root: Path, row: dict[str, Any], stop: Callable[[], bool] = lambda: False) -> tuple[RunFolder, list[Event]]:
    events: list[Event] = []
    folder = RunFolder.create(root, parse_config(row, "a test"))

    def emit(event: Event) -> None:
        events.append(event)
        folder.append_event(event.to_json())

    run_pipeline(folder, folder.config, emit, stop)
    folder.close()
    return folder, events


def report_of(folder: RunFolder) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(folder.report_json.read_text())
    return found


def told(events: list[Event]) -> RefiningSettled:
    (found,) = [event for event in events if isinstance(event, RefiningSettled)]
    return found


# -- precedence ------------------------------------------------------------------------------------------------


def test_the_configuration_wins_over_the_file_and_the_file_over_the_defaults() -> None:
    config = parse_config(settings(ent_coef=0.02), "a test")
    algorithm, found = refining(config, Carried("mine.safetensors", "ppo", {**OWN, "gamma": 0.99}))
    assert (algorithm.options.ent_coef, algorithm.options.update_epochs, algorithm.options.gamma) == (0.02, 6, 0.99)
    sources = {name: found.settings[name].source for name in ("ent_coef", "update_epochs", "gamma", "clip_coef")}
    assert sources == {
        "ent_coef": "configuration", "update_epochs": "file", "gamma": "file", "clip_coef": "default",
    }  # fmt: skip
    differs = "ent_coef 0.02 (configuration); update_epochs 6 (policy file mine.safetensors)"
    assert found.words == f"ppo with {differs}; the rest as by default"
    assert found.unused == ""


def test_an_option_the_configuration_sets_to_the_default_beats_the_file() -> None:
    algorithm, found = refining(parse_config(settings(ent_coef=0.01), "a test"), Carried("f", "ppo", OWN))
    assert algorithm.options.ent_coef == 0.01
    assert found.settings["ent_coef"].source == "configuration"
    assert "ent_coef 0.01 (configuration)" in found.words


def test_what_is_about_the_machine_or_another_task_is_not_carried() -> None:
    algorithm = create_algorithm("ppo", {"ent_coef": 0.5, "device": "cpu", "hidden": [8], "clone_steps": 7})
    carried = trained_with("ppo", algorithm)["options"]
    assert carried["ent_coef"] == 0.5
    assert not carried.keys() & {"device", "compile", "precision", "hidden", "clone_steps", "freeze_normalizer"}
    for name in ("ppo", "sac", "sb3-ppo", "sb3-td3"):
        made = create_algorithm(name)
        assert made.not_carried <= set(type(made).Options.model_fields), "a name that is no option"
        assert create_algorithm(name, made.training_options()).options == made.options


def test_options_need_no_name_of_the_algorithm() -> None:
    row = settings()
    row["refine"]["algorithm"] = {"options": {"gamma": 0.9}}  # as `--set refine.algorithm.options.gamma=0.9` makes it
    algorithm, found = refining(parse_config(row, "a test"), Carried("f", "ppo", OWN))
    assert (found.algorithm, algorithm.options.gamma, algorithm.options.ent_coef) == ("ppo", 0.9, 0.003)


def test_a_bad_option_of_the_configuration_is_refused_as_ever() -> None:
    with pytest.raises(ConfigError, match="ent_coef"):
        refining(parse_config(settings(ent_coef=-1), "a test"), Carried("f", "ppo", OWN))


# -- what a file from elsewhere may say ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"no_such": 1}, "no_such = 1 (no such option)"),
        ({"ent_coef": "0.003"}, 'ent_coef = "0.003" (a number)'),
        ({"ent_coef": True}, "ent_coef = true"),
        ({"ent_coef": -2}, "at least 0"),
        ({"ent_coef": float("nan")}, "not a finite number"),
        ({"learning_rate": float("inf")}, "not a finite number"),
        ({"update_epochs": {"a": [1]}}, "a whole number"),
        ({"update_epochs": 10**40}, "not a finite number"),
        ({"device": "cuda"}, "not for a file to say"),
        ({"\x1b[31mred": 1}, "[31mred = 1 (no such option)"),
    ],
)
def test_options_that_make_no_sense_are_told_and_the_others_are_used(options: dict[str, Any], said: str) -> None:
    carried = Carried("odd.safetensors", "ppo", {"gae_lambda": 0.9, **options})
    algorithm, found = refining(parse_config(settings(), "a test"), carried)
    assert algorithm.options.gae_lambda == 0.9
    assert algorithm.options.model_copy(update={"gae_lambda": 0.95}) == create_algorithm("ppo").options
    assert "policy file odd.safetensors" in found.unused
    assert said in found.unused
    assert found.unused.isprintable()
    assert unusable(carried) == found.unused


def test_many_bad_options_make_one_short_message() -> None:
    _, found = refining(
        parse_config(settings(), "a test"), Carried("f", "ppo", {f"x{number}": "y" * 999 for number in range(50)})
    )
    assert "and 45 more" in found.unused
    assert len(found.unused) < 900


SHAPES: list[Any] = [7, "ppo", [], {"algorithm": 3, "options": {}}, {"algorithm": "ppo"}, {}]


@pytest.mark.parametrize("training", SHAPES)
def test_a_training_entry_of_another_shape_is_read_as_a_problem(tmp_path: Path, training: Any) -> None:
    path = made_policy(tmp_path / "odd.safetensors", training)
    carried = carried_by(read_policy_file(path)[0], path.name)
    assert (carried.algorithm, carried.options) == ("", {})
    assert carried.problem.startswith("its `training` is ")
    algorithm, found = refining(parse_config(settings(), "a test"), carried)
    assert algorithm.options == create_algorithm("ppo").options
    assert carried.problem in found.unused
    assert any("unreadable" in line for line in describe_policy_file(read_policy_file(path)[0]))


@pytest.mark.parametrize("training", SHAPES[2:4])
def test_a_training_entry_of_another_shape_is_told_and_stops_no_run(tmp_path: Path, training: Any) -> None:
    folder, events = run(tmp_path, settings(made_policy(tmp_path / "odd.safetensors", training)))
    (warning,) = [event.text for event in events if isinstance(event, Warned)]
    assert "odd.safetensors does not say in a readable way what it was trained with" in warning
    assert warning in report_of(folder)["warnings"]
    assert set(told(events).sources.values()) == {"default"}


def test_options_that_do_not_go_together_are_not_used() -> None:
    config = parse_config(settings() | {"environment": {"name": "gymnasium:CartPole-v1"}}, "a test")
    config = config.model_copy(
        update={"refine": config.refine.model_copy(
            update={"algorithm": config.refine.algorithm.model_copy(update={"name": "sb3-ppo", "options": {}})}
        )}
    )  # fmt: skip
    algorithm, found = refining(config, Carried("f", "sb3-ppo", {"learning_rate": "lin_nonsense", "gamma": 0.9}))
    assert algorithm.options.gamma == 0.9
    assert "learning_rate" in found.unused


@pytest.mark.parametrize("name", ["sac", "nobody-has-this", "other-dist:ppo", "\x1b]0;x\x07"])
def test_settings_of_another_algorithm_are_not_used_and_that_is_said(tmp_path: Path, name: str) -> None:
    policy = made_policy(tmp_path / "mine.safetensors", {"algorithm": name, "options": {"gamma": 0.5}})
    folder, events = run(tmp_path, settings(policy))
    assert told(events).values["gamma"] == 0.99
    (warning,) = [event.text for event in events if isinstance(event, Warned)]
    assert "this run refines with 'ppo': the settings of the file are not used" in warning
    assert warning.isprintable()
    assert told(events).unused == warning
    assert "the settings of the file are not used" in folder.report_html.read_text()


def test_an_algorithm_under_its_full_name_is_the_same() -> None:
    algorithm, found = refining(parse_config(settings(), "a test"), Carried("f", "ultra-agents:ppo", OWN))
    assert (algorithm.options.ent_coef, found.unused) == (0.003, "")


# -- runs ------------------------------------------------------------------------------------------------------


def test_every_method_refines_with_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def watched(**given: Any) -> Any:
        seen[given["method"]] = given["algorithm"].options
        return refine(**given)

    monkeypatch.setattr("ultra_agents.stages.refine.refine", watched)
    methods = list(usable_methods())
    assert {"none", "continue", "ultra-ra", "rice", "statemask-r", "jsrl"} <= set(methods)
    row = settings(made_policy(tmp_path / "mine.safetensors", **OWN), methods, clone_steps=20)
    row |= {"statemask": {"mask": {"steps": 200}}, "rice": {"mask": {"steps": 200}}}
    _, events = run(tmp_path, row)
    assert list(seen) == methods
    assert set(seen.values()) == {create_algorithm("ppo", {**OWN, "clone_steps": 20}).options}
    assert told(events).sources["clone_steps"] == "configuration"


def weights(folder: RunFolder, name: str = "continue-last") -> dict[str, Any]:
    return read_policy_file(folder.checkpoint(name))[1]


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_a_file_that_carries_the_defaults_changes_no_bit(tmp_path: Path) -> None:
    silent, _ = run(tmp_path / "a", settings(made_policy(tmp_path / "silent.safetensors")))
    usual = made_policy(tmp_path / "usual.safetensors", trained_with("ppo", create_algorithm("ppo")))
    carrying, events = run(tmp_path / "b", settings(usual))
    other, _ = run(tmp_path / "c", settings(made_policy(tmp_path / "own.safetensors", **OWN)))
    given, _ = run(tmp_path / "d", settings(made_policy(tmp_path / "bare.safetensors"), **OWN))
    assert same(weights(silent), weights(carrying))
    assert not same(weights(silent), weights(other)), "the file's settings are used"
    assert same(weights(other), weights(given)), "as if the configuration had named them"
    assert told(events).words == "ppo with its default settings, which are those of the policy file usual.safetensors"


def test_the_report_and_what_is_written_say_what_was_used(tmp_path: Path) -> None:
    folder, events = run(tmp_path, settings(made_policy(tmp_path / "mine.safetensors", **OWN), gamma=0.9))
    kept = report_of(folder)["refining"]
    assert kept == {key: value for key, value in told(events).to_json().items() if key != "event"}
    assert (kept["values"]["ent_coef"], kept["sources"]["ent_coef"]) == (0.003, "file")
    assert (kept["values"]["gamma"], kept["sources"]["gamma"]) == (0.9, "configuration")
    assert kept["sources"]["clone_steps"] == "default"
    page = folder.report_html.read_text()
    assert "ent_coef 0.003, update_epochs 6 (policy file mine.safetensors)" in page
    assert "gamma 0.9 (configuration)" in page
    refined = carried_by(read_policy_file(folder.checkpoint("continue-last"))[0], "x")
    assert refined.options == create_algorithm("ppo", {**OWN, "gamma": 0.9}).training_options()


def test_a_policy_trained_at_stage_0_carries_what_trained_it(tmp_path: Path) -> None:
    folder, events = run(tmp_path, settings(ent_coef=0.02))
    carried = carried_by(read_policy_file(folder.checkpoint("start"))[0], "start.safetensors")
    assert carried.options == create_algorithm("ppo", {"ent_coef": 0.02}).training_options()
    assert told(events).sources["ent_coef"] == "configuration"
    _, later = run(tmp_path / "later", settings(folder.checkpoint("start")))
    assert (told(later).values["ent_coef"], told(later).sources["ent_coef"]) == (0.02, "file")


def test_a_policy_with_rules_and_one_that_is_widened_carry_them_too(tmp_path: Path) -> None:
    config = parse_config(settings(made_policy(tmp_path / "mine.safetensors", **OWN)), "a test")
    context = run_context(RunFolder.create(tmp_path / "runs", config), config, lambda event: None, lambda: False)
    world, alone = context.environment, load_policy(tmp_path / "mine.safetensors", "corridor", context.environment)
    names = tuple(world.legend)[:1]
    widening = Widening.of(world, names, np.zeros((4, *(world.observation_space.shape or ())), np.float32))
    rules = parse_rules(f"version: 1\nrules: [{{when: '{names[0]} > 0', do: {world.actions.names[0]}}}]\n")
    made = {
        "layer": RulePolicy(alone.policy, rules, world),
        "wide": context.algorithm.widen(alone.policy, widening),
    }
    for name, policy in made.items():
        path = tmp_path / f"{name}.safetensors"
        context.save_policy(path, policy, name)
        carried = carried_by(load_policy(path, "corridor", world).metadata, path.name)
        assert carried.options == create_algorithm("ppo", OWN).training_options()


def stopped(tmp_path: Path, row: dict[str, Any]) -> RunFolder:
    """A run stopped amid its training."""
    folder, seen = RunFolder.create(tmp_path / "runs", parse_config(row, "a test")), 0

    def count(event: Event) -> None:
        nonlocal seen
        seen += isinstance(event, TrainingProgress)

    with pytest.raises(Interrupted):
        run_pipeline(folder, folder.config, count, lambda: seen >= 1)
    folder.close()
    return folder


def test_a_resumed_run_goes_on_with_the_settings_it_began_with(tmp_path: Path) -> None:
    path = made_policy(tmp_path / "mine.safetensors", **OWN)
    row = settings(path)
    whole, _ = run(tmp_path / "whole", row)
    folder = stopped(tmp_path, row)
    made_policy(path, ent_coef=0.5)  # the file has changed since
    events: list[Event] = []
    again = RunFolder.open(folder.path)
    run_pipeline(again, again.config, events.append, lambda: False)
    assert (told(events).values["ent_coef"], told(events).sources["ent_coef"]) == (0.003, "file")
    assert same(weights(again), weights(whole))


def test_a_run_made_before_files_carried_settings_keeps_its_own(tmp_path: Path) -> None:
    path = made_policy(tmp_path / "mine.safetensors")
    whole, _ = run(tmp_path / "whole", settings(path))
    folder = stopped(tmp_path, settings(path))
    state = folder.path / "state.json"
    old = json.loads(state.read_text())
    del old["carried"]  # as an earlier version left it
    state.write_text(json.dumps(old))
    made_policy(path, **OWN)
    events: list[Event] = []
    again = RunFolder.open(folder.path)
    run_pipeline(again, again.config, events.append, lambda: False)
    assert set(told(events).sources.values()) == {"default"}
    assert same(weights(again), weights(whole))


def test_a_damaged_record_of_the_settings_is_one_message(tmp_path: Path) -> None:
    folder = stopped(tmp_path, settings(made_policy(tmp_path / "mine.safetensors", **OWN)))
    state = folder.path / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_text()), "carried": {"options": 7}}))
    again = RunFolder.open(folder.path)
    with pytest.raises(RunError, match=r"state\.json is damaged"):
        run_pipeline(again, again.config, lambda event: None, lambda: False)


# -- files -----------------------------------------------------------------------------------------------------


def test_a_policy_without_settings_says_nothing() -> None:
    assert carried_by({}, "f") == Carried()
    algorithm, found = refining(parse_config(settings(), "a test"), Carried())
    assert algorithm.options == create_algorithm("ppo").options
    assert found.words == "ppo with its default settings"
    assert replace(found, file="x").unused == ""
