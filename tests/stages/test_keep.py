"""Whether what training made is kept, where rules are in force and where none are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ultra_agents.config import parse_config
from ultra_agents.contracts import Policy, Prepared
from ultra_agents.events import ignore
from ultra_agents.records import Array
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.runs import RunFolder
from ultra_agents.stages import keep
from ultra_agents.stages.context import RunContext, run_context
from ultra_agents.stages.keep import better_of, unaffordable
from ultra_agents.verification.paired import Entrant, Episodes
from ultra_agents.verification.sequential import GainInterval

LEFT, RIGHT = 0, 1
EVERYWHERE = "rules: [{when: cell >= 0, do: RIGHT}]\n"
FAR = "rules: [{when: cell > 10, do: RIGHT}]\n"
HORIZON, LIMIT = 40, 4000


class Always(Policy):
    """One action in every state."""

    stochastic = False

    def __init__(self, action: int) -> None:
        self.action = action

    def act(self, observations: Array, rng: Any = None, deterministic: bool = False) -> Array:
        return np.full(len(observations), self.action, np.int64)

    def act_with_uniforms(self, observations: Array, uniforms: Array) -> Array:
        return self.act(observations)

    def value(self, observations: Array) -> Array:
        return np.zeros(len(observations))

    def state(self) -> Any:
        return {}, {}


def context(root: Path) -> RunContext:
    row = {
        "environment": {"name": "corridor", "options": {"length": 15, "max_steps": HORIZON, "slip": 0.1}},
        "policy": {"train_steps": 64}, "methods": ["continue"], "verification": {"rules": {"horizon": HORIZON}},
    }  # fmt: skip
    config = parse_config(row, "a test")
    return run_context(RunFolder.create(root, config), config, ignore, lambda: False)


@pytest.mark.parametrize("rules", [None, FAR, EVERYWHERE])
@pytest.mark.parametrize(("before", "after", "what"), [(RIGHT, LEFT, "start"), (LEFT, RIGHT, "trained")])
def test_the_better_network_is_kept_whatever_the_rules_leave_to_it(
    tmp_path: Path, rules: str | None, before: int, after: int, what: str
) -> None:
    run, start, trained = context(tmp_path), Always(before), Always(after)
    over = None
    if rules is not None:
        parsed = parse_rules(rules, interface_of(run.environment))
        over = lambda policy: RulePolicy(policy, parsed, run.environment)  # noqa: E731
    prepared = Prepared(start, over=over, in_force=rules is not None, confirm=True)
    network, kept, spent = better_of(run, "ultra-ra", prepared, trained, LIMIT)
    assert kept.what == what
    assert network is (start if what == "start" else trained)
    assert (kept.gain > 0) == (what == "trained")
    assert kept.pairs > 0
    assert 0 < spent <= LIMIT


def test_a_network_that_ruins_what_the_rules_win_is_not_kept_for_being_a_little_better_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, start, trained = context(tmp_path), Always(LEFT), Always(RIGHT)
    found = iter([GainInterval(-2.0, -5.0, 1.0), GainInterval(0.5, 0.1, 0.9)])  # in force, then alone
    monkeypatch.setattr(keep, "interval", lambda differences, rule: next(found))
    parsed = parse_rules(FAR, interface_of(run.environment))
    over = lambda policy: RulePolicy(policy, parsed, run.environment)  # noqa: E731
    network, kept, _ = better_of(
        run, "ultra-ra", Prepared(start, over=over, in_force=True, confirm=True), trained, LIMIT
    )
    assert network is start
    assert (kept.what, kept.gain) == ("start", -2.0)


def test_as_many_pairs_are_played_side_by_side_as_the_steps_pay_for(tmp_path: Path) -> None:
    prepared = Prepared(Always(LEFT), confirm=True)
    _, kept, spent = better_of(context(tmp_path), "ultra-ra", prepared, Always(RIGHT), 3 * HORIZON)
    assert kept.pairs >= 1, "one pair is at most two episodes; four at once would pay for one side only"
    assert 0 < spent <= 3 * HORIZON
    assert kept.what == "trained"


def test_steps_for_no_pair_keep_the_start(tmp_path: Path) -> None:
    network, kept, spent = better_of(context(tmp_path), "ultra-ra", Prepared(start := Always(LEFT)), Always(RIGHT), 0)
    assert network is start
    assert (kept.what, kept.pairs, spent) == ("start", 0, 0)


class Noisy(Always):
    """Earns a little more or a little less, by the pair."""

    def act_with_uniforms(self, observations: Array, uniforms: Array) -> Array:
        return (uniforms[:, 0] > 0.5).astype(np.int64)


@pytest.mark.parametrize("corrects", [False, True])
def test_under_rules_that_correct_all_steps_compare_what_acts(tmp_path: Path, corrects: bool) -> None:
    run, start, trained = context(tmp_path), Noisy(LEFT), Noisy(LEFT)
    played: list[str] = []
    parsed = parse_rules(FAR, interface_of(run.environment))

    def over(policy: Policy) -> Policy:
        return RulePolicy(policy, parsed, run.environment)

    class Spied(Episodes):
        def extend(self, entrants: Sequence[Entrant], count: int) -> bool:
            played.append("in force" if isinstance(entrants[0].policy, RulePolicy) else "alone")
            return super().extend(entrants, count)

    patched = pytest.MonkeyPatch()
    patched.setattr(keep, "Episodes", Spied)
    prepared = Prepared(start, over=over, in_force=True, corrects=corrects, confirm=True)
    better_of(run, "ultra-ra", prepared, trained, LIMIT)
    patched.undo()
    assert ("alone" in played) == (not corrects)


@pytest.mark.parametrize("in_force", [False, True])
def test_episodes_longer_than_reckoned_end_the_comparison(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_force: bool
) -> None:
    """What is reckoned is twice the mean so far: long episodes spend more than the budget, and nothing is left."""
    run, start, trained = context(tmp_path), Always(RIGHT), Always(LEFT)
    asked = list[int]()

    def extend(self: Episodes, entrants: Sequence[Entrant], count: int) -> bool:
        asked.append(count)
        assert len(asked) < 100, "it never ends"
        for sign, entrant in enumerate(entrants):
            more, length = range(len(entrant.returns), count), 1 if count <= 4 else 10 * LIMIT
            entrant.steps += length * len(more)
            self._budget.spent += length * len(more)
            entrant.returns += [float(sign * (-1) ** pair) for pair in more]
        return True

    monkeypatch.setattr(Episodes, "extend", extend)
    parsed = parse_rules(FAR, interface_of(run.environment))
    over = (lambda policy: RulePolicy(policy, parsed, run.environment)) if in_force else None
    prepared = Prepared(start, over=over, in_force=in_force, confirm=True)
    _, kept, spent = better_of(run, "ultra-ra", prepared, trained, LIMIT)
    assert kept.pairs > 0
    assert spent > LIMIT


def test_a_short_episode_that_is_known_of_is_paid_for_where_the_horizon_is_not(tmp_path: Path) -> None:
    run, prepared = context(tmp_path), Prepared(Always(LEFT), confirm=True)
    limit = 2 * HORIZON - 1
    assert better_of(run, "ultra-ra", prepared, Always(RIGHT), limit)[1].pairs == 0
    network, kept, _ = better_of(run, "ultra-ra", prepared, trained := Always(RIGHT), limit, episode=20)
    assert (network, kept.what) == (trained, "trained")
    assert kept.pairs > 0


def test_a_comparison_that_cannot_be_paid_for_is_told_of_before_training(tmp_path: Path) -> None:
    config = context(tmp_path).config
    little = config.model_copy(update={"refine": config.refine.model_copy(update={"steps": 20 * HORIZON - 10})})
    told = unaffordable(little, 1000)
    assert f"a pair of episodes of up to {HORIZON} steps" in told
    assert f"{2 * HORIZON - 1} steps (one of 10 of refine.steps) do not pay for one" in told
    assert unaffordable(little, HORIZON // 2) == "", "its episodes are shorter"
    assert unaffordable(config, 1000) == ""
