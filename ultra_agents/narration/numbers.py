"""Steps as rows of named numbers, for readers who are to write rules over these names.

A row says what was done from its step to the next row, so that no action is hidden where steps are left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import TypeAlias

from ultra_agents.config import NarrationConfig
from ultra_agents.contracts import Environment
from ultra_agents.narration.describe import Lines
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
        hidden: Whether actions of steps between two rows are told as well.
        beside: The same for a further column about a row's own step; None: there is none.
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
        hidden: bool = True,
        beside: Told | None = None,
        whose: str = "",
    ) -> None:
        super().__init__(trajectory, environment, config)
        self._columns, self._scales = columns, scales
        self._done, self._hidden, self._beside = done, hidden, beside
        self.whose = whose or self.whose

    def of(self, steps: tuple[int, ...]) -> list[str]:
        """The head of the table, and one row for each of `steps`."""
        head = f"step: {' '.join(self._columns)} | {self._done[0]}"
        head += f" | {self._beside[0]}" if self._beside else ""
        rows = []
        for step, stop in zip(steps, [*steps[1:], steps[-1] + 1], strict=True):
            values = " ".join(
                figure(float(column[step]), scale=self._scales[name]) for name, column in self._columns.items()
            )
            told = range(step, stop if self._hidden else step + 1)
            runs = [(word, len(list(same))) for word, same in groupby(map(self._done[1], told))]
            done = ", ".join(word if count == 1 else f"{word} x{count}" for word, count in runs)
            done += f" | {self._beside[1](step)}" if self._beside else ""
            rows.append(f"{step}: {values} | {done}.{self._reward(step, stop)}")
        return [head, *rows]


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
