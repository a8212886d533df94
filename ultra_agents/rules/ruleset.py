"""A set of rules, compiled: what it does in `n` states at once, its potential or reward, its text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ultra_agents.records import Array, FloatArray
from ultra_agents.rules.compilation import Compiled, compile_document
from ultra_agents.rules.document import Document, read_document
from ultra_agents.rules.errors import RULES, RuleError, closest
from ultra_agents.rules.interface import Interface, bounds_of
from ultra_agents.rules.nodes import Leaf
from ultra_agents.rules.program import Program
from ultra_agents.yaml_text import read_text

ROWS = 4096
"""States computed at once: intermediate results stay in the processor's cache, and memory is bounded."""

Quantities = Mapping[str, Array]


@dataclass(frozen=True)
class Decision:
    """What a set of rules did in `n` states.

    Args:
        actions: Discrete: `(n,)` int64 indices into the interface's actions; continuous: `(n, k)` float64.
        covered: `(n,)` bool, where a rule acted.
        rule: `(n,)` int64, which one, from 0; -1 where none did.
    """

    actions: Array
    covered: Array
    rule: Array

    def __repr__(self) -> str:
        return f"Decision({int(self.covered.sum())} of {len(self.covered)} states covered)"


@dataclass(frozen=True, repr=False)
class RuleSet:
    """Rules bound to an interface; made by `load_rules` and `parse_rules`.

    In each state the first rule whose condition is true acts. A rule abstains where what decides it has no value: its
    condition is unknown, or an action it would take is NaN (a quantity is missing, a division by 0, an overflow).
    The next rule is then tried; where none acts the policy does.

    Args:
        document: The rules as written, with the present values of the constants.
        interface: What they speak of and decide.
        compiled: The programs that compute them.
    """

    document: Document
    interface: Interface
    compiled: Compiled = field(compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """The quantities that the rules, the potential and the reward use."""
        return self.compiled.quantities

    @property
    def constants(self) -> dict[str, tuple[float, float, float]]:
        """Value, least and greatest value of each declared constant."""
        return dict(self.document.constants)

    @property
    def needs_own(self) -> bool:
        """Whether `act` needs the policy's own actions: the rules use them, or leave a component to the policy."""
        return self.compiled.needs_own

    @property
    def corrects(self) -> bool:
        """Whether the rules speak of the policy's own actions: over a network that has learnt them they act twice."""
        return self.compiled.reads_own

    def act(self, quantities: Quantities, own: Array | None = None) -> tuple[Array, Array]:
        """The actions in `n` states and where a rule acted; see `decide`."""
        decision = self.decide(quantities, own)
        return decision.actions, decision.covered

    def decide(self, quantities: Quantities, own: Array | None = None) -> Decision:
        """What the rules do in `n` states.

        Args:
            quantities: Name -> `(n,)`; NaN or infinite where one has no value. Others than `names` are ignored.
            own: The policy's own actions: `(n,)` indices into the interface's actions, or `(n, k)` numbers. Where no
                rule acts they stand in the result; without them it holds -1 or NaN there.

        Returns:
            Actions, where a rule acted, and which. Discrete actions are indices into `interface.actions`. Continuous
            ones are clipped to the interface's bounds; a component that the acting rule does not name is `own`'s.

        Raises:
            RuleError: A quantity is missing or of the wrong shape, or `own` is needed and missing, or misshapen.
        """
        values, count = self._columns(quantities, self.compiled.seen)
        width = len(self.interface.components)
        if own is not None:
            own = np.asarray(own)
            if not width and own.dtype.kind not in "iu":
                raise RuleError("the policy's own actions are no indices", found=str(own.dtype), expected="integers")
            own = own.astype(np.float64 if width else np.int64)
            count = len(own) if count is None and own.ndim else count
            if own.shape != ((count, width) if width else (count,)):
                raise RuleError(
                    "the policy's own actions misfit the rules",
                    found=f"shape {own.shape}",
                    expected=f"({count}, {width})" if width else f"({count},)",
                )
        elif self.needs_own:
            raise RuleError("these rules need the policy's own actions", hint="act(quantities, own)")
        count = self._counted(count, quantities)
        shape = (count, width) if width else (count,)
        if own is not None:
            actions = own.copy()  # `values` stays what the policy proposed
            values |= {("own", name): own[:, i] for i, name in enumerate(self.interface.components)}
            if not width:
                values["own", ""] = own.astype(np.float64)
        else:
            actions = np.full(shape, np.nan) if width else np.full(shape, -1, np.int64)
        rule = np.full(count, -1, np.int64)
        for first in range(0, count, ROWS):
            rows = slice(first, first + ROWS)
            self._decide(rows, values, actions[rows], rule[rows])
        return Decision(actions, rule >= 0, rule)

    def margins(self, quantities: Quantities) -> FloatArray:
        """How far `n` states are from where the rules would decide otherwise, `(n, k)` float64; NaN where unknown.

        A column is the difference of the two sides of one comparison in a condition or a choice, in its own unit.

        Raises:
            RuleError: A quantity is missing or of the wrong shape.
        """
        program = self.compiled.margins
        values, count = self._columns(quantities, self.compiled.seen)
        found = np.empty((self._counted(count, quantities), len(program.outputs)))
        for first in range(0, len(found), ROWS):
            rows = slice(first, first + ROWS)
            for index, column in enumerate(program.run(self._reader(rows, values))):
                found[rows, index] = column
        return found

    @property
    def read(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """What the potential or the reward reads: quantities before a step, and after it; empty without either."""
        program = self.compiled.potential or self.compiled.reward
        leaves = () if program is None else tuple(leaf for _, leaf in program.leaves)
        before, after = (tuple(name for source, name in leaves if source == kind) for kind in ("quantity", "next"))
        return before, after

    def potential(self, quantities: Quantities, unknown: float = 0.0) -> FloatArray:
        """The potential of `n` states, `(n,)` float64; `unknown` where it has no value.

        Raises:
            RuleError: The rules give none, or a quantity is missing or of the wrong shape.
        """
        if self.compiled.potential is None:
            raise RuleError("these rules give no potential", expected="potential: an expression")
        values, count = self._columns(quantities, self.compiled.seen)
        return self._scalar(self.compiled.potential, values, self._counted(count, quantities), unknown)

    def reward(self, quantities: Quantities, next_quantities: Quantities, unknown: float = 0.0) -> FloatArray:
        """The implicit reward of `n` steps from `quantities` to `next_quantities`, `(n,)` float64, as written.

        It is `unknown` where it has no value, and neither clipped nor scaled.

        Raises:
            RuleError: The rules give none, or a quantity is missing or of the wrong shape.
        """
        if self.compiled.reward is None:
            raise RuleError("these rules give no reward", expected="reward: an expression")
        values, count = self._columns(quantities, self.compiled.seen)
        after, count_after = self._columns(next_quantities, self.compiled.upcoming, "next")
        if count is not None and count_after is not None and count != count_after:
            raise RuleError("quantities before and after a step differ in length", found=f"{count} and {count_after}")
        count = count_after if count is None else count
        return self._scalar(self.compiled.reward, values | after, self._counted(count, quantities), unknown)

    def with_constants(self, values: Mapping[str, float]) -> RuleSet:
        """The same rules with other values of some constants.

        Raises:
            RuleError: A constant is not declared, or a value is no number within its bounds.
        """
        moved: dict[str, tuple[float, float, float]] = dict(self.document.constants)
        for name, value in values.items():
            if name not in moved:
                raise RuleError("there is no such constant", found=ascii(name), hint=closest(str(name), moved))
            _, low, high = moved[name]
            if isinstance(value, bool) or not isinstance(value, int | float | np.number) or not low <= value <= high:
                raise RuleError(
                    f"the constant {name} is out of its bounds", found=repr(value), expected=f"{low:g} to {high:g}"
                )
            moved[name] = (float(value), low, high)
        return RuleSet(self.document.model_copy(update={"constants": moved}), self.interface, self.compiled)

    def bind(self, interface: Interface) -> RuleSet:
        """The same rules for another interface; raises `RuleError` where they do not fit it."""
        return build(self.document, interface)

    def to_yaml(self) -> str:
        """The YAML text; parsed with the same interface it gives an equal set."""
        return self.document.to_yaml()

    def __repr__(self) -> str:
        document = self.document
        counts = [f"{len(document.rules)} rules", f"{len(document.let)} lets"]
        counts += [f"{name}={value:g}" for name, (value, _, _) in document.constants.items()]
        counts += [kind for kind in ("potential", "reward") if getattr(document, kind) is not None]
        decides = self.interface.components or self.interface.actions
        return f"RuleSet({', '.join(counts)}; sees {' '.join(self.names)}; decides {', '.join(decides)})"

    def _decide(self, rows: slice, values: Mapping[Leaf, Array], actions: Array, rule: Array) -> None:
        """Fill `actions` and `rule`, views of the rows."""
        results = iter(self.compiled.rules.run(self._reader(rows, values)))
        for index, decided in enumerate(self.compiled.decided):
            sure, _ = next(results)
            outcomes = [next(results) for _ in decided]
            acts = sure & (rule < 0)
            for outcome in outcomes:
                acts = acts & (outcome == outcome)  # not NaN
            np.copyto(rule, index, where=acts)
            for component, outcome in zip(decided, outcomes, strict=True):
                if component is None:
                    with np.errstate(invalid="ignore"):  # numpy converts whole buffers, NaN in rows left alone as well
                        np.copyto(actions, outcome, where=acts, casting="unsafe")
                else:
                    low, high = bounds_of(self.interface, component)
                    np.copyto(actions[:, component], np.minimum(np.maximum(outcome, low), high), where=acts)

    def _scalar(self, program: Program, values: Mapping[Leaf, Array], count: int, unknown: float) -> FloatArray:
        total = np.empty(count)
        for first in range(0, count, ROWS):
            rows = slice(first, first + ROWS)
            total[rows] = program.run(self._reader(rows, values))[0]
        total[np.isnan(total)] = unknown
        return total

    def _reader(self, rows: slice, values: Mapping[Leaf, Array]) -> Callable[[Leaf], Any]:
        def read(leaf: Leaf) -> Any:
            return np.float64(self.document.constants[leaf[1]][0]) if leaf[0] == "constant" else values[leaf][rows]

        return read

    @staticmethod
    def _columns(
        quantities: Quantities, names: tuple[str, ...], source: str = "quantity"
    ) -> tuple[dict[Leaf, Array], int | None]:
        """The named columns as float64 with infinities made NaN, and their length; None where no name is used."""
        columns: dict[Leaf, Array] = {}
        count: int | None = None
        for name in names:
            if name not in quantities:
                raise RuleError(
                    "the rules speak of a quantity that is not given", found=name, hint=closest(name, quantities)
                )
            column = np.asarray(quantities[name], np.float64)
            count = len(column) if count is None and column.ndim else count
            if column.shape != (count,):
                raise RuleError(
                    f"the quantity {name} misfits the others",
                    found=f"shape {column.shape}",
                    expected=f"({count or 'n'},)",
                )
            infinite = np.isinf(column)
            columns[source, name] = np.where(infinite, np.nan, column) if np.count_nonzero(infinite) else column
        return columns, count

    @staticmethod
    def _counted(count: int | None, quantities: Quantities) -> int:
        """The number of states; where the rules use no quantity, that of any which is given."""
        if count is None:
            count = next((len(column) for column in quantities.values()), None)
        if count is None:
            raise RuleError("no quantities are given, so the number of states is not known")
        return count


def build(document: Document, interface: Interface | None = None, whose: str = "") -> RuleSet:
    """Compile a document; without an interface its quantities, actions and components are those it names."""
    compiled, interface = compile_document(document, interface, {}, whose)
    return RuleSet(document, interface, compiled)


def parse_rules(text: str, interface: Interface | None = None, whose: str = "") -> RuleSet:
    """Rules from YAML text.

    Args:
        text: The text; it may come from anybody.
        interface: What the rules may speak of and decide. None: whatever they name; its quantities, actions and
            components are then in order of appearance.
        whose: Names the text in messages, as a file's path does.

    Raises:
        RuleError: Anything is wrong with it: what, where, and what is allowed.
    """
    try:
        document, places = read_document(text, whose)
        compiled, interface = compile_document(document, interface, places, whose)
    except RecursionError:  # nothing here goes deep: the caller's own stack is nearly full
        raise RuleError("there is no room left on the stack to read the rules", found=whose or None) from None
    return RuleSet(document, interface, compiled)


def load_rules(path: Path | str, interface: Interface | None = None) -> RuleSet:
    """Rules from a YAML file; as `parse_rules`.

    Raises:
        RuleError: The file cannot be read, or anything is wrong with its text.
    """
    try:
        text = read_text(Path(path), RULES)
    except (OSError, UnicodeDecodeError) as error:
        raise RuleError(f"cannot read the rules {path}", found=str(error), expected="a UTF-8 YAML file") from error
    return parse_rules(text, interface, str(path))
