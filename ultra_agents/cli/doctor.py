"""`ultra doctor`: will a run work on this machine?"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.text import Text

    from ultra_agents.cli.doctor_checks import Finding


def doctor(
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False,
) -> None:
    """Check Python, packages, the simulator, the embedded model and the providers, and say what to do.

    Exits with 2 when something a run needs is missing; warnings are about what only some runs need.
    """
    from ultra_agents.cli.console import out
    from ultra_agents.cli.doctor_checks import PROBES, probe

    console = out()
    found: list[Finding] = []
    with console.status("looking ...") if console.is_terminal and not json else nullcontext():
        for name, function in PROBES.items():
            found.append(probe(name, partial(function, runs)))
    if json:
        from dataclasses import asdict
        from json import dumps

        print(dumps([asdict(finding) for finding in found], indent=1))
    else:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for title in ("", "what", "found"):
            table.add_column(title, overflow="fold")
        for finding in found:
            table.add_row(*_row(finding))
        console.print(table)
        bad = sum(finding.status == "fail" for finding in found)
        console.print(f"{bad} things to repair" if bad else "A run will work.", style="red" if bad else "green")
    if any(finding.status == "fail" for finding in found):
        raise typer.Exit(2)


def _row(finding: Finding) -> tuple[Text, str, Text]:
    from rich.text import Text

    sign, colour = {"ok": ("✔ ok", "green"), "warn": ("! warn", "yellow"), "fail": ("✘ fail", "bold red")}[
        finding.status
    ]
    detail = Text(finding.detail)
    if finding.do:
        detail.append(f"\ndo: {finding.do}", "yellow" if finding.status != "ok" else "bright_black")
    return Text(sign, colour), finding.name, detail
