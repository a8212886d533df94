"""Typed events of a run, the only input of displays and logs beside records.

Every event is a frozen dataclass of JSON-able fields; `to_json` gives the machine form (`event` names the class),
`from_json` reads it back, and `schema` describes it (`ultra events`). Fields that an older version did not write have
defaults here; fields and events that only a newer version knows are ignored.

Work that was cut off is done again when the run is resumed, and told again. Events that are added up therefore name
the piece of work they are about in `work`; where it is empty, as in the logs of older versions, every one counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import Annotated, Any, TypeAlias, Union

from pydantic import BeforeValidator, Discriminator, Tag, TypeAdapter, ValidationError, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema

from ultra_agents.text import valid_json

Number: TypeAlias = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    WithJsonSchema({"type": ["number", "null"]}),
]
"""A float that is null in JSON where it is not finite, and NaN when read back."""


@dataclass(frozen=True)
class Event:
    """Base of all events."""

    def to_json(self) -> dict[str, Any]:
        """The event as a mapping of JSON types."""
        return {"event": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class RunStarted(Event):
    """A run began or was resumed.

    `stages` lists the pipeline's steps in order, with their share of the expected time; `colours` the place of each
    method in the palettes.
    """

    name: str
    folder: str
    config_hash: str
    resumed: bool
    stages: tuple[tuple[str, Number], ...]
    colours: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class RunForked(Event):
    """The run is a fork of `parent` from `stage` on; `words` say what changed, `paid` what `shared` stages cost."""

    parent: str
    stage: str
    shared: tuple[str, ...]
    words: str
    paid: str


@dataclass(frozen=True)
class StageStarted(Event):
    """A pipeline step began; `title` describes it to the user, `total` is its number of `unit`s."""

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
    """A pipeline step ended; `summary` is one line for the user."""

    stage: str
    seconds: Number
    summary: str


@dataclass(frozen=True)
class RefiningSettled(Event):
    """What every method of the run refines with, whether it was begun or resumed.

    `values` has every option of `algorithm`, `sources` where each comes from: `configuration`, `file` (the starting
    policy's, `file`) or `default`; `unused` what of the file's settings is not used, and why; `words` is one line.
    """

    algorithm: str
    values: dict[str, Any]
    sources: dict[str, str]
    file: str
    unused: str
    words: str


@dataclass(frozen=True)
class AgentAsked(Event):
    """A request was sent to a model; `AgentSpoke` follows unless it fails."""

    agent: str
    segment: str
    model: str


@dataclass(frozen=True)
class ReplyStreaming(Event):
    """A reply is being streamed; `text` is the end of the text so far.

    Only live screens receive it: it is never written to a log or by `--json`, so it is not in `KINDS`.
    """

    agent: str
    segment: str
    model: str
    text: str


@dataclass(frozen=True)
class AgentSpoke(Event):
    """One reply of one agent about one segment; `cost` in the currency of the configured prices.

    `work` names the question, `request` counts the requests that were sent for it, from 1; it is 0 for an answer from
    the cache. `charged`: it counts as a call.
    """

    agent: str
    segment: str
    model: str
    text: str
    cached: bool
    prompt_tokens: int
    completion_tokens: int
    seconds: Number
    verdict: str
    cost: Number = 0.0
    charged: bool = True
    work: str = ""
    request: int = 0


@dataclass(frozen=True)
class AdviceDecided(Event):
    """A suggestion was accepted, sent back, rejected or dropped, or the advisor would leave a state as it is.

    Then `decision` is `leave`, `action` the one that was taken, and `hold` 0. `gain` is the measured gain, `low` and
    `high` its interval, `pairs` the number of paired rollouts. `work` names the suggestion.
    """

    segment: str
    step: int
    action: str
    hold: int
    decision: str
    reason: str
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    work: str = ""


@dataclass(frozen=True)
class RulesShown(Event):
    """Sets of rules go into their test, or one comes out of it.

    `rules` are those of the set in words, empty while several are compared; `verdict` is empty during the test, then
    `accepted`, `rejected`, `undecided`, or `untested`; `gain` is the mean of paired episodes, with its interval.
    """

    source: str
    sets: int
    rules: tuple[str, ...] = ()
    verdict: str = ""
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0


@dataclass(frozen=True)
class RulesDecided(Event):
    """A set of rules was accepted, sent back or rejected by those who write it, before it is tested among others.

    `segment` names the episode that it came of (`2:rules`), `attempt` counts the sets written there from 1, `rules` is
    how many rules it has; `gain` per episode, `low`, `high` and `pairs` are those of a short test. `work` names
    the set.
    """

    segment: str
    attempt: int
    rules: int
    decision: str
    reason: str
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    work: str = ""


@dataclass(frozen=True)
class StateShown(Event):
    """The state a decision was about, drawn from the stored simulator state: no environment step is taken for it.

    `pixels` is a picture of `width` x `height` pixels, empty where the environment draws none: base64 of zlib of one
    byte, the number of colours less one; the colours, three bytes each; one byte per pixel, rows from the top.
    `series` holds the matching features of the steps from `first` on, one row per feature, for sparklines. `taken` is
    what the policy did at `step`.
    """

    segment: str
    step: int
    taken: str
    width: int = 0
    height: int = 0
    pixels: str = ""
    first: int = 0
    series: tuple[tuple[Number, ...], ...] = ()


@dataclass(frozen=True)
class StepsSpent(Event):
    """Environment steps were taken for `purpose`: `collect|effects|tools|search|test|rules|joint|imitate|table|...`.

    `work` names what they were taken for: an episode, a suggestion, a method. Those of refining are in
    `TrainingProgress`.
    """

    purpose: str
    steps: int
    work: str = ""


@dataclass(frozen=True)
class RunPaused(Event):
    """The user paused the run: nothing new is begun until `RunContinued`."""


@dataclass(frozen=True)
class RunContinued(Event):
    """The user continued the run."""


@dataclass(frozen=True)
class Dropped(Event):
    """A reply, state or suggestion was dropped; displays count the reasons.

    `work` names what was dropped within its segment.
    """

    stage: str
    reason: str
    segment: str
    detail: str = ""
    work: str = ""


@dataclass(frozen=True)
class TrainingProgress(Event):
    """One update of one method."""

    method: str
    steps: int
    total: int
    metrics: dict[str, Number] = field(default_factory=dict)


@dataclass(frozen=True)
class Evaluated(Event):
    """A policy was scored without modulation; `returns` one per episode, `purpose` `before|curve|last|best`."""

    method: str
    steps: int
    purpose: str
    returns: tuple[Number, ...]


@dataclass(frozen=True)
class Warned(Event):
    """A warning for the user; the run goes on."""

    text: str


@dataclass(frozen=True)
class RunFinished(Event):
    """The run ended; `status` is `finished`, `interrupted`, `budget` or `failed`."""

    status: str
    seconds: Number
    summary: str
    report: str = ""


@dataclass(frozen=True)
class CellChanged(Event):
    """A cell of a comparison is `running`, `finished`, `stopped` or `failed`, or `waiting` again.

    `note` is its return or its error.
    """

    task: str
    method: str
    seed: int
    status: str
    note: str = ""


Emit: TypeAlias = Callable[[Event], None]
"""Receives events; called from any thread, never raises."""
EmitStreaming: TypeAlias = Callable[[ReplyStreaming], None]
"""Receives replies while they are streamed; otherwise as `Emit`."""


def ignore(event: Event) -> None:
    """An `Emit` that discards events."""


KINDS: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (
        RunStarted, RunForked, RunPaused, RunContinued, RunFinished, RefiningSettled, StageStarted, StageProgress,
        StageFinished, AgentAsked, AgentSpoke, AdviceDecided, RulesDecided, RulesShown, StateShown, StepsSpent,
        Dropped, TrainingProgress, Evaluated, Warned, CellChanged,
    )
}  # fmt: skip
"""Every event that is written to logs, by its name in JSON."""


def from_json(row: Mapping[str, Any]) -> Event | None:
    """The event that `to_json` wrote as `row`; None for one this version cannot read.

    Unknown fields are ignored; halves of surrogate pairs, which other versions may have written, become valid text.
    """
    try:
        return _reader().validate_python(valid_json(dict(row)))
    except (ValidationError, OverflowError):
        return None


@cache
def _reader() -> TypeAdapter[Event]:
    """Reads an event of the class that `event` names."""
    kinds: Any = Union[tuple(Annotated[kind, Tag(name)] for name, kind in KINDS.items())]  # noqa: UP007 - a tuple
    return TypeAdapter(Annotated[kinds, Discriminator(lambda row: row.get("event"))])


class _WithoutTitles(GenerateJsonSchema):
    """A title that repeats the field's name says nothing."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


_TIME = {"type": "number", "description": "Seconds since the epoch, in `events.jsonl` and `ultra watch --json`."}
_RUN = {"type": "string", "description": "Whose event it is, where `ultra watch --json` is given several runs."}


def schema() -> dict[str, Any]:
    """JSON schema of one line of `ultra run --json`, `ultra compare --json` and `events.jsonl`.

    Numbers that are not finite are null.
    """
    kinds: dict[str, Any] = {}
    for name, kind in KINDS.items():
        one = TypeAdapter(kind).json_schema(schema_generator=_WithoutTitles)
        kinds[name] = {
            "type": "object",
            "description": " ".join((kind.__doc__ or "").split()),
            "properties": {"event": {"const": name}, **one.get("properties", {}), "time": _TIME, "run": _RUN},
            "required": ["event", *one.get("required", [])],
            "additionalProperties": False,
        }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One event of an ultra-agents run",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name in kinds],
        "$defs": kinds,
    }
