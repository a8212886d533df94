"""Sets of rules drawn at random, the controls of a model's: from no knowledge at all, and from a given structure.

Rewards are drawn likewise, the control of a written one.

A drawn set is a decision list of one to three rules, each with one or two comparisons of quantities with a quantile of
what was seen; half of the lists end in a rule for every other state. Continuous actions are moved by a gain times a
quantity, in units of its spread. What such sets earn after the same tests is what testing alone earns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from ultra_agents.records import Array
from ultra_agents.rules.document import Document, Rule
from ultra_agents.rules.errors import RuleError
from ultra_agents.rules.interface import Interface, bounds_of
from ultra_agents.rules.ruleset import RuleSet, build

DRAWS = 100
"""Sets drawn, at most, until one of them has no rule that can never act."""
SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Quantiles that thresholds are drawn from."""
GAINS = (0.1, 0.25, 0.5, 1.0)
"""Gains of continuous rules: the shift by one spread of the quantity, in half widths of the component's range."""
WIDEST = 2.0
"""Bound of a gain that may be tuned, in the same units."""


def quantiles_of(quantities: Mapping[str, Array]) -> dict[str, tuple[float, ...]]:
    """Quantiles of every quantity that varies, over the states where it has a value; columns `(n,)` by name."""
    found = {}
    for name, column in quantities.items():
        values = np.asarray(column, np.float64)
        values = values[np.isfinite(values)]
        if len(values) and values.min() < values.max():
            found[name] = tuple(float(f"{one:.6g}") for one in np.quantile(values, SHARES))
    return found


def random_rules(
    interface: Interface, quantiles: Mapping[str, Sequence[float]], rng: np.random.Generator, tunable: bool = False
) -> RuleSet:
    """A set drawn at random.

    Args:
        interface: What rules may speak of.
        quantiles: The thresholds of each quantity.
        rng: Source of everything drawn; the same set whether it is `tunable` or not.
        tunable: Gains of continuous actions are declared as constants, free to move up to `WIDEST` either way.

    Raises:
        RuleError: There is no quantity that varies.
    """
    names = sorted(set(interface.quantities) & quantiles.keys())
    if not names:
        raise RuleError("no rule can be drawn: no quantity varies over the collected episodes")

    def atom() -> str:
        name = str(rng.choice(names))
        return f"{name} {rng.choice(('<', '>'))} {float(rng.choice(quantiles[name]))!r}"

    def drawn() -> RuleSet:
        conditions = [" and ".join(atom() for _ in range(rng.integers(1, 3))) for _ in range(rng.integers(1, 4))]
        if rng.random() < 0.5:
            conditions.append("True")
        choices = [_choice(interface, names, quantiles, rng) for _ in conditions]
        constants: dict[str, tuple[float, float, float]] = {}
        rules = []
        for number, (when, choice) in enumerate(zip(conditions, choices, strict=True), 1):
            if isinstance(choice, _Shift) and tunable:
                constants[f"gain_{number}"] = choice.range
            do = choice if isinstance(choice, str) else choice.text(f"gain_{number}" if tunable else "")
            rules.append(Rule(when=when, do=do))
        return build(Document(constants=constants, rules=tuple(rules)), interface)

    for _ in range(DRAWS - 1):
        with suppress(RuleError):  # a condition that is never true, a rule behind one that takes every state
            return drawn()
    return drawn()


def random_reward(interface: Interface, quantiles: Mapping[str, Sequence[float]], rng: np.random.Generator) -> RuleSet:
    """A reward drawn at random, with no rules: one quantity or two, either sign, each over its spread.

    Raises:
        RuleError: There is no quantity that varies.
    """
    names = sorted(set(interface.quantities) & quantiles.keys())
    if not names:
        raise RuleError("no reward can be drawn: no quantity varies over the collected episodes")

    def term(name: str) -> str:
        found = quantiles[name]
        middle, half = (found[0] + found[-1]) / 2, max((found[-1] - found[0]) / 2, 1e-6)
        return f"{rng.choice(('', '-'))}clip((next.{name} - {middle!r}) / {half!r}, -1, 1)"

    drawn = [term(str(name)) for name in rng.choice(names, min(int(rng.integers(1, 3)), len(names)), replace=False)]
    text = drawn[0] if len(drawn) == 1 else f"({' + '.join(drawn)}) / 2"
    return build(Document(reward=text), interface)


def random_constants(rules: RuleSet, rng: np.random.Generator) -> RuleSet:
    """The same structure, every declared constant drawn evenly within its bounds.

    Raises:
        RuleError: No constant is declared.
    """
    if not rules.constants:
        raise RuleError("these rules declare no constants, so there is nothing to draw", expected="constants: ...")
    bounds = {name: (low, high) for name, (_, low, high) in rules.constants.items() if low < high}
    return rules.with_constants({name: float(rng.uniform(low, high)) for name, (low, high) in bounds.items()})


def _choice(
    interface: Interface, names: Sequence[str], quantiles: Mapping[str, Sequence[float]], rng: np.random.Generator
) -> str | _Shift:
    if not interface.continuous:
        return str(rng.choice(interface.words))
    component = int(rng.integers(len(interface.components)))
    low, high = bounds_of(interface, component)
    half = (high - low) / 2 if np.isfinite(high - low) else 1.0
    name = str(rng.choice(names))
    middle = quantiles[name][len(SHARES) // 2]
    spread = max(quantiles[name][-1] - quantiles[name][0], 1e-6)
    gain = float(rng.choice((-1, 1)) * rng.choice(GAINS)) * half / spread
    return _Shift(interface.components[component], gain, name, middle, WIDEST * half / spread)


@dataclass(frozen=True)
class _Shift:
    """A component moved by a gain times a quantity from its middle; `most` bounds the gain."""

    component: str
    gain: float
    quantity: str
    middle: float
    most: float

    def text(self, constant: str = "") -> dict[str, str]:
        """The choice of a rule; with the gain under the name of a constant where one is given."""
        gain = constant or f"{self.gain:.6g}"
        return {self.component: f"own.{self.component} + {gain} * ({self.quantity} - {self.middle:.6g})"}

    @property
    def range(self) -> tuple[float, float, float]:
        """The gain with its bounds, as a declared constant."""
        low, high = float(f"{-self.most:.6g}"), float(f"{self.most:.6g}")
        return float(f"{self.gain:.6g}"), low, high
