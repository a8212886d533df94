"""The words an environment plugin gives, checked: whatever it does wrong is reported under its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ultra_agents.contracts import Environment
from ultra_agents.errors import EnvironmentFault, UltraError
from ultra_agents.records import FloatArray, Trajectory
from ultra_agents.registry import plugin_origin

KIT = "ultra plugins check NAME runs the conformance kit over the plugin"


def plugin_name(environment: Environment) -> str:
    """The plugin's name, distribution and version where it is registered, else its class by its full name."""
    return plugin_origin(environment) or f"{type(environment).__module__}.{type(environment).__qualname__}"


@contextmanager
def asking(environment: Environment, what: str) -> Iterator[None]:
    """Turn anything a plugin raises while asked for `what` into an `EnvironmentFault` that names it."""
    try:
        yield
    except UltraError:
        raise
    except Exception as error:
        raise EnvironmentFault(
            f"the environment plugin {plugin_name(environment)} failed at {what}",
            found=f"{type(error).__name__}: {error}",
            hint=KIT,
        ) from error


def reward_word(environment: Environment, rewards: FloatArray) -> str | None:
    """The environment's word for a stretch with these `(m,)` rewards, on one line; None for a generic one."""
    with asking(environment, "segment_kind"):
        word = environment.segment_kind(rewards)
        return " ".join(word.split()) or None if word is not None else None


def action_word(environment: Environment, trajectory: Trajectory, step: int) -> str:
    """The name of the action the policy took at `step`."""
    with asking(environment, f"actions.decode of step {step}"):
        return str(environment.actions.decode(np.asarray(trajectory.actions[step])))


def state_words(environment: Environment, trajectory: Trajectory, step: int, limit: int) -> str:
    """What the policy saw at `step`, on one line of at most `limit` characters."""
    with asking(environment, f"describe of step {step}"):
        text = environment.describe(trajectory.observations[step], trajectory.infos[step])
    words = " ".join(text.split()) if isinstance(text, str) else ""
    if not words or len(words) > limit:
        found = repr(text)[:80] if not words else f"{len(words)} characters: {words[:60]!r} ..."
        raise EnvironmentFault(
            f"the environment plugin {plugin_name(environment)} describes a state so that it cannot be narrated",
            found=f"step {step}: {found}",
            expected=f"one line of plain words, at most {limit} characters",
            hint="shorten its describe(), or raise narration.token_budget",
        )
    return words
