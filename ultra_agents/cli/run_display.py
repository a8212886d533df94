"""Run or resume one folder: lock it, show it, and leave a sensible last word whatever happens."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ultra_agents.cli.plugin_output import plugins_print_to
from ultra_agents.errors import BudgetReached, Interrupted, UltraError
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
    folder: RunFolder, mode: Mode, until: Literal["measure"] | None = None, console: Console | None = None
) -> None:
    """Run the pipeline on `folder` until it ends or is stopped.

    Args:
        folder: The run.
        mode: How it is shown.
        until: The last stage to run, where not all are wanted.
        console: Where it is shown; standard output by default.

    Raises:
        UltraError: What stopped it, with how to go on.
        Crashed: A defect; its traceback is in the folder.
        KeyboardInterrupt: A second Ctrl-C.
    """
    from ultra_agents.cli.console import out

    console = console or out()
    with plugins_print_to(folder.path / OUTPUT) as shown:
        console.file = shown[console.stderr]
        _execute(folder, mode, until, console)


def _execute(folder: RunFolder, mode: Mode, until: Literal["measure"] | None, console: Console) -> None:
    from ultra_agents.cli.broadcast import Broadcast, StopSignal
    from ultra_agents.cli.failure import Crashed, write_crash
    from ultra_agents.runs import read_lines
    from ultra_agents.ui.display import choose_display
    from ultra_agents.ui.history import past_events
    from ultra_agents.ui.summary import summary

    again = f"ultra {'explain' if until else 'resume'} {shlex.quote(str(folder.path))}"
    began = time.monotonic()
    with folder.lock():
        past = list(past_events(read_lines(folder.events)))
        stop = StopSignal()
        shown = choose_display(mode, console, past, None, stop)
        with Broadcast(folder, shown, past) as emit, stop:
            stop.notice, stop.emit = emit.notice, emit

            def ended(status: str, why: str) -> None:
                if not emit.finished:
                    emit(RunFinished(status, time.monotonic() - began, why))

            try:
                if folder.config_changed:
                    emit(Warned(f"{folder.config_path} was changed; finished stages keep the results they have"))
                from ultra_agents.pipeline import run_pipeline

                run_pipeline(folder, folder.config, emit, stop, until, emit.growing)
            except UltraError as error:
                status = {Interrupted: "interrupted", BudgetReached: "budget"}.get(type(error), "failed")
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
    if isinstance(error, BudgetReached):
        resume = f"ultra resume {again.split(' ', 2)[2]}"  # the only command that takes a higher cap
        hint = error.hint or "raise the cap and go on: ultra resume RUN --set gateway.budget.calls=MORE"
        hint = hint.replace("ultra resume RUN", resume)
        return BudgetReached(error.problem, found=error.found, expected=error.expected, hint=hint)
    return error


@plugins_print_to(Path(os.devnull))  # a run prints it again, into its log
def preflight(config: Config) -> None:
    """Build every plugin the configuration names, so that a typing error leaves no run folder behind.

    Raises:
        UltraError: Unknown plugin, unusable options, a method that lacks something, no policy there, a cap on money
            without prices.
    """
    from ultra_agents.config import variant_of
    from ultra_agents.contracts import capabilities
    from ultra_agents.errors import ConfigError, PolicyError, did_you_mean
    from ultra_agents.llm.price_check import check_prices
    from ultra_agents.methods import check_methods
    from ultra_agents.registry import create_algorithm, create_environment, create_llm
    from ultra_agents.ui.trackers import check_trackers

    check_trackers(config.trackers)
    environment = create_environment(config.environment.name, config.environment.options)
    check_methods(config, environment, create_algorithm(config.refine.algorithm.name, config.refine.algorithm.options))
    if config.proposer == "llm" and any(map(variant_of, config.methods)):
        for llm in config.llms.values():
            create_llm(llm.provider, llm.options)
        roles = config.agents.identifier, config.agents.advisor, config.agents.critic
        first = tuple(config.llms)[:1]
        check_prices(config.llms, config.gateway, [name for role in roles for name in role.names or first])
    if config.policy.path is not None and not config.policy.path.is_file():
        raise PolicyError(f"there is no policy file {config.policy.path}", expected="a .safetensors file")
    if config.policy.shipped is not None:
        shipped = environment.policies() if "policies" in capabilities(environment) else {}
        if config.policy.shipped not in shipped:
            raise ConfigError(
                f"the environment {config.environment.name!r} ships no policy {config.policy.shipped!r}",
                expected=f"one of: {', '.join(shipped) or 'none ships'}",
                hint=did_you_mean(config.policy.shipped, shipped),
            )


def find_folder(run: str, runs: Path) -> Path:
    """The folder a person means by `run`: a path, or a name below `runs`."""
    given = Path(run)
    below = runs / run
    return below if not given.exists() and below.is_dir() else given
