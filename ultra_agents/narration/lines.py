"""Lines of a narration: a step in the describer's words, and between two such steps everything that was done.

No action is hidden, for one that is still acting explains what is seen next. Rewards are told by the step; where one
line tells the rewards of several steps, it says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import Literal, TypeAlias

import numpy as np

from ultra_agents.config import NarrationConfig
from ultra_agents.contracts import Environment
from ultra_agents.narration.rewards import reward_events, usual_reward
from ultra_agents.narration.wording import number, reward_word, state_words
from ultra_agents.plugin_calls import action_word
from ultra_agents.records import Trajectory

CHARACTERS_PER_TOKEN = 3.5
"""Numbers and capitals make narrations denser than prose (about 4)."""
LONGEST_DESCRIPTION = 1000
"""Characters of one description that are shown where the budget has room for more."""
MOST_EVENTS = 3
"""Distinct rewards of one line that are told one by one; more of them are counted."""

Form: TypeAlias = Literal["in order", "counted", "mostly"]
"""How actions between two described steps are told: each, run by run; how often each; the most frequent one."""
FORMS: tuple[Form, ...] = ("in order", "counted", "mostly")
"""The best first; the others are for budgets with no room for it."""


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
        self._actions: dict[int, str] = {}
        self.whose = f"Episode {trajectory.episode} of the policy"

    def of(self, steps: tuple[int, ...], form: Form = "in order") -> list[str]:
        """A line for each of `steps`, which are in order, and one for the steps between any two of them."""
        lines = []
        for step, following in zip(steps, [*steps[1:], steps[-1] + 1], strict=True):
            lines.append(self._row(step) + self._rewards(step, step + 1, form))
            if following > step + 1:
                lines.append(self._between(step + 1, following, form) + self._rewards(step + 1, following, form))
        return lines

    def _row(self, step: int) -> str:
        """The step described, and what was done there."""
        if step not in self._known:
            self._known[step] = step_line(self._trajectory, step, self._environment, self._limit)
        return self._known[step]

    def _between(self, first: int, stop: int, form: Form) -> str:
        """What was done at the steps `first` to `stop - 1`, none of which is described."""
        where = f"Steps {first}-{stop - 1}" if stop - first > 1 else f"Step {first}, action only"
        return f"{where}: {self._acted(first, stop, form)}."

    def _acted(self, first: int, stop: int, form: Form) -> str:
        """Every action in order, unless there is a shorter `form` and it is asked for."""
        words = [self._action(step) for step in range(first, stop)]
        ordered = _joined((word, len(list(same))) for word, same in groupby(words))
        if form == "in order":
            return ordered
        return min(ordered, self._summed(first, words, form), key=len)

    def _summed(self, first: int, words: list[str], form: Form) -> str:
        """What was done from the step `first` on, in `words`, where there is no room for the order."""
        counts = Counter(words).most_common()
        if form == "counted":
            return f"{_joined(counts)}, in mixed order"
        return f"mostly {counts[0][0]} ({counts[0][1]} of {len(words)})"

    def _action(self, step: int) -> str:
        if step not in self._actions:
            self._actions[step] = self._done(step)
        return self._actions[step]

    def _done(self, step: int) -> str:
        return action_word(self._environment, self._trajectory, step)

    def _rewards(self, first: int, stop: int, form: Form) -> str:
        """What the steps `first` to `stop - 1` earned, beside the usual reward; of several steps marked as such."""
        rewards, count = self._trajectory.rewards, stop - first
        events = first + np.flatnonzero(self._events[first:stop])
        if self._usual is not None and len(events) == 0:
            return ""
        if count == 1:
            word = "" if self._usual is None else reward_word(self._environment, rewards[first:stop])
            return f" Reward {number(rewards[first])}{f' ({word})' if word else ''}."
        if self._usual is None or form == "mostly":
            return f" Rewards of these {count} steps together: {number(float(np.sum(rewards[first:stop])))}."
        if len(events) > MOST_EVENTS:
            return f" Among them: {count_events(self._trajectory, self._environment, events)}."
        return "".join(f"{self._rewards(step, step + 1, form)[:-1]} at step {step}." for step in map(int, events))


def count_events(trajectory: Trajectory, environment: Environment, events: Iterable[int]) -> str:
    """`7 x point lost, 2 x point won`; rewards without a word by their value, at most four kinds."""
    words: Counter[str] = Counter()
    for step in events:
        reward = trajectory.rewards[step : step + 1]
        words[reward_word(environment, reward) or f"reward {number(reward[0])}"] += 1
    kinds = [f"{count} x {word}" for word, count in words.most_common(4)]
    return ", ".join(kinds) + (", others" if len(words) > 4 else "")


def _joined(runs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(word if count == 1 else f"{word} x{count}" for word, count in runs)
