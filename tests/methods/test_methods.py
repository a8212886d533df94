"""The interface: names, what is missing, and what the plain methods do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from ultra_agents_plugins.methods._mask import MaskOptions

from tests.methods.chain import Chain, settings
from ultra_agents.config import method_class, method_names, variant_of
from ultra_agents.contracts import Advised, Setting
from ultra_agents.errors import ConfigError, PluginError
from ultra_agents.methods import check_methods, method_of
from ultra_agents.registry import create_algorithm

MakeSetting = Callable[..., Setting]


class Forgetful(Chain):
    """A chain that cannot restore states, with actions nobody can draw at random."""

    absent = frozenset({"snapshot"})  # type: ignore[assignment]
    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)  # type: ignore[assignment]


def test_configurations_know_the_methods_there_are() -> None:
    ours = {"none", "continue", "ultra-a", "ultra-r", "ultra-ra", "statemask-r", "rice", "jsrl"}
    assert set(method_names()) >= ours
    assert all(method_of(settings(), name).name == name for name in ours)
    assert {name: variant_of(name) for name in ours if variant_of(name)} == {
        "ultra-a": "a", "ultra-r": "r", "ultra-ra": "ra",
    }  # fmt: skip
    assert [name for name in ours if method_class(name).baseline] == ["continue"]  # type: ignore[union-attr]
    assert [name for name in ours if not method_class(name).trains] == ["none"]  # type: ignore[union-attr]


def test_unknown_methods_are_refused_with_a_suggestion() -> None:
    with pytest.raises(PluginError, match="unknown method 'ryce'") as caught:
        method_of(settings(), "ryce")
    assert caught.value.hint == "did you mean 'rice'?"
    with pytest.raises(ConfigError, match="'statemaskr'") as caught:
        settings(methods=["continue", "statemaskr"])
    assert caught.value.hint == "did you mean 'statemask-r'?"
    with pytest.raises(ConfigError, match="twice"):
        settings(methods=["rice", "rice"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rice": {"probabilty": 0.5}}, ["rice.probabilty", "did you mean 'probability'?"]),
        ({"rice": {"mask": {"alfa": 0.5}}}, ["rice.mask.alfa", "did you mean 'alpha'?"]),
        ({"rice": {"probability": 1.5}}, ["rice.probability", "at most 1"]),
        ({"jsrl": {"schedule": "cosine"}}, ["jsrl.schedule"]),
        ({"statemask": {"episodes": 1}}, ["statemask.episodes"]),
    ],
)
def test_options_are_strict(change: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(**change)
    assert all(word in str(caught.value) for word in words)


def test_everything_that_is_missing_is_listed_at_once(setting: MakeSetting) -> None:
    config = settings(methods=["continue", "rice", "statemask-r"], rice={"mask": {"steps": 9000}})
    with pytest.raises(ConfigError) as caught:
        check_methods(config, Forgetful(Forgetful.Options()), setting().terms.algorithm)
    found = str(caught.value.found)
    assert found.count("has no snapshot (episodes start at critical states)") == 2
    assert found.count("no random action can be drawn") == 2
    assert "rice: training the mask takes 9,000 steps of a budget of 6,000" in found
    assert "continue:" not in found


def test_an_algorithm_without_modulation_is_told_from_one_with(setting: MakeSetting) -> None:
    given = setting(config=settings(methods=["ultra-ra", "rice", "jsrl", "statemask-r", "none"]))

    class Deaf(type(given.terms.algorithm)):  # type: ignore[misc]
        learns = frozenset[Any]()

    check_methods(given.services.config, given.terms.environment, given.terms.algorithm)
    with pytest.raises(ConfigError) as caught:
        check_methods(given.services.config, given.terms.environment, Deaf(given.terms.algorithm.options))
    parts = str(caught.value.found).split("; ")
    assert [part.split(":")[0] for part in parts] == ["ultra-ra", "rice", "jsrl"]
    assert "takes no modulation" in parts[1]


def test_a_mask_needs_an_algorithm_that_chooses_between_two(setting: MakeSetting) -> None:
    class Pixels(Chain):
        observation_space = gymnasium.spaces.MultiBinary(4)  # type: ignore[assignment]

    given = setting(config=settings(methods=["rice"]))
    with pytest.raises(ConfigError, match="need what is not there") as caught:
        check_methods(given.services.config, Pixels(Pixels.Options()), given.terms.algorithm)
    assert "mask.algorithm 'ppo' makes no mask network" in str(caught.value.found)


def test_the_mask_takes_as_much_of_the_budget_as_in_the_paper_unless_told() -> None:
    assert MaskOptions().steps_of(1_300_000) == 300_000
    assert MaskOptions(steps=500).steps_of(1_300_000) == 500


def test_plain_methods(setting: MakeSetting) -> None:
    given = setting()
    none, plain = (
        method_of(given.services.config, "none").prepare(given),
        method_of(given.services.config, "continue").prepare(given),
    )
    for made in (none, plain):
        assert made.start is given.start
        assert (made.modulation, made.restarts, dict(made.spent)) == (None, None, {})


def advised(setting: MakeSetting, used: bool, **changes: Any) -> tuple[Setting, list[str]]:
    """A setting whose advice was imitated, to good use or not, and the variants of the engines built since."""
    built: list[str] = []

    def engine(variant: str) -> Any:
        built.append(variant)
        return f"engine {variant}"

    space = setting().terms.environment.observation_space
    copy = create_algorithm("ppo", {}).create_policy(space, gymnasium.spaces.Discrete(2), 5) if used else None
    return setting(advised=Advised(engine, {"collect": 10, "test": 20}, copy, 30), **changes), built


def test_ultra_charges_what_explaining_cost_and_only_methods_that_act_imitate(setting: MakeSetting) -> None:
    given, _ = advised(setting, used=False)
    made = {
        variant: method_of(given.services.config, f"ultra-{variant}").prepare(given) for variant in ("a", "r", "ra")
    }
    assert [str(one.modulation) for one in made.values()] == ["engine a", "engine r", "engine ra"]
    assert made["r"].spent == {"collect": 10, "test": 20}
    assert made["a"].spent == made["ra"].spent == {"collect": 10, "test": 20, "imitate": 30}, (
        "a failed copy is paid for"
    )
    assert {one.start for one in made.values()} == {given.start}


def test_a_copy_that_learnt_the_table_is_refined_without_it(setting: MakeSetting) -> None:
    given, built = advised(setting, used=True)
    assert given.advised is not None
    for variant in ("a", "ra"):
        made = method_of(given.services.config, f"ultra-{variant}").prepare(given)
        assert made.start is given.advised.copy
        assert made.modulation is None
    rewarded = method_of(given.services.config, "ultra-r").prepare(given)
    assert rewarded.start is given.start, "it never acts on suggestions, so it starts from no copy"
    assert built == ["r"]


def test_the_table_can_be_kept_beside_the_copy(setting: MakeSetting) -> None:
    given, _ = advised(setting, used=True, config=settings(imitation={"table": "keep"}))
    assert given.advised is not None
    made = method_of(given.services.config, "ultra-ra").prepare(given)
    assert made.start is given.advised.copy
    assert str(made.modulation) == "engine ra"
