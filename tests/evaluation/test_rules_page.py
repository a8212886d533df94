"""The report's section on rules."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.evaluation.test_page import HOSTILE, Page
from ultra_agents.evaluation.report import ReportInputs, build_report, render_html
from ultra_agents.evaluation.rules_charts import decision
from ultra_agents.evaluation.rules_page import rules_protocol
from ultra_agents.records import Kept

Make = Callable[..., ReportInputs]
START = {
    "chosen": "copy", "returns": {"policy": [-200.0, -200.0], "copy": [-104.0, -106.0]},
    "gains": {"copy": [95.0, 90.0, 100.0]},
    "stopped": "good", "labels": 7200, "agreement": [0.988], "imitating": 6400, "comparing": 2045, "headline": "",
    "copy": None,
}  # fmt: skip


def rule(number: int, **changes: Any) -> dict[str, Any]:
    row = {
        "number": number, "when": "velocity > turn", "do": "PUSH_RIGHT", "why": "along the motion", "weight": 103.25,
        "dropped": False, "place": number - 1, "coverage": 0.4825, "differs": 0.3, "example": None,
    }  # fmt: skip
    return {**row, **changes}


def rules(**changes: Any) -> dict[str, Any]:
    test = {
        "verdict": "accepted", "gain": 60.0, "low": 10.6, "high": 109.4, "pairs": 4, "coverage": 0.87,
        "env_steps": 3056, "stopped": "good", "policy_return": -200.0, "rules_return": -140.0,
        "spent": {"leave out": 1696, "confirm": 1360},
    }  # fmt: skip
    decided = {
        "x": {"name": "velocity", "unit": "m/s", "low": -1.0, "high": 1.0},
        "y": {"name": "position", "unit": "1", "low": 0.0, "high": 2.0},
        "of": "action", "legend": {"a": "PUSH_LEFT", "b": "PUSH_RIGHT"}, "rows": ["aab", "a.b", "..b"], "at": [1, 7],
        "others": {"height": 0.25}, "points": [[0.0, 0.5], [1.0, 1.5]],
    }  # fmt: skip
    made = {
        "headline": "accepted: +60", "verdict": "accepted", "held": True, "untested": False, "text": "rules: []",
        "let": {}, "potential": None, "reward": "-abs(velocity)", "reward_rank": 0.42, "rewards": True,
        "env_steps": 3056, "test": test,
        "set": [rule(1, example={"episode": 0, "step": 24, "taken": "COAST", "does": "PUSH_RIGHT"}),
                rule(2, dropped=True, place=None, coverage=None, differs=None, weight=0.0, when="position > 9")],
        "constants": [{"name": "at", "written": 0.9, "now": 1.2, "low": 0.0, "high": 1.5}],
        "proposals": [{"text": "rules: []", "source": "file", "notes": [], "episode": None, "reasoning": ""}],
        "chosen": 0, "steps": 800, "covered": 0.5, "map": decided,
    }  # fmt: skip
    return {**made, **changes}


@pytest.fixture
def page_with(make_inputs: Make) -> Callable[..., Page]:
    def made(found: dict[str, Any] | None, start: dict[str, Any] | None = START, **changes: Any) -> Page:
        inputs = make_inputs(rules=found, start=start, explanations=[], **changes)
        return Page(render_html(build_report(inputs), frames=inputs.frames))

    return made


def test_the_answer_comes_first_and_every_figure_is_there(page_with: Callable[..., Page]) -> None:
    page = page_with(rules())
    assert (page.open, page.crossed) == ([], [])
    section = page.text[page.text.index(" Rules ") :]
    assert section.index("Held") < section.index("+60 [11, 109] per episode in 4 paired episodes")
    for words in (
        "−200 alone, −140 with the rules", "87 % of the steps", "3,056 (leave out 1,696, confirm 1,360)",
        "a copy that learnt the rules, by the paired comparison below", "98.8 %", "+95.0 [90.0, 100.0]",
        "used: rank correlation +0.42", "would act at 48.2 %", "brings +103.2 per episode", "dropped",
        "COAST → PUSH_RIGHT",
        "as in episode 1, step 7: height 0.25", "0.9 1.2 0 to 1.5",
    ):  # fmt: skip
        assert words in section, words
    assert [attributes["class"] for tag, attributes in page.tags if tag == "li" and attributes.get("class") == "gone"]
    assert sum(tag == "img" for tag, _ in page.tags) == 1, "only the state of rule 1 was drawn"
    assert "From episodes to advice" not in page.text, "nobody was asked for moves"


def test_without_rules_there_is_no_section(page_with: Callable[..., Page], make_inputs: Make) -> None:
    assert " Rules " not in page_with(None, None).text
    inputs = make_inputs(rules=rules(), start=START)
    both = Page(render_html(build_report(inputs)))
    assert "From episodes to advice" in both.text, "moves were asked for as well"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"verdict": "undecided", "held": False}, "Undecided"),
        ({"verdict": "rejected", "held": False}, "Did not hold"),
        ({"verdict": "untested", "test": None, "headline": "used untested"}, "Untested used untested"),
        ({"verdict": "none", "held": False, "test": None, "set": [], "map": None, "constants": [], "proposals": [],
          "chosen": None, "text": "", "reward": None, "headline": "nothing usable"}, "No rules nothing usable"),
        ({"reward_rank": -0.5, "rewards": False}, "not used: rank correlation −0.50"),
        ({"reward_rank": None}, "which do not vary"),
    ],
)  # fmt: skip
def test_every_verdict_has_its_words(page_with: Callable[..., Page], changes: dict[str, Any], told: str) -> None:
    page = page_with(rules(**changes), None)
    assert told in page.text
    assert (page.open, page.crossed) == ([], [])


def test_the_table_of_returns_tells_both(page_with: Callable[..., Page], make_inputs: Make) -> None:
    first, second = make_inputs().results
    kept = Kept("start", -0.5, -1.5, 0.5, 16)
    page = page_with(rules(), results=[replace(first, with_rules=first.best, kept=kept), second])
    assert "Last, with rules" in page.text
    assert "by the network alone" in page.text
    assert "what training made was not kept: −0.5 [−1.5, 0.5]" in page.text
    assert "Last, with rules" not in page_with(rules()).text


def test_words_of_models_do_nothing(page_with: Callable[..., Page]) -> None:
    hostile = rules(
        headline=HOSTILE, set=[rule(1, when=HOSTILE, do=HOSTILE, why=HOSTILE)], reward=HOSTILE, text=HOSTILE,
        proposals=[{"text": HOSTILE, "source": HOSTILE, "episode": 1, "reasoning": HOSTILE,
                    "notes": [{"stage": "x", "reason": HOSTILE, "detail": HOSTILE}]}] * 2,
    )  # fmt: skip
    page = page_with(hostile)
    assert not [tag for tag, _ in page.tags if tag in ("script", "img")]
    assert sum(tag == "style" for tag, _ in page.tags) == 1
    assert (page.open, page.crossed) == ([], [])


def test_the_map_colours_what_rules_decide_and_leaves_the_rest_white() -> None:
    drawn = decision(rules()["map"])
    assert drawn.startswith("<svg")
    assert {"var(--s0)", "var(--s1)"} <= set(re.findall(r"var\(--s\d\)", drawn))
    assert "velocity (m/s)" in drawn
    assert ">position<" in drawn
    assert decision(rules()["map"]) == drawn, "the same input gives the same picture"
    nowhere = decision({**rules()["map"], "rows": ["...", "...", "..b"], "legend": {"b": "PUSH_RIGHT"}})
    assert len(set(re.findall(r"var\(--s\d\)", nowhere))) == 1


def test_a_broken_renderer_leaves_the_section_whole(page_with: Callable[..., Page]) -> None:
    page = page_with(rules(), frames={(0, 24): np.zeros((0, 0, 3), np.uint8)})
    assert "would act at" in page.text


@pytest.mark.parametrize(
    ("apply", "mode", "says"),
    [
        ("auto", "tested", "refining begins from what is surely better: a copy that learnt them before rules in "
         "force"),
        ("imitate", "tested", "learnt by a copy of the policy, if that earns more than the policy"),
        (
            "imitate", "better",
            "learnt by a copy of the policy, if that earns more than the policy; where nothing is sure, what earned "
            "most",
        ),
        ("imitate", "always", "learnt by a copy of the policy, which is not compared with it"),
        ("layer", "always", "in force over the policy, if that earns more than the policy alone"),
        ("auto", "never", "in force over the policy, if that earns more than the policy alone"),
        ("both", "never", "in force over the policy, if that earns more than the policy alone"),
        ("imitate", "never", "not used: they would be learnt by a copy, and none is made"),
    ],
)  # fmt: skip
def test_how_rules_were_used_is_told_as_it_was(apply: str, mode: str, says: str) -> None:
    config = {"verification": {"mode": "simulate"}, "advice": {"apply": apply}, "imitation": {"mode": mode}}
    assert dict(rules_protocol(config))["Rules used"] == says


@pytest.mark.parametrize("mode", ["tested", "better", "always", "never"])
def test_rules_that_were_believed_are_not_said_to_have_been_compared(mode: str) -> None:
    config = {"verification": {"mode": "none"}, "imitation": {"mode": mode}}
    for apply, says in (
        ("layer", "in force over the policy"),
        ("auto", "learnt by a copy" if mode == "always" else "in force over the policy"),
        ("imitate", "not used: they" if mode == "never" else "learnt by a copy of the policy, which is not compared"),
    ):
        told = dict(rules_protocol({**config, "advice": {"apply": apply}}))
        assert told["Rules used"].startswith(says)
        assert "earns" not in told["Rules used"]


def test_a_start_that_was_compared_with_nothing_is_said_so(page_with: Callable[..., Page]) -> None:
    untested = {**START, "gains": {}, "returns": {"policy": [-200.0, -200.0]}, "comparing": 0}
    text = page_with(rules(), untested).text
    assert "a copy that learnt the rules, which was compared with nothing" in text
    assert "Where refining could begin" not in text
    assert "Where refining could begin" in page_with(rules()).text
