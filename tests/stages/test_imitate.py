"""Stage 8 in the corridor: accepted plans are learnt from demonstrations, and the copy is used where it is better."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ultra_agents_plugins.algorithms.ppo import PPO

from ultra_agents import stages
from ultra_agents.agents.controls import Oracle, Random
from ultra_agents.config import parse_config
from ultra_agents.contracts import Algorithm, Environment
from ultra_agents.errors import Interrupted
from ultra_agents.pipeline import run_pipeline
from ultra_agents.policies import read_safetensors
from ultra_agents.records import Advice, Plan, Trajectory
from ultra_agents.runs import RunFolder
from ultra_agents.stages import Explained, Findings, imitate, joint
from ultra_agents.stages.context import RunContext, run_context
from ultra_agents.stages.explain import _control
from ultra_agents.stages.findings import Imitation
from ultra_agents.stages.imitate import Imitator, imitate_advice
from ultra_agents.stages.keeping import AsJSON, WithCopy
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
GOOD = Plan((("RIGHT", 8),))
BAD = Plan((("LEFT", 8),))


def settings(**changes: Any) -> dict[str, Any]:
    """`SETTINGS`, sections merged with those of `changes`."""
    merged = {key: {**SETTINGS[key], **value} if isinstance(value, dict) and key in SETTINGS else value
              for key, value in changes.items()}  # fmt: skip
    return {**SETTINGS, **merged}


def start(root: Path, **changes: Any) -> RunFolder:
    return RunFolder.create(root, parse_config(settings(**changes), "test"))


def at_stage_8(root: Path, **changes: Any) -> tuple[RunContext, Findings]:
    """A run whose episodes are collected."""
    folder = start(root, **changes)
    context = run_context(folder, folder.config, lambda event: None, lambda: False)
    context = context.starting_with(stages.starting_policy(context))
    trajectories = stages.collect_episodes(context)
    return context, Findings(trajectories, stages.probe_restoring(context))


def rows(trajectories: Sequence[Trajectory], plan: Plan, steps: Sequence[int] = (0, 3)) -> list[Advice]:
    return [
        Advice(one.episode, step, plan, 1.0, "LEFT", -1.0, "", "", "", 0.5, "test")
        for one in trajectories
        for step in steps
    ]


def rights(context: RunContext, policy: Any, side: int = 1) -> float:
    """Share of RIGHT in the inner cells on one side (1: towards the goal, -1: towards the lure), sampled."""
    cells = side * np.linspace(0.0, 0.8, 200, dtype=np.float32)[:, None]
    return float(np.mean(policy.act_with_uniforms(cells, np.random.default_rng(0).random((200, 1)))))


def advised(findings: Findings, plan: Plan = GOOD) -> Findings:
    """With `plan` accepted at two steps of every episode."""
    return replace(findings, advice=rows(findings.trajectories, plan))


def test_good_advice_makes_the_copy_better_and_refining_starts_from_it(tmp_path: Path) -> None:
    context, findings = at_stage_8(tmp_path)
    before = rights(context, context.policy)
    made = imitate_advice(context, advised(findings))
    assert made.used
    assert 0 < made.low <= made.gain <= made.high
    assert (made.plans, made.pairs > 0) == (6, True)
    assert made.headline.startswith("used: ")
    assert before < 0.9 < rights(context, made.copy)
    assert rights(context, context.policy) == before, "the starting policy is left alone"


def test_bad_advice_is_learnt_tested_and_left(tmp_path: Path) -> None:
    context, findings = at_stage_8(tmp_path)
    made = imitate_advice(context, advised(findings, BAD))
    assert not made.used
    assert made.gain < 0
    assert made.env_steps > made.steps > 0, "what failed is charged, too"
    assert "not used" in made.headline
    assert made.copy is None
    kept = WithCopy(context, Imitation, "imitated").write(made)
    assert not (context.folder.checkpoints / "imitated.safetensors").exists()
    assert WithCopy(context, Imitation, "imitated").read(kept) == made


def test_always_uses_the_copy_untested(tmp_path: Path) -> None:
    context, findings = at_stage_8(tmp_path, imitation={"mode": "always"})
    made = imitate_advice(context, advised(findings, BAD))
    assert made.used
    assert (made.pairs, made.gain) == (0, 0.0)
    assert made.env_steps == made.steps, "the replays alone"
    assert rights(context, made.copy, side=-1) < 0.1 < rights(context, context.policy, side=-1)


def test_the_copy_comes_back_from_the_folder_as_it_was(tmp_path: Path) -> None:
    context, findings = at_stage_8(tmp_path, imitation={"mode": "always"})
    made = imitate_advice(context, advised(findings))
    keeping = WithCopy(context, Imitation, "imitated")
    kept = keeping.write(made)
    assert json.loads(json.dumps(kept)) == kept
    again = keeping.read(kept)
    assert replace(again, copy=None) == replace(made, copy=None)
    assert again.copy is not made.copy
    assert rights(context, again.copy) == rights(context, made.copy)


NOTHING = "nothing imitated: "


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"imitation": {"mode": "never"}}, "not asked for"),
        ({"methods": ["ultra-r", "continue"]}, "no method follows suggested actions"),
    ],
)
def test_not_asked_for_or_not_needed(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    context, findings = at_stage_8(tmp_path, **changes)
    made = imitate_advice(context, advised(findings))
    assert (made.used, made.env_steps, made.headline, made.copy) == (False, 0, NOTHING + why, None)


def test_without_advice_there_is_nothing_to_learn(tmp_path: Path) -> None:
    assert imitate_advice(*at_stage_8(tmp_path)).headline == f"{NOTHING}there is no advice"


def test_an_algorithm_that_cannot_imitate_is_left_in_peace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PPO, "imitate", Algorithm.imitate)
    context, findings = at_stage_8(tmp_path)
    made = imitate_advice(context, advised(findings))
    assert made.headline == f"{NOTHING}the algorithm 'ppo' cannot learn from demonstrations"
    assert (made.used, made.env_steps, made.copy) == (False, 0, None)


def test_where_nothing_restores_nothing_is_replayed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Corridor, "snapshot", Environment.snapshot)
    events: list[Any] = []
    context, findings = at_stage_8(tmp_path)
    made = imitate_advice(replace(context, emit=events.append), advised(findings))
    assert made.headline == f"{NOTHING}states cannot be restored"
    assert any("advice is not replayed" in event.text for event in events)


def test_demonstrations_are_what_the_plans_do_from_their_states(tmp_path: Path) -> None:
    context, findings = at_stage_8(tmp_path, environment={"options": {"length": 41, "max_steps": 60}})
    trajectories = findings.trajectories
    imitator = Imitator(context, trajectories)
    advice = rows(trajectories[:1], Plan((("RIGHT", 3), ("LEFT", 2))), steps=(2,))
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

    brief = {"refine": {"steps": 5000, "num_envs": 8, "evaluate_every": 5000}}
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


class Counted:
    """Counts replays, clones and comparisons."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.replays = self.clones = self.comparisons = 0
        replay, clone, compare = imitate.replay, PPO.imitate, imitate._compared

        def replayed(*arguments: Any) -> Any:
            self.replays += 1
            return replay(*arguments)

        def cloned(*arguments: Any) -> Any:
            self.clones += 1
            return clone(*arguments)

        def compared(*arguments: Any) -> Any:
            self.comparisons += 1
            return compare(*arguments)

        monkeypatch.setattr(imitate, "replay", replayed)
        monkeypatch.setattr(PPO, "imitate", cloned)
        monkeypatch.setattr(imitate, "_compared", compared)

    @property
    def all(self) -> tuple[int, int, int]:
        """Replays, clones, comparisons so far."""
        return self.replays, self.clones, self.comparisons


JOINT = {"decide": "joint"}


def with_joint_test(root: Path, **changes: Any) -> tuple[RunContext, Findings]:
    """A run whose advice was tested together as the copy that imitates it, up to stage 8."""
    context, findings = at_stage_8(root, verification=JOINT, **changes)
    findings = replace(findings, narrations=stages.narrate_episodes(context, findings))
    findings = replace(findings, explained=stages.explain_episodes(context, findings))
    return context, replace(findings, advice=stages.tabulate(context, findings))


def test_stage_8_takes_the_copy_that_was_tested_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    context, findings = with_joint_test(tmp_path)
    tested = findings.explained.joint
    assert tested is not None
    assert tested.imitated
    assert tested.passed
    assert sorted(tested.advice) == sorted((row.episode, row.step) for row in findings.advice)
    assert counted.all == (1, tested.sets, 0), "every set is cloned once, and the plans are replayed once"
    made = imitate_advice(context, findings)
    assert counted.all == (1, tested.sets, 0), "nothing is replayed, learnt or tested a second time"
    assert made.used
    assert made.copy is findings.explained.copy
    assert (made.gain, made.low, made.high, made.pairs) == (tested.gain, tested.low, tested.high, tested.pairs)
    assert (made.env_steps, made.plans) == (0, len(findings.advice))
    assert made.steps == tested.steps == len(Imitator(context, findings.trajectories).demonstrations(findings.advice))
    assert made.headline.startswith("used: ")


def test_another_set_or_one_tested_as_a_table_is_tested_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, findings = with_joint_test(tmp_path)
    counted = Counted(monkeypatch)
    fewer = replace(findings, advice=findings.advice[1:])
    made = imitate_advice(context, fewer)
    assert counted.all == (1, 1, 1)
    assert made.env_steps > 0
    assert made.copy is not findings.explained.copy
    as_table = replace(findings, explained=replace(findings.explained, copy=None))
    assert imitate_advice(context, as_table).env_steps > 0
    assert counted.all == (2, 2, 2)


def test_a_resumed_run_reads_the_copy_that_was_tested_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = start(tmp_path, verification=JOINT, refine={"steps": 50_000}, methods=["ultra-ra"])
    run_pipeline(folder, folder.config, lambda event: None, lambda: False, "measure")
    kept = folder.stage_done("explain")
    assert kept is not None
    assert kept["value"]["copy"] is True
    tested = kept["value"]["joint"]
    folder.close()
    counted, folder = Counted(monkeypatch), RunFolder.open(folder.path)
    with pytest.raises(Interrupted):
        run_pipeline(folder, folder.config, lambda event: None, lambda: folder.stage_done("imitate") is not None)
    assert counted.all == (0, 0, 0)
    done = folder.stage_done("imitate")
    assert done is not None
    value = done["value"]
    assert (value["used"], value["copy"], value["env_steps"]) == (True, True, 0)
    assert (value["gain"], value["pairs"], value["steps"]) == (tested["gain"], tested["pairs"], tested["steps"])
    ours, theirs = (read_safetensors(folder.checkpoint(name))[1] for name in ("imitated", "tested-together"))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    folder.close()


@pytest.mark.parametrize(("tested_as", "imitated"), [("copy", True), ("table", False)])
def test_a_set_is_tested_as_the_copy_or_as_the_table_in_force(
    tmp_path: Path, tested_as: str, imitated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []
    engine = joint.modulation_engine
    monkeypatch.setattr(joint, "modulation_engine", lambda *args: built.append("table") or engine(*args))
    context, findings = at_stage_8(tmp_path, verification={"decide": "joint", "joint_as": tested_as})
    findings = replace(findings, narrations=stages.narrate_episodes(context, findings))
    made = stages.explain_episodes(context, findings)
    assert made.joint is not None
    assert made.joint.pairs > 0
    assert (made.joint.imitated, bool(built)) == (imitated, not imitated)
    assert (made.copy is not None) == (imitated and made.joint.kept != ())


def test_what_the_joint_test_said_comes_back_from_the_folder(tmp_path: Path) -> None:
    context, findings = with_joint_test(tmp_path)
    keeping = WithCopy(context, Explained, "tested-together")
    kept = json.loads(json.dumps(keeping.write(findings.explained)))
    again = keeping.read(kept)
    assert replace(again, copy=None) == replace(findings.explained, copy=None)
    assert rights(context, again.copy) == rights(context, findings.explained.copy)


def test_untested_imitation_is_told_from_tested() -> None:
    row = Imitation(2, 9, 0.0, 0.0, 0.0, 0, 9, True, "2 plans")
    assert stages.summary(row) == "2 plans"
    assert AsJSON[Imitation](Imitation).read(AsJSON[Imitation](Imitation).write(row)) == row


@pytest.mark.parametrize(("proposer", "mode", "there"), [("oracle", "both", True), ("oracle", "reflect", False),
                                                         ("random", "both", False)])  # fmt: skip
def test_an_expert_plays_on_where_states_are_restored(tmp_path: Path, proposer: str, mode: str, there: bool) -> None:
    context, findings = at_stage_8(tmp_path, proposer=proposer, verification={"mode": mode})
    trajectory = findings.trajectories[0]
    with _control(context, context.config.verification, None, None) as control:
        assert isinstance(control, Oracle if proposer == "oracle" else Random)
        play = getattr(control, "_play", None)
        assert (play is not None) is there
        if play is None:
            return
        turning = [
            play(trajectory, 2, 5, lambda seen, limit=limit: (seen[:, 0] < limit).astype(np.int64))
            for limit in (-2.0, 2.0)
        ]
        long = play(trajectory, 0, 100, context.environment.expert())
    assert [made.actions.tolist() for made in turning] == [[0] * 5, [1] * 5]
    assert [made.env_steps for made in turning] == [5, 5]
    assert long.actions.tolist() == [1] * 7, "from the middle to the goal, and no further"
    assert long.env_steps == 7
