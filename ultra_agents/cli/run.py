"""`ultra run`: a configuration to a finished run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    config: Annotated[
        Path, typer.Argument(metavar="CONFIG", help="Configuration file, for example examples/pong.yaml.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one setting: refine.steps=50000. May be repeated."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run and of its folder.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    plain: Annotated[bool, typer.Option("--plain", help="One line per event instead of the live screen.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per event.")] = False,
) -> None:
    """Explain a policy's episodes, refine it with the advice that holds, and report.

    Ctrl-C stops cleanly; [bold]ultra resume[/bold] goes on from there.
    """
    from ultra_agents.cli.run_display import display_mode, execute, preflight

    mode = display_mode(plain, json)
    from ultra_agents.config import load_config
    from ultra_agents.runs import RunFolder

    chosen = load_config(config, [*(settings or []), *([f"name={_quoted(name)}"] if name is not None else [])])
    preflight(chosen)
    execute(RunFolder.create(runs, chosen), mode)


def _quoted(name: str) -> str:
    """A name as a YAML string, or `--name 7` would be a number."""
    import json

    return json.dumps(name)
