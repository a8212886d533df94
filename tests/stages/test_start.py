"""What is made of rules that correct a continuous policy: the copy does what it does under them, and not twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ultra_agents import stages
from ultra_agents.config import parse_config
from ultra_agents.contracts import Policy
from ultra_agents.events import ignore
from ultra_agents.records import RuleProposal
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.runs import RunFolder
from ultra_agents.stages.context import RunContext, run_context
from ultra_agents.stages.findings import Findings, Imitation, RulesFound, Start, StartName, TableTest
from ultra_agents.stages.lessons import Lessons, taught, widened
from ultra_agents.stages.start import _compared, choose_start, ruled
from ultra_agents.verification import RuleTest
from ultra_agents.verification.paired import Entrant
from ultra_agents.verification.reward import RewardTest

CORRECTED = "rules: [{when: cos_theta > -2, do: {torque: own.torque + 3}}]\n"
WRITTEN = "rules: [{when: cos_theta > -2, do: {torque: 1.5}}]\n"


def begin(root: Path, algorithm: str = "ppo") -> tuple[RunContext, Findings]:
    row = {
        "environment": {"name": "gymnasium:Pendulum-v1"},
        "policy": {"train_steps": 64},
        "methods": ["ultra-a"],
        "collect": {"episodes": 2},
        "imitation": {"round_steps": 400},
        "refine": {
            "num_envs": 4, "workers": 0,
            "algorithm": {
                "name": algorithm,
                "options": {
                    "hidden": [16, 16], "clone_steps": 300, "clone_steps_max": 1000, "clone_learning_rate": 5e-3,
                },
            },
        },
    }  # fmt: skip
    config = parse_config(row, "test")
    made = run_context(RunFolder.create(root, config), config, ignore, lambda: False)
    made = made.starting_with(stages.starting_policy(made))
    return made, Findings(stages.collect_episodes(made))


def layer_of(context: RunContext, text: str) -> RulePolicy:
    return RulePolicy(context.policy, parse_rules(text, interface_of(context.environment)), context.environment)


def executed(policy: Policy, findings: Findings) -> Any:
    """The mean action that the environment gets, and how often it is at a bound, over collected states."""
    seen = np.concatenate([one.observations for one in findings.trajectories])
    draws = [policy.act(seen, np.random.default_rng(seed)) for seed in range(8)]
    return float(np.mean(draws)), float(np.mean(np.abs(draws) >= 2.0))


def test_a_copy_of_corrected_actions_executes_what_the_policy_executes_under_the_rules(tmp_path: Path) -> None:
    context, findings = begin(tmp_path)
    layer = layer_of(context, CORRECTED)
    mean, at_bound = executed(layer, findings)
    assert mean > 1.7, "the correction drives most samples to the bound"
    copy, learning = taught(context, findings, context.policy, layer)
    assert copy is not None
    assert executed(copy, findings) == (pytest.approx(mean, abs=0.12), pytest.approx(at_bound, abs=0.1))
    assert learning.agreement[0] > 0.9, "held against what the rules make of the likeliest action"


def test_a_copy_of_written_actions_learns_these(tmp_path: Path) -> None:
    context, findings = begin(tmp_path)
    copy, _ = taught(context, findings, context.policy, layer_of(context, WRITTEN))
    assert copy is not None
    seen = findings.trajectories[0].observations
    assert np.abs(copy.act(seen, deterministic=True) - 1.5).mean() < 0.1


@pytest.mark.parametrize(
    ("algorithm", "text", "chosen", "way"),
    [
        ("ppo", CORRECTED, "copy", None),
        ("ppo", CORRECTED, "policy+rules", "own"),
        ("sac", CORRECTED, "copy", None),
        ("sac", CORRECTED, "policy+rules", "mixture"),
        ("ppo", WRITTEN, "copy", "imitate"),
        ("ppo", WRITTEN, "copy+rules", "imitate"),
    ],
)
def test_no_network_is_pulled_towards_a_correction_of_its_own_actions(
    tmp_path: Path, algorithm: str, text: str, chosen: StartName, way: str | None
) -> None:
    context, findings = begin(tmp_path, algorithm)
    found = RulesFound((RuleProposal(text, "file", ""),), rules=text, untested=True, chosen=0)
    copy = context.policy if "copy" in chosen else None
    prepared = ruled(context, replace(findings, rules=found, start=Start(chosen, copy=copy)))
    assert prepared is not None
    modulation = prepared.modulation("a")
    assert (None if modulation is None else modulation.learn) == way
    assert (prepared.over is None) == (text == CORRECTED and chosen == "copy"), "it is in the copy already"


class Played:
    """Instead of paired episodes: what each entrant earned is known."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Played:
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def extend(self, entrants: list[Entrant], pairs: int) -> bool:
        for one in entrants:
            one.returns = (KNOWN[id(one)] * 16)[:pairs]
        return True


KNOWN: dict[int, list[float]] = {}


@pytest.mark.parametrize(
    ("copy", "expected"),
    [
        ([-4.0, -6.3, -5.2, -10.4], "policy+rules"),  # alone it lost to the policy
        ([-0.9, -3.0, -0.8, -2.2], "copy+rules"),  # alone it is much the same
        ([3.9, 3.1, 4.0, 3.8], "copy"),
    ],
)
def test_a_copy_that_is_worse_alone_stands_below_no_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: list[float], expected: StartName
) -> None:
    context, _ = begin(tmp_path)
    earned: dict[StartName, list[float]] = {
        "policy": [-1.3, -3.2, -0.8, -2.0],
        "copy": copy,
        "copy+rules": [3.9, 3.0, 3.9, 1.9],
        "policy+rules": [3.0, 3.0, 4.6, 3.1],
    }
    entrants: dict[StartName, Entrant] = {name: Entrant(context.policy) for name in earned}
    KNOWN.update({id(entrants[name]): values for name, values in earned.items()})
    monkeypatch.setattr("ultra_agents.stages.start.Episodes", Played)
    chosen, _ = _compared(context, cast("RuleTest", SimpleNamespace(spread=0.7, pairs_of="confirm")), entrants, False)
    assert chosen == expected


@pytest.mark.parametrize(
    ("layer", "pairs"),
    [
        ([3.9, 3.1, 4.0, 3.8], 4),  # the same as the copy
        ([4.3, 2.9, 4.2, 3.7], 4),  # a little better, and not by its standard error
        ([5.4, 3.0, 4.9, 4.0], 8),  # it stands out, and is not surely better yet
    ],
)
def test_what_does_not_stand_out_is_not_played_on_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layer: list[float], pairs: int
) -> None:
    context, _ = begin(tmp_path)
    earned: dict[StartName, list[float]] = {
        "policy": [-1.3, -3.2, -0.8, -2.0], "copy": [3.9, 3.1, 4.0, 3.8], "policy+rules": layer,
    }  # fmt: skip
    entrants: dict[StartName, Entrant] = {name: Entrant(context.policy) for name in earned}
    KNOWN.update({id(entrants[name]): values for name, values in earned.items()})
    monkeypatch.setattr("ultra_agents.stages.start.Episodes", Played)
    test = cast("RuleTest", SimpleNamespace(spread=0.7, pairs_of="confirm"))
    _, compared = _compared(context, test, entrants, False)
    assert compared.stopped == "good"
    assert len(entrants["copy"].returns) == pairs


@pytest.mark.parametrize(
    ("mode", "copy", "expected"),
    [
        ("tested", [-1.0, -5.0, 1.0, -1.9], "policy"),
        ("better", [-1.0, -5.0, 1.0, -1.9], "copy"),  # +0.1 on average, and nothing is sure
        ("better", [-4.0, -5.0, 1.0, -1.5], "policy"),
        ("better", [3.9, 3.1, 4.0, 3.8], "copy"),
    ],
)
def test_an_undecided_copy_that_earned_more_is_used_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, copy: list[float], expected: StartName
) -> None:
    context, _ = begin(tmp_path)
    imitation = context.config.imitation.model_copy(update={"mode": mode})
    context = replace(context, config=context.config.model_copy(update={"imitation": imitation}))
    earned: dict[StartName, list[float]] = {"policy": [-1.3, -3.2, -0.8, -2.0], "copy": copy}
    entrants: dict[StartName, Entrant] = {name: Entrant(context.policy) for name in earned}
    KNOWN.update({id(entrants[name]): values for name, values in earned.items()})
    monkeypatch.setattr("ultra_agents.stages.start.Episodes", Played)
    test = cast("RuleTest", SimpleNamespace(spread=0.7, pairs_of="confirm"))
    assert _compared(context, test, entrants, True)[0] == expected


def test_without_a_copy_there_is_nothing_to_learn_rules_with(tmp_path: Path) -> None:
    context, findings = begin(tmp_path)
    found = RulesFound((RuleProposal(WRITTEN, "file", ""),), rules=WRITTEN, untested=True, chosen=0)
    for apply, chosen in (("imitate", "policy"), ("both", "policy+rules")):
        changes = {
            "advice": context.config.advice.model_copy(update={"apply": apply}),
            "imitation": context.config.imitation.model_copy(update={"mode": "never"}),
        }
        changed = replace(context, config=context.config.model_copy(update=changes))
        assert choose_start(changed, replace(findings, rules=found)).chosen == chosen


ACCEPTED = RuleTest("accepted", 9.0, 5.0, 12.0, 4, 0.5, 900, WRITTEN, returns=((0.0, 9.0),) * 4)


@pytest.mark.parametrize(
    ("apply", "mode", "coverage", "chosen"),
    [
        ("auto", "always", 0.5, "copy"),
        ("auto", "always", 1.0, "copy"),
        ("auto", "always", None, "copy"),
        ("auto", "tested", None, "policy+rules"),
        ("imitate", "always", 0.5, "copy"),
        ("imitate", "tested", None, "copy"),
        ("both", "always", 0.5, "copy+rules"),
        ("both", "always", 1.0, "policy+rules"),
        ("both", "tested", None, "copy+rules"),
        ("layer", "always", 0.5, "policy+rules"),
    ],
)
def test_a_copy_is_made_and_paid_for_only_where_it_is_begun_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, apply: str, mode: str, coverage: float | None, chosen: str
) -> None:
    """Where nothing is compared; a `coverage` of None stands for rules that were not tested."""
    context, findings = begin(tmp_path)
    copy, lessons = context.policy.copy(), Lessons()
    lessons.env_steps = 400
    monkeypatch.setattr("ultra_agents.stages.start.taught", lambda *_: (copy, lessons))
    changes = {
        "advice": context.config.advice.model_copy(update={"apply": apply}),
        "imitation": context.config.imitation.model_copy(update={"mode": mode}),
    }
    changed = replace(context, config=context.config.model_copy(update=changes))
    test = None if coverage is None else replace(ACCEPTED, coverage=coverage)
    proposal = (RuleProposal(WRITTEN, "file", ""),)
    found = RulesFound(proposal, test, rules=WRITTEN, untested=test is None, chosen=0)
    start = choose_start(changed, replace(findings, rules=found))
    assert start.chosen == chosen
    assert (start.copy is copy, start.imitating) == (("copy" in chosen), 400 if "copy" in chosen else 0)


@pytest.mark.parametrize("moves", ["copy", "table", "none"])
def test_moves_that_held_come_before_a_reward_that_nothing_confirmed(tmp_path: Path, moves: str) -> None:
    context, findings = begin(tmp_path)
    text = WRITTEN + "reward: next.cos_theta\n"
    test = replace(ACCEPTED, verdict="undecided", low=-1.0, rules=text)
    proposal, reward = (RuleProposal(text, "file", ""),), RewardTest("reward", "unclear")
    found = RulesFound(proposal, test, rules=text, chosen=0, reward=reward)
    assert found.rewards
    assert not found.held
    findings = replace(findings, rules=found, start=choose_start(context, replace(findings, rules=found)))
    if moves == "copy":
        better = Imitation(3, 60, 5.0, 1.0, 9.0, 8, 400, True, "used", context.policy, "holds")
        findings = replace(findings, imitation=better)
    if moves == "table":
        findings = replace(findings, table=TableTest("accepted", True))
    assert (ruled(context, findings) is None) == (moves != "none")


@pytest.mark.parametrize("kind", ["none", "quantities", "margins"])
def test_a_network_gets_the_further_inputs_that_are_asked_for(kind: str, tmp_path: Path) -> None:
    context, findings = begin(tmp_path)
    imitation = context.config.imitation.model_copy(update={"widen": kind})
    context = replace(context, config=context.config.model_copy(update={"imitation": imitation}))
    rules = parse_rules(CORRECTED.replace("own.torque + 3", "1.5"), interface_of(context.environment))
    made = widened(context, findings, rules)
    seen = findings.trajectories[0].observations
    np.testing.assert_array_equal(made.act(seen, deterministic=True), context.policy.act(seen, deterministic=True))
    if kind == "none":
        assert made.widening is None
        return
    assert made.widening is not None
    assert len(made.widening.names) == (2 if kind == "margins" else 1)
    assert made.widening.names[0] == "cos_theta"
    assert made.widening.rules == ((rules.to_yaml(),) if kind == "margins" else ())
    again = widened(context.starting_with(made), findings, rules)
    assert again.widening is not None
    assert (again.widening.names, again.widening.rules) == (made.widening.names, made.widening.rules)


@pytest.mark.parametrize(("environments", "held_out"), [(1, 0), (3, 0), (4, 1), (8, 2)])
def test_lessons_hold_out_one_environment_in_four_and_none_of_fewer(
    tmp_path: Path, environments: int, held_out: int
) -> None:
    """Of one environment everything was held out, and nothing of its rounds learnt from."""
    context, findings = begin(tmp_path)
    config = context.config.model_copy(
        update={"refine": context.config.refine.model_copy(update={"num_envs": environments})}
    )
    context = replace(context, config=config)
    _, learning = taught(context, findings, context.policy, layer_of(context, WRITTEN))
    apart = sum(len(one.observations) for one in learning.held_out)
    assert apart == held_out * (learning.env_steps // environments)
