"""A set of rules taken apart: it plays against itself without each of its rules, and what carries no weight goes.

Not part of the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ultra_agents.rules import RuleSet
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.rules.ruleset import build
from ultra_agents.verification.paired import Entrant, Paired
from ultra_agents.verification.sequential import Rule, decide


@dataclass(frozen=True)
class Left:
    """What is left of a set.

    Attributes:
        kept: Positions of the rules that stay.
        weights: By rule, what leaving it out cost per episode; None where it was not measured.
    """

    kept: tuple[int, ...]
    weights: tuple[float | None, ...]

    @property
    def dropped(self) -> tuple[int, ...]:
        """Positions of the rules that go."""
        return tuple(index for index in range(len(self.weights)) if index not in self.kept)


def whole(rules: RuleSet) -> Left:
    """All of it, of which nothing was measured."""
    count = len(rules.document.rules)
    return Left(tuple(range(count)), (None,) * count)


def leave_out(
    rules: RuleSet,
    over: Callable[[RuleSet], RulePolicy],
    episodes: Paired,
    pairs: int,
    rule: Callable[[int, Entrant], Rule],
) -> Left:
    """The rules that carry weight.

    One after the other goes, what cost least first, as long as what is left shows no need of it: two rules that can
    stand in for one another do not go both. The last one stays. All stay where the budget does not pay for two
    episodes of every smaller set: a comparison that cannot be finished is not begun.

    Args:
        rules: The set, of two rules or more.
        over: Puts a set in force over the policy.
        episodes: Where the sets play; what they may spend.
        pairs: Episodes of each, at most.
        rule: When a difference of so many pairs is clear; the entrant's rewards say what it is measured by.
    """
    everything = kept = whole(rules).kept
    sets = {some: Entrant(over(some_of(rules, some))) for some in (everything, *_but_one(everything))}
    pairs = _affordable(episodes, sets[everything], len(sets), pairs)
    if not pairs or not episodes.extend(list(sets.values()), pairs):
        return whole(rules)

    def needless(having: Entrant, without: Entrant) -> bool:
        """Whether a rule does harm, or less good than is worth finding; also where it never changed anything."""
        differences = np.subtract(having.returns[:pairs], without.returns[:pairs])
        return not differences.any() or decide(differences.tolist(), rule(pairs, having)) in ("bad", "hopeless")

    earned = sets[everything].mean(pairs)
    weights = tuple(earned - sets[fewer].mean(pairs) for fewer in _but_one(everything))
    for index in sorted(everything, key=lambda one: (weights[one], -one)):
        fewer = tuple(one for one in kept if one != index)
        if not fewer:
            break
        if fewer not in sets:
            sets[fewer] = Entrant(over(some_of(rules, fewer)))
        if episodes.extend([sets[fewer]], pairs) and needless(sets[kept], sets[fewer]):
            kept = fewer
    return Left(kept, weights)


def some_of(rules: RuleSet, kept: Sequence[int]) -> RuleSet:
    """The set with the rules at these positions only."""
    if len(kept) == len(rules.document.rules):
        return rules
    fewer = tuple(rules.document.rules[index] for index in kept)
    return build(rules.document.model_copy(update={"rules": fewer}), rules.interface)


def _affordable(episodes: Paired, everything: Entrant, sets: int, pairs: int) -> int:
    """How many pairs of so many sets the budget pays for if their episodes are as long as those of the whole set."""
    budget = episodes.left
    if not episodes.extend([everything], pairs):
        return 0
    affordable = min(pairs, int(budget // (sets * everything.steps / len(everything.returns))))
    return affordable if affordable >= min(2, pairs) else 0


def _but_one(everything: tuple[int, ...]) -> list[tuple[int, ...]]:
    """What is left without each of them."""
    return [tuple(one for one in everything if one != left) for left in everything]
