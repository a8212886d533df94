"""What happens in a run, as typed events: the only thing a display sees beside records.

Every event is a frozen dataclass of JSON-able fields; `to_json` gives the machine form (`event` names the class).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

Stage: TypeAlias = Literal[
    "policy", "collect", "narrate", "identify", "advise", "criticise", "test", "tabulate", "modulate", "refine",
    "evaluate", "report",
]  # fmt: skip


@dataclass(frozen=True)
class Event:
    """Base of all events."""

    def to_json(self) -> dict[str, Any]:
        """The event as a mapping of JSON types."""
        return {"event": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class RunStarted(Event):
    """A run began or was taken up again.

    `stages` lists the pipeline's steps in order, with their share of the expected time.
    """

    name: str
    folder: str
    config_hash: str
    resumed: bool
    stages: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class StageStarted(Event):
    """A pipeline step began; `title` says what it does to a person, `total` how many `unit`s it has."""

    stage: str
    title: str
    total: int = 0
    unit: str = ""


@dataclass(frozen=True)
class StageProgress(Event):
    """`done` of the stage's `total` units are finished."""

    stage: str
    done: int
    total: int
    note: str = ""


@dataclass(frozen=True)
class StageFinished(Event):
    """A pipeline step ended; `summary` is one line for a person."""

    stage: str
    seconds: float
    summary: str


@dataclass(frozen=True)
class AgentSpoke(Event):
    """One answer of one agent about one segment."""

    agent: str
    segment: str
    model: str
    text: str
    cached: bool
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    verdict: str


@dataclass(frozen=True)
class AdviceDecided(Event):
    """A suggestion was accepted, sent back, rejected or dropped."""

    segment: str
    step: int
    action: str
    hold: int
    decision: str
    reason: str
    gain: float | None = None


@dataclass(frozen=True)
class Dropped(Event):
    """Something was not used; reasons are counted."""

    stage: str
    reason: str
    segment: str
    detail: str = ""


@dataclass(frozen=True)
class TrainingProgress(Event):
    """One update of one method."""

    method: str
    steps: int
    total: int
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluated(Event):
    """A policy was scored without modulation; `returns` one per episode, `purpose` `before|curve|last|best`."""

    method: str
    steps: int
    purpose: str
    returns: tuple[float, ...]


@dataclass(frozen=True)
class Warned(Event):
    """Something a person should know that does not stop the run."""

    text: str


@dataclass(frozen=True)
class RunFinished(Event):
    """The run ended; `status` is `finished`, `interrupted`, `budget` or `failed`."""

    status: str
    seconds: float
    summary: str
    report: str = ""


Emit: TypeAlias = Callable[[Event], None]
"""Where events go: called from any thread, never raises into the caller."""


def ignore(event: Event) -> None:
    """An `Emit` that listens to nothing."""
