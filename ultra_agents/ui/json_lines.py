"""Every event as one JSON object a line, for programs."""

from __future__ import annotations

import json
import math
from typing import IO, Any

from ultra_agents.events import Event


class JsonLines:
    """Writes to `stream`; ASCII only, so that any pipe takes it. Numbers that are not finite become null.

    `ultra_agents.events.schema` describes the lines.

    Attributes:
        more: Fields added to every line: `time` and `run`, where the events come from a log.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self.more: dict[str, Any] = {}

    def start(self) -> None:
        """Does nothing."""

    def handle(self, event: Event) -> None:
        """Write the event."""
        self.stream.write(json.dumps(_finite({**event.to_json(), **self.more})) + "\n")
        self.stream.flush()

    def stop(self) -> None:
        """Does nothing."""


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
