"""`ultra`: the command line. Commands live one per file; what is heavy is imported inside them.

Exit codes: 0 done, 1 an unexpected failure, 2 the user's to fix, 3 a spending cap reached, 130 stopped.
"""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Annotated

import typer

from ultra_agents.cli.doctor import doctor
from ultra_agents.cli.llm import app as llm_app
from ultra_agents.cli.plugins import app as plugins_app
from ultra_agents.cli.run import resume, run
from ultra_agents.errors import UltraError
from ultra_agents.version import __version__

app = typer.Typer(
    name="ultra",
    help="LLM agents explain where a stuck policy lost its episodes; what the simulator confirms refines it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command()(run)
app.command()(resume)
app.command()(doctor)
app.add_typer(plugins_app, name="plugins")
app.add_typer(llm_app, name="llm")


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"ultra-agents {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """LLM agents explain where a stuck policy lost its episodes; what the simulator confirms refines it."""


def main() -> None:
    """Run a command; a person's mistake ends in one clear message instead of a traceback."""
    try:
        code = app(standalone_mode=False)
    except UltraError as error:
        show_error(error)
        code = error.exit_code
    except BrokenPipeError:  # the reader has gone: nothing is left to tell it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (KeyboardInterrupt, typer.Abort):
        typer.echo("\nstopped at once; `ultra resume RUN` goes on from the last finished piece", err=True)
        code = 130
    except Exception as error:
        code = _show_usage_error(error)
    sys.exit(code if isinstance(code, int) else 0)


def show_error(error: UltraError) -> None:
    """Print what was found, what was expected and what to do, on standard error."""
    typer.secho("stopped: " if error.exit_code in (3, 130) else "error: ", fg="red", bold=True, nl=False, err=True)
    typer.echo(str(error), err=True)


def _show_usage_error(error: Exception) -> int:
    """A misused command line is shown as its parser words it; anything else is a defect, kept for a report."""
    if hasattr(error, "exit_code") and hasattr(error, "show"):
        error.show()
        return int(error.exit_code)
    with tempfile.NamedTemporaryFile("w", prefix="ultra-error-", suffix=".txt", delete=False) as file:
        traceback.print_exc(file=file)
    typer.echo(
        f"error: an unexpected failure ({type(error).__name__}: {error})\n"
        f"  do:       please report it with {Path(file.name)}; the run folder is kept and can be resumed",
        err=True,
    )
    return 1
