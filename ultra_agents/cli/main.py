"""The command `ultra`; `main` maps every outcome to an exit status.

0 done, 1 a defect of ultra-agents or a plugin, 2 an error the user can fix, 3 a spending cap, 130 interrupted, 141
standard output was closed by its reader.
"""

from __future__ import annotations

import gc
import os
import sys
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from ultra_agents.cli.advise.command import advise
from ultra_agents.cli.compare.command import compare
from ultra_agents.cli.config import config_schema
from ultra_agents.cli.data import data_export, data_import
from ultra_agents.cli.doctor import doctor
from ultra_agents.cli.error_output import CLOSED_PIPE, Crashed, show_crash, show_error, write_crash
from ultra_agents.cli.events import events
from ultra_agents.cli.explain import explain
from ultra_agents.cli.fork import fork
from ultra_agents.cli.inspect.command import inspect
from ultra_agents.cli.llm.cassette import llm_export, llm_import
from ultra_agents.cli.llm.check import llm_check
from ultra_agents.cli.llm.list_providers import llm_list
from ultra_agents.cli.llm.log import llm_log
from ultra_agents.cli.note import note
from ultra_agents.cli.plugins.check import plugins_check
from ultra_agents.cli.plugins.list_plugins import plugins_list
from ultra_agents.cli.plugins.new import plugins_new
from ultra_agents.cli.policy.export import policy_export
from ultra_agents.cli.policy.import_policy import policy_import
from ultra_agents.cli.policy.score import policy_score
from ultra_agents.cli.policy.show import policy_show
from ultra_agents.cli.resume import resume
from ultra_agents.cli.rules.check import rules_check
from ultra_agents.cli.rules.export import rules_export
from ultra_agents.cli.rules.show import rules_show
from ultra_agents.cli.rules.test import rules_test
from ultra_agents.cli.run import run
from ultra_agents.cli.watch import watch
from ultra_agents.cli.wizard.command import wizard
from ultra_agents.errors import ConfigError, UltraError
from ultra_agents.version import __version__

app = typer.Typer(
    name="ultra",
    help="LLM agents explain where a policy's episodes were decided; what the simulator confirms refines the policy.",
    epilog="Start with: ultra doctor, then ultra run examples/pong.yaml",
    invoke_without_command=True,
    add_completion=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
plugins_app = typer.Typer(no_args_is_help=True, help="See and check environments, algorithms and LLM providers.")
llm_app = typer.Typer(
    no_args_is_help=True, help="List and check LLM providers, read a run's conversation, keep its answers for replay."
)
policy_app = typer.Typer(
    no_args_is_help=True,
    help="Policies of Stable-Baselines3, CleanRL, TorchScript and ONNX: in, scored, and out again.",
)
config_app = typer.Typer(no_args_is_help=True, help="What configuration files may hold.")
rules_app = typer.Typer(
    no_args_is_help=True, help="Closed-loop rules: checked, tested in the simulator, shown, exported."
)
data_app = typer.Typer(no_args_is_help=True, help="Episodes to and from Minari datasets.")

app.command("run")(run)
app.command("resume")(resume)
app.command("fork")(fork)
app.command("explain")(explain)
app.command("advise")(advise)
app.command("note")(note)
app.command("compare")(compare)
app.command("inspect")(inspect)
app.command("watch")(watch)
app.command("events")(events)
app.command("doctor")(doctor)
app.add_typer(plugins_app, name="plugins")
app.add_typer(llm_app, name="llm")
app.add_typer(config_app, name="config")
app.add_typer(data_app, name="data")
app.add_typer(policy_app, name="policy")
app.add_typer(rules_app, name="rules")
plugins_app.command("list")(plugins_list)
plugins_app.command("check")(plugins_check)
plugins_app.command("new")(plugins_new)
policy_app.command("import")(policy_import)
policy_app.command("export")(policy_export)
policy_app.command("score")(policy_score)
policy_app.command("show")(policy_show)
config_app.command("schema")(config_schema)
rules_app.command("check")(rules_check)
rules_app.command("test")(rules_test)
rules_app.command("show")(rules_show)
rules_app.command("export")(rules_export)
data_app.command("export")(data_export)
data_app.command("import")(data_import)
llm_app.command("list")(llm_list)
llm_app.command("check")(llm_check)
llm_app.command("log")(llm_log)
llm_app.command("export")(llm_export)
llm_app.command("import")(llm_import)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"ultra-agents {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of `ultra` itself; without a command, the wizard."""
    if context.invoked_subcommand is None:
        wizard(context)


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run one command line (the process' own by default); the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # characters an ASCII terminal lacks become question marks
            stream.reconfigure(errors="replace")
    try:
        status = _invoke(arguments)
    except KeyboardInterrupt:
        status = 130
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _detach_stdout()
        status = CLOSED_PIPE
    return status


def _invoke(arguments: Sequence[str] | None) -> int:
    try:
        words = sys.argv[1:] if arguments is None else list(arguments)
        _check_arguments(words)
        app(args=words, prog_name="ultra")
    except SystemExit as done:
        if isinstance(done.__context__, BrokenPipeError):  # typer has turned it into status 1
            _detach_stdout()
            return CLOSED_PIPE
        return done.code if isinstance(done.code, int) else int(done.code is not None)
    except BrokenPipeError:
        _detach_stdout()
        return CLOSED_PIPE
    except UltraError as error:
        show_error(error)
        return error.exit_code
    except Crashed as error:
        show_crash(error.path, error)
        return 1
    except Exception as error:
        show_crash(write_crash(error), error)
        return 1
    return 0


def _check_arguments(words: Sequence[str]) -> None:
    """Refuse control characters: typer prints what it refuses as it is, escape sequences included."""
    for word in words:
        if any(unicodedata.category(char) == "Cc" and char not in "\t\n" for char in word):
            raise ConfigError(
                "an argument holds control characters", found=ascii(word)[:100], expected="printable text"
            )


def _detach_stdout() -> None:
    """Point standard output at the null device: Python's flush at exit would raise on the closed pipe."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> NoReturn:
    """Entry point of the `ultra` script."""
    # a million objects of torch, scipy and langgraph come and stay: collecting at every 700 takes a fifth of a start
    gc.set_threshold(10_000, 20, 20)
    sys.exit(invoke())


if __name__ == "__main__":
    main()
