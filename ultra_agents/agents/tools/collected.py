"""The steps of all collected episodes as columns that expressions can speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ultra_agents.agents.tools.arguments import ToolRefused
from ultra_agents.contracts import Environment, capabilities
from ultra_agents.plugin_calls import asking
from ultra_agents.records import Array, FloatArray, Trajectory
from ultra_agents.rules import Interface, RuleError, interface_of
from ultra_agents.rules.query import Query

BESIDE = {
    "reward": "environment reward of the step",
    "step": "number of the step in its episode",
    "episode": "number of the episode",
    "steps_left": "steps after this one to the end of the episode",
    "value": "what the policy's value function expects from here",
}
"""What every step has beside the environment's quantities."""


@dataclass(frozen=True, eq=False)
class Collected:
    """Collected episodes, and what expressions about them may speak of.

    Attributes:
        environment: Names quantities and actions.
        trajectories: The episodes.
    """

    environment: Environment
    trajectories: Sequence[Trajectory]

    @cached_property
    def rules(self) -> Interface | None:
        """What rules can speak of; None where they can speak of nothing."""
        try:
            return interface_of(self.environment)
        except RuleError:
            return None

    @cached_property
    def interface(self) -> Interface:
        """What expressions can speak of."""
        beside = [name for name in BESIDE if name not in (() if self.rules is None else self.rules.quantities)]
        if self.rules is None:
            return Interface(beside)
        known = self.rules
        return Interface((*known.quantities, *beside), known.actions, known.components, known.low, known.high)

    @cached_property
    def columns(self) -> dict[str, FloatArray]:
        """Each name, over all steps in a row, `(n,)`."""
        found: dict[str, list[Array]] = {}
        for one in self.trajectories:
            steps = np.arange(len(one))
            row = {
                "reward": one.rewards, "step": steps, "episode": np.full(len(one), one.episode),
                "steps_left": len(one) - 1 - steps, "value": one.values,
            }  # fmt: skip
            if "quantities" in capabilities(self.environment):
                with asking(self.environment, "quantities"):
                    row |= self.environment.quantities(one.observations)
            for name in self.interface.quantities:
                found.setdefault(name, []).append(np.asarray(row[name], np.float64))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    @cached_property
    def own(self) -> Array:
        """What the policy did: `(n,)` indices into the interface's actions, or `(n, k)` numbers."""
        actions = np.concatenate([np.asarray(one.actions) for one in self.trajectories])
        if not self.interface.actions:
            return actions.reshape(len(actions), -1)
        codec = self.environment.actions
        values = np.array([int(codec.encode(name)) for name in self.interface.actions], np.int64)
        order = np.argsort(values)
        found: Array = order[np.searchsorted(values, actions.astype(np.int64), sorter=order)]
        return found

    @cached_property
    def places(self) -> list[tuple[Trajectory, int]]:
        """Episode and step of each row."""
        return [(one, step) for one in self.trajectories for step in range(len(one))]

    def unit(self, name: str) -> str:
        """Unit of a quantity, in brackets after its name; empty where it has none."""
        legend = self.environment.legend if "quantities" in capabilities(self.environment) else {}
        one = legend.get(name)
        return "" if one is None or one.unit in ("", "1", "unknown") else one.unit

    def query(self, text: str, whose: str) -> FloatArray:
        """The numbers of an expression, `(n,)`, NaN where there is none; raises `ToolRefused`."""
        return self._compiled(text, whose, "number").values(self.columns, self.own)

    def where(self, text: str) -> Array:
        """Steps at which a condition holds, `(n,)` bool; all for an empty one. Raises `ToolRefused`."""
        if not text.strip():
            return np.ones(len(self.own), np.bool_)
        return self._compiled(text, "where", "condition").holds(self.columns, self.own)

    def _compiled(self, text: str, whose: str, kind: str) -> Query:
        try:
            return Query(text, self.interface, kind, whose)  # type: ignore[arg-type]
        except RuleError as error:
            raise ToolRefused("expression refused", error) from None

    def stored(self, chosen: Array, most: int) -> list[tuple[Trajectory, int]]:
        """At most `most` of the chosen steps with a simulator state, spread over all of them evenly.

        Raises:
            ToolRefused: There is none.
        """
        rows = [
            row for row in np.flatnonzero(chosen)
            if (kept := self.places[row][0].snapshots) is not None and self.places[row][1] < len(kept)
        ]  # fmt: skip
        if not rows:
            raise ToolRefused("no such state", "No step of the collected episodes is like that.")
        picked = np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))
        return [self.places[rows[index]] for index in picked]
