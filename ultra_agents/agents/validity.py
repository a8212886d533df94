"""Suggestions that say nothing the simulator could be asked, or nothing it may be asked; dropped and counted."""

from __future__ import annotations

import math

from ultra_agents.agents.state import Context
from ultra_agents.records import Critique, Suggestion
from ultra_agents.verification.validity import refusal

INVALID = "invalid: "
"""How the reasons of these drops begin."""


def flaw(context: Context, suggestion: Suggestion) -> str | None:
    """Why `suggestion` cannot be used, as a countable reason; None where it can.

    Replies of models are held to the steps shown and to legal actions by their schema; this is for whatever else
    proposes, and for plans that outlast the rollouts they are tested in.
    """
    longest = context.verification.longest_plan if context.simulates else None
    why = refusal(context.environment, context.trajectory, suggestion, longest)
    return None if why is None else f"{INVALID}{why}"


def reward_flaw(critique: Critique) -> str | None:
    """Why a critique's rewards cannot be used; None where they can."""
    rewards = (critique.reward, critique.taken_reward)
    if not all(map(math.isfinite, rewards)):
        return f"{INVALID}reward is not a number"
    return None if all(-1 <= reward <= 1 for reward in rewards) else f"{INVALID}reward outside [-1, 1]"
