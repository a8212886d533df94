"""`ultra resume`: go on with a run that was stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def resume(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or its name below --runs.")],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Raise a spending cap: gateway.budget.calls=500."),
    ] = None,
    approve: Annotated[
        str | None,
        typer.Option(
            "--approve",
            metavar="all|none|LIST",
            help="Say yes to what waits for a person (agents.approve): all, none, or 0:12,2:30 and no to the rest.",
        ),
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    plain: Annotated[bool, typer.Option("--plain", help="One line per event instead of the live screen.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per event.")] = False,
) -> None:
    """Go on with a run that was interrupted, ran out of budget, or failed; finished stages are not repeated."""
    from ultra_agents.cli.run_display import display_mode, execute, find_folder
    from ultra_agents.errors import ConfigError

    mode = display_mode(plain, json)
    from ultra_agents.runs import RunFolder

    folder = RunFolder.open(find_folder(run, runs))
    if approve is not None and not folder.config.agents.approve:
        raise ConfigError(
            f"the run {folder.path} asks nobody for a word on its advice",
            found=f"--approve {approve}, agents.approve: false",
            expected="a run that was begun with agents.approve: true",
            hint=f"ultra resume {folder.path}",
        )
    if settings:
        with folder.lock():
            folder.amend(settings)
    execute(folder, mode, approve=approve)
