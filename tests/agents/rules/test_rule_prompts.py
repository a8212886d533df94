"""Prompts about rules word for word; after a wanted change: `ULTRA_UPDATE_GOLDEN=1 pytest tests/agents`."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from ultra_agents.agents.rules.advisor import TUNED
from ultra_agents.agents.rules.graph import build_graph
from ultra_agents.agents.rules.opening import opening, stretches_of, values_of
from ultra_agents.config import NarrationConfig
from ultra_agents.contracts.environment import random_actions
from ultra_agents.narration import choose_segments, narrate
from ultra_agents.narration.describe import estimate_tokens
from ultra_agents.registry import create_environment
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.simulators import make_simulators
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.seeding import Streams

from .conftest import Poor

GOLDEN = Path(__file__).parent / "golden"
BEYOND = "rules:\n  - when: cell > 3\n    do: LEFT\n    why: the lure is near\n"
RIGHT = "rules:\n  - when: cell > 0\n    do: RIGHT\n"


def check_golden(name, messages):
    text = "".join(f"=== {role}\n{text}\n" for role, text in messages)
    path = GOLDEN / name
    if os.environ.get("ULTRA_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def situations():
    row = {"rationale": "It dithers.", "name": "in the middle", "examples": [{"episode": 0, "step": 2}]}
    return {"situations": [row]}


def test_the_conversation_about_rules(bench, tells):
    bench.name, bench.episodes = "corridor", 3
    sets = [tells.rules("rules: [{when: cel > 3, do: LEFT}]"), tells.rules(BEYOND), tells.rules(RIGHT)]
    critic = tells.verdict("revise", "potential", "cell / 8")
    bench.propose(tells.story(sets, critic, situations()), "both", concurrency=1)
    asked = [row for row in bench.gateway.asked if row["segment"].startswith("0:")]
    names = ["identifier", "advisor", "refused", "critic", "reflection", "revision"]
    check_golden("opening.txt", asked[0]["messages"][:1])
    assert [row["agent"] for row in asked[:6]] == [
        "identifier", "advisor", "advisor", "critic", "critic", "advisor",
    ]  # fmt: skip
    assert [row["segment"] for row in asked[3:7]] == ["0:rules", "0:rules", "0:rules-1", "0:rules-1"]
    for name, row in zip(names, asked, strict=False):
        assert row["messages"][0] == asked[0]["messages"][0]
        check_golden(f"{name}.txt", row["messages"][1:])


@pytest.mark.parametrize(
    ("tune", "mode", "told"), [(True, "simulate", True), (False, "simulate", False), (True, "none", False)]
)
def test_who_writes_constants_is_told_that_they_are_tuned(bench, tells, tune, mode, told):
    bench.tune = tune
    bench.propose(tells.story(tells.rules()), mode)
    assert [TUNED in text for text in bench.asked("advisor")] == [told]


def test_the_conversation_in_atoms(bench, tells):
    bench.name, bench.episodes = "corridor", 3
    atom = {"quantity": "cell", "relation": ">", "threshold": 4.0, "action": "RIGHT"}
    bad = {"reasoning": "to the left", "rules": [{**atom, "action": "LEFT"}]}
    critic = {"reasoning": "ok", "quantity": "cell", "better": "higher", "verdict": "accept"}
    story = tells.story([bad, {"reasoning": "to the right", "rules": [atom]}], critic, situations())
    bench.propose(story, rules="atoms", concurrency=1)
    asked = [row for row in bench.gateway.asked if row["segment"].startswith("0:")]
    check_golden("opening_atoms.txt", asked[0]["messages"][:1])
    check_golden("advisor_atoms.txt", asked[1]["messages"][1:])
    check_golden("critic_atoms.txt", asked[2]["messages"][1:])
    assert [row["agent"] for row in asked[3:]] == ["advisor", "critic"]
    for row in asked:
        told = sum(estimate_tokens(text) for _, text in row["messages"])
        assert told < 2500, "a small model keeps room for its reply"


def test_the_drawing_of_the_graph():
    check_golden("graph.mmd", [("graph", build_graph().get_graph().draw_mermaid())])


NAMES = ["corridor", "mountain-car", "pong", "hopper", "gymnasium:CartPole-v1", "gymnasium:Pendulum-v1"]


def told(name, form="text", budget=900):
    """The opening of an episode of random play."""
    environment = create_environment(name, {})

    class Drawing(Poor):
        def act_with_uniforms(self, observations, uniforms):
            return random_actions(environment, np.random.default_rng(int(1e6 * uniforms[0, 0])), len(observations))

    with make_simulators(environment, 3) as simulators:
        episodes = collect(Drawing(0.5), environment, simulators, [1, 2, 3], Streams(3), 150)
    config = NarrationConfig(token_budget=budget)
    narrations = [
        narrate(one, segment, environment, config)
        for one in episodes
        for segment in choose_segments(one, environment, config, np.random.default_rng(0))
    ]
    interface = interface_of(environment)
    values = [values_of(environment, one) for one in episodes]
    stretches, shown = stretches_of(episodes[0], episodes, narrations, environment, interface, config, form)
    text = opening(environment, interface, form, values, "UP x1: own_y -10 px.", stretches, True)
    return interface, text, stretches, shown


@pytest.mark.parametrize("name", NAMES)
def test_the_example_in_the_opening_is_in_the_language(name):
    interface, text, stretches, shown = told(name)
    example = re.search(r"^version: 1\n.*?(?=^Expressions)", text, re.MULTILINE | re.DOTALL)
    assert parse_rules(example[0], interface).document.rules
    assert "\n\n\n" not in text
    assert "UP x1: own_y -10 px." in text
    assert all(f"- {quantity} [" in text for quantity in interface.quantities)
    assert shown[0] == 0
    assert len(shown) > 1
    assert all(estimate_tokens(one) <= 900 for one in stretches)


def test_for_small_models_all_stretches_together_keep_the_budget():
    _, text, stretches, _ = told("mountain-car", "atoms")
    assert sum(estimate_tokens(one) for one in stretches) <= 900
    assert "Rules are written in YAML" not in text


def test_where_two_rows_do_not_fit_the_whole_budget_is_taken():
    _, _, stretches, _ = told("hopper", "atoms", budget=250)
    assert all(one.count("\n") > 2 for one in stretches)
    assert all(estimate_tokens(one) <= 250 for one in stretches)


def test_a_panel_stands_in_for_itself(bench, tells):
    bench.propose(tells.story(tells.rules()), "none")
    assert [row["models"] for row in bench.gateway.asked] == [[], [], []]
    config = bench.config
    bench.config = lambda mode, **agents: config(mode, **agents).model_copy(  # type: ignore[method-assign]
        update={
            "agents": replace_panel(config(mode, **agents).agents),
            "llms": dict.fromkeys(("default", "a", "b"), config(mode, **agents).llms["default"]),
        }
    )
    bench.propose(tells.story(tells.rules()), "none", max_critical=2)
    assert bench.gateway.asked[0]["models"] == ["a", "b"]


def replace_panel(agents):
    return agents.model_copy(update={"identifier": agents.identifier.model_copy(update={"panel": ("a", "b")})})
