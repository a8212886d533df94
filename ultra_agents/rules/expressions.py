"""From a syntax tree to nodes of a graph: names are looked up, kinds are checked, `let`s are expanded.

A value is a number, a condition, or an action. Numbers and conditions are told apart: `when`, `if`, `and`, `or` and
`not` take conditions; a condition within arithmetic counts as 1 or 0. Names of actions stand in `do` and beside `own`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ultra_agents.contracts.quantities import RESERVED, WORD
from ultra_agents.errors import did_you_mean
from ultra_agents.rules import operations as op
from ultra_agents.rules.errors import closest
from ultra_agents.rules.functions import BEST, BEST_USAGE, FUNCTIONS, MOST_CANDIDATES, disorder
from ultra_agents.rules.nodes import Kind
from ultra_agents.rules.program import Graph
from ultra_agents.rules.syntax import MAX_DEPTH, parse_expression
from ultra_agents.yaml_text import Place, YamlError

MAX_NODES = 5000
"""Operations, names and numbers of a whole set of rules, with `let`s expanded and `best` counted once per value."""

_BINARY: Mapping[type[ast.operator], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Mod: np.mod,
}
_POWERS = {2: np.square, 3: op.cube, 4: op.fourth_power}
_CALLED: Mapping[Kind, str] = {"number": "a number", "condition": "a condition", "action": "an action"}


@dataclass(frozen=True)
class Context:
    """Where an expression stands and what it may speak of."""

    text: str
    place: Place
    own: bool = False
    upcoming: bool = False
    parameters: Mapping[str, int] = field(default_factory=dict)
    depth: int = 0
    weight: int = 1


@dataclass(frozen=True)
class Macro:
    """A `let` with parameters: expanded wherever it is called."""

    parameters: tuple[str, ...]
    tree: ast.expr
    context: Context


class Compiler:
    """Compiles the expressions of one set of rules into one graph.

    Args:
        quantities: Names that can be seen; None takes every name that is nothing else for one.
        actions: Words for the actions, in order; None takes every name where an action is expected for one.
        components: Names of the parts of a continuous action; None takes any.
        continuous: Whether `own` has components, instead of being an action.
    """

    def __init__(
        self,
        quantities: Sequence[str] | None,
        actions: Sequence[str] | None,
        components: Sequence[str] | None,
        continuous: bool,
    ) -> None:
        self.graph = Graph()
        self.seen: list[str] = []
        self.actions = list(actions or ())
        self.components = list(components or ())
        self._quantities = None if quantities is None else frozenset(quantities)
        self._open_actions, self._open_components = actions is None, components is None
        self._continuous = continuous
        self._values: dict[str, int] = {}
        self._sources: dict[str, str] = {}
        self._macros: dict[str, Macro] = {}
        self._count = 0

    def constant(self, name: str, low: float, high: float, place: Place) -> None:
        """Declare a number that may move within its bounds."""
        self._new_name(name, place)
        self._values[name] = self.graph.leaf("constant", name, "number", (low, high))
        self._sources[name] = "constant"

    def let(self, head: str, text: str, place: Place) -> None:
        """Declare `name`, or `name(parameter, ...)`, for what comes later."""
        name, bracket, rest = head.partition("(")
        name = name.strip()
        if not bracket:
            self._new_name(name, place)
            self._values[name] = self.compile(text, Context(text, place, own=True))
            self._sources[name] = "let"
            return
        parameters = tuple(part.strip() for part in rest.strip().removesuffix(")").split(","))
        if not rest.strip().endswith(")") or len(set(parameters)) < len(parameters):
            raise place.refusal("a let with parameters is not usable", head, expected='"name(a, b)": expression')
        if name in FUNCTIONS or name == BEST or name in self._macros:
            raise place.refusal(f"the function {name!r} exists already", head)
        for one in (name, *parameters):
            self._usable(one, place)
        context = Context(text, place, own=True)
        tree = parse_expression(text, place)
        standing = {one: self.graph.leaf("parameter", one) for one in parameters}
        self._visit(tree, replace(context, parameters=standing))  # its mistakes are told even where it is not used
        self._macros[name] = Macro(parameters, tree, context)

    def compile(self, text: str, context: Context, wanted: Kind | None = None) -> int:
        """The node of an expression; of the kind `wanted`, if any.

        Raises:
            RuleError: Whatever is wrong with it, and where.
        """
        tree = parse_expression(text, context.place)
        slot = self._visit(tree, context, wanted == "action")
        return slot if wanted is None else self._as(wanted, slot, tree, context)

    def action_named(self, word: str) -> int:
        """The node of an action, by its word; where actions are not known beforehand it is added to them."""
        if word not in self.actions:
            self.actions.append(word)
        return self.graph.action(self.actions.index(word))

    def component_named(self, name: str) -> int | None:
        """Index of a component; where components are not known beforehand it is added to them."""
        if name not in self.components:
            if not self._open_components:
                return None
            self.components.append(name)
        return self.components.index(name)

    def _new_name(self, name: str, place: Place) -> None:
        self._usable(name, place)
        if name in self._values:
            raise place.refusal(f"the name {name!r} is taken by a {self._sources[name]}")
        if self._is_quantity(name):
            raise place.refusal(f"the name {name!r} is taken by a quantity", hint="choose another name")

    def _is_quantity(self, name: str) -> bool:
        return self._quantities is not None and name in self._quantities

    @staticmethod
    def _usable(name: str, place: Place) -> None:
        if not WORD.fullmatch(name) or name in RESERVED:
            raise place.refusal("a name is not usable", name, expected="at most 64 letters, digits and _")

    def _visit(self, node: ast.expr, context: Context, action: bool = False) -> int:
        """The slot of a node; with `action` a name is taken for an action's."""
        self._count += context.weight
        if self._count > MAX_NODES:
            raise context.place.refusal(
                "the rules are too large",
                expected=f"at most {MAX_NODES} operations, names and numbers with lets expanded",
                hint="use lets without parameters, which are computed once, or fewer values in best",
            )
        if context.depth > MAX_DEPTH:
            raise context.place.refusal(
                "lets within lets are nested too deeply", expected=f"at most {MAX_DEPTH} operations within one another"
            )
        inner = replace(context, depth=context.depth + 1)
        match node:
            case ast.Constant():
                slot = self._literal(node)
            case ast.Name():
                slot = self._action(node, inner) if action else self._name(node, inner)
            case ast.Attribute(value=ast.Name(id=owner)):
                slot = self._attribute(node, owner, inner)
            case ast.IfExp():
                slot = self._choice(node, inner, action)
            case ast.BoolOp():
                join = op.both if isinstance(node.op, ast.And) else op.either
                slot, *others = [self._as("condition", self._visit(v, inner), v, inner) for v in node.values]
                for other in others:
                    slot = self.graph.call("condition", join, slot, other)
            case ast.UnaryOp():
                slot = self._unary(node, inner)
            case ast.BinOp(op=ast.Pow(), right=ast.Constant(value=exponent)):
                slot = self.graph.call("number", _POWERS[int(exponent)], self._number(node.left, inner))  # type: ignore[arg-type]
            case ast.BinOp():
                sides = [self._number(side, inner) for side in (node.left, node.right)]
                slot = self.graph.call("number", _BINARY[type(node.op)], *sides)
            case ast.Compare():
                slot = self._comparison(node, inner)
            case ast.Call(func=ast.Name(id=name)):
                slot = self._call(node, name, inner)
            case _:
                raise self._refusal(node, context, "this is not allowed here")
        made = self.graph.nodes[slot]
        if made.kind == "number" and made.constant is not None and not np.isfinite(made.constant):
            raise self._refusal(
                node, context, "this never has a value: a division by 0, or out of a function's domain"
            )
        return slot

    def _literal(self, node: ast.Constant) -> int:
        value = node.value
        return self.graph.truth(value) if isinstance(value, bool) else self.graph.constant(float(value))  # type: ignore[arg-type]

    def _name(self, node: ast.Name, context: Context) -> int:
        name = node.id
        if name in context.parameters:
            return context.parameters[name]
        if name in self._values:
            return self._values[name]
        if name == "own":
            if not context.own:
                raise self._refusal(node, context, "own, what the policy proposes, is not known here")
            if self._continuous:
                raise self._refusal(node, context, "own needs a component", expected=self._listed("own."))
            return self.graph.leaf("own", "", "action")
        if name == "next":
            raise self._refusal(node, context, "next needs a quantity", expected="next.NAME, in reward")
        if name in self.actions and not self._is_quantity(name):
            raise self._refusal(node, context, f"{name} is an action", expected="actions in do, and in own == ACTION")
        function = name in self._macros or (self._quantities is not None and (name in FUNCTIONS or name == BEST))
        if function and not self._is_quantity(name):
            raise self._refusal(node, context, f"the function {name} needs its arguments in ( )")
        return self._quantity(node, name, "quantity", context)

    def _quantity(self, node: ast.expr, name: str, source: str, context: Context) -> int:
        if self._quantities is not None and name not in self._quantities:
            known = [*self._quantities, *self._values, *context.parameters]
            raise self._refusal(
                node, context, f"there is no quantity, let or constant {name!r}", hint=closest(name, known)
            )
        if name not in self.seen:
            self.seen.append(name)
        return self.graph.leaf(source, name)

    def _attribute(self, node: ast.Attribute, owner: str, context: Context) -> int:
        if owner == "own" and self._continuous:
            if not context.own:
                raise self._refusal(node, context, "own, what the policy proposes, is not known here")
            if self.component_named(node.attr) is None:
                raise self._refusal(
                    node, context, f"there is no component {node.attr!r}", hint=closest(node.attr, self.components)
                )
            return self.graph.leaf("own", node.attr)
        if owner == "next" and context.upcoming:
            return self._quantity(node, node.attr, "next", context)
        allowed = "own.COMPONENT where actions are continuous, next.NAME in reward"
        raise self._refusal(node, context, f"{owner}.{node.attr} is not known here", expected=allowed)

    def _action(self, node: ast.Name, context: Context) -> int:
        name = node.id
        if name == "own":
            return self._name(node, context)
        if name in self._values or (name not in self.actions and not self._open_actions):
            raise self._refusal(
                node,
                context,
                f"there is no action {name!r}",
                expected=self._listed(),
                hint=did_you_mean(name, self.actions),
            )
        return self.action_named(name)

    def _listed(self, prefix: str = "") -> str:
        names = self.components if prefix else self.actions
        shown = ", ".join(f"{prefix}{name}" for name in names[:30])
        return f"one of: {shown}{', ...' if len(names) > 30 else ''}" if names else f"{prefix}NAME"

    def _choice(self, node: ast.IfExp, context: Context, action: bool) -> int:
        condition = self._as("condition", self._visit(node.test, context), node.test, context)
        parts = [self._visit(part, context, action) for part in (node.body, node.orelse)]
        kinds = {self.graph.nodes[part].kind for part in parts}
        if kinds == {"condition"}:
            return self.graph.call("condition", op.choose_condition, condition, *parts)
        kind: Kind = "action" if "action" in kinds else "number"
        trees = (node.body, node.orelse)
        parts = [self._as(kind, part, tree, context) for part, tree in zip(parts, trees, strict=True)]
        return self.graph.call(kind, op.choose, condition, *parts)

    def _unary(self, node: ast.UnaryOp, context: Context) -> int:
        inside = self._visit(node.operand, context)
        if isinstance(node.op, ast.Not):
            return self.graph.opposite(self._as("condition", inside, node.operand, context))
        number = self._as("number", inside, node.operand, context)
        return number if isinstance(node.op, ast.UAdd) else self.graph.call("number", np.negative, number)

    def _comparison(self, node: ast.Compare, context: Context) -> int:
        trees = [node.left, *node.comparators]
        actions = not self._continuous and any(isinstance(tree, ast.Name) and tree.id == "own" for tree in trees)
        kind: Kind = "action" if actions else "number"
        sides = [self._as(kind, self._visit(tree, context, actions), tree, context) for tree in trees]
        result: int | None = None
        for sign, a, b in zip(node.ops, sides, sides[1:], strict=False):
            if actions and not isinstance(sign, ast.Eq | ast.NotEq):
                raise self._refusal(node, context, "actions have no order", expected="own == ACTION or own != ACTION")
            one = self._compared(sign, a, b)
            result = one if result is None else self.graph.call("condition", op.both, result, one)
        assert result is not None
        return result

    def _compared(self, sign: ast.cmpop, a: int, b: int) -> int:
        match sign:
            case ast.Lt():
                return self.graph.call("condition", op.less, a, b)
            case ast.LtE():
                return self.graph.call("condition", op.less_equal, a, b)
            case ast.Gt():
                return self.graph.call("condition", op.less, b, a)
            case ast.GtE():
                return self.graph.call("condition", op.less_equal, b, a)
            case ast.Eq():
                return self.graph.call("condition", op.equal, a, b)
            case _:
                return self.graph.opposite(self.graph.call("condition", op.equal, a, b))

    def _call(self, node: ast.Call, name: str, context: Context) -> int:
        if name == BEST:
            return self._best(node, context)
        macro = self._macros.get(name)
        if macro is not None:
            if len(node.args) != len(macro.parameters):
                raise self._refusal(
                    node, context, f"{name} takes {len(macro.parameters)}, not {len(node.args)} arguments"
                )
            values = [self._number(arg, context) for arg in node.args]
            bound = dict(zip(macro.parameters, values, strict=True))
            inside = replace(macro.context, parameters=bound, depth=context.depth, weight=context.weight)
            return self._visit(macro.tree, inside)
        function = FUNCTIONS.get(name)
        if function is None:
            known = [*FUNCTIONS, BEST, *self._macros]
            raise self._refusal(
                node, context, f"there is no function {name!r}", hint=closest(name, known), expected="an earlier let"
            )
        if not function.takes(len(node.args)):
            raise self._refusal(node, context, f"{name} takes other arguments", expected=function.usage)
        slots = [self._number(arg, context) for arg in node.args]
        problem = disorder(function, [self.graph.nodes[slot].range for slot in slots])
        if problem is not None:
            raise self._refusal(node, context, problem, expected=function.usage)
        return self.graph.call(function.gives, function.evaluate, *slots)

    def _best(self, node: ast.Call, context: Context) -> int:
        if len(node.args) != 4 or not isinstance(node.args[0], ast.Name):
            raise self._refusal(node, context, "best takes other arguments", expected=BEST_USAGE)
        if context.weight > 1:
            raise self._refusal(node, context, "best within best is not allowed", hint="name the inner one under let")
        name = node.args[0].id
        self._usable(name, context.place)
        if name in context.parameters or name in self._values or self._is_quantity(name):
            raise self._refusal(node.args[0], context, f"the name {name!r} is taken", expected=BEST_USAGE)
        ends = [self.graph.nodes[self._number(arg, context)].constant for arg in node.args[1:3]]
        if any(end is None or end != round(float(end)) for end in ends):
            raise self._refusal(node, context, "the bounds of best must be whole numbers", expected=BEST_USAGE)
        low, high = (int(end) for end in ends)
        if not 1 <= high - low <= MOST_CANDIDATES - 1:
            raise self._refusal(
                node, context, f"best over {max(high - low + 1, 0)} values is not allowed", expected=BEST_USAGE
            )
        candidates = self.graph.candidates(low, high)
        inside = replace(context, parameters={**context.parameters, name: candidates}, weight=high - low + 1)
        cost = self._number(node.args[3], inside)
        if candidates not in self.graph.nodes[cost].each:
            raise self._refusal(node.args[3], context, f"what best makes smallest does not depend on {name}")
        return self.graph.call("number", op.best_value, candidates, cost)

    def _number(self, node: ast.expr, context: Context) -> int:
        return self._as("number", self._visit(node, context), node, context)

    def _as(self, wanted: Kind, slot: int, node: ast.expr, context: Context) -> int:
        """`slot` as the kind `wanted`: a condition may be counted as 1 or 0, nothing else is changed."""
        kind = self.graph.nodes[slot].kind
        if kind == wanted:
            return slot
        if kind == "condition" and wanted == "number":
            return self.graph.call("number", op.as_number, slot)
        hint = "compare it, for example > 0.5" if wanted == "condition" and kind == "number" else None
        listed = self._listed() if wanted == "action" else None
        problem = f"{_CALLED[kind]} where {_CALLED[wanted]} is needed"
        raise self._refusal(node, context, problem, expected=listed, hint=hint)

    @staticmethod
    def _refusal(
        node: ast.expr, context: Context, problem: str, *, expected: str | None = None, hint: str | None = None
    ) -> YamlError:
        return context.place.refusal(problem, context.text, node.col_offset, expected=expected, hint=hint)
