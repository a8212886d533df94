"""What a screen shows of a run, as an immutable value: `reduce(state, event, now)` returns the next one.

`reduce` is pure, so the drawing thread needs no lock: it reads the current state. The size of a state is bounded,
whatever events arrive.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean, stdev
from typing import Literal, TypeAlias, TypeVar

from ultra_agents.events import (
    AdviceDecided,
    AgentAsked,
    AgentSpoke,
    Dropped,
    Evaluated,
    Event,
    RefiningSettled,
    ReplyStreaming,
    RulesDecided,
    RulesShown,
    RunContinued,
    RunFinished,
    RunForked,
    RunPaused,
    RunStarted,
    StageFinished,
    StageProgress,
    StageStarted,
    StateShown,
    StepsSpent,
    TrainingProgress,
    Warned,
)
from ultra_agents.records import Usage
from ultra_agents.ui.counting import Counted, Seen, decision_of, first_time, usage_of
from ultra_agents.ui.intervals import half_width

K = TypeVar("K")
V = TypeVar("V")
P = TypeVar("P", bound=tuple[float, ...])
Status: TypeAlias = Literal["waiting", "running", "done", "kept", "stopped"]

MESSAGES, ADVICE, WARNINGS, KEYS, POINTS, TEXT, PENDING, SHOWN = 200, 200, 20, 40, 400, 2000, 16, 8
"""Upper bounds of what a state keeps: agent messages, decisions, warnings, keys of a counter, points of a curve,
characters of a text, pending requests, pictures."""
EARLY = 0.1
"""Share of a run before which its time left is not reckoned: the first stages say little of the others."""
Point: TypeAlias = tuple[int, float, float]
"""Steps, mean return, half the width of its 95 % interval (NaN where there is none)."""


@dataclass(frozen=True)
class StageState:
    """One stage of the pipeline.

    Attributes:
        name: The stage, as events call it.
        share: Its share of the expected time.
        status: `kept`: finished before this run was resumed.
        started: When it started, on the caller's clock in seconds.
        seconds: How long it took, once finished.
    """

    name: str
    share: float = 0.0
    status: Status = "waiting"
    title: str = ""
    done: int = 0
    total: int = 0
    unit: str = ""
    note: str = ""
    started: float = 0.0
    seconds: float = 0.0
    summary: str = ""

    @property
    def fraction(self) -> float:
        """The finished share, in [0, 1]."""
        if self.status in ("done", "kept"):
            return 1.0
        return min(max(self.done / self.total, 0.0), 1.0) if self.total > 0 else 0.0

    def left(self, now: float) -> float | None:
        """Expected seconds to its end; None while there is no estimate."""
        if self.status != "running" or not 0.02 <= self.fraction < 1 or now <= self.started:
            return None
        return (now - self.started) * (1 - self.fraction) / self.fraction


@dataclass(frozen=True)
class PendingRequest:
    """A model request without a reply: when it was sent, on the caller's clock in seconds, and the text so far."""

    agent: str
    segment: str
    model: str
    since: float
    text: str = ""


@dataclass(frozen=True)
class MeanReturn:
    """Returns of one evaluation: mean, its standard error (NaN for one episode), episodes, steps of refinement."""

    mean: float
    error: float
    episodes: int
    steps: int


@dataclass(frozen=True)
class RunState:
    """Everything a screen shows of a run.

    Attributes:
        started: When the run (or this part of it) started, on the caller's clock in seconds.
        ended: When it ended, None while it runs.
        rules: The newest word on rules: what is under test, or what came of it.
        decisions: Count of suggestions by decision (`accept`, `revise`, `reject`, ...).
        drops: Count of dropped items by reason.
        scores: `method -> purpose -> MeanReturn`, purpose `before`, `last`, `best`, `with rules` or `curve` (newest).
        curves: `method -> (Point, ...)` from unmodulated evaluations.
        training: `method -> ((steps, mean return), ...)` of training episodes.
        steps: `method -> (steps, total)` of refinement.
        pending: Model requests without a reply.
        shown: The environment states of the newest decisions.
        spent: Environment steps by purpose, without those of refining.
        paused: When the user paused the run, on the caller's clock; None while it runs.
        status: `starting`, `running`, or what `RunFinished` said.
        colours: Places of the methods in the palette.
        settings: What every method refines with, in words.
        counted: The pieces of work that were counted.
        parent: Of a fork, the run it comes from; empty of any other.
        forked: From where on, and what changed, in words.
        inherited: What the stages it shares cost there, in words.
    """

    name: str = ""
    folder: str = ""
    resumed: bool = False
    started: float = 0.0
    ended: float | None = None
    stages: tuple[StageState, ...] = ()
    messages: tuple[AgentSpoke, ...] = ()
    advice: tuple[AdviceDecided | RulesDecided, ...] = ()
    rules: RulesShown | None = None
    decisions: Mapping[str, int] = field(default_factory=dict)
    drops: Mapping[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    scores: Mapping[str, Mapping[str, MeanReturn]] = field(default_factory=dict)
    curves: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)
    training: Mapping[str, tuple[tuple[int, float], ...]] = field(default_factory=dict)
    steps: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    pending: tuple[PendingRequest, ...] = ()
    shown: tuple[StateShown, ...] = ()
    spent: Mapping[str, int] = field(default_factory=dict)
    paused: float | None = None
    warnings: tuple[str, ...] = ()
    status: str = "starting"
    summary: str = ""
    report: str = ""
    colours: Mapping[str, int] = field(default_factory=dict)
    settings: str = ""
    counted: Seen = field(default_factory=dict, repr=False)
    parent: str = ""
    forked: str = ""
    inherited: str = ""

    def elapsed(self, now: float) -> float:
        """Seconds since the start, up to the end, without pauses."""
        if self.status == "starting":
            return 0.0
        return max((self.moment(now) if self.ended is None else self.ended) - self.started, 0.0)

    def moment(self, now: float) -> float:
        """`now`, or when the run was paused: the time that clocks show."""
        return now if self.paused is None else self.paused

    def left(self, now: float) -> float | None:
        """Expected seconds to the end of the run: elapsed time over the share done, None while it is too early."""
        unkept = [stage for stage in self.stages if stage.status != "kept"]
        whole, done = _shares(unkept)
        if self.ended is not None or whole <= 0 or done / whole < EARLY or self.elapsed(now) < 2:
            return None
        return self.elapsed(now) * (whole - done) / done

    @property
    def fraction(self) -> float:
        """The finished share of the run, its stages weighted by their shares, in [0, 1]."""
        whole, done = _shares(self.stages)
        return done / whole if whole > 0 else 0.0

    @property
    def current(self) -> StageState | None:
        """The stage that runs now, the latest started if several do."""
        running = [stage for stage in self.stages if stage.status == "running"]
        return max(running, key=lambda stage: stage.started) if running else None

    @property
    def pictured(self) -> bool:
        """Whether states that advice is about are shown, or may still be: only moves are about single states."""
        return bool(self.shown) or not self.stages or any(stage.name == "explain" for stage in self.stages)

    @property
    def ends(self) -> tuple[MeanReturn, ...]:
        """By method that was scored at its end: what acts there, its rules in force where there are any."""
        found = [one.get("with rules") or one.get("last") for one in self.scores.values()]
        return tuple(one for one in found if one is not None)

    @property
    def before(self) -> MeanReturn | None:
        """The starting policy's returns, whichever method they were reported under."""
        return next((purposes["before"] for purposes in self.scores.values() if "before" in purposes), None)


def _shares(stages: Iterable[StageState]) -> tuple[float, float]:
    """Shares of the expected time: of all stages, and of what is finished of them."""
    rows = [(stage.share, stage.share * stage.fraction) for stage in stages]
    return sum(share for share, _ in rows), sum(done for _, done in rows)


def reduce(state: RunState, event: Event, now: float) -> RunState:
    """The state after `event`, which arrived at `now` (seconds on any steady clock).

    Unknown events change nothing; work that was counted in an earlier part of a resumed run counts nothing.
    """
    if isinstance(event, Counted):
        if isinstance(event, AgentSpoke):
            state = replace(state, pending=_without(state.pending, event))
        if (counted := first_time(state.counted, event)) is None:
            return state
        state = replace(state, counted=counted)
    match event:
        case RunStarted():
            stages = tuple(StageState(name, max(share, 0.0)) for name, share in event.stages)
            return replace(
                state, name=event.name, folder=event.folder, resumed=event.resumed, started=now, ended=None,
                stages=stages, status="running", summary="", report="", pending=(), paused=None,
                colours=dict(event.colours),
            )  # fmt: skip
        case RunForked():
            return replace(state, parent=event.parent[:TEXT], forked=event.words[:TEXT], inherited=event.paid[:TEXT])
        case RefiningSettled():
            return replace(state, settings=event.words[:TEXT])
        case RunPaused():
            return replace(state, paused=now if state.paused is None else state.paused)
        case RunContinued():
            return _continued(state, now)
        case StageStarted():
            return _start(state, event, now)
        case StageProgress():
            return _stage(state, event.stage, done=event.done, total=event.total, note=event.note[:TEXT])
        case StageFinished():
            status = "kept" if event.seconds == 0 and event.summary == "already done" else "done"
            return _stage(state, event.stage, status=status, seconds=event.seconds, summary=event.summary[:TEXT])
        case AgentAsked():
            request = PendingRequest(event.agent[:TEXT], event.segment[:TEXT], event.model[:TEXT], now)
            return replace(state, pending=(*state.pending, request)[-PENDING:])
        case ReplyStreaming():
            return _streamed(state, event, now)
        case AgentSpoke():
            short = replace(event, text=event.text[:TEXT])
            return replace(state, messages=(*state.messages, short)[-MESSAGES:], usage=state.usage + usage_of(event))
        case RulesShown():
            return replace(state, rules=event)
        case StateShown():
            others = tuple(one for one in state.shown if (one.segment, one.step) != (event.segment, event.step))
            return replace(state, shown=(*others, event)[-SHOWN:])
        case StepsSpent():
            return replace(
                state, spent=_put(state.spent, event.purpose, state.spent.get(event.purpose, 0) + event.steps)
            )
        case AdviceDecided() | RulesDecided():
            short_advice = replace(event, reason=event.reason[:TEXT])
            return replace(
                state,
                advice=(*state.advice, short_advice)[-ADVICE:],
                decisions=_counted(state.decisions, decision_of(event)),
            )
        case Dropped():
            return replace(state, drops=_counted(state.drops, f"{event.stage}: {event.reason}"))
        case TrainingProgress():
            return _trained(state, event)
        case Evaluated():
            return _evaluated(state, event)
        case Warned():
            return replace(state, warnings=(*state.warnings, event.text[:TEXT])[-WARNINGS:])
        case RunFinished():
            state = _continued(state, now)
            stages = tuple(replace(s, status="stopped") if s.status == "running" else s for s in state.stages)
            began = now if state.status == "starting" else state.started  # it may fail before it started
            return replace(
                state, status=event.status, started=began, ended=now, summary=event.summary, report=event.report,
                stages=stages, pending=(),
            )  # fmt: skip
    return state


def _start(state: RunState, event: StageStarted, now: float) -> RunState:
    if all(stage.name != event.stage for stage in state.stages):
        state = replace(state, stages=(*state.stages, StageState(event.stage))[-KEYS:])
    return _stage(
        state, event.stage, status="running", title=event.title, total=event.total, done=0, unit=event.unit,
        started=now, note="", summary="",
    )  # fmt: skip


def _stage(state: RunState, name: str, **changes: object) -> RunState:
    return replace(
        state,
        stages=tuple(replace(s, **changes) if s.name == name else s for s in state.stages),  # type: ignore[arg-type]
    )


def _without(pending: tuple[PendingRequest, ...], event: AgentSpoke) -> tuple[PendingRequest, ...]:
    """`pending` without the oldest request that `event` may be the reply to."""
    index = _request_of(pending, event)
    return pending if index is None else pending[:index] + pending[index + 1 :]


def _request_of(pending: tuple[PendingRequest, ...], event: AgentSpoke | ReplyStreaming) -> int | None:
    """Index in `pending` of the oldest request that `event` may be the reply to."""
    wanted = event.agent[:TEXT], event.segment[:TEXT], event.model[:TEXT]
    return next((i for i, one in enumerate(pending) if (one.agent, one.segment, one.model) == wanted), None)


def _streamed(state: RunState, event: ReplyStreaming, now: float) -> RunState:
    """The state with the text streamed so far; a request that is retried after a failure is added again here."""
    if state.ended is not None:
        return state
    pending, index = state.pending, _request_of(state.pending, event)
    if index is None:
        if len(pending) >= PENDING:
            return state
        index = len(pending)
        pending += (PendingRequest(event.agent[:TEXT], event.segment[:TEXT], event.model[:TEXT], now),)
    streamed = replace(pending[index], text=event.text[-TEXT:])
    return replace(state, pending=(*pending[:index], streamed, *pending[index + 1 :]))


def _continued(state: RunState, now: float) -> RunState:
    """The state after a pause: all start times are moved by its length."""
    if state.paused is None:
        return state
    gap = max(now - state.paused, 0.0)
    stages = tuple(replace(one, started=one.started + gap) for one in state.stages)
    pending = tuple(replace(one, since=one.since + gap) for one in state.pending)
    return replace(state, started=state.started + gap, stages=stages, pending=pending, paused=None)


def _trained(state: RunState, event: TrainingProgress) -> RunState:
    state = replace(state, steps=_put(state.steps, event.method, (event.steps, event.total)))
    for stage in state.stages:
        if stage.status == "running" and stage.name in (event.method, f"refine {event.method}"):
            state = _stage(state, stage.name, done=event.steps, total=event.total, unit="steps")
    value = event.metrics.get("return_mean", math.nan)
    if not math.isfinite(value):
        return state
    return replace(state, training=_put(state.training, event.method, _with_point(
        state.training.get(event.method, ()), (event.steps, value))))  # fmt: skip


def _evaluated(state: RunState, event: Evaluated) -> RunState:
    values = [value for value in event.returns if math.isfinite(value)]
    if not values:
        return state
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    found = MeanReturn(fmean(values), error, len(values), event.steps)
    purposes = {**state.scores.get(event.method, {}), event.purpose: found}
    state = replace(state, scores=_put(state.scores, event.method, purposes))
    if event.purpose == "curve":
        wide = half_width(error, len(values))
        points = _with_point(state.curves.get(event.method, ()), (event.steps, found.mean, wide))
        state = replace(state, curves=_put(state.curves, event.method, points))
    return state


def _with_point(points: tuple[P, ...], point: P) -> tuple[P, ...]:
    """The points before `point`, and it (a resumed run repeats some); every second one is dropped when too many."""
    kept = tuple(one for one in points[-8:] if one[0] < point[0])
    points = (*points[:-8], *kept, point)
    return points[::2] + points[-1:] if len(points) > POINTS else points


def _counted(counts: Mapping[str, int], key: str) -> Mapping[str, int]:
    key = key if key in counts or len(counts) < KEYS else "other"
    return {**counts, key: counts.get(key, 0) + 1}


def _put(mapping: Mapping[K, V], key: K, value: V) -> Mapping[K, V]:
    if key not in mapping and len(mapping) >= KEYS:
        return mapping
    return {**mapping, key: value}
