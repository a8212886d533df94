"""A segment of an episode in words, within a token budget (ULTRA section 3, state interpretation).

First all episodes and this one in figures, so that one failure is not mistaken for the rule (salience bias: R2PO,
arXiv 2605.08315); then numbered steps. Where the steps do not fit, fewer are shown: the stride widens, and only when
that is not enough are steps with unusual rewards left out. The first and the last step are always there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ultra_agents.config import NarrationConfig
from ultra_agents.contracts import Environment
from ultra_agents.errors import EnvironmentFault
from ultra_agents.narration.rewards import reward_events, unusual_rewards, usual_reward
from ultra_agents.narration.wording import reward_word, state_words
from ultra_agents.plugin_calls import action_word, plugin_name
from ultra_agents.records import Narration, Segment, Trajectory

CHARACTERS_PER_TOKEN = 3.5
"""Numbers and capitals make narrations denser than prose (about 4)."""
LONGEST_DESCRIPTION = 1000
"""Characters of one description that are shown where the budget has room for more."""


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
    full, short = _header(trajectory, segment, environment, returns, lines.whose), _short_header(segment)
    # Rewards between two shown steps are told in sums, so a line depends on which line went before.
    for steps in _choices(trajectory, segment, config):
        for header in (full, short) if len(steps) <= 2 else (full,):
            text = "\n".join([header, *lines.of(steps)])
            tokens = estimate_tokens(text)
            if tokens <= config.token_budget:
                return Narration(segment, text, steps, tokens)
    raise EnvironmentFault(
        f"the environment {plugin_name(environment)} describes states too long to narrate two of them",
        found=f"{tokens} tokens for the steps {', '.join(map(str, steps))}",
        expected=f"at most {config.token_budget} tokens (narration.token_budget)",
        hint="shorten its describe(), or raise narration.token_budget",
    )


def step_line(trajectory: Trajectory, step: int, environment: Environment, limit: int = LONGEST_DESCRIPTION) -> str:
    """One step as the narration tells it, "Step 118: the ball is near. Action: UP."; `limit` in characters."""
    words = state_words(environment, trajectory, step, limit)
    stop = "" if words.endswith((".", "!", "?")) else "."
    return f"Step {step}: {words}{stop} Action: {action_word(environment, trajectory, step)}."


class Lines:
    """Lines of an episode's steps, each described once, in the describer's words.

    Attributes:
        whose: The episode in words, as the header names it.
    """

    def __init__(self, trajectory: Trajectory, environment: Environment, config: NarrationConfig) -> None:
        self._trajectory, self._environment = trajectory, environment
        self._usual = usual_reward(trajectory.rewards)
        self._events = reward_events(trajectory.rewards)
        self._limit = min(LONGEST_DESCRIPTION, int(config.token_budget * CHARACTERS_PER_TOKEN))
        self._known: dict[int, str] = {}
        self.whose = f"Episode {trajectory.episode} of the policy"

    def of(self, steps: tuple[int, ...]) -> list[str]:
        """One line for each of `steps`, which are in order."""
        following = [*steps[1:], steps[-1] + 1]
        return [self._line(step) + self._reward(step, stop) for step, stop in zip(steps, following, strict=True)]

    def _line(self, step: int) -> str:
        if step not in self._known:
            self._known[step] = step_line(self._trajectory, step, self._environment, self._limit)
        return self._known[step]

    def _reward(self, step: int, stop: int) -> str:
        """What this step earned, in words; for dense rewards what it and the hidden steps after it earned."""
        rewards = self._trajectory.rewards
        if self._usual is None:
            return f" Reward {_number(float(np.sum(rewards[step:stop])))}."
        if not self._events[step]:
            return ""
        word = reward_word(self._environment, rewards[step : step + 1])
        return f" Reward {_number(rewards[step])}{f' ({word})' if word else ''}."


def _choices(trajectory: Trajectory, segment: Segment, config: NarrationConfig) -> list[tuple[int, ...]]:
    """Ever fewer steps to show, the wished ones first; the last choice is the first and the last step."""
    start, last = segment.start, segment.stop - 1
    unusual = [int(step) for step in np.flatnonzero(unusual_rewards(trajectory.rewards)) if start <= step <= last]
    strides = range(config.stride, max(last - start, config.stride) + 1)
    choices = [tuple(sorted({*range(start, last + 1, stride), *unusual, last})) for stride in strides]
    while unusual:
        unusual = unusual[1::2]
        choices.append(tuple(sorted({start, *unusual, last})))
    choices.append(tuple(sorted({start, last})))
    return [choice for choice, after in pairwise([*choices, ()]) if choice != after]


def _short_header(segment: Segment) -> str:
    return f"Episode {segment.episode}, steps {segment.start} to {segment.stop - 1} ({segment.kind})."


def _header(
    trajectory: Trajectory, segment: Segment, environment: Environment, returns: Sequence[float], whose: str
) -> str:
    """All episodes and this one in figures, and where in it this segment lies."""
    rewards, all_of_them = trajectory.rewards, ""
    if len(returns) > 1:
        low, median, high = (_number(value) for value in np.quantile(returns, [0.0, 0.5, 1.0]))
        all_of_them = f"All {len(returns)} episodes played: returns from {low} to {high}, median {median}."
    end = "terminated" if trajectory.terminated else "cut by the time limit" if trajectory.truncated else "cut"
    whole = f"{whose}: return {_number(trajectory.episode_return)} in {len(trajectory)} steps, {end}."
    usual, events = usual_reward(rewards), np.flatnonzero(reward_events(rewards))
    if usual is None:
        least, mean, most = (_number(float(f(rewards))) for f in (np.min, np.mean, np.max))
        told = f"Reward per step: mean {mean}, from {least} to {most}."
        so_far = f"Return before this stretch: {_number(float(np.sum(rewards[: segment.start])))}."
    else:
        every = f"Every other step earns {_number(usual)}." if len(events) else f"Every step earns {_number(usual)}."
        counts = _counted(trajectory, environment, events)
        told = f"In the whole episode: {counts}. {every}" if counts else every
        before = _counted(trajectory, environment, events[events < segment.start])
        so_far = f"Before this stretch: {before or 'none of these'}." if counts else ""
    earned = _number(float(np.sum(rewards[segment.start : segment.stop])))
    here = f"This stretch: steps {segment.start} to {segment.stop - 1} ({segment.kind}), return {earned}."
    return "\n".join(part for part in (all_of_them, whole, told, so_far, here) if part)


def _counted(trajectory: Trajectory, environment: Environment, events: np.typing.NDArray[np.intp]) -> str:
    """`7 x point lost, 2 x point won`; rewards without a word by their value, at most four kinds."""
    words: Counter[str] = Counter()
    for step in events:
        reward = trajectory.rewards[step : step + 1]
        words[reward_word(environment, reward) or f"reward {_number(reward[0])}"] += 1
    kinds = [f"{count} x {word}" for word, count in words.most_common(4)]
    return ", ".join(kinds) + (", others" if len(words) > 4 else "")


def _number(value: float) -> str:
    """At most three figures after the point, none where they are zeros, always signed but for 0."""
    text = f"{float(value):+.3f}".rstrip("0").rstrip(".")
    return "0" if text in ("+0", "-0") else text
