"""Moves as a person writes them, `UP x2, STAY x3`, read for one step of an episode or refused with what is wrong."""

from __future__ import annotations

import re

from ultra_agents.contracts import Environment
from ultra_agents.errors import ConfigError, did_you_mean
from ultra_agents.records import Move, Plan, Suggestion, Trajectory
from ultra_agents.text import clean
from ultra_agents.verification.validity import legal, refusal

LONGEST = 2_000
"""Characters of a plan."""
MOST_DIGITS = 9
"""Digits of a hold: a longer number is beyond every test."""
_HOLD = re.compile(r"^(?P<name>.*?)\s*(?:\s[xX*]|[×*])\s*(?P<hold>[+-]?\d[\w.]*)$", re.DOTALL)
EXPECTED = "actions with the steps each is held, as in: UP x2, STAY x3"


def parse_moves(text: str, environment: Environment, longest: int | None = None) -> Plan:
    """The plan that `text` says: `ACTION xSTEPS`, one after the other, with commas between; without `x` one step.

    Names may hold commas themselves, as those of continuous actions may.

    Args:
        text: What was written.
        environment: Names the actions.
        longest: Most environment steps of the plan; None sets no limit.

    Raises:
        ConfigError: It is empty or too long, names an action that there is not, or a hold that is no number of steps.
    """
    if len(text) > LONGEST:
        raise ConfigError("the moves are too long", found=f"{len(text):,} characters", expected=f"at most {LONGEST:,}")
    if not text.strip():
        raise ConfigError("there are no moves", found="nothing", expected=EXPECTED, hint=_known(environment))
    moves: list[Move] = []
    parts, at = text.split(","), 0
    while at < len(parts):
        for end in range(at + 1, len(parts) + 1):
            name, hold = _name_and_hold(",".join(parts[at:end]))
            if name and legal(environment, name):
                break
        else:
            raise _illegal(_name_and_hold(parts[at])[0], environment)
        if hold < 1:
            raise _bad_hold(name, parts[end - 1], longest)
        moves.append((name, hold))
        at = end
    plan = Plan.of(moves)
    if longest is not None and plan.steps > longest:
        raise ConfigError(
            f"the moves take {plan.steps:,} environment steps, more than the test of a suggestion can play",
            found=clean(text, 80),
            expected=f"at most {longest:,} steps",
            hint="hold actions for fewer steps; verification.max_test_steps bounds a test",
        )
    return plan


def check_place(environment: Environment, episode: Trajectory, suggestion: Suggestion) -> None:
    """Refuse a suggestion for a step that cannot be tested.

    Raises:
        ConfigError: The step is not in the episode, or no simulator state was kept for it.
    """
    why = refusal(environment, episode, suggestion, suggestion.plan.steps)
    if why is not None:
        raise ConfigError(
            f"nothing can be tested at step {suggestion.step} of episode {suggestion.episode}: {why}",
            found=f"step {suggestion.step}",
            expected=f"a step from 0 to {len(episode) - 1}",
        )


def _name_and_hold(part: str) -> tuple[str, int]:
    """The action's name in `UP x2` and its steps; 1 without a number, 0 for one that no hold can be."""
    part = part.strip()
    if (match := _HOLD.match(part)) is None:
        return part, 1
    written = match["hold"]
    return match["name"], int(written) if written.isdecimal() and len(written) <= MOST_DIGITS else 0


def _illegal(name: str, environment: Environment) -> ConfigError:
    if not name:
        return ConfigError("a move has no action", found="nothing between commas", expected=EXPECTED)
    near = did_you_mean(name, environment.actions.names) or ""
    return ConfigError(
        f"there is no action {clean(name, 60)!r} in {environment.env_id}",
        found=clean(name, 80),
        expected=_known(environment),
        hint=near if near.startswith("did you mean") else None,
    )


def _bad_hold(name: str, part: str, longest: int | None) -> ConfigError:
    return ConfigError(
        f"the action {clean(name, 60)} cannot be held for so many steps",
        found=clean(part, 60),
        expected="a whole number of steps from 1" + ("" if longest is None else f" to {longest:,}"),
    )


def _known(environment: Environment) -> str:
    """The actions that are listed, and how others are written."""
    names = ", ".join(environment.actions.names)
    names = names if len(names) <= 300 else names[:300].rsplit(", ", 1)[0] + ", ..."
    labels = environment.actions.components
    return f"one of: {names}" + (f"; or any {labels[0]}=NUMBER" if labels else "")
