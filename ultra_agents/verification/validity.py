"""What is claimed, made ready for the test: a plan of actions from a state that can be restored."""

from __future__ import annotations

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Suggestion, Trajectory


def refusal(
    environment: Environment, trajectory: Trajectory, suggestion: Suggestion, longest: int | None = None
) -> str | None:
    """Why a suggestion cannot be tested, in a few countable words; None where it can.

    Args:
        environment: Names the actions.
        trajectory: The episode it was made for.
        suggestion: The claim.
        longest: Most steps a plan may have.
    """
    if suggestion.episode != trajectory.episode:
        return "another episode"
    if not 0 <= suggestion.step < len(trajectory):
        return "step beyond the episode"
    if any(hold < 1 for _, hold in suggestion.plan.moves):
        return "hold below 1"
    if longest is not None and suggestion.plan.steps > longest:
        return "plan too long"
    for name, _ in suggestion.plan.moves:
        try:
            action = np.asarray(environment.actions.encode(name), environment.action_space.dtype)
        except (KeyError, ValueError, TypeError):
            return "illegal action"
        if not environment.action_space.contains(action):
            return "illegal action"
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
