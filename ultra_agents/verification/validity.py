"""Which suggestions nobody can test or follow: the one rule for agents, controls and tests."""

from __future__ import annotations

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.errors import EnvironmentFault
from ultra_agents.plugin_calls import asking
from ultra_agents.records import Suggestion, Trajectory


def refusal(
    environment: Environment, trajectory: Trajectory, suggestion: Suggestion, longest: int | None = None
) -> str | None:
    """Why a suggestion cannot be used, in a few countable words; None where it can.

    Args:
        environment: Names the actions.
        trajectory: The episode it was made for.
        suggestion: The claim.
        longest: Most steps a plan that is to be simulated may have, or not one pair of rollouts could be played; None
            where nothing is simulated.

    Raises:
        EnvironmentFault: The plugin failed at encoding an action.
    """
    length, plan = len(trajectory), suggestion.plan
    if suggestion.episode != trajectory.episode:
        return "another episode"
    if suggestion.step == length and (trajectory.terminated or trajectory.truncated):
        return "terminal step"
    if not 0 <= suggestion.step < length:
        return "step outside the episode"
    if any(hold < 1 for _, hold in plan.moves):
        return "hold below 1"
    if any(not legal(environment, name) for name, _ in plan.moves):
        return "illegal action"
    if longest is not None:
        if plan.steps > longest:
            return "beyond the horizon of the test"
        if trajectory.snapshots is not None and suggestion.step >= len(trajectory.snapshots):
            return "no simulator state"
    return None


def snapshot_of(trajectory: Trajectory, step: int) -> bytes:
    """The simulator state before the action at `step`; raises `EnvironmentFault` where none was kept."""
    if trajectory.snapshots is None:
        raise EnvironmentFault(
            "this episode was collected without simulator states, so its steps cannot be tested",
            found=repr(trajectory),
            expected="an environment that can restore states; otherwise verification.mode: reflect",
        )
    return trajectory.snapshots[step]


def legal(environment: Environment, name: str) -> bool:
    """Whether an action of this name can be taken; raises `EnvironmentFault` where the plugin fails at it."""
    with asking(environment, f"actions.encode of {name!r}"):
        try:
            action = np.asarray(environment.actions.encode(name), environment.action_space.dtype)
        except (KeyError, ValueError, TypeError):
            return False
        return bool(environment.action_space.contains(action))
