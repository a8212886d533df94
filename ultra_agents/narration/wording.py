"""The words an environment plugin gives, checked: whatever it does wrong is reported under its name; and figures."""

from __future__ import annotations

from ultra_agents.contracts import Environment
from ultra_agents.errors import EnvironmentFault
from ultra_agents.plugin_calls import asking, plugin_name
from ultra_agents.records import FloatArray, Trajectory
from ultra_agents.text import valid_text


def reward_word(environment: Environment, rewards: FloatArray) -> str | None:
    """The environment's word for a segment with these `(m,)` rewards, on one line; None for a generic one."""
    with asking(environment, "segment_kind"):
        word = environment.segment_kind(rewards)
        return " ".join(valid_text(word).split()) or None if word is not None else None


def state_words(environment: Environment, trajectory: Trajectory, step: int, limit: int) -> str:
    """What the policy saw at `step`, on one line of at most `limit` characters."""
    with asking(environment, f"describe of step {step}"):
        text = environment.describe(trajectory.observations[step], trajectory.infos[step])
    words = " ".join(valid_text(text).split()) if isinstance(text, str) else ""
    if not words or len(words) > limit:
        found = repr(text)[:80] if not words else f"{len(words)} characters: {words[:60]!r} ..."
        raise EnvironmentFault(
            f"the environment {plugin_name(environment)} describes a state so that it cannot be narrated",
            found=f"step {step}: {found}",
            expected=f"one line of plain words, at most {limit} characters",
            hint="shorten its describe(), or raise narration.token_budget",
        )
    return words


def number(value: float) -> str:
    """At most three figures after the point, none where they are zeros, always signed but for 0."""
    text = f"{float(value):+.3f}".rstrip("0").rstrip(".")
    return "0" if text in ("+0", "-0") else text
