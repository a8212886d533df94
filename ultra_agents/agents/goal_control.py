"""The control beside models that set goals: goals drawn at random, searched for and tested like theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np

from ultra_agents.agents.controls import Proposal, Random
from ultra_agents.agents.goal_terms import Goals
from ultra_agents.agents.state import Context
from ultra_agents.records import Goal
from ultra_agents.records.plans import OF_NO_USE, Aim, When
from ultra_agents.seeding import Streams

TRIES = 20
"""Goals drawn for one state, at most, until one can be set."""


class RandomGoals(Random):
    """Any step; a goal on any quantity, its target among the values collected.

    Args:
        streams: Source of the choices.
        goals: What goals may be about, and the search for them.
    """

    def __init__(self, streams: Streams, goals: Goals) -> None:
        super().__init__(streams)
        self._goals = goals

    @property
    def settings(self) -> Mapping[str, Any]:
        """The stream it draws from, and what goals depend on."""
        return {**super().settings, "goals": dict(self._goals.settings)}

    def propose(self, context: Context, step: int) -> Proposal | None:
        """What the search found for a goal drawn at `step`; no plan where it came no nearer to it."""
        goal = draw_goal(self._goals, self.rng(context, step))
        if goal is None:
            return Proposal(None, reason="no goal can be set")
        found = self._goals.reach(context.trajectory, step, goal)
        return Proposal(None if found.reason in OF_NO_USE else found.plan, found.env_steps, found, found.reason)


def draw_goal(goals: Goals, rng: np.random.Generator) -> Goal | None:
    """A goal whose quantity, aim, time and steps are equally likely, its target one or two of the values collected.

    None where none of `TRIES` draws can be set.
    """
    names = goals.meter.interface.quantities
    aims: tuple[Aim, ...] = get_args(Aim)
    whens: tuple[When, ...] = get_args(When)
    for _ in range(TRIES):
        name = names[int(rng.integers(len(names)))]
        aim, when = aims[int(rng.integers(len(aims)))], whens[int(rng.integers(len(whens)))]
        steps = int(rng.integers(goals.least, goals.most + 1))
        values = np.concatenate([columns[name] for columns in goals.meter.columns])
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        low, high = sorted(float(value) for value in rng.choice(values, 2))
        goal = Goal(
            name, aim, steps, when,
            low if aim in ("at least", "between") else None,
            high if aim in ("at most", "between") else None,
        )  # fmt: skip
        if not goals.meter.fault(goal):
            return goal
    return None
