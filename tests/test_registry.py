from collections.abc import Iterator
from importlib.metadata import EntryPoint
from types import SimpleNamespace
from typing import Any

import pytest

from ultra_agents import registry
from ultra_agents.contracts import Method
from ultra_agents.errors import ConfigError, PluginError


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Registered environments, as the test says."""
    made: list[Any] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: made if group == "ultra_agents.environments" else [])
    registry.catalogue.cache_clear()
    yield made
    registry.catalogue.cache_clear()


def point(name: str, value: str, distribution: str = "somebody") -> Any:
    made = EntryPoint(name, value, "ultra_agents.environments")
    return SimpleNamespace(
        name=name, value=value, dist=SimpleNamespace(name=distribution, version="1.2"), load=made.load
    )


CORRIDOR = "ultra_agents.testing.corridor:Corridor"


def test_builtins_are_found_without_importing_them() -> None:
    names = {(row.kind, row.name) for row in registry.catalogue()}
    assert {("environment", "pong"), ("environment", "mountain-car"), ("algorithm", "ppo"), ("llm", "local")} <= names


def test_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(PluginError) as caught:
        registry.create_environment("pnog")
    assert "did you mean 'pong'?" in str(caught.value)


def test_a_name_claimed_twice_names_both_and_can_be_chosen(points: list[Any]) -> None:
    points += [point("walk", CORRIDOR, "one"), point("walk", CORRIDOR, "two")]
    with pytest.raises(PluginError) as caught:
        registry.find("environment", "walk")
    assert "one 1.2, two 1.2" in str(caught.value)
    assert "one:walk or two:walk" in str(caught.value)
    assert registry.create_environment("two:walk").env_id


@pytest.mark.parametrize(
    ("target", "word"),
    [
        ("no_such_module_at_all:X", "the module 'no_such_module_at_all' is not found"),
        ("ultra_agents.testing.corridor:CorridorOptions", "is not an environment plugin"),
        ("ultra_agents.testing.corridor:NoSuchClass", "AttributeError"),
    ],
)
def test_a_broken_plugin_is_named_with_what_to_do(points: list[Any], target: str, word: str) -> None:
    points.append(point("broken", target))
    with pytest.raises(PluginError) as caught:
        registry.create_environment("broken")
    assert "somebody 1.2" in str(caught.value)
    assert word in str(caught.value)


def test_a_plugin_for_a_newer_contract_is_refused(points: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from ultra_agents.testing.corridor import Corridor

    monkeypatch.setattr(Corridor, "contract_version", 99)
    points.append(point("future", CORRIDOR))
    with pytest.raises(PluginError, match="newer ultra-agents"):
        registry.create_environment("future")


def test_unknown_option_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        registry.create_environment("pong", {"stiky": 0.1})
    assert "did you mean 'sticky'?" in str(caught.value)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ({"name": "other", "label": "x", "about": "x"}, "name = 'other'"),
        ({"name": "mine", "label": "x"}, "about = None"),
        ({}, "name = None"),
    ],
)
def test_a_method_says_what_it_is(words: dict[str, str], found: str) -> None:
    cls = type("Mine", (Method,), {"prepare": lambda self, setting: None, **words})
    entry = SimpleNamespace(load=lambda: cls)
    with pytest.raises(PluginError, match="does not say what it is") as caught:
        registry.Listing("method", "mine", "somebody", "1.2", "x:Mine", entry).load()  # type: ignore[arg-type]
    assert found in str(caught.value.found)
    assert "name = 'mine'" in str(caught.value.expected)


def test_methods_are_created_with_their_options() -> None:
    assert registry.create_method("ultra-agents:rice", {"pool": 3}).options.pool == 3
    with pytest.raises(ConfigError, match="no key 'poll'") as caught:
        registry.create_method("rice", {"poll": 3})
    assert caught.value.hint == "did you mean 'pool'?"
