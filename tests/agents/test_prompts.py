"""Prompts word for word; after a wanted change: `ULTRA_UPDATE_GOLDEN=1 pytest tests/agents`, then read the diff."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import pytest

from ultra_agents.agents.goal_terms import Goals
from ultra_agents.agents.graph import build_graph
from ultra_agents.agents.prompts import (
    GOALS_PROMPTS,
    PROMPTS,
    RULES_PROMPTS,
    TOOLS_PROMPTS,
    load_prompt,
    opening,
    parse_prompt,
)
from ultra_agents.agents.proposer import model_proposer
from ultra_agents.config import AgentsConfig, SearchConfig, VerificationConfig
from ultra_agents.contracts import Brief
from ultra_agents.errors import ConfigError
from ultra_agents.narration.describe import estimate_tokens
from ultra_agents.records import GoalReached, Plan, Searched
from ultra_agents.testing.corridor import Corridor, CorridorOptions
from ultra_agents.verification import GoalMeter

GOLDEN = Path(__file__).parent / "golden"
GOOD = "---\nversion: 1\nvariables: [a]\nreply: nothing\n---\n## user\nSay $a.\n"


def check_golden(name, text):
    path = GOLDEN / name
    if os.environ.get("ULTRA_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def told(messages):
    return "".join(f"=== {role}\n{text}\n" for role, text in messages)


def test_the_conversation_about_a_segment(bench, item, says):
    story = says.story(
        identifier=says.cases(3), advisor=[says.action(hold=8), says.action(hold=2)], critic=says.verdict()
    )
    bench.proposer(story, says.tester([-0.5, 0.5]), "both").explain([item()])
    asked = bench.gateway.asked
    assert [row["agent"] for row in asked] == [
        "identifier", "advisor", "critic", "critic", "advisor", "critic", "critic",
    ]  # fmt: skip
    check_golden("opening.txt", told(asked[0]["messages"][:1]))
    for name, row in zip(("identifier", "advisor", "critic", "reflection", "revision"), asked, strict=False):
        check_golden(f"{name}.txt", told(row["messages"][1:]))


def test_the_question_for_a_goal(bench, item, says):
    def reach(trajectory, step, goal):
        toward = GoalReached(goal, 6.0, 3.0, True, goal.steps, goal.steps)
        return Searched(Plan.of([("RIGHT", goal.steps)]), None, 0.4, 12, 50, "", toward)

    def said(low, steps):
        asked = {"quantity": "cell", "aim": "at least", "low": low, "when": "at the end", "steps": steps}
        return {"reasoning": "to the right", **asked}

    world = Corridor(CorridorOptions())
    goals = Goals(GoalMeter(world, [item()[0]]), reach, 1, 8, SearchConfig())
    story = says.story(identifier=says.cases(3), advisor=[said(5, 4), said(6, 5)], critic=says.verdict())
    bench.gateway = says.gateway(story)
    proposer = model_proposer(
        environment=world, gateway=bench.gateway, agents=AgentsConfig(prompts="full"),
        verification=VerificationConfig(mode="simulate"), tester=says.tester([-0.5, 0.5]), checkpoint=None,
        emit=bench.events.append, source="fake", goals=goals,
    )  # fmt: skip
    proposer.explain([item()])
    assert bench.gateway.agents() == ["identifier", "advisor", "critic", "advisor", "critic"]
    asked = bench.gateway.asked
    for name, which in (("goals_advisor", 1), ("goals_critic", 2), ("goals_revision", 3)):
        check_golden(f"{name}.txt", told(asked[which]["messages"][1:]))


def test_the_drawing_of_the_graph():
    check_golden("graph.mmd", build_graph().get_graph().draw_mermaid())


def test_every_prompt_file_is_loaded_and_every_loaded_one_is_a_file():
    there = {path.name for path in files("ultra_agents_prompts").iterdir() if path.name.endswith(".md")}
    names = (*PROMPTS, *RULES_PROMPTS, *TOOLS_PROMPTS, *GOALS_PROMPTS)
    assert there == {f"{name}.md" for name in names}
    assert all(load_prompt(name).reply for name in names)


def test_prompts_leave_a_small_model_room(bench, item, says):
    story = says.story(identifier=says.cases(3), advisor=says.action(), critic=says.verdict())
    trajectory, narration = item()
    bench.proposer(story, mode="reflect").explain([(trajectory, narration)])
    for row in bench.gateway.asked:
        length = estimate_tokens("".join(text for _, text in row["messages"]))
        assert length - narration.tokens < 650, row["agent"]


def test_a_brief_without_a_scale_leaves_no_empty_line():
    text = opening(Brief("G", "D", "A", "R", "T"), "the steps")
    assert "Advice:" not in text
    assert text.endswith("End: T\n\nWhat the policy did:\nthe steps")


def test_a_dollar_in_a_value_stays_as_it_is():
    assert parse_prompt("p", GOOD).fill(a="$b ${a} $") == [("user", "Say $b ${a} $.")]


def test_the_brief_of_the_corridor_is_all_there():
    brief = Corridor(CorridorOptions()).brief
    text = opening(brief, "n")
    assert all(part in text for part in vars(brief).values())


@pytest.mark.parametrize("values", [{}, {"b": 1}, {"a": 1, "b": 2}])
def test_wrong_variables_are_refused(values):
    with pytest.raises(ConfigError, match="filled with the wrong variables") as caught:
        parse_prompt("p", GOOD).fill(**values)
    assert caught.value.expected == "a"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Say $a.", "has no front matter"),
        (GOOD.replace("variables: [a]", "variables: [a, b]"), "are not those its text uses"),
        (GOOD.replace("Say $a.", "Say $a $b."), "are not those its text uses"),
        (GOOD.replace("Say $a.", "Say $a for 5$."), "are not those its text uses"),
        (GOOD.replace("version: 1\n", ""), "front matter of the prompt 'p' cannot be used"),
        (GOOD.replace("version: 1", "version: ["), "front matter of the prompt 'p' cannot be used"),
        (GOOD.replace("version: 1\n", "- x\n"), "front matter of the prompt 'p' cannot be used"),
        (GOOD.replace("## user", "## robot"), "says nothing"),
    ],
)
def test_a_broken_prompt_file_is_refused(text, problem):
    with pytest.raises(ConfigError, match=problem):
        parse_prompt("p", text)
