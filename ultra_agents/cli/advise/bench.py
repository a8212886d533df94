"""A run folder opened to test advice in: its environment, policy and findings, and the way back into the folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ultra_agents.cli.plugin_output import plugins_print_to
from ultra_agents.cli.run_display import OUTPUT
from ultra_agents.errors import Interrupted, RunError
from ultra_agents.events import Event
from ultra_agents.records import HUMAN
from ultra_agents.runs import RunFolder
from ultra_agents.stages import human, human_rules

if TYPE_CHECKING:
    from rich.console import Console

    from ultra_agents.records import Suggestion
    from ultra_agents.stages import Findings, RunContext


@dataclass
class Bench:
    """A run in which advice is tested.

    Attributes:
        context: The run with its starting policy.
        findings: What is known of it; kept advice is in it.
        dry: Nothing is kept.
        workers: Processes that play; None: as the run is configured.
        kept: In words, what was done with the last advice.
    """

    context: RunContext
    findings: Findings
    dry: bool
    workers: int | None = None
    kept: str = field(default="", init=False)

    @property
    def folder(self) -> RunFolder:
        """The run's."""
        return self.context.folder

    def read_moves(self, episode: int, step: int, text: str) -> Suggestion:
        """As `stages.human.read_moves`."""
        return human.read_moves(self.context, self.findings, episode, step, text)

    def try_moves(
        self, episode: int, step: int, text: str, why: str = "", progress: human.Progress = lambda what, steps: None
    ) -> human.MovesTried:
        """Test moves, and keep them unless this is a dry test or they are there already.

        Raises:
            UltraError: They cannot be tested or kept; nothing has changed then.
        """
        if not self.dry:
            human.check_takes(self.folder, rules=False)
        suggestion = self.read_moves(episode, step, text)
        with _stopped():
            tried = human.try_moves(
                self.context, self.findings, suggestion, why, workers=self.workers, progress=progress
            )
        if tried.known:
            whose = "you" if tried.source == HUMAN else f"the run's own proposer ({tried.source})"
            self.kept = f"tested before, suggested by {whose}: shown again, nothing was played or charged"
        elif self.dry:
            self.kept = "not kept: --dry only tests; nothing was charged"
        else:
            self.findings = human.keep_moves(self.context, self.findings, tried)
            self.kept = self._moves_kept(tried)
        return tried

    def try_rules(
        self, file: Path, why: str = "", progress: human.Progress = lambda what, steps: None
    ) -> human_rules.RulesTried:
        """Test rules; as `try_moves`."""
        if not self.dry:
            human.check_takes(self.folder, rules=True)
        rules = human_rules.read_rules_file(self.context, file)
        with _stopped():
            tried = human_rules.try_rules(
                self.context, self.findings, rules, why, workers=self.workers, progress=progress
            )
        if tried.known:
            whose = "you" if tried.proposal.source == HUMAN else f"this run ({tried.proposal.source})"
            self.kept = f"tested before, proposed by {whose}: shown again, nothing was played or charged"
        elif self.dry:
            self.kept = "not kept: --dry only tests; nothing was charged"
        else:
            self.findings, told = human_rules.keep_rules(self.context, self.findings, tried)
            self.kept = f"kept: {told}; {self._next()}"
        return tried

    def _moves_kept(self, tried: human.MovesTried) -> str:
        """What became of moves that were kept."""
        if tried.case.fate != "accepted":
            return "kept as refused: it does not act, and is in the report"
        rows = [row for row in self.findings.advice if (row.episode, row.step) == _place(tried)]
        if rows and rows[0].plan != tried.attempt.plan:
            return f"kept: it holds, but {rows[0].plan} gained more at this step and stays in the table"
        rules = self.findings.rules
        if rules is not None and rules.held:
            return "kept: it holds; the run's rules held as well and take the place of its table"
        return f"kept: it holds and is in the run's advice; {self._next()}"

    def _next(self) -> str:
        return f"refine with it: ultra resume {self.folder.path}"


@contextmanager
def open_bench(path: Path, dry: bool, console: Console | None = None, workers: int | None = None) -> Iterator[Bench]:
    """Open a run folder for testing advice; it is held for this process unless this is a dry test.

    Args:
        path: The run folder.
        dry: Nothing is kept: the run may be going on.
        console: Its output goes past what plugins print, which goes to a log; None leaves plugins alone.
        workers: As `Bench` has it.

    Raises:
        RunError: No run, a damaged one, or one that another process holds.
    """
    from ultra_agents.stages import run_context, starting_policy

    folder = RunFolder.open(path)
    human.check_collected(folder)
    with ExitStack() as stack:
        if not dry:
            stack.enter_context(_held(folder))
            folder = RunFolder.open(path)  # as whoever held it before left it
        if console is not None:
            log = Path(os.devnull) if dry else folder.path / OUTPUT
            shown = stack.enter_context(plugins_print_to(log))
            console.file = shown[console.stderr]

        def emit(event: Event) -> None:
            if not dry:
                folder.append_event({**event.to_json(), "time": round(time.time(), 3)})

        context = run_context(folder, folder.config, emit, lambda: False)
        context = context.starting_with(starting_policy(context))
        stack.callback(folder.close)
        yield Bench(context, human.read_findings(context), dry, workers)


@contextmanager
def _held(folder: RunFolder) -> Iterator[None]:
    """The folder's lock; who holds it is told with what can be done meanwhile."""
    with ExitStack() as stack:
        try:
            stack.enter_context(folder.lock())
        except RunError as error:
            more = "; --dry tests meanwhile and keeps nothing"
            raise RunError(
                error.problem, found=error.found, expected=error.expected, hint=(error.hint or "") + more
            ) from error
        yield


@contextmanager
def _stopped() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("stopped; the advice was not kept", hint="run the same command again") from None


def _place(tried: human.MovesTried) -> tuple[int, int]:
    return tried.explanation.segment.episode, tried.case.step
