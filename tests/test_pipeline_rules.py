"""Advice as rules through the whole pipeline, on the corridor: proposed, tested, learnt, in force, kept or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ultra_agents
from ultra_agents.config import parse_config
from ultra_agents.errors import ConfigError, Interrupted, UltraError
from ultra_agents.events import Event, RulesShown, StageProgress, TrainingProgress, Warned
from ultra_agents.pipeline import run_pipeline
from ultra_agents.policies import read_safetensors
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.runs import RunFolder
from ultra_agents.stages import check_run

GOOD = "rules: [{when: cell >= 0, do: RIGHT, why: the goal is there}]\npotential: cell / 14\n"
BAD = "rules: [{when: cell >= 0, do: LEFT}]\n"
HALF = "rules: [{when: cell > 6, do: RIGHT}]\n"
REWARD = "reward: next.cell - cell\n"
BUDGET = 6000
PPO = {"hidden": [16, 16], "num_steps": 32, "clone_steps": 200, "clone_steps_max": 1000}


def settings(root: Path, text: str, **changes: Any) -> dict[str, Any]:
    root.mkdir(parents=True, exist_ok=True)
    (root / "rules.yaml").write_text(text)
    return {
        "name": "rules",
        "environment": {"name": "corridor", "options": {"length": 15, "max_steps": 40, "slip": 0.1}},
        "policy": {"train_steps": 256},
        "proposer": "file",
        "advice": {"file": str(root / "rules.yaml")},
        "methods": ["ultra-ra", "continue"],
        "collect": {"episodes": 3},
        "verification": {"rules": {"horizon": 40}},
        "imitation": {"round_steps": 160},
        "refine": {
            "steps": BUDGET, "num_envs": 8, "workers": 0, "evaluate_every": 2000, "curve_episodes": 4,
            "algorithm": {"name": "ppo", "options": PPO},
        },
        "evaluate": {"episodes": 8, "video": False},
        **changes,
    }  # fmt: skip


def begin(root: Path, text: str = GOOD, **changes: Any) -> RunFolder:
    return RunFolder.create(root, parse_config(settings(root, text, **changes), "test"))


def run(folder: RunFolder, emit: Callable[[Event], None] = lambda event: None, stop: Any = lambda: False) -> Any:
    run_pipeline(folder, folder.config, emit, stop)
    return json.loads(folder.report_json.read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Any]:
    folder = begin(tmp_path_factory.mktemp("whole"))
    return folder, run(folder)


def test_rules_that_hold_are_learnt_and_the_network_alone_is_better(whole: tuple[RunFolder, Any]) -> None:
    _, report = whole
    method = report["methods"]["ultra-ra"]
    assert report["rules"]["held"]
    assert report["rules"]["test"]["verdict"] == "accepted"
    assert report["rules"]["test"]["coverage"] == 1.0
    assert report["start"]["chosen"] in ("copy", "copy+rules")
    assert method["returns_after"]["low"] > method["returns_before"]["high"]
    assert "No set of rules" not in report["headline"]


def test_everything_is_charged_and_within_the_budget(whole: tuple[RunFolder, Any]) -> None:
    _, report = whole
    steps = report["methods"]["ultra-ra"]["env_steps"]
    assert steps["rules"] == report["rules"]["test"]["env_steps"] > 0
    assert steps["imitate"] == report["start"]["imitating"] == 2 * 160
    assert steps["compare starts"] == report["start"]["comparing"] > 0
    assert 0.9 * BUDGET <= steps["total"] <= BUDGET + 8
    assert report["methods"]["continue"]["env_steps"] == {"refine": BUDGET, "total": BUDGET}


def test_a_set_that_holds_has_a_price(whole: tuple[RunFolder, Any]) -> None:
    folder, report = whole
    found = json.loads((folder.path / "measures.json").read_text())
    assert found["accepted"] == 0, "of moves"
    assert found["per_accepted"]["env_steps"] == report["rules"]["test"]["env_steps"] + found["cost"]["env_steps"]
    assert found["rules"]["text"] == report["rules"]["text"] != ""


def test_the_comparison_of_starts_plays_the_pairs_of_the_test(whole: tuple[RunFolder, Any]) -> None:
    _, report = whole
    tested = [pair[0] for pair in report["rules"]["test"]["returns"]]
    assert report["start"]["returns"]["policy"][: len(tested)] == tested


def test_a_potential_is_held_against_the_collected_episodes(whole: tuple[RunFolder, Any]) -> None:
    _, report = whole
    assert report["rules"]["reward_rank"] is None or -1 <= report["rules"]["reward_rank"] <= 1
    assert "potential" in report["rules"]["text"]


def test_harmful_rules_act_nowhere(tmp_path: Path) -> None:
    folder = begin(tmp_path, BAD, methods=["ultra-ra"])
    report = run(folder)
    assert report["rules"]["test"]["verdict"] == "rejected"
    assert report["start"]["chosen"] == "policy"
    assert report["methods"]["ultra-ra"]["returns_after_with_rules"] is None
    assert report["methods"]["ultra-ra"]["kept"] is None
    assert "No set of rules held in the simulator, so no advice could act." in report["headline"]
    assert not folder.checkpoint("ultra-ra-with-rules").exists()


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"horizon": 40, "max_steps": 10}, "raise verification.rules.max_steps"),
        ({"horizon": 1500}, "(one of 3 of refine.steps: 6,000)"),
        ({"horizon": 40}, None),
    ],
)
def test_a_test_that_can_confirm_nothing_is_told_of_before_anybody_is_asked(
    tmp_path: Path, terms: Any, words: str | None
) -> None:
    seen: list[Event] = []
    report = run(begin(tmp_path, GOOD, methods=["ultra-ra"], verification={"rules": terms}), seen.append)
    warned = [place for place, one in enumerate(seen) if isinstance(one, Warned) and "can be confirmed" in one.text]
    if words is None:
        assert not warned
        return
    told = seen[warned[0]]
    assert isinstance(told, Warned)
    assert words in told.text
    assert warned[0] < next(place for place, one in enumerate(seen) if isinstance(one, RulesShown))
    assert report["rules"]["test"]["verdict"] == "undecided"
    assert report["rules"]["test"]["pairs"] == 0


def test_a_layer_is_trained_under_scored_saved_and_played_from_its_file(tmp_path: Path) -> None:
    layer = {"file": str(tmp_path / "rules.yaml"), "apply": "layer"}
    folder = begin(tmp_path, HALF, advice=layer, methods=["ultra-ra"])
    told = list[Event]()
    report = run(folder, told.append)
    if report["rules"]["test"]["verdict"] != "accepted":
        pytest.fail(f"the rule does not hold here: {report['rules']['headline']}")
    method = report["methods"]["ultra-ra"]
    assert report["start"]["chosen"] == "policy+rules"
    assert method["metrics"]["modulation/hit_rate_mean"] > 0
    assert method["metrics"]["modulation/override_rate_mean"] == method["metrics"]["modulation/hit_rate_mean"]
    assert method["returns_after_with_rules"]["mean"] >= method["returns_before"]["mean"]
    scored = [event for event in told if isinstance(event, StageProgress) and event.stage == "evaluate"]
    assert [(one.done, one.total) for one in scored] == [(1, 4), (2, 4), (3, 4), (4, 4)], "before, last, best, ruled"
    loaded = ultra_agents.load_policy(folder.checkpoint("ultra-ra-with-rules"))
    assert isinstance(loaded.policy, RulePolicy)
    assert (loaded.act(np.full((5, 1), 0.9, np.float32)) == 1).all()


def test_a_reward_alone_is_added_in_training(tmp_path: Path) -> None:
    report = run(begin(tmp_path, REWARD, methods=["ultra-r", "ultra-a"]))
    assert report["rules"]["test"] is None
    assert not report["rules"]["held"]
    assert "modulation/bonus_mean" in report["methods"]["ultra-r"]["metrics"]
    assert "modulation/bonus_mean" not in report["methods"]["ultra-a"]["metrics"]


@pytest.mark.parametrize("proposer", ["random", "constants"])
def test_controls_draw_sets_of_which_one_is_chosen(tmp_path: Path, proposer: str) -> None:
    text = "constants: {from_cell: [3, 0, 14]}\nrules: [{when: cell >= from_cell, do: RIGHT}]\n"
    file = None if proposer == "random" else str(tmp_path / "rules.yaml")
    drawn = {"form": "rules", "file": file, "candidates": 6}
    report = run(begin(tmp_path, text, proposer=proposer, advice=drawn, methods=["ultra-ra"]))
    proposals = report["rules"]["proposals"]
    assert len({one["text"] for one in proposals}) > 1
    assert {one["source"] for one in proposals} == {proposer}
    assert report["rules"]["chosen"] == report["rules"]["test"]["chosen"] in range(6)


def test_an_interrupted_run_ends_as_one_that_was_not(tmp_path: Path, whole: tuple[RunFolder, Any]) -> None:
    folder, updates = begin(tmp_path), 0

    def emit(event: Event) -> None:
        nonlocal updates
        updates += isinstance(event, TrainingProgress) and event.method == "ultra-ra"

    with pytest.raises(Interrupted):
        run(folder, emit, stop=lambda: updates == 3)
    report = run(folder)
    for name in ("ultra-ra-last", "ultra-ra-best", "start-copy"):
        left, right = (read_safetensors(one.checkpoint(name))[1] for one in (folder, whole[0]))
        assert left.keys() == right.keys()
        assert all(np.array_equal(left[key], right[key]) for key in left)
    for part in ("rules", "start"):
        assert report[part] == whole[1][part]
    assert report["methods"]["ultra-ra"]["env_steps"] == whole[1]["methods"]["ultra-ra"]["env_steps"]


def test_untested_rules_act_where_that_is_asked_for(tmp_path: Path) -> None:
    untested = {"verification": {"mode": "none"}, "imitation": {"mode": "never"}, "methods": ["ultra-ra"]}
    report = run(begin(tmp_path, BAD, **untested))
    assert report["rules"]["untested"]
    assert report["start"]["chosen"] == "policy+rules"
    assert report["methods"]["ultra-ra"]["env_steps"]["rules"] == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"advice": {}}, "reads a set of rules, and none is named"),
        ({"proposer": "random"}, "advice.file is read by nobody"),
        ({"advice": {"file": "rules.yaml", "form": "moves"}}, "proposes rules only"),
        ({"proposer": "oracle", "advice": {"form": "rules"}}, "proposes moves only"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_config(settings(tmp_path, GOOD, **changes), "test")


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("rules: [{when: sell > 1, do: RIGHT}]", {}, "sell"),
        ("rules: [{when: cell > 1, do: JUMP}]", {}, "JUMP"),
        (GOOD, {"proposer": "constants"}, "declare no constants"),
        ("rules: [{when: cell >", {}, "rules.yaml"),
    ],
)
def test_rules_that_do_not_fit_are_refused_before_anything_is_paid(
    tmp_path: Path, text: str, changes: Any, words: str
) -> None:
    with pytest.raises(UltraError, match=words):
        check_run(parse_config(settings(tmp_path, text, **changes), "test"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    config = parse_config(settings(tmp_path, GOOD, advice={"file": str(tmp_path / "none.yaml")}), "test")
    with pytest.raises(UltraError, match=r"none\.yaml"):
        check_run(config)


RACED = {"rules": {"horizon": 40, "reward_pairs": 3, "reward_steps": 320, "reward_max_steps": 5000}}


def test_a_reward_is_raced_where_that_is_asked_for_and_the_race_is_charged(tmp_path: Path) -> None:
    report = run(begin(tmp_path, REWARD, methods=["ultra-r"], verification=RACED))
    found = report["rules"]["reward_test"]
    race = found["race"]
    assert race["verdict"] in ("better", "worse", "undecided")
    assert 1 <= len(race["arms"]) <= 3
    assert race["env_steps"] >= len(race["arms"]) * 2 * 320
    steps = report["methods"]["ultra-r"]["env_steps"]
    assert steps["rules"] == race["env_steps"] == report["rules"]["env_steps"] <= BUDGET // 3
    assert steps["total"] <= BUDGET + 8
    assert f"race {race['verdict']}" in found["words"]


def test_a_race_that_the_budget_does_not_pay_for_is_not_begun(tmp_path: Path) -> None:
    raced = {"rules": {**RACED["rules"], "reward_max_steps": 900}}
    report = run(begin(tmp_path, REWARD, methods=["ultra-r"], verification=raced))
    race = report["rules"]["reward_test"]["race"]
    assert (race["arms"], race["env_steps"], race["stopped"]) == ([], 0, "steps")
    assert "the budget did not pay for a pair of arms" in report["rules"]["reward_test"]["words"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("reward: 1 / (cell - cell)\n", "implicit reward without a finite value"),
        ("potential: 1 / 2\n", "implicit reward pays every step alike"),
    ],
)
def test_a_refuted_reward_is_noted_with_its_reason_and_pays_nothing(tmp_path: Path, text: str, reason: str) -> None:
    folder = begin(tmp_path, text, methods=["ultra-r"], verification=RACED)
    report = run(folder)
    assert [(note["stage"], note["reason"]) for note in report["rules"]["proposals"][0]["notes"]] == [
        ("reward", reason)
    ]
    assert not report["rules"]["rewards"]
    assert report["rules"]["reward_test"]["race"] is None, "what the episodes refute is not raced"
    assert report["methods"]["ultra-r"]["metrics"]["modulation/bonus_mean"] == 0.0
    assert "so no advice could act" in report["headline"]
    assert reason in folder.report_html.read_text()


def test_a_reward_that_acts_alone_is_not_said_to_be_idle(tmp_path: Path) -> None:
    report = run(begin(tmp_path, REWARD, methods=["ultra-r"]))
    assert "No rule acted, only the implicit reward." in report["headline"]
    assert "no advice could act" not in report["headline"]


def test_random_rewards_are_drawn_and_the_one_that_agrees_best_is_taken(tmp_path: Path) -> None:
    drawn = {"form": "rules", "draws": "reward", "candidates": 6}
    report = run(
        begin(tmp_path, REWARD, proposer="random", advice=drawn, methods=["ultra-r"], collect={"episodes": 8})
    )
    proposals = report["rules"]["proposals"]
    assert len(proposals) == 6
    assert all("reward:" in one["text"] and "rules:" not in one["text"] for one in proposals)
    assert report["rules"]["test"] is None
    assert "modulation/bonus_mean" in report["methods"]["ultra-r"]["metrics"]


def test_a_potential_is_discounted_as_the_algorithm_discounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ultra_agents.stages.start as start

    seen: list[float] = []
    made = start.RuleModulation

    def watched(*given: Any, **more: Any) -> Any:
        seen.append(given[3].shaping_discount)
        return made(*given, **more)

    monkeypatch.setattr(start, "RuleModulation", watched)
    options = {
        "refine": {
            **settings(tmp_path, REWARD)["refine"],
            "algorithm": {"name": "ppo", "options": {**PPO, "gamma": 0.9}},
        }
    }
    run(begin(tmp_path / "own", "potential: cell / 14\n", methods=["ultra-r"], **options))
    asked = {"modulation": {"discount": 0.8}, **options}
    run(begin(tmp_path / "asked", "potential: cell / 14\n", methods=["ultra-r"], **asked))
    assert seen == [0.9, 0.8]
