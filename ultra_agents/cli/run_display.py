"""Run or resume one folder: lock it, show it, and leave a sensible last word whatever happens."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ultra_agents.cli.plugin_output import plugins_print_to
from ultra_agents.errors import ApprovalNeeded, BudgetReached, Interrupted, UltraError
from ultra_agents.events import RunFinished, Warned

if TYPE_CHECKING:
    from rich.console import Console

    from ultra_agents.config import Config
    from ultra_agents.runs import RunFolder
    from ultra_agents.ui.display import Mode


OUTPUT = "output.log"
"""What plugins print in a run, in its folder."""


def display_mode(plain: bool, json: bool) -> Mode:
    """`--plain` and `--json` as one mode.

    Raises:
        typer.BadParameter: Both are given.
    """
    if plain and json:
        import typer

        raise typer.BadParameter("--plain and --json exclude each other")
    return "json" if json else "plain" if plain else "auto"


def execute(
    folder: RunFolder,
    mode: Mode,
    until: Literal["measure"] | None = None,
    console: Console | None = None,
    approve: str | None = None,
) -> None:
    """Run the pipeline on `folder` until it ends or is stopped.

    Args:
        folder: The run.
        mode: How it is shown.
        until: The last stage to run, where not all are wanted.
        console: Where it is shown; standard output by default.
        approve: What is said to suggestions that held, where a person is to say something: `all`, `none`, or those
            to say yes to; None asks, on a terminal.

    Raises:
        UltraError: What stopped it, with how to go on.
        Crashed: A defect; its traceback is in the folder.
        KeyboardInterrupt: A second Ctrl-C.
    """
    from ultra_agents.cli.console import out

    console = console or out()
    while True:
        try:
            with plugins_print_to(folder.path / OUTPUT) as shown:
                console.file = shown[console.stderr]
                _execute(folder, mode, until, console)
            return
        except ApprovalNeeded as error:
            from ultra_agents.cli.approval import answer

            if not answer(folder, error, approve, mode):
                raise
            approve = approve if approve in ("all", "none") else None  # a list is an answer to what waited


def _execute(folder: RunFolder, mode: Mode, until: Literal["measure"] | None, console: Console) -> None:
    from ultra_agents.cli.error_output import Crashed, write_crash
    from ultra_agents.cli.event_dispatcher import EventDispatcher
    from ultra_agents.cli.run_control import RunControl
    from ultra_agents.runs import read_lines
    from ultra_agents.ui.display import choose_display
    from ultra_agents.ui.history import past_events
    from ultra_agents.ui.summary import summary

    again = f"ultra {'explain' if until else 'resume'} {shlex.quote(str(folder.path))}"
    began = time.monotonic()
    with folder.lock():
        past = list(past_events(read_lines(folder.events)))
        stop = RunControl()
        shown = choose_display(mode, console, past, None, stop)
        with EventDispatcher(folder, shown, past) as emit, stop:
            stop.notice, stop.emit = emit.notice, emit

            def ended(status: str, why: str) -> None:
                if not emit.finished:
                    emit(RunFinished(status, time.monotonic() - began, why))

            try:
                if folder.config_changed:
                    emit(Warned(f"{folder.config_path} was changed; finished stages keep the results they have"))
                from ultra_agents.pipeline import run_pipeline

                run_pipeline(folder, folder.config, emit, stop, until, emit.emit_streaming)
            except UltraError as error:
                status = {Interrupted: "interrupted", BudgetReached: "budget", ApprovalNeeded: "waiting"}.get(
                    type(error), "failed"
                )
                ended(status, error.problem)
                raise _with_next_step(error, again) from error
            except KeyboardInterrupt:
                ended("interrupted", "stopped at once")
                raise Interrupted("stopped at once; finished stages are kept", hint=again) from None
            except Exception as error:
                ended("failed", f"{type(error).__name__}: {error}")
                raise Crashed(write_crash(error, folder.path), error) from error
    if mode != "json":
        console.print(summary(emit.state, time.monotonic()))


def _with_next_step(error: UltraError, again: str) -> UltraError:
    """The same error, saying how to go on where it is a pause rather than a fault."""
    if isinstance(error, Interrupted):
        return Interrupted(error.problem, found=error.found, hint=again)
    if isinstance(error, ApprovalNeeded):
        resume = f"ultra resume {again.split(' ', 2)[2]} --approve"
        hint = f"{again}   asks you on a terminal; without one: {resume} all, none, or a list of those to say yes to"
        return ApprovalNeeded(error.problem, questions=error.questions, found=error.found, hint=hint)
    if isinstance(error, BudgetReached):
        resume = f"ultra resume {again.split(' ', 2)[2]}"  # the only command that takes a higher cap
        hint = error.hint or "raise the cap and go on: ultra resume RUN --set gateway.budget.calls=MORE"
        hint = hint.replace("ultra resume RUN", resume)
        return BudgetReached(error.problem, found=error.found, expected=error.expected, hint=hint)
    return error


@plugins_print_to(Path(os.devnull))  # a run prints it again, into its log
def preflight(config: Config) -> None:
    """Refuse what cannot work, so that a typing error leaves no run folder behind; raises an `UltraError`."""
    from ultra_agents.stages.check import check_run
    from ultra_agents.ui.trackers import check_trackers

    check_trackers(config.trackers)
    check_run(config)


def find_folder(run: str, runs: Path) -> Path:
    """The folder a person means by `run`: a path, or a name below `runs`."""
    given = Path(run)
    below = runs / run
    return below if not given.exists() and below.is_dir() else given
