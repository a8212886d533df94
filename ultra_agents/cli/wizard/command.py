"""`ultra` alone: on a terminal a wizard that ends in a configuration file, and in a run; elsewhere one clear word."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer


def wizard(context: typer.Context) -> None:
    """Ask what to run, write the configuration, run it if that is wished.

    Without a terminal: the help, the reason on standard error, and exit code 2.
    """
    from ultra_agents.cli.terminals import check_size, missing

    if (lacks := missing()) is not None:
        if said := context.get_help():  # where typer has not printed it itself
            print(said)
        sys.stdout.flush()
        print(
            f"error: `ultra` alone asks questions, and {lacks}\n"
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
    """Become `ultra run FILE`; this process ends here."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "ultra_agents.cli.main", "run", str(file)])
