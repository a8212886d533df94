"""`ultra rules export`: the set that held in a run, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultra_agents.cli.rules.show import RUN, found_rules


def rules_export(
    run: Annotated[str, RUN],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="Where to, YAML.")],
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it is there.")] = False,
) -> None:
    """Write the rules that held in a run, without those that were dropped and with the constants as tuned.

    The file is what `ultra rules check`, `ultra rules test` and advice.file read. Exits with 2 where none held.
    """
    from ultra_agents.cli.console import out as stdout
    from ultra_agents.cli.new_file import require_new
    from ultra_agents.errors import RunError
    from ultra_agents.files import write_whole

    folder, found = found_rules(run, runs)
    if not found.held:
        raise RunError(
            f"no rules held in {folder.path}, so there is nothing to export",
            found=found.headline or "no set of rules",
            expected="a set that the test accepted",
            hint=f"ultra rules show {run} prints what was proposed",
        )
    require_new(out, overwrite)
    told = " ".join(found.headline.split())
    try:
        write_whole(out, f"# From the run {folder.name}, {folder.config.environment.name}: {told}\n{found.rules}")
    except OSError as error:
        raise RunError(f"cannot write {out}", found=error.strerror or str(error)) from error
    stdout().print(f"wrote {out}: {told}", highlight=False, markup=False, soft_wrap=True)
