import math
from pathlib import Path

import pytest
import yaml

from ultra_agents.config import Config, load_config, parse_config
from ultra_agents.errors import ConfigError

EXAMPLES = Path(__file__).parent.parent / "examples"
SMALL = {"environment": {"name": "pong"}, "policy": {"shipped": "suboptimal"}}


@pytest.mark.parametrize(
    "path",
    sorted([*EXAMPLES.glob("*.yaml"), *EXAMPLES.glob("recorded/*/run.yaml")]),
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_examples_are_valid(path: Path) -> None:
    assert load_config(path).methods


def test_defaults_are_the_first_named_choices() -> None:
    config = Config(**SMALL)  # type: ignore[arg-type]
    assert (config.advice.match, config.modulation.learn, config.modulation.reward) == ("nearest", "mixture", "add")
    assert config.modulation.probability <= 0.5
    assert config.methods == ("ultra-ra", "continue")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"modulaton": {}}, ["no key 'modulaton'", "did you mean 'modulation'?"]),
        ({"modulation": {"probabilty": 1}}, ["no key 'modulation.probabilty'", "did you mean 'probability'?"]),
        ({"llms": {"a": {"modle": "x"}}}, ["modle"]),
        ({"llms": {"a": {"providr": "x"}}}, ["no key 'llms.a.providr'", "did you mean 'provider'?"]),
        (
            {"gateway": {"budget": {"agents": {"critic": {"cals": 1}}}}},
            ["no key 'gateway.budget.agents.critic.cals'", "did you mean 'calls'?"],
        ),
        ({"enviroment": {}, "policy": {}}, ["no key 'enviroment'", "did you mean 'environment'?"]),
        ({"modulation": {"probability": 2}}, ["modulation.probability", "2", "at most 1"]),
        ({"refine": {"steps": 10**400}}, ["refine.steps", "at most 1e+15"]),
        (
            {"environment": {"name": "pong", "options": {"a": [{"b": 10**400}]}}},
            ["environment.options", "at most 1e+15"],
        ),
        ({"seed": 10**15 + 1}, ["seed", "at most 1e+15"]),
        ({"gateway": {"budget": {"calls": 10**400}}}, ["gateway.budget.calls", "at most 1e+15"]),
        ({"gateway": {"retry_wait_s": 10**400}}, ["gateway.retry_wait_s"]),
        ({"gateway": {"retry_wait_s": math.inf}}, ["gateway.retry_wait_s", "finite"]),
        ({"modulation": {"probability": math.nan}}, ["modulation.probability", "finite"]),
        ({"collect": {"episodes": 10**9}}, ["collect.episodes", "1000000"]),
        ({"policy": {}}, ["exactly one of path, shipped, train_steps"]),
        ({"agents": {"critic": {"llm": "big"}}}, ["agents.critic names the model 'big'", "default"]),
        ({"name": "../escape"}, ["name"]),
        ({"methods": ["ultra-x"]}, ["methods"]),
    ],
)
def test_bad_settings_are_named(change: dict[str, object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({**SMALL, **change}, "here.yaml")
    for word in words:
        assert word in str(caught.value)


def test_overrides_are_yaml_and_reach_deep(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("environment: {name: pong}\npolicy: {path: p.safetensors}\n")
    config = load_config(path, ["refine.steps=500", "methods=[continue]", "llms.default.provider=ollama"])
    assert config.refine.steps == 500
    assert config.methods == ("continue",)
    assert config.llms["default"].provider == "ollama"
    assert config.policy.path == tmp_path / "p.safetensors", "relative to the file, not to the working directory"


@pytest.mark.parametrize("override", ["refine.steps", "=3", "refine.steps.more=1"])
def test_unusable_overrides_are_refused(tmp_path: Path, override: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("environment: {name: pong}\npolicy: {shipped: x}\nrefine: {steps: 5}\n")
    with pytest.raises(ConfigError):
        load_config(path, [override])


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", ""])
def test_files_that_are_no_mapping_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_config(path)


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"examples/pong\.yaml"):
        load_config(tmp_path / "none.yaml")


def test_hash_changes_with_numbers_and_not_with_the_name() -> None:
    base = parse_config(SMALL, "x")
    assert parse_config({**SMALL, "name": "other"}, "x").hash() == base.hash()
    assert parse_config({**SMALL, "seed": 5}, "x").hash() != base.hash()


def test_yaml_round_trip() -> None:
    import yaml

    config = parse_config(SMALL, "x")
    assert parse_config(yaml.safe_load(config.to_yaml()), "y") == config


def test_no_options_of_other_methods_leave_the_hash_as_it_was() -> None:
    base = parse_config(SMALL, "x")
    assert base.hash() == parse_config({**SMALL, "method_options": {}}, "x").hash()
    assert base.hash() == parse_config({**SMALL, "rice": {"pool": 16}}, "x").hash(), "a default, said aloud"
    assert base.hash() != parse_config({**SMALL, "rice": {"pool": 3}}, "x").hash()
    assert base.hash() != parse_config({**SMALL, "method_options": {"continue": {}}}, "x").hash()


def test_a_file_written_is_the_file_read() -> None:
    told = parse_config({**SMALL, "rice": {"mask": {"steps": 7}}, "jsrl": {"stages": 3}}, "x")
    again = parse_config(yaml.safe_load(told.to_yaml()), "x")
    assert again == told
    assert again.options_of("rice")["mask"]["steps"] == 7
    assert again.options_of("ultra-agents:jsrl")["stages"] == 3
    assert again.options_of("continue") == {}


def test_the_schema_knows_the_options_of_built_in_methods() -> None:
    found = Config.model_json_schema()["properties"]
    assert found["rice"]["properties"]["probability"]["maximum"] == 1
    assert found["jsrl"]["properties"].keys() >= {"stages", "learner"}


@pytest.mark.parametrize(("written", "meant"), [(False, "none"), (True, "quantities"), ("margins", "margins")])
def test_a_run_of_before_there_were_margins_is_still_read(written: object, meant: str) -> None:
    config = parse_config({**SMALL, "imitation": {"widen": written}}, "an old run")
    assert config.imitation.widen == meant
