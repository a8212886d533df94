"""Events of a run from before it was resumed, for its screens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ultra_agents.events import (
    AdviceDecided,
    AgentSpoke,
    Dropped,
    Evaluated,
    Event,
    RulesShown,
    StateShown,
    StepsSpent,
    TrainingProgress,
    from_json,
)

_ACCUMULATED = (AdviceDecided, AgentSpoke, Dropped, Evaluated, RulesShown, StateShown, StepsSpent, TrainingProgress)


def past_events(rows: Iterable[dict[str, Any]]) -> Iterator[Event]:
    """The events in `rows` that a screen accumulates; rows that this version cannot read are skipped."""
    for row in rows:
        event = from_json(row)
        if isinstance(event, _ACCUMULATED):
            yield event
