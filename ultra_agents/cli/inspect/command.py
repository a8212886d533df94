"""`ultra inspect`: browse a run's episodes with what was said about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ultra_agents.ui.inspect.run_view import RunView


def inspect(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or its name below --runs.")],
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    plain: Annotated[
        bool, typer.Option("--plain", help="A line per critical state and rule instead of the browser.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="The same as one JSON object.")] = False,
) -> None:
    """Step through episodes: pictures, critical states, what was suggested, and what the simulator found.

    For finished and for running runs. Nothing is changed but by [bold]m[/bold], which tests your own moves at the step
    looked at, as [bold]ultra advise[/bold] does. [bold]?[/bold] lists the keys.
    """
    from ultra_agents.cli.inspect.run_reader import RunFolderReader
    from ultra_agents.cli.run_display import display_mode, find_folder
    from ultra_agents.cli.terminal_check import full_screen_possible
    from ultra_agents.runs import RunFolder

    mode = display_mode(plain, json)
    folder = RunFolder.open(find_folder(run, runs))
    reader = RunFolderReader(folder.path)
    view, source = reader.read()
    try:
        if mode == "json":
            from ultra_agents.ui.inspect.plain import to_json

            print(to_json(view))
        elif mode == "plain" or not full_screen_possible(f"ultra inspect {run} --plain"):
            _print_plain(view)
        else:
            from ultra_agents.cli.inspect.adviser import RunAdviser
            from ultra_agents.ui.inspect.app import InspectApp

            longest = folder.config.verification.longest_plan
            adviser = RunAdviser(folder.path, source.environment, longest)
            app = InspectApp(view, source, reader=reader, adviser=adviser)
            app.run()
            app.source.close()
    finally:
        source.close()


def _print_plain(view: RunView) -> None:
    """The table; a run without critical states and rules says so and ends with 2."""
    from ultra_agents.errors import RunError
    from ultra_agents.ui.inspect.plain import lines

    for line in lines(view):
        print(line)
    if not view.critical and view.rules is None:
        raise RunError(
            f"{view.folder} has no critical states to show",
            found="its agents are still at work" if view.status == "running" else "none was found or looked for",
            hint="the browser still shows the episodes, on a terminal: ultra inspect RUN",
        )
