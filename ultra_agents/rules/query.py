"""Expressions of the rules' language asked of collected states: numbers, or where a condition holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ultra_agents.records import Array, FloatArray
from ultra_agents.rules.errors import RuleError
from ultra_agents.rules.expressions import Compiler, Context
from ultra_agents.rules.interface import Interface
from ultra_agents.rules.nodes import Leaf
from ultra_agents.yaml_text import Place


class Query:
    """One expression, compiled; it is parsed, never evaluated as Python.

    Args:
        text: The expression; it may come from anybody.
        interface: What it may speak of.
        kind: A number (a condition counts as 1 or 0), or a condition.
        whose: Names the text in messages.
        own: It may speak of `own`, what the policy proposes.

    Raises:
        RuleError: It cannot be read, speaks of what is not there, or is of another kind.
    """

    def __init__(
        self,
        text: str,
        interface: Interface,
        kind: Literal["number", "condition"] = "number",
        whose: str = "",
        own: bool = True,
    ) -> None:
        self._kind, self._interface = kind, interface
        compiler = Compiler(interface.quantities, interface.words, interface.components, interface.continuous)
        place = Place(whose or "the expression", RuleError)
        try:
            slot = compiler.compile(text, Context(text, place, own=own), kind)
        except RecursionError:
            raise place.refusal("there is no room left on the stack to read it") from None
        self._program = compiler.graph.program([slot])

    def values(self, columns: Mapping[str, Array], own: Array) -> FloatArray:
        """The numbers of `n` states, `(n,)`; NaN where there is none.

        Args:
            columns: Each quantity of the interface, `(n,)`.
            own: The policy's own actions: `(n,)` indices into the interface's actions, or `(n, k)` numbers; where the
                expression may not speak of them only their number `n` counts.
        """
        (found,) = self._run(columns, own)
        return np.array(np.broadcast_to(np.asarray(found, np.float64), (len(own),)))

    def holds(self, columns: Mapping[str, Array], own: Array) -> Array:
        """Where the condition surely holds, `(n,)` bool; arguments as for `values`."""
        ((sure, _),) = self._run(columns, own)
        return np.array(np.broadcast_to(np.asarray(sure, np.bool_), (len(own),)))

    def _run(self, columns: Mapping[str, Array], own: Array) -> list[Any]:
        def read(leaf: Leaf) -> Array:
            source, name = leaf
            if source == "own":
                part = own[:, self._interface.components.index(name)] if name else own
                return np.asarray(part, np.float64)
            column = np.asarray(columns[name], np.float64)
            return np.where(np.isinf(column), np.nan, column)

        return self._program.run(read)
