"""A segment of an episode in words, within a token budget (ULTRA section 3, state interpretation).

First all episodes and this one in figures, so that one failure is not mistaken for the rule (salience bias: R2PO,
arXiv 2605.08315); then numbered steps; last how the stretch ended. The first and the last step are always described,
and every step near what decides (`rows.py`). Of the others only what was done is told (`lines.py`), and of these there
are the more, the smaller the budget is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ultra_agents.config import NarrationConfig
from ultra_agents.contracts import Environment
from ultra_agents.errors import EnvironmentFault
from ultra_agents.narration.lines import CHARACTERS_PER_TOKEN, FORMS, Form, Lines, count_events
from ultra_agents.narration.outcomes import ending, won_steps
from ultra_agents.narration.rewards import reward_events, usual_reward
from ultra_agents.narration.rows import ranked_steps
from ultra_agents.narration.wording import number
from ultra_agents.plugin_calls import plugin_name
from ultra_agents.records import Narration, Segment, Trajectory

ENOUGH = 6
"""Described steps; where the order of all actions leaves no room for as many, it gives way."""


def estimate_tokens(text: str) -> int:
    """Length of `text` in tokens, roughly and for any tokenizer."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def narrate(
    trajectory: Trajectory,
    segment: Segment,
    environment: Environment,
    config: NarrationConfig,
    returns: Sequence[float] = (),
    lines: Lines | None = None,
) -> Narration:
    """Tell one segment.

    Args:
        trajectory: The episode.
        segment: What to tell; inside the episode and not empty.
        environment: The describer, the action names and the words for rewards.
        config: Token budget and stride.
        returns: Of all the episodes that were played, this one's among them; fewer than two say nothing.
        lines: How steps are told; default: in the describer's words.

    Raises:
        EnvironmentFault: The plugin's describer raises, says nothing, or says too much for the budget.
    """
    if not 0 <= segment.start < segment.stop <= len(trajectory):
        raise ValueError(f"segment {segment.name} is not inside an episode of {len(trajectory)} steps")
    lines = lines or Lines(trajectory, environment, config)
    ranked = ranked_steps(trajectory, segment, config.stride)
    heads = {
        False: _header(trajectory, segment, environment, returns, lines.whose),
        True: f"Episode {segment.episode}, steps {segment.start} to {segment.stop - 1} ({segment.kind}).",
    }
    ends = {short: ending(trajectory, segment, environment, short) for short in (False, True)}
    length = segment.stop - segment.start

    def told(count: int, form: Form, short: bool) -> Narration:
        steps = tuple(sorted(ranked[:count]))
        hidden = [] if short or count == length else [_of_the_others(count, length)]
        text = "\n".join([heads[short], *hidden, *lines.of(steps, form), ends[short]])
        return Narration(segment, text, steps, estimate_tokens(text), won=won_steps(trajectory, steps))

    def most(form: Form, short: bool) -> Narration:
        """With as many steps described as there is room for, at least the first and the last one."""
        few, many = min(2, len(ranked)), len(ranked) + 1  # `few` steps fit, `many` do not
        best = told(few, form, short)
        while many - few > 1 and best.tokens <= config.token_budget:
            middle = (few + many) // 2
            tried = told(middle, form, short)
            if tried.tokens <= config.token_budget:
                few, best = middle, tried
            else:
                many = middle
        return best

    for short in (False, True):
        fitting: list[Narration] = []
        for form in FORMS:
            best = most(form, short)
            if best.tokens <= config.token_budget:
                fitting.append(best)
                if len(best.steps) >= min(ENOUGH, len(ranked)):
                    return best
        if fitting:
            return max(fitting, key=lambda narration: len(narration.steps))
    raise EnvironmentFault(
        f"the environment {plugin_name(environment)} describes states too long to narrate two of them",
        found=f"{best.tokens} tokens for the steps {', '.join(map(str, best.steps))}",
        expected=f"at most {config.token_budget} tokens (narration.token_budget)",
        hint="shorten its describe(), or raise narration.token_budget",
    )


def _of_the_others(count: int, length: int) -> str:
    return f"{count} of these {length} steps are described; of the others it is told what was done."


def _header(
    trajectory: Trajectory, segment: Segment, environment: Environment, returns: Sequence[float], whose: str
) -> str:
    """All episodes and this one in figures, and where in it this segment lies."""
    rewards, all_of_them = trajectory.rewards, ""
    if len(returns) > 1:
        low, median, high = (number(value) for value in np.quantile(returns, [0.0, 0.5, 1.0]))
        all_of_them = f"All {len(returns)} episodes played: returns from {low} to {high}, median {median}."
    end = "terminated" if trajectory.terminated else "cut by the time limit" if trajectory.truncated else "cut"
    whole = f"{whose}: return {number(trajectory.episode_return)} in {len(trajectory)} steps, {end}."
    usual, events = usual_reward(rewards), np.flatnonzero(reward_events(rewards))
    if usual is None:
        least, mean, most = (number(float(f(rewards))) for f in (np.min, np.mean, np.max))
        told = f"Reward per step: mean {mean}, from {least} to {most}."
        so_far = f"Return before this stretch: {number(float(np.sum(rewards[: segment.start])))}."
    else:
        every = f"Every other step earns {number(usual)}." if len(events) else f"Every step earns {number(usual)}."
        counts = count_events(trajectory, environment, events)
        told = f"In the whole episode: {counts}. {every}" if counts else every
        before = count_events(trajectory, environment, events[events < segment.start])
        so_far = f"Before this stretch: {before or 'none of these'}." if counts else ""
    earned = number(float(np.sum(rewards[segment.start : segment.stop])))
    here = f"This stretch: steps {segment.start} to {segment.stop - 1} ({segment.kind}), return {earned}."
    return "\n".join(part for part in (all_of_them, whole, told, so_far, here) if part)
