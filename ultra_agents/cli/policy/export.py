"""`ultra policy export`: a policy for another tool."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultra_agents.cli.policy.import_policy import SETTINGS


def policy_export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors policy.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to; FILE.zip and the like by default.")
    ] = None,
    format_name: Annotated[str, typer.Option("--format", help="sb3 or cleanrl, or a plugin's.")] = "sb3",
    environment: Annotated[
        str | None, typer.Option("--environment", "-e", metavar="NAME", help="The one in FILE by default.")
    ] = None,
    settings: Annotated[list[str] | None, SETTINGS] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file at --out.")] = False,
) -> None:
    """Write a policy so that the tool it came from loads it: an SB3 zip with its vecnormalize.pkl, a CleanRL model."""
    import warnings

    from ultra_agents.cli.console import err
    from ultra_agents.cli.console import out as stdout
    from ultra_agents.cli.new_file import require_new
    from ultra_agents.cli.policy.score import environment_of
    from ultra_agents.exchange.importing import export_policy
    from ultra_agents.registry import find

    name, made = environment_of(file, environment, settings)
    kind = find("format", format_name).load()
    target = out if out is not None else file.with_suffix(kind.suffixes[0])
    beside = kind.files_beside(target)
    for path in (target, *beside):
        require_new(path, overwrite)
    with warnings.catch_warnings(record=True, action="always", category=UserWarning) as told:
        written = export_policy(file, target, format_name, made, name)
    for path in set(beside) - set(written):
        path.unlink(missing_ok=True)  # of the policy that was there: an import would take it for this one's
    for warning in told:
        err().print(f"warning: {warning.message}", highlight=False, markup=False, soft_wrap=True)
    console = stdout()
    console.print(f"wrote {written[0]}", highlight=False, markup=False)
    for path in written[1:]:
        console.print(f"  with {path}", highlight=False, markup=False)
