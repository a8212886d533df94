"""What a set of rules decides by, as further quantities of an environment, so that a network can take them as inputs.

Where a rule acts turns on comparisons (`arrival_steps - 5 > 0`). Their differences say how far a state is from each of
these edges; in the quantitative semantics of temporal logic (Fainekos and Pappas 2009) they are the robustness of a
condition's parts. A small network that is given them copies planned rules nearly exactly, which it cannot from the
quantities alone (`docs/parts.md`, "A network alone"), and goes on learning from there as from any other input.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping

from ultra_agents.contracts import Environment, Quantity
from ultra_agents.contracts.widening import Teller
from ultra_agents.records import Array, FloatArray
from ultra_agents.rules.interface import interface_of
from ultra_agents.rules.ruleset import RuleSet, parse_rules

_MARGIN = re.compile(r"margin_[0-9a-f]{8}_\d+")


class Margins:
    """The quantities of an environment, and behind them the margins of rules over it.

    Args:
        environment: The plugin.
        texts: Rules as YAML text, any number of sets.
        whose: Names them in messages, as a file's path does.

    Raises:
        RuleError: Rules that do not fit the environment.
    """

    def __init__(self, environment: Environment, texts: Iterable[str], whose: str = "") -> None:
        self.texts = tuple(dict.fromkeys(texts))
        self._environment = environment
        self._sets = [(_prefix(text), parse_rules(text, interface_of(environment), whose)) for text in self.texts]

    @property
    def env_id(self) -> str:
        """The environment's."""
        return self._environment.env_id

    @property
    def legend(self) -> Mapping[str, Quantity]:
        """The environment's, and a line for each margin."""
        told = dict(self._environment.legend)
        for prefix, rules in self._sets:
            for name in _names(prefix, rules):
                meaning = "difference of the two sides of a comparison in a rule; NaN where it has no value"
                told[name] = Quantity("1", meaning, "", -float("inf"), float("inf"))
        return told

    @property
    def names(self) -> tuple[str, ...]:
        """Of the margins."""
        return tuple(name for prefix, rules in self._sets for name in _names(prefix, rules))

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        """Name -> `(n,)` float64 for `n` observations; NaN where one has no value."""
        told = self._environment.quantities(observations)
        found: dict[str, FloatArray] = dict(told)
        for prefix, rules in self._sets:
            found |= zip(_names(prefix, rules), rules.margins(told).T, strict=True)
        return found


def teller(environment: Environment, texts: Iterable[str], whose: str = "") -> Teller:
    """The environment itself, or with the margins of the rules `texts` where there are any; see `Margins`."""
    given = tuple(texts)
    return Margins(environment, given, whose) if given else environment


def without_margins(names: Iterable[str]) -> tuple[list[str], int]:
    """The names that are no margins, and how many are."""
    told = list(names)
    own = [name for name in told if not _MARGIN.fullmatch(name)]
    return own, len(told) - len(own)


def _prefix(text: str) -> str:
    return f"margin_{zlib.crc32(text.encode()):08x}"


def _names(prefix: str, rules: RuleSet) -> list[str]:
    return [f"{prefix}_{index + 1}" for index in range(len(rules.compiled.margins.outputs))]
