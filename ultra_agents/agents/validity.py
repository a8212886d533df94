"""Suggestions that say nothing the simulator could be asked, or nothing it may be asked; dropped and counted."""

from __future__ import annotations

import math

import numpy as np

from ultra_agents.agents.state import Context
from ultra_agents.plugin_calls import asking
from ultra_agents.records import Critique, Suggestion

INVALID = "invalid: "
"""How the reasons of these drops begin."""


def flaw(context: Context, suggestion: Suggestion) -> str | None:
    """Why `suggestion` cannot be used, as a countable reason; None where it can.

    Replies of models are held to the steps shown and to legal actions by their schema; this is for whatever else
    proposes, and for plans that outlast the rollouts they are tested in.
    """
    length = len(context.trajectory)
    if suggestion.step == length and (context.trajectory.terminated or context.trajectory.truncated):
        return f"{INVALID}terminal step"
    if not 0 <= suggestion.step < length:
        return f"{INVALID}step outside the episode"
    if any(hold < 1 for _, hold in suggestion.plan.moves):
        return f"{INVALID}hold below 1"
    if any(not _legal(context, action) for action, _ in suggestion.plan.moves):
        return f"{INVALID}illegal action"
    if context.simulates:
        rule = context.verification
        if suggestion.plan.steps > max(rule.horizon, rule.max_test_steps // 2):
            return f"{INVALID}beyond the horizon of the test"  # not one pair of rollouts could be played
        snapshots = context.trajectory.snapshots
        if snapshots is not None and suggestion.step >= len(snapshots):
            return f"{INVALID}no simulator state"
    return None


def reward_flaw(critique: Critique) -> str | None:
    """Why a critique's rewards cannot be used; None where they can."""
    rewards = (critique.reward, critique.taken_reward)
    if not all(map(math.isfinite, rewards)):
        return f"{INVALID}reward is not a number"
    return None if all(-1 <= reward <= 1 for reward in rewards) else f"{INVALID}reward outside [-1, 1]"


def _legal(context: Context, name: str) -> bool:
    with asking(context.environment, f"actions.encode of {name!r}"):
        try:
            action = np.asarray(context.environment.actions.encode(name))
        except KeyError:
            return False
    return bool(np.isfinite(action).all())
