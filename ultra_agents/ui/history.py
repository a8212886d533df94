"""Events read back from a run folder's log: all of them for `ultra watch`, some for the screens of a resumed run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ultra_agents.events import (
    AdviceDecided,
    AgentSpoke,
    Dropped,
    Evaluated,
    Event,
    StateShown,
    StepsSpent,
    TrainingProgress,
    from_json,
)

_ADD_UP = (AdviceDecided, AgentSpoke, Dropped, Evaluated, StateShown, StepsSpent, TrainingProgress)


def past_events(rows: Iterable[dict[str, Any]]) -> Iterator[Event]:
    """The events in `rows` that a screen accumulates; what another version wrote differently is passed over."""
    for row in rows:
        event = from_json(row)
        if isinstance(event, _ADD_UP):
            yield event
