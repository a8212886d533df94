"""Steps as rows of named numbers, for readers who are to write rules over these names.

As in words, steps between two rows are told by what was done at them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from ultra_agents.config import NarrationConfig
from ultra_agents.contracts import Environment
from ultra_agents.narration.lines import Form, Lines
from ultra_agents.records import Array, Trajectory

Told: TypeAlias = tuple[str, Callable[[int], str]]
"""The head of a column, and its words for a step."""


class Numbers(Lines):
    """Lines of an episode's steps as a table.

    Args:
        trajectory: The episode.
        environment: The words for rewards.
        config: Token budget.
        columns: Name -> `(T,)`, told in every row.
        scales: Name -> what is large there; digits below a ten thousandth of it are not told.
        done: What the table's head says of the action, and what was done at a step.
        averaged: What was done on average from a step up to another, not itself, for actions that are numbers: told
            where there is no room for each; None: actions are counted there.
        beside: The head and the words of a further column about a row's own step; None: there is none.
        whose: The episode in words; default: the policy's.
    """

    def __init__(
        self,
        trajectory: Trajectory,
        environment: Environment,
        config: NarrationConfig,
        columns: Mapping[str, Array],
        scales: Mapping[str, float],
        done: Told,
        averaged: Callable[[int, int], str] | None = None,
        beside: Told | None = None,
        whose: str = "",
    ) -> None:
        super().__init__(trajectory, environment, config)
        self._columns, self._scales = columns, scales
        self._head, self._told = done
        self._averaged, self._beside = averaged, beside
        self.whose = whose or self.whose

    def of(self, steps: tuple[int, ...], form: Form = "in order") -> list[str]:
        """The head of the table, a row for each of `steps`, and one for the steps between any two of them."""
        head = f"step: {' '.join(self._columns)} | {self._head}"
        head += f" | {self._beside[0]}" if self._beside else ""
        return [head, *super().of(steps, form)]

    def _row(self, step: int) -> str:
        values = " ".join(
            figure(float(column[step]), scale=self._scales[name]) for name, column in self._columns.items()
        )
        beside = f" | {self._beside[1](step)}" if self._beside else ""
        return f"{step}: {values} | {self._action(step)}{beside}."

    def _done(self, step: int) -> str:
        return self._told(step)

    def _between(self, first: int, stop: int, form: Form) -> str:
        where = f"{first}-{stop - 1}" if stop - first > 1 else str(first)
        return f"{where} | {self._acted(first, stop, form)}."

    def _summed(self, first: int, words: list[str], form: Form) -> str:
        if self._averaged is None:
            return super()._summed(first, words, form)
        return f"on average {self._averaged(first, first + len(words))}"


def figure(value: float, digits: int = 3, scale: float = 0.0) -> str:
    """A number with about `digits` significant figures, never as a power of ten: -0.523, 0.0012, 1250; `-` for NaN.

    Where `scale` says what is large, no digit is told that is less than a ten thousandth of it.
    """
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    if 0 < scale < math.inf:
        places = min(places, 3 - math.floor(math.log10(scale)))
    text = f"{value:.{min(max(places, 0), 6)}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text
