"""What a plugin raises is reported under the plugin's name: one way for environments stepped, narrated and probed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.errors import EnvironmentFault, UltraError
from ultra_agents.records import Trajectory
from ultra_agents.registry import plugin_origin

KIT = "ultra plugins check NAME runs the conformance kit over the plugin"


def plugin_name(environment: Environment) -> str:
    """How messages name a plugin: name, distribution and version where it is registered, else its class; its id."""
    known = plugin_origin(environment)
    return f"{known or type(environment).__name__} ({environment.env_id})"


def plugin_fault(environment: Environment, error: Exception, what: str = "") -> UltraError:
    """An `EnvironmentFault` for something a plugin raised while asked for `what`; an `UltraError` as it is."""
    if isinstance(error, UltraError):
        return error
    return EnvironmentFault(
        f"the environment {plugin_name(environment)} failed{f' at {what}' if what else ''}",
        found=f"{type(error).__name__}: {error}",
        hint=KIT,
    )


@contextmanager
def asking(environment: Environment, what: str = "") -> Iterator[None]:
    """Turn anything a plugin raises while asked for `what` into an `EnvironmentFault`; `UltraError`s pass."""
    try:
        yield
    except UltraError:
        raise
    except Exception as error:
        raise plugin_fault(environment, error, what) from error


def action_word(environment: Environment, trajectory: Trajectory, step: int) -> str:
    """The name of the action the policy took at `step`."""
    with asking(environment, f"actions.decode of step {step}"):
        return str(environment.actions.decode(np.asarray(trajectory.actions[step])))
