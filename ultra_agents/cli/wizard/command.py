"""`ultra` without a command: on a terminal the wizard, elsewhere the help and an error."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer


def wizard(context: typer.Context) -> None:
    """Ask what to run, write the configuration, and run it where the user chose so.

    Without a terminal: the help, the reason on standard error, and exit code 2.
    """
    from ultra_agents.cli.terminal_check import check_size, terminal_problem

    if (problem := terminal_problem()) is not None:
        if said := context.get_help():  # where typer has not printed it itself
            print(said)
        sys.stdout.flush()
        print(
            f"error: `ultra` alone asks questions, and {problem}\n"
            "  do:       name a command: ultra run examples/pong.yaml, ultra doctor",
            file=sys.stderr,
        )
        raise typer.Exit(2)
    check_size("ultra run examples/pong.yaml")
    from ultra_agents.cli.wizard.facts import RegistryFacts
    from ultra_agents.ui.wizard.app import WizardApp

    outcome = WizardApp(RegistryFacts()).run()
    if outcome is None:
        print("nothing was written")
        return
    print(f"written: {outcome.file}")
    if outcome.run:
        run(outcome.file)
    print(f"run it with: ultra run {outcome.file}")


def run(file: Path) -> None:
    """Replace this process by `ultra run FILE`."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "ultra_agents.cli.main", "run", str(file)])
