"""What a run is refused for before a folder is made or anything is paid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from ultra_agents.cli.main import invoke
from ultra_agents.config import parse_config
from ultra_agents.errors import ConfigError, LLMError, UltraError
from ultra_agents.stages import check
from ultra_agents.stages.check import build_plugins, check_run
from ultra_agents.testing.corridor import Corridor

SETTINGS: dict[str, Any] = {
    "name": "one",
    "environment": {"name": "corridor"},
    "policy": {"train_steps": 64},
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
    "methods": ["ultra-ra"],
}

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "environment": ({"environment": {"name": "corridoor"}}, "corridoor"),
    "environment options": ({"environment": {"name": "corridor", "options": {"colour": 1}}}, "colour"),
    "algorithm": ({"refine": {"algorithm": {"name": "pppo"}}}, "pppo"),
    "policy file": ({"policy": {"path": "nowhere.safetensors"}}, "there is no policy file nowhere.safetensors"),
    "shipped policy": ({"policy": {"shipped": "best"}}, "ships no policy 'best'"),
    "model": ({"llms": {"default": {"provider": "scripted", "options": {"colour": 1}}}}, "colour"),
    "provider": ({"llms": {"default": {"provider": "skripted"}}}, "skripted"),
    "method": (
        {"methods": ["rice"], "rice": {"mask": {"steps": 500}}, "refine": {"steps": 400}}, "need what is not there",
    ),
    "oracle": (
        {"proposer": "oracle", "agents": {"expert_steps": 90}, "verification": {"horizon": 5, "max_test_steps": 100}},
        "an oracle's plans are longer than the test of a suggestion can be",
    ),
    "search budget": (
        {"proposer": "search", "agents": {"search": {"max_steps": 20}}}, "the budget of a search is below one rollout",
    ),
    "search of long plans": (
        {"proposer": "search", "agents": {"search": {"moves": 64, "max_hold": 9}}}, "plans can be longer than",
    ),
    "cassette": (
        {"llms": {"default": {"provider": "replay", "options": {"cassette": "nowhere.jsonl"}}}},
        "cannot read the cassette nowhere.jsonl",
    ),
    "environments beyond the budget": (
        {"refine": {"steps": 100, "num_envs": 101}}, "a single step of all environments is more than the budget",
    ),
    "refining untested": (
        {"agents": {"search": {"refine": True}}, "verification": {"mode": "reflect"}}, "and nothing is tested",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", list(REFUSED))
def test_it_is_refused_before_a_folder_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    changes, problem = REFUSED[what]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UltraError) as caught:
        check_run(parse_config({**SETTINGS, **changes}, "test"))
    assert caught.value.exit_code == 2
    assert problem in str(caught.value)
    Path("config.yaml").write_text(yaml.safe_dump({**SETTINGS, **changes}))
    assert invoke(["run", "config.yaml"]) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert said.err
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_money_is_capped_only_where_the_prices_of_those_asked_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def no_price(llms: Any, gateway: Any, names: Any) -> None:
        assert gateway.budget.money == 1.0
        asked.extend(names)
        raise LLMError("no price is known")

    monkeypatch.setattr(check, "check_prices", no_price)
    capped: dict[str, Any] = {
        **SETTINGS,
        "gateway": {"budget": {"money": 1.0}},
        "llms": dict.fromkeys(("first", "second", "unused"), SETTINGS["llms"]["default"]),
        "agents": {"critic": {"llm": "second"}},
    }
    with pytest.raises(LLMError, match="no price is known"):
        check_run(parse_config(capped, "test"))
    assert set(asked) == {"first", "second"}
    check_run(parse_config({**capped, "proposer": "random"}, "test"))


def test_what_can_work_is_not_refused() -> None:
    check_run(parse_config(SETTINGS, "test"))


def test_an_oracle_needs_an_expert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corridor, "absent", frozenset({"expert"}))
    for refuses in (check_run, build_plugins):
        with pytest.raises(ConfigError, match="'corridor' has no expert, so there is no oracle"):
            refuses(parse_config({**SETTINGS, "proposer": "oracle"}, "test"))


def test_models_matter_only_where_somebody_is_asked() -> None:
    broken = {"llms": {"default": {"provider": "skripted"}}}
    nobody = parse_config({**SETTINGS, **broken, "methods": ["continue"]}, "test")
    check_run(nobody)
    check_run(parse_config({**SETTINGS, **broken, "proposer": "random"}, "test"))
    with pytest.raises(UltraError, match="skripted"):
        check_run(nobody, advised=True)
    check_run(parse_config({**SETTINGS, **broken}, "test"), advised=False)


def test_a_search_goes_by_the_bounds_that_the_model_has() -> None:
    large = {"provider": "openai", "options": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}
    capable = {**SETTINGS, "llms": {"default": large}, "proposer": "search"}
    check_run(parse_config(capable, "test"))  # 8 moves of 40 steps, all within 40
    cheap = {**capable, "agents": {"search": {"max_steps": 111}}}
    with pytest.raises(ConfigError, match="below one rollout") as refused:
        check_run(parse_config(cheap, "test"))
    assert "at least 112" in str(refused.value.expected)


def test_a_search_needs_states_that_can_be_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corridor, "absent", frozenset({"snapshot"}))
    with pytest.raises(ConfigError, match="cannot restore states, so nothing can be searched"):
        check_run(parse_config({**SETTINGS, "proposer": "search"}, "test"))
    check_run(parse_config({**SETTINGS, "agents": {"search": {"refine": True}}}, "test"))  # falls back, and says so
