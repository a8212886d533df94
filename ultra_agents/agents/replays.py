"""What an advisor is told of suggestions that did not hold: the measurement, how replays ended, and one of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ultra_agents.agents.decisions import objection
from ultra_agents.agents.state import Context
from ultra_agents.agents.wording import amount
from ultra_agents.contracts import Environment
from ultra_agents.narration import figure
from ultra_agents.narration.wording import reward_word
from ultra_agents.records import CriticalState, Ending, Moment, Replays, Suggestion

KINDS = {
    "terminated": "terminated",
    "truncated": "time limit",
    "merged": "the same as without it",
    "": "nothing decided yet",
}
"""Endings without a distinct reward, in words."""


def feedback(context: Context, case: CriticalState) -> str:
    """All that was refuted here, or it comes back in turns; the last one with a replay step by step.

    Short prompts have no room for the replay.
    """
    told = []
    for attempt in case.attempts:
        if attempt.goal is None:
            suggested = Suggestion(0, case.step, attempt.written)
            said = f"{suggested} was suggested before and did not hold: suggest something else."
        else:
            said = f"The goal set here before, {attempt.goal}, did not help: set another one."
        parts = [said, objection(context, attempt)]
        if attempt.test is not None and attempt.test.replays is not None:
            parts.append(how_they_ended(attempt.test.replays, context.environment))
            if attempt is case.attempts[-1] and context.agents.prompts == "full":
                changed = attempt.search is not None and attempt.search.changed
                done = "found" if attempt.goal is not None else "tested" if changed else "suggested"
                parts.append(one_replay(attempt.test.replays, context.environment, done))
        told.append(" ".join(part for part in parts[:2] if part) + "".join(f"\n{part}" for part in parts[2:] if part))
    if any(attempt.test is not None for attempt in case.attempts):
        told.append(_units(context))
    return "\n".join(told)


def how_they_ended(replays: Replays, environment: Environment) -> str:
    """`Of 12 replays: 9 x point lost (after 14 to 22 steps), 3 x point won (...); the policy's own: ...`."""
    pairs = len(replays.advised)
    word = "replay" if pairs == 1 else "replays"
    advised, own = (_counted(side, environment) for side in (replays.advised, replays.own))
    text = f"How {pairs} {word} of at most {replays.horizon} steps went on: {advised}. The policy's own: {own}."
    if any(one.event is not None for one in (*replays.advised, *replays.own)):
        return text
    means = [amount(float(np.mean([one.earned for one in side])), True) for side in (replays.advised, replays.own)]
    return f"{text} Reward earned on average: {means[0]}, the policy's own {means[1]}."


def one_replay(replays: Replays, environment: Environment, done: str = "suggested") -> str:
    """One replay beside the policy's own, a row for each time; empty where nothing is known of it.

    What was done in it is what was `done`: suggested; or only tested, where a search made another plan of it; or found
    by the search for a goal.
    """
    if not replays.moments:
        return ""
    units = {name: environment.legend[name].unit for name in replays.moments[0].values}
    names = ", ".join(f"{name} [{unit}]" if unit else name for name, unit in units.items())
    head = f"One of the replays, by steps from there: what is done next as {done}"
    head += f", {names} | the same of the policy's own" if names else " | by the policy alone"
    return "\n".join([f"{head}.", *(_row(moment) for moment in replays.moments)])


def _row(moment: Moment) -> str:
    sides = []
    for side, action in enumerate(moment.actions):
        values = [pair[side] for pair in moment.values.values()]
        known = any(value is not None for value in values)
        cells = ["-" if value is None else figure(value) for value in values] if known else []
        sides.append(" ".join([action or "-", *cells]))
    return f"{moment.after}: {' | '.join(sides)}"


def _counted(endings: Sequence[Ending], environment: Environment) -> str:
    """Endings of a kind together, the most frequent first."""
    kinds: dict[str, list[int]] = {}
    for one in endings:
        kinds.setdefault(_kind(one, environment), []).append(one.steps if one.at is None else one.at)
    rows = sorted(kinds.items(), key=lambda row: -len(row[1]))
    return ", ".join(f"{len(steps)} x {kind} (after {_range(steps)})" for kind, steps in rows)


def _kind(ending: Ending, environment: Environment) -> str:
    if ending.event is not None:
        return reward_word(environment, np.array([ending.event])) or f"reward {ending.event:+g}"
    return KINDS[ending.over]


def _range(steps: Sequence[int]) -> str:
    low, high = min(steps), max(steps)
    if low == high:
        return f"{low} {'step' if low == 1 else 'steps'}"
    return f"{low} to {high} steps"


def _units(context: Context) -> str:
    discount = context.verification.discount
    later = "" if discount == 1 else f", later ones discounted by {discount:g} a step"
    return (
        f"Gains and losses of return are sums of the environment's rewards{later}; for what follows the last step "
        "played the policy's own estimate stands."
    )
