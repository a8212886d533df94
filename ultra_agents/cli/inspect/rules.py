"""The rules of a run for `ultra inspect`: each with its fate, and who acts at every step of the stored episodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.errors import UltraError
from ultra_agents.records import Array, Trajectory
from ultra_agents.text import clean
from ultra_agents.ui.inspect.run_view import RuleLine, RulesView

if TYPE_CHECKING:
    from ultra_agents.rules.layer import BoundRules
    from ultra_agents.runs import RunFolder


def read_view(
    folder: RunFolder, environment: Environment, trajectories: Sequence[Trajectory]
) -> tuple[RulesView | None, BoundRules | None, list[str]]:
    """What is shown of rules, the rules that act, and notes about what cannot be shown.

    Raises:
        RunError: What the run kept is damaged.
    """
    if not folder.config.of_rules:
        return None, None, []
    from ultra_agents.stages.rules_overview import bound_of, read_rules, read_start, rule_rows, verdict_of

    found = read_rules(folder)
    if found is None:
        return None, None, []
    notes = list[str]()
    try:
        bound = bound_of(found, environment)
        acts = {} if bound is None else _acts(bound, trajectories)
    except UltraError as error:
        bound, acts = None, {}
        notes.append(f"where the rules act cannot be shown: {clean(error.problem, 120)}")
    rows, start = rule_rows(found), read_start(folder)
    numbers = np.array([0, *(row["number"] for row in rows if row["place"] is not None)])
    acts = {episode: numbers[places + 1] for episode, places in acts.items()}
    lines = tuple(
        RuleLine(
            row["number"], clean(row["when"]), clean(row["do"]), clean(row["why"]), row["weight"], row["dropped"],
            None if row["dropped"] else _coverage(acts, row["number"]), _first(acts, row["number"]),
        )
        for row in rows
    )  # fmt: skip
    told = "" if start is None else clean(start.headline)
    reward = "" if found.reward is None else f"implicit {found.reward.kind} {clean(found.reward.words)}"
    return RulesView(verdict_of(found), clean(found.headline), told, lines, acts, reward), bound, notes


def _acts(bound: BoundRules, trajectories: Sequence[Trajectory]) -> dict[int, Array]:
    """By episode, the position of the rule that acts at each step, -1 where none does."""
    return {one.episode: bound.decide(one.observations, one.actions).rule for one in trajectories}


def _coverage(acts: dict[int, Array], number: int) -> float | None:
    every = np.concatenate(list(acts.values())) if acts else np.zeros(0)
    return float((every == number).mean()) if len(every) else None


def _first(acts: dict[int, Array], number: int) -> tuple[int, int] | None:
    for episode, numbers in sorted(acts.items()):
        if (steps := np.flatnonzero(numbers == number)).size:
            return episode, int(steps[0])
    return None
