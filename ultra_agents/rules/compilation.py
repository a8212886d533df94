"""From a document to programs: every expression is compiled, and rules that can never act are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ultra_agents.rules.document import Document, Rule
from ultra_agents.rules.errors import RuleError, closest, label
from ultra_agents.rules.expressions import Compiler, Context
from ultra_agents.rules.interface import Interface
from ultra_agents.rules.program import Program
from ultra_agents.rules.ranges import never_true
from ultra_agents.yaml_text import Path, Place, quoted


@dataclass(frozen=True)
class Compiled:
    """The programs of a set of rules.

    Args:
        rules: Outputs, rule by rule, the condition and then what is decided.
        decided: For each rule the components it decides, in order; `(None,)` where it chooses an action.
        margins: One output for each difference on whose sign a rule's acting or its choice depends.
        potential: One output; None where there is none.
        reward: One output; None where there is none.
        seen: Quantities that are read before a step.
        upcoming: Quantities that are read after it.
        quantities: Both, in order of appearance.
        needs_own: Whether the policy's own actions must be known.
        reads_own: Whether an expression speaks of them.
    """

    rules: Program
    decided: tuple[tuple[int | None, ...], ...]
    margins: Program
    potential: Program | None
    reward: Program | None
    seen: tuple[str, ...]
    upcoming: tuple[str, ...]
    quantities: tuple[str, ...]
    needs_own: bool
    reads_own: bool


def compile_document(
    document: Document, interface: Interface | None, places: Mapping[Path, Place], whose: str
) -> tuple[Compiled, Interface]:
    """The programs, and the interface they are bound to: the one given, or what the document names.

    Raises:
        RuleError: Whatever is wrong with an expression or a name, and where.
    """
    work = _Compilation(document, interface, places, whose)
    outputs: list[int] = []
    decided: list[tuple[int | None, ...]] = []
    conditions: dict[int, int] = {}
    for index, rule in enumerate(document.rules):
        condition = work.condition(rule, index, conditions)
        choice = work.decision(rule, index)
        if all(work.compiler.graph.nodes[slot].constant is not None for slot in choice.values()):
            conditions.setdefault(condition, index)  # it never abstains where its condition is true
        decided.append(tuple(choice))
        outputs += [condition, *choice.values()]
    programs = {name: work.value(name) for name in ("potential", "reward")}
    if interface is None:
        interface = work.interface()
    graph = work.compiler.graph
    rules = graph.program(outputs)
    used = [leaf for program in (rules, *programs.values()) if program for _, leaf in program.leaves]
    width = len(interface.components)
    reads_own = any(source == "own" for source, _ in used)
    needs_own = reads_own or any(len(one) < width for one in decided if width)
    seen, upcoming = (
        tuple(name for name in work.compiler.seen if (source, name) in used) for source in ("quantity", "next")
    )
    both = tuple(name for name in work.compiler.seen if name in seen or name in upcoming)
    compiled = Compiled(
        rules, tuple(decided), graph.program(graph.margins(outputs)), programs["potential"], programs["reward"],
        seen, upcoming, both, needs_own, reads_own,
    )  # fmt: skip
    return compiled, interface


class _Compilation:
    """One document on its way: its compiler with constants and lets declared."""

    def __init__(
        self, document: Document, interface: Interface | None, places: Mapping[Path, Place], whose: str
    ) -> None:
        self.document, self._interface, self._places, self._whose = document, interface, places, whose
        named = any(isinstance(rule.do, Mapping) for rule in document.rules)
        self._continuous = named if interface is None else interface.continuous
        if interface is None:
            self.compiler = Compiler(None, None, None, self._continuous)
        else:
            self.compiler = Compiler(interface.quantities, interface.words, interface.components, self._continuous)
        for name, (_, low, high) in document.constants.items():
            self.compiler.constant(name, low, high, self._place("constants", name))
        for head, text in document.let.items():
            self.compiler.let(head, text, self._place("let", head))

    def condition(self, rule: Rule, index: int, conditions: dict[int, int]) -> int:
        """The node of a rule's condition; `conditions` are those of the earlier rules that never abstain."""
        place = self._place("rules", index, "when")
        slot = self.compiler.compile(rule.when, Context(rule.when, place, own=True), "condition")
        nodes = self.compiler.graph.nodes
        if never_true(nodes, slot):
            raise place.refusal("this condition can never be true", rule.when, hint="mend it, or leave the rule out")
        covering = [one for before, one in conditions.items() if before == slot or nodes[before].constant is not None]
        if covering:
            problem = f"this rule can never act: rule {min(covering) + 1} acts wherever it would"
            raise place.refusal(problem, rule.when, hint="change its condition, or leave it out")
        return slot

    def decision(self, rule: Rule, index: int) -> dict[int | None, int]:
        """Component (None: the action) -> the node of what a rule decides for it."""
        path: Path = ("rules", index, "do")
        if isinstance(rule.do, str):
            if self._continuous:
                raise self._place(*path).refusal(
                    "actions are continuous here", rule.do, expected="do: {COMPONENT: expression}"
                )
            return {None: self._action(rule.do, self._place(*path))}
        if not self._continuous:
            raise self._place(*path).refusal(
                "actions are discrete here", expected=f"one of: {', '.join(self.compiler.actions)}"
            )
        chosen: dict[int | None, int] = {}
        for name, text in rule.do.items():
            place = self._place(*path, name)
            component = self.compiler.component_named(name)
            if component is None:
                hint = closest(name, self.compiler.components)
                raise place.refusal(f"there is no component {quoted(name)}", hint=hint)
            chosen[component] = self.compiler.compile(text, Context(text, place, own=True), "number")
        return chosen

    def value(self, name: str) -> Program | None:
        """The program of the potential or the reward."""
        text = getattr(self.document, name)
        if text is None:
            return None
        place = self._place(name)
        context = Context(text, place, upcoming=name == "reward")
        program = self.compiler.graph.program([self.compiler.compile(text, context, "number")])
        if any(source == "own" for _, (source, _) in program.leaves):
            raise place.refusal(f"a {name} cannot depend on own, by a let", text)
        return program

    def interface(self) -> Interface:
        """What the document names, where it was not bound to anything."""
        compiler = self.compiler
        actions = () if self._continuous else compiler.actions
        return Interface(compiler.seen, actions, compiler.components if self._continuous else ())

    def _action(self, text: str, place: Place) -> int:
        names = () if self._interface is None else self._interface.actions
        if text.strip() in names:  # an action's own name, whatever characters it has
            return self.compiler.graph.action(list(names).index(text.strip()))
        return self.compiler.compile(text, Context(text, place, own=True), "action")

    def _place(self, *path: str | int) -> Place:
        return self._places.get(path) or Place(label(path, self._whose), RuleError)
