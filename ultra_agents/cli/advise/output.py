"""What `ultra advise` shows: progress on standard error, then the verdict; and the same as JSON."""

from __future__ import annotations

import threading
from dataclasses import asdict
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.text import Text

from ultra_agents.text import counted, spanned
from ultra_agents.ui.inspect.details import STOPPED
from ultra_agents.ui.inspect.glyphs import interval
from ultra_agents.ui.theme import BAD, DIM, GOOD, WARM

if TYPE_CHECKING:
    from rich.console import Console

    from ultra_agents.cli.advise.bench import Bench
    from ultra_agents.records import RuleAttempt, TestResult
    from ultra_agents.stages.human import MovesTried
    from ultra_agents.stages.human_rules import RulesTried
    from ultra_agents.verification import RuleTest

WIDTH = 44
"""Columns of a drawn interval."""
COLOURS = {"holds": GOOD, "accepted": GOOD, "refuted": BAD, "rejected": BAD, "undecided": WARM}


class Progress:
    """Says what is being tested and how many steps it took: one changing line on a terminal, else a line a purpose.

    Called from several threads.

    Args:
        console: Standard error.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status = console.status("reading the run ...") if console.is_terminal else None
        self._told = ""
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, purpose: str, steps: int) -> None:
        """`steps` environment steps so far; `purpose` is what they are for."""
        words = in_words(purpose)
        with self._lock:
            if self._status is not None:
                self._status.update(f"{words}: {steps:,} environment steps so far (Ctrl-C stops, nothing is kept)")
            elif words != self._told:
                self._told = words
                self.console.print(f"{words}: {steps:,} steps so far", highlight=False, markup=False, soft_wrap=True)


def in_words(purpose: str) -> str:
    """What a test is doing, for people."""
    from ultra_agents.stages.rules import PURPOSES

    return PURPOSES.get(purpose, "paired replays with the moves and without")


def verdict_line(test: TestResult) -> str:
    """The verdict in a line: `holds: +1.25 [+0.50, +2.00] return, 8 paired replays (7 better, 1 worse)`."""
    return (
        f"{test.verdict}: {spanned(test.gain, test.low, test.high)} return, {counted(test.pairs, 'paired replay')} "
        f"({test.better} better, {test.worse} worse)"
    )


def moves_lines(bench: Bench, tried: MovesTried) -> list[Text]:
    """The screen of tested moves."""
    test, plan = tried.test, tried.attempt.plan
    where = f"step {tried.case.step} of episode {tried.explanation.segment.episode}"
    head = Text.assemble((str(plan), "bold"), f", from {where}", (f" (the policy did {tried.case.taken_action})", DIM))
    bar = interval(test, WIDTH)
    rows = [_row("verdict", verdict_line(test), f"bold {COLOURS[test.verdict]}")]
    rows += [Text.assemble("  ", " " * 10, bar)] if bar.plain else []
    rows.append(_row("ended", STOPPED.get(test.stopped, test.stopped)))
    return [head, *rows, _steps(bench, test.env_steps, tried.known), _row("advice", bench.kept)]


def moves_row(bench: Bench, tried: MovesTried) -> dict[str, Any]:
    """The same in JSON types."""
    return {
        "run": bench.folder.name,
        "episode": tried.explanation.segment.episode,
        "step": tried.case.step,
        "taken": tried.case.taken_action,
        "plan": str(tried.attempt.plan),
        "moves": [list(move) for move in tried.attempt.plan.moves],
        "verdict": tried.test.verdict,
        **asdict(tried.test),
        "suggested_by": tried.source,
        **_kept(bench, tried.known),
    }


def _measured(found: RuleAttempt | RuleTest) -> str:
    """The gain of a set of rules, now or when it was tested before."""
    if not found.pairs or found.gain is None or found.low is None or found.high is None:
        return "the budget did not pay for a first look"
    return f"{spanned(found.gain, found.low, found.high)} per episode, {counted(found.pairs, 'paired episode')}"


def rules_lines(bench: Bench, tried: RulesTried) -> list[Text]:
    """The screen of tested rules."""
    test, document = tried.test, tried.rules.document
    head = Text(f"{counted(len(document.rules), 'rule')}, in force over the policy", "bold")
    if test is None:
        one = tried.proposal.attempts[-1]
        rows = [_row("verdict", f"{one.feedback}: {_measured(one)}", f"bold {COLOURS.get(one.feedback, '')}".strip())]
        return [head, *rows, _steps(bench, one.env_steps, True), _row("advice", bench.kept)]
    rows = [_row("verdict", f"{test.verdict}: {_measured(test)}", f"bold {COLOURS[test.verdict]}")]
    if test.pairs:
        rows.append(_row("returns", f"{test.policy_return:,.4g} alone, {test.rules_return:,.4g} with the rules"))
    if test.coverage is not None:
        rows.append(_row("acts at", f"{test.coverage:.1%} of the steps"))
    for index, weight in enumerate(test.weights):
        gone = ", so it was left out" if index in test.dropped else ""
        rows += [] if weight is None else [_row(f"rule {index + 1}", f"brings {weight:+,.4g} per episode{gone}")]
    rows.append(_row("ended", STOPPED.get(test.stopped, test.stopped)))
    return [head, *rows, _steps(bench, test.env_steps, tried.known), _row("advice", bench.kept)]


def rules_row(bench: Bench, tried: RulesTried) -> dict[str, Any]:
    """The same in JSON types."""
    from pydantic import TypeAdapter

    from ultra_agents.verification import RuleTest

    remembered = tried.proposal.attempts[-1] if tried.proposal.attempts else None
    told: dict[str, Any] = {}
    if tried.test is not None:
        told = TypeAdapter(RuleTest).dump_python(tried.test, mode="json")
    elif remembered is not None:
        told = {"verdict": remembered.feedback}
        told |= {name: getattr(remembered, name) for name in ("gain", "low", "high", "pairs", "env_steps")}
    return {
        "run": bench.folder.name,
        "text": tried.proposal.text,
        **told,
        "suggested_by": tried.proposal.source,
        **_kept(bench, tried.known),
    }


def _kept(bench: Bench, known: bool) -> dict[str, Any]:
    return {"known": known, "kept": not (bench.dry or known), "charged": not (bench.dry or known), "told": bench.kept}


def _steps(bench: Bench, steps: int, known: bool) -> Text:
    whose = "paid before" if known else "not charged" if bench.dry else "charged to the methods that use advice"
    return _row("steps", f"{steps:,}, {whose}")


def _row(name: str, told: str, style: str = "") -> Text:
    return Text.assemble((f"  {name:<10}", DIM), (told, style))
