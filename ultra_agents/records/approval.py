"""What a person's refusal makes of advice that had been accepted."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import TypeAlias

from ultra_agents.records.cases import Explanation

Place: TypeAlias = tuple[int, int]
"""Episode and step."""
STAGE, REFUSED = "approve", "a person said no"


def refuse(explanations: Iterable[Explanation], places: Collection[Place]) -> tuple[Explanation, ...]:
    """The explanations with the suggestions accepted at `places` rejected."""
    return tuple(
        replace(
            one,
            states=tuple(
                replace(state, fate="rejected", stage=STAGE, reason=REFUSED)
                if state.fate == "accepted" and (one.segment.episode, state.step) in places
                else state
                for state in one.states
            ),
        )
        for one in explanations
    )
