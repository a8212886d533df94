"""Successive halving: few episodes for many entrants, many for few (Karnin et al. 2013; Jamieson and Talwalkar 2016).

All entrants of a heat have played the same pairs, so that their means are compared like with like and no baseline is
needed to rank them. Not part of the ULTRA paper.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ultra_agents.verification.paired import Entrant, Paired

KEPT = 1 / 3
"""Share of a heat's entrants that play the next one."""


def halve(paired: Paired, entrants: Sequence[Entrant], first: int, last: int, keep: int = 1) -> list[Entrant]:
    """Race entrants against each other.

    Args:
        paired: Where they play.
        entrants: In order of preference: the earlier one wins a draw, and where the budget does not pay for a first
            heat of all the last ones are left out.
        first: Pairs of the first heat; then doubled.
        last: Pairs at most.
        keep: So many are wanted: the race ends where no more than these are left.

    Returns:
        Those of the last heat that was paid for, the best first; empty if there was none.
    """
    live, pairs = list(entrants), min(first, last)
    while live and not paired.extend(live, pairs):
        live.pop()
    while True:
        best = sorted(live, key=lambda entrant: -entrant.mean(pairs))
        live = best[: max(math.ceil(KEPT * len(best)), keep)]
        if len(best) <= keep or pairs == last or not paired.extend(live, min(2 * pairs, last)):
            return best
        pairs = min(2 * pairs, last)
