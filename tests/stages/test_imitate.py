"""Stage 8 in the corridor: accepted plans are learnt from demonstrations, and the copy is used where it is better."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ultra_agents_plugins.algorithms.ppo import PPO

from ultra_agents import stages
from ultra_agents.advice.table import advice_from_lines
from ultra_agents.config import parse_config
from ultra_agents.contracts import Algorithm, Environment
from ultra_agents.errors import Interrupted
from ultra_agents.pipeline import run_pipeline
from ultra_agents.records import Advice, Move, Trajectory
from ultra_agents.runs import RunFolder
from ultra_agents.stages import imitate, joint
from ultra_agents.stages.context import RunContext, open_context
from ultra_agents.stages.explain import _following
from ultra_agents.stages.imitate import Imitation, Imitator, imitate_advice, imitated_policy
from ultra_agents.stages.joint import FILE, joint_of, joint_result
from ultra_agents.testing.corridor import Corridor

SETTINGS: dict[str, Any] = {
    "name": "one",
    "environment": {"name": "corridor", "options": {"length": 15, "max_steps": 30, "lure": -0.5}},
    "policy": {"train_steps": 64},
    "llms": {
        "default": {"provider": "scripted", "options": {"callable": "ultra_agents.testing.corridor_script:good"}}
    },
    "collect": {"episodes": 3},
    "agents": {"max_hold": 8},
    "verification": {
        "mode": "both", "max_pairs": 4, "horizon": 30, "decide": "single", "joint_pairs": 16, "joint_horizon": 30,
        "joint_min_rows": 2, "joint_max_steps": 20_000,
    },
    "methods": ["ultra-ra", "continue"],
    "refine": {
        "steps": 50_000, "num_envs": 2, "workers": 0, "evaluate_every": 2000, "curve_episodes": 2,
        "algorithm": {"name": "ppo", "options": {"hidden": [16, 16], "clone_steps": 300, "clone_learning_rate": 0.01}},
    },
    "evaluate": {"episodes": 2},
}  # fmt: skip
GOOD: tuple[Move, ...] = (("RIGHT", 8),)
BAD: tuple[Move, ...] = (("LEFT", 8),)


def settings(**changes: Any) -> dict[str, Any]:
    """`SETTINGS`, sections merged with those of `changes`."""
    merged = {key: {**SETTINGS[key], **value} if isinstance(value, dict) and key in SETTINGS else value
              for key, value in changes.items()}  # fmt: skip
    return {**SETTINGS, **merged}


def start(root: Path, **changes: Any) -> RunFolder:
    return RunFolder.create(root, parse_config(settings(**changes), "test"))


@contextmanager
def at_stage_8(root: Path, **changes: Any) -> Iterator[tuple[RunContext, list[Trajectory]]]:
    """A run whose episodes are collected."""
    folder = start(root, **changes)
    with open_context(folder, folder.config, lambda event: None, lambda: False) as context:
        stages.starting_policy(context)
        yield context, stages.collect_episodes(context)
    folder.close()


def rows(trajectories: Sequence[Trajectory], moves: tuple[Move, ...], steps: Sequence[int] = (0, 3)) -> list[Advice]:
    (action, hold), *then = moves
    return [
        Advice(one.episode, step, action, hold, 1.0, "LEFT", -1.0, "", "", "", 0.5, "test", None, tuple(then))
        for one in trajectories
        for step in steps
    ]


def rights(context: RunContext, policy: Any, side: int = 1) -> float:
    """Share of RIGHT in the inner cells on one side (1: towards the goal, -1: towards the lure), sampled."""
    cells = side * np.linspace(0.0, 0.8, 200, dtype=np.float32)[:, None]
    return float(np.mean(policy.act_with_uniforms(cells, np.random.default_rng(0).random((200, 1)))))


def test_good_advice_makes_the_copy_better_and_refining_starts_from_it(tmp_path: Path) -> None:
    with at_stage_8(tmp_path) as (context, trajectories):
        before = rights(context, context.policy)
        made = imitate_advice(context, trajectories, rows(trajectories, GOOD), None)
        chosen = imitated_policy(context, made)
        assert made.used
        assert 0 < made.low <= made.gain <= made.high
        assert (made.plans, made.pairs > 0) == (6, True)
        assert made.headline.startswith("used: ")
        assert before < 0.9 < rights(context, chosen)
        assert rights(context, context.policy) == before, "the starting policy is left alone"


def test_bad_advice_is_learnt_tested_and_left(tmp_path: Path) -> None:
    with at_stage_8(tmp_path) as (context, trajectories):
        made = imitate_advice(context, trajectories, rows(trajectories, BAD), None)
        assert not made.used
        assert made.gain < 0
        assert made.env_steps > made.steps > 0, "what failed is charged, too"
        assert "not used" in made.headline
        assert imitated_policy(context, made) is context.policy
        assert not (context.folder.checkpoints / "imitated.safetensors").exists()


def test_always_uses_the_copy_untested(tmp_path: Path) -> None:
    with at_stage_8(tmp_path, imitation={"mode": "always"}) as (context, trajectories):
        made = imitate_advice(context, trajectories, rows(trajectories, BAD), None)
        assert made.used
        assert (made.pairs, made.gain) == (0, 0.0)
        assert made.env_steps == made.steps, "the replays alone"
        assert (
            rights(context, imitated_policy(context, made), side=-1) < 0.1 < rights(context, context.policy, side=-1)
        )


NOTHING = "nothing imitated: "


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"imitation": {"mode": "never"}}, "not asked for"),
        ({"methods": ["ultra-r", "continue"]}, "no method follows suggested actions"),
    ],
)
def test_not_asked_for_or_not_needed(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with at_stage_8(tmp_path, **changes) as (context, trajectories):
        made = imitate_advice(context, trajectories, rows(trajectories, GOOD), None)
        assert (made.used, made.env_steps, made.headline) == (False, 0, NOTHING + why)
        assert imitated_policy(context, made) is context.policy


def test_without_advice_there_is_nothing_to_learn(tmp_path: Path) -> None:
    with at_stage_8(tmp_path) as (context, trajectories):
        assert imitate_advice(context, trajectories, [], None).headline == f"{NOTHING}there is no advice"


def test_an_algorithm_that_cannot_imitate_is_left_in_peace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PPO, "imitate", Algorithm.imitate)
    with at_stage_8(tmp_path) as (context, trajectories):
        made = imitate_advice(context, trajectories, rows(trajectories, GOOD), None)
        assert made.headline == f"{NOTHING}the algorithm 'ppo' cannot learn from demonstrations"
        assert (made.used, made.env_steps) == (False, 0)


def test_where_nothing_restores_nothing_is_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corridor, "snapshot", Environment.snapshot)
    events: list[Any] = []
    with at_stage_8(tmp_path) as (context, trajectories):
        context.emit = events.append
        made = imitate_advice(context, trajectories, rows(trajectories, GOOD), None)
    assert made.headline == f"{NOTHING}states cannot be restored"
    assert any("advice is not replayed" in event.text for event in events)


def test_demonstrations_are_what_the_plans_do_from_their_states(tmp_path: Path) -> None:
    with at_stage_8(tmp_path, environment={"options": {"length": 41, "max_steps": 60}}) as (context, trajectories):
        imitator = Imitator(context, trajectories)
        advice = rows(trajectories[:1], (("RIGHT", 3), ("LEFT", 2)), steps=(2,))
        made = imitator.demonstrations(advice)
        cell = round((float(trajectories[0].observations[2, 0]) + 1) * 20)
        cells = [cell, cell + 1, cell + 2, cell + 3, cell + 2]
        assert made.actions.tolist() == [1, 1, 1, 0, 0]
        assert np.rint((made.observations[:, 0] + 1) * 20).tolist() == cells
        assert made.weights.tolist() == [1.0] * 5
        assert len(made.visited) == sum(map(len, trajectories))
        assert imitator.env_steps == 5
        again = imitator.demonstrations([*advice, *rows(trajectories[1:2], GOOD, steps=(1,))])
        assert imitator.env_steps == 5 + 8, "a plan is replayed once, whatever sets it is in"
        assert np.array_equal(again.observations[:5], made.observations)


def test_replays_and_test_are_charged_alike_in_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def charged(folder: RunFolder) -> tuple[dict[str, Any], dict[str, Any]]:
        report = json.loads(folder.report_json.read_text())
        done = folder.stage_done("imitate")
        assert done is not None
        return report, done["value"]

    def finish(folder: RunFolder, stop: Any = lambda: False) -> None:
        run_pipeline(folder, folder.config, lambda event: None, stop)

    brief = {"refine": {"steps": 5000, "evaluate_every": 5000}}
    whole = start(tmp_path / "whole", **brief)
    finish(whole)
    report, value = charged(whole)
    assert value["used"]
    assert value["env_steps"] > value["steps"] > 0
    spent = report["methods"]["ultra-ra"]["env_steps"]
    assert spent["imitate"] == report["env_steps"]["imitate"] == value["env_steps"]
    assert "imitate" not in report["methods"]["continue"]["env_steps"]

    def stopped(*_: Any, **__: Any) -> None:
        raise Interrupted("stopped in the middle of the stage")

    cut = start(tmp_path / "cut", **brief)
    with monkeypatch.context() as patched:
        patched.setattr(RunContext, "save_policy", stopped)
        with pytest.raises(Interrupted):
            finish(cut)
    assert cut.stage_done("imitate") is None
    cut.close()
    cut = RunFolder.open(cut.path)
    with pytest.raises(Interrupted):  # after it
        finish(cut, lambda: cut.stage_done("imitate") is not None)
    cut.close()
    cut = RunFolder.open(cut.path)
    finish(cut)
    again, value_again = charged(cut)
    assert value_again == value
    assert again["env_steps"] == report["env_steps"]
    assert again["methods"]["ultra-ra"]["returns_after"] == report["methods"]["ultra-ra"]["returns_after"]


def test_the_joint_test_of_exactly_this_advice_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = start(tmp_path, verification={"decide": "joint"})
    run_pipeline(folder, folder.config, lambda event: None, lambda: False, "measure")
    advice = advice_from_lines(folder.advice.read_text())
    tested = json.loads((folder.path / FILE).read_text())
    assert tested["imitated"]
    assert tested["passed"]
    assert sorted(map(tuple, tested["advice"])) == sorted((row.episode, row.step) for row in advice)

    def forbidden(*_: Any) -> Any:
        raise AssertionError("tested a second time")

    with open_context(folder, folder.config, lambda event: None, lambda: False) as context:
        stages.starting_policy(context)
        trajectories = stages.collect_episodes(context)
        known = joint_of(context, advice)
        assert known is not None
        with monkeypatch.context() as patched:
            patched.setattr(imitate, "_compared", forbidden)
            made = imitate_advice(context, trajectories, advice, known)
        assert made.used
        assert (made.gain, made.pairs, made.env_steps) == (tested["gain"], tested["pairs"], 0)
        assert joint_of(context, advice[1:]) is None, "another set: to be tested anew"
        found = joint_result(context)
        assert found is not None
        context.folder.write_json(FILE, {**found, "imitated": False})
        assert joint_of(context, advice) is None, "tested as a table, not as imitated"


@pytest.mark.parametrize(("tested_as", "imitated"), [("copy", True), ("table", False)])
def test_a_set_is_tested_as_the_copy_or_as_the_table_in_force(
    tmp_path: Path, tested_as: str, imitated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    engine = joint.modulation_engine
    monkeypatch.setattr(joint, "modulation_engine", lambda *args: built.append("table") or engine(*args))
    folder = start(tmp_path, verification={"decide": "joint", "joint_as": tested_as})
    run_pipeline(folder, folder.config, lambda event: None, lambda: False, "measure")
    with open_context(folder, folder.config, lambda event: None, lambda: False) as context:
        found = joint_result(context)
    folder.close()
    assert found is not None
    assert found["pairs"] > 0
    assert (found["imitated"], bool(built)) == (imitated, not imitated)


def test_untested_imitation_is_told_from_tested(tmp_path: Path) -> None:
    row = Imitation(2, 9, 0.0, 0.0, 0.0, 0, 9, True, "2 plans")
    assert stages.summary("imitate", row) == "2 plans"


@pytest.mark.parametrize(("proposer", "mode", "there"), [("oracle", "both", True), ("oracle", "reflect", False),
                                                         ("random", "both", False)])  # fmt: skip
def test_an_expert_plays_on_where_states_are_restored(tmp_path: Path, proposer: str, mode: str, there: bool) -> None:
    with at_stage_8(tmp_path, proposer=proposer, verification={"mode": mode}) as (context, trajectories):
        with _following(context, context.config.verification) as follow:
            assert (follow is not None) is there
            if follow is None:
                return
            turning = [
                follow(trajectories[0], 2, 5, lambda seen, limit=limit: (seen[:, 0] < limit).astype(np.int64))
                for limit in (-2.0, 2.0)
            ]
            long = follow(trajectories[0], 0, 100, context.environment.expert())
        assert [made.actions.tolist() for made in turning] == [[0] * 5, [1] * 5]
        assert [made.env_steps for made in turning] == [5, 5]
        assert long.actions.tolist() == [1] * 7, "from the middle to the goal, and no further"
        assert long.env_steps == 7
