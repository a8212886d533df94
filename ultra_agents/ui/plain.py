"""One line per event: for logs, pipes and terminals without a cursor. The format is stable, for grep.

`[elapsed] word subject ...` with word one of `run refine stage agent advice rules drop train eval warning note`.
Progress is throttled: a line per stage for every further tenth, or after `LATE_S` seconds.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import IO

from ultra_agents.events import (
    AdviceDecided,
    AgentSpoke,
    Dropped,
    Evaluated,
    Event,
    RefiningSettled,
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
    TrainingProgress,
    Warned,
)
from ultra_agents.text import clean, counted
from ultra_agents.ui.counting import decision_of
from ultra_agents.ui.panels.advice import rules_words
from ultra_agents.ui.run_state import RunState, reduce
from ultra_agents.ui.text import about, clock, prose, score, took

TENTH, SOON_S, LATE_S = 0.1, 2.0, 15.0
"""A progress line is due after `TENTH` of the work and `SOON_S` seconds, or after `LATE_S` seconds."""


class PlainDisplay:
    """Writes lines to `stream`.

    Args:
        stream: Where to.
        now: A steady clock in seconds.
        state: The state when this display replaces another one, on the same clock.
        note: Printed at the start: why lines are shown and no screen.
        prefix: Begins every line: the run's name, where several runs are shown.
    """

    def __init__(
        self,
        stream: IO[str],
        now: Callable[[], float] = time.monotonic,
        state: RunState | None = None,
        note: str = "",
        prefix: str = "",
    ) -> None:
        self.stream = stream
        self.now = now
        self.note = note
        self.prefix = prefix
        self._state = state or RunState()
        self._last: dict[str, tuple[float, float]] = {}

    def start(self) -> None:
        """Print the note, if there is one."""
        if self.note:
            self.stream.write(f"[0:00] note    {self.note}; lines instead\n")
            self.stream.flush()

    def stop(self) -> None:
        """Does nothing."""

    def handle(self, event: Event) -> None:
        """Write the event's line, if it has one."""
        now = self.now()
        self._state = reduce(self._state, event, now)
        text = self._line(event, now)
        if text is not None:
            self.stream.write(f"{self.prefix}[{clock(self._state.elapsed(now))}] {text}\n")
            self.stream.flush()

    def _line(self, event: Event, now: float) -> str | None:
        match event:
            case RunStarted(name=name, folder=folder, config_hash=config, resumed=resumed):
                began = "resumed" if resumed else "started"
                return f"run     {clean(name)} {began} in {clean(folder)} (config {clean(config)})"
            case RunForked(words=words, shared=shared, paid=paid):
                taken = clean(", ".join(shared)) or "nothing"
                return f"run     {clean(words)}; shared: {taken} (paid there: {clean(paid)})"
            case RefiningSettled(words=words):
                return f"refine  with {clean(words)}"
            case StageStarted(stage=stage, title=title):
                self._last[stage] = (0.0, now)
                return f"stage   {clean(stage)} started: {clean(title)}"
            case StageProgress(stage=stage, done=done, total=total, note=note):
                return self._progress("stage", stage, done, total, note, now)
            case StageFinished(stage=stage, seconds=seconds, summary=summary):
                return f"stage   {clean(stage)} finished in {took(seconds)}" + (
                    f": {clean(summary)}" if summary else ""
                )
            case AgentSpoke():
                source = "cache" if event.cached else took(event.seconds)
                return (
                    f"agent   {clean(event.agent)} [{clean(event.model, 60)}] {clean(event.segment)} "
                    f"{clean(event.verdict) or 'ok'} ({source}): {clean(prose(event.text), 160)}"
                )
            case AdviceDecided():
                return (
                    f"advice  {clean(event.decision)} {clean(event.segment)} step {event.step} {clean(event.action)} "
                    f"{f'x{event.hold}' if event.hold else 'as it is'}{_gained(event)}: {clean(event.reason, 160)}"
                )
            case RulesDecided():
                return (
                    f"rules   {clean(decision_of(event))} {clean(event.segment)} attempt {event.attempt} "
                    f"{counted(event.rules, 'rule')}{_gained(event)}: {clean(event.reason, 160)}"
                )
            case RulesShown():
                return f"rules   {rules_words(event)}" + "".join(f"; {clean(one, 160)}" for one in event.rules)
            case Dropped(stage=stage, reason=reason, segment=segment, detail=detail):
                more = f": {clean(detail, 160)}" if detail else ""
                return f"drop    {clean(stage)} {clean(segment)} {clean(reason)}{more}"
            case TrainingProgress(method=method, steps=steps, total=total, metrics=metrics):
                mean = metrics.get("return_mean", math.nan)
                note = f"return {score(mean)}" if math.isfinite(mean) else ""
                return self._progress("train", method, steps, total, note, now)
            case Evaluated(method=method, steps=steps, purpose=purpose):
                found = self._state.scores.get(method, {}).get(purpose)
                if found is None:
                    return None
                error = "" if math.isnan(found.error) else f" +- {score(found.error)}"
                value = f"{score(found.mean)}{error} ({counted(found.episodes, 'episode')})"
                return f"eval    {clean(method)} {purpose} at {steps:,}: {value}"
            case RunPaused():
                return "run     paused"
            case RunContinued():
                return "run     continued"
            case Warned(text=text):
                return f"warning {clean(text)}"
            case RunFinished(status=status, seconds=seconds, summary=summary, report=report):
                told = f": {clean(summary)}" if summary else ""
                return f"run     {clean(status)} after {took(seconds)}{told}" + (
                    f" (report {clean(report)})" if report else ""
                )
        return None

    def _progress(self, word: str, name: str, done: int, total: int, note: str, now: float) -> str | None:
        """A progress line if one is due (module docstring)."""
        share = done / total if total > 0 else 0.0
        before, at = self._last.get(name, (0.0, -math.inf))
        if share < before:  # restarted
            before = 0.0
        due = (share - before >= TENTH and now - at >= SOON_S) or now - at >= LATE_S
        if not due or share >= 1:
            return None
        self._last[name] = (share, now)
        left = about(self._state.left(now))
        parts = [
            f"{word:<7} {clean(name)} {done:,}/{total:,} {share:.0%}",
            clean(note, 80),
            f"about {left} left in all",
        ]
        return ", ".join(part for part in (parts if left else parts[:2]) if part)


def _gained(event: AdviceDecided | RulesDecided) -> str:
    """The measured gain with its interval, where there is one."""
    gain = "" if event.gain is None else f" gain {event.gain:+.2f}"
    return gain if event.low is None or event.high is None else f"{gain} [{event.low:+.2f}, {event.high:+.2f}]"
