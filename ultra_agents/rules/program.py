"""Compiled expressions: a directed acyclic graph of operations, run as one list of instructions over `(n,)` arrays.

Equal subexpressions are one node, so each is computed once however often a rule repeats it, and running needs no
recursion however the text was nested.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ultra_agents.rules import operations as op
from ultra_agents.rules.nodes import Kind, Leaf, Node, Range
from ultra_agents.rules.ranges import range_of

_COMPARISONS = (op.less, op.less_equal, op.equal)
_THROUGH = (op.both, op.either, op.negation, op.choose, op.choose_condition)


@dataclass(frozen=True, slots=True)
class Program:
    """Instructions in order, and where their results are: `run` gives the value of each output.

    An instruction is where its result goes, a function, where its arguments are, and what is not needed after it:
    memory that is given back at once is used again while it is in the processor's cache.
    """

    size: int
    leaves: tuple[tuple[int, Leaf], ...]
    constants: tuple[tuple[int, Any], ...]
    instructions: tuple[tuple[int, Callable[..., Any], tuple[int, ...], tuple[int, ...]], ...]
    outputs: tuple[int, ...]

    def run(self, read: Callable[[Leaf], Any]) -> list[Any]:
        """The outputs, given what `read` returns for each leaf: finite or NaN.

        Infinities can then only come from an overflow or a division by 0, which numpy reports; where it does, all is
        computed again with every result looked at, so that the rest need not be.
        """
        try:
            with np.errstate(all="ignore", over="raise", divide="raise"):
                return self._run(read, checked=False)
        except FloatingPointError:
            with np.errstate(all="ignore"):
                return self._run(read, checked=True)

    def _run(self, read: Callable[[Leaf], Any], checked: bool) -> list[Any]:
        values: list[Any] = [None] * self.size
        for slot, leaf in self.leaves:
            values[slot] = read(leaf)
        for slot, constant in self.constants:
            values[slot] = constant
        for slot, function, args, unneeded in self.instructions:
            value = function(*[values[arg] for arg in args])
            values[slot] = op.known(value) if checked and not isinstance(value, tuple) else value
            for old in unneeded:
                values[old] = None
        return [values[slot] for slot in self.outputs]


class Graph:
    """Nodes under construction; an equal node is made only once, and what is constant is computed at once."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[tuple[Any, ...], int] = {}

    def leaf(self, source: str, name: str, kind: Kind = "number", within: Range = (-np.inf, np.inf)) -> int:
        """The node of a value given from outside."""
        return self._node((source, name), Node(kind, within, leaf=(source, name)))

    def constant(self, value: float) -> int:
        """The node of a number."""
        return self._node(("number", repr(value)), Node("number", (value, value), constant=np.float64(value)))

    def truth(self, value: bool) -> int:
        """The node of a condition that is always true, or never."""
        within = (float(value), float(value))
        return self._node(("truth", value), Node("condition", within, constant=(np.bool_(value), np.bool_(not value))))

    def action(self, index: int) -> int:
        """The node of an action by its index."""
        return self._node(("action", index), Node("action", (index, index), constant=np.float64(index)))

    def candidates(self, low: int, high: int) -> int:
        """The node of what `best` chooses among."""
        each = frozenset({self._known.get(("each", low, high), len(self.nodes))})
        return self._node(
            ("each", low, high), Node("number", (low, high), partial(op.candidates, low, high), each=each)
        )

    def call(self, kind: Kind, function: Callable[..., Any], *args: int) -> int:
        """The node of an operation; computed here where all `args` are constant."""
        inputs = [self.nodes[arg] for arg in args]
        if function in (op.choose, op.choose_condition) and inputs[0].constant is not None:
            return args[1] if inputs[0].constant[0] else args[2]
        if all(node.constant is not None for node in inputs):
            with np.errstate(all="ignore"):
                return self._folded(kind, function(*[node.constant for node in inputs]))
        within = range_of(function, [node.range for node in inputs])
        if function is op.clip and inputs[1].range[1] <= inputs[2].range[0]:
            function = op.clip_within
        each = frozenset[int]().union(*(node.each for node in inputs))
        if function is op.best_value:
            each -= {args[0]}
        return self._node((function, *args), Node(kind, within, function, args, each=each))

    def opposite(self, condition: int) -> int:
        """The node of `not condition`; of a comparison it is the opposite comparison."""
        node = self.nodes[condition]
        if node.function is op.negation:
            return node.args[0]
        if node.function in (op.less, op.less_equal):
            swapped = op.less_equal if node.function is op.less else op.less
            return self.call("condition", swapped, node.args[1], node.args[0])
        return self.call("condition", op.negation, condition)

    def margins(self, outputs: Iterable[int]) -> list[int]:
        """Nodes of the differences on whose signs conditions and choices among `outputs` depend, each once.

        Looked for through `and`, `or`, `not` and `if`, not within arithmetic. Differences that the policy's own
        action enters, or a candidate of `best`, are left out.
        """
        own = set[int]()
        for slot, node in enumerate(self.nodes):  # arguments come before what uses them
            if (node.leaf is not None and node.leaf[0] == "own") or not own.isdisjoint(node.args):
                own.add(slot)
        found: dict[frozenset[int], int] = {}
        left, seen = list(reversed(list(outputs))), set[int]()
        while left:
            slot = left.pop()
            node = self.nodes[slot]
            if slot in seen:
                continue
            seen.add(slot)
            if node.function in _COMPARISONS and not node.each and slot not in own:
                pair = frozenset(node.args)
                if pair not in found:
                    found[pair] = self.call("number", np.subtract, *node.args)
            elif node.function in _THROUGH:
                left += reversed(node.args)
        return [slot for slot in found.values() if self.nodes[slot].constant is None]

    def program(self, outputs: Iterable[int]) -> Program:
        """What it takes to compute `outputs`."""
        wanted = tuple(outputs)
        needed = set(wanted)
        for slot in range(len(self.nodes) - 1, -1, -1):  # arguments come before what uses them
            if slot in needed:
                needed.update(self.nodes[slot].args)
        place = {slot: index for index, slot in enumerate(sorted(needed))}
        used = [(place[slot], self.nodes[slot]) for slot in sorted(needed)]
        last_use = {arg: slot for slot, node in used for arg in (place[old] for old in node.args)}
        unneeded: dict[int, list[int]] = defaultdict(list)
        for slot, user in last_use.items():
            if slot not in {place[one] for one in wanted}:
                unneeded[user].append(slot)
        return Program(
            len(place),
            tuple((slot, node.leaf) for slot, node in used if node.leaf is not None),
            tuple((slot, node.constant) for slot, node in used if node.constant is not None),
            tuple(
                (slot, node.function, tuple(place[arg] for arg in node.args), tuple(unneeded[slot]))
                for slot, node in used
                if node.function is not None
            ),
            tuple(place[slot] for slot in wanted),
        )

    def _folded(self, kind: Kind, value: Any) -> int:
        if kind == "condition":
            return self.truth(bool(value[0]))
        return self.action(int(value)) if kind == "action" else self.constant(float(op.known(value)))

    def _node(self, key: tuple[Any, ...], node: Node) -> int:
        if key not in self._known:
            self._known[key] = len(self.nodes)
            self.nodes.append(node)
        return self._known[key]
