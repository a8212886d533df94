"""Events read back from a run folder's log, for the screens of a resumed run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

from ultra_agents.events import AdviceDecided, AgentSpoke, Dropped, Evaluated, Event, TrainingProgress

_KINDS: dict[str, type[Event]] = {
    kind.__name__: kind for kind in (AdviceDecided, AgentSpoke, Dropped, Evaluated, TrainingProgress)
}


def past_events(rows: Iterable[dict[str, Any]]) -> Iterator[Event]:
    """The events in `rows` that a screen accumulates; what another version wrote differently is passed over."""
    for row in rows:
        kind = _KINDS.get(str(row.get("event")))
        if kind is None:
            continue
        fields = {name: value for name, value in row.items() if name not in ("event", "time")}
        if isinstance(fields.get("returns"), list):
            fields["returns"] = tuple(_number(value) for value in fields["returns"])
        if isinstance(fields.get("metrics"), dict):
            fields["metrics"] = {name: _number(value) for name, value in fields["metrics"].items()}
        try:
            yield kind(**fields)
        except TypeError:
            continue


def _number(value: Any) -> float:
    """JSON has no NaN: it was written as null."""
    return math.nan if value is None else float(value)
