"""`ultra plugins`: what is installed, and whether it keeps its contract."""

from __future__ import annotations

import json as json_module
from typing import Annotated, Any

import typer

app = typer.Typer(help="Environments, algorithms and language models that are installed.", no_args_is_help=True)
STYLES = {"pass": "green", "skipped": "yellow", "failed": "red"}


@app.command("list")
def list_plugins(json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Kind, name, distribution, version and capabilities of every plugin; broken ones with the reason."""
    from ultra_agents.registry import catalogue

    rows = [_row(listing) for listing in catalogue()]
    if json:
        typer.echo(json_module.dumps(rows, indent=1))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("kind", "name", "distribution", "version", "capabilities", box=None, pad_edge=False)
    for row in rows:
        last = Text(f"broken: {row['problem']}", "red") if row["problem"] else Text(", ".join(row["capabilities"]))
        table.add_row(row["kind"], Text(row["name"], "bold"), row["distribution"], row["version"], last)
    Console().print(table)


def _row(listing: Any) -> dict[str, Any]:
    from ultra_agents.contracts import Environment, capabilities
    from ultra_agents.errors import PluginError

    offers: list[str] = []
    problem = None
    try:
        cls = listing.load()
        offers = sorted(capabilities(cls) if issubclass(cls, Environment) else getattr(cls, "learns", ()))
    except PluginError as error:
        problem = " ".join(part for part in (error.found, error.hint and f"({error.hint})") if part)
    return {
        "kind": listing.kind, "name": listing.name, "distribution": listing.distribution, "version": listing.version,
        "target": listing.target, "capabilities": offers, "problem": problem,
    }  # fmt: skip


@app.command("check")
def check(
    name: Annotated[str, typer.Argument(help="A registered environment or algorithm.")],
    json: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Run the conformance kit on one plugin; exits with 2 if a check fails."""
    from ultra_agents import registry

    names = {row.name for row in registry.catalogue() if row.kind == "algorithm"}
    if name.rpartition(":")[2] in names:
        from ultra_agents.testing.algorithm_kit import check_algorithm

        report: Any = check_algorithm(registry.create_algorithm(name))
    else:
        from ultra_agents.testing.environment_kit import check_environment

        report = check_environment(registry.create_environment(name))
    rows = [{"check": row.check, "status": row.status, "detail": row.detail} for row in report.rows]
    if json:
        typer.echo(json_module.dumps(rows, indent=1))
    else:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table("check", "outcome", "detail", box=None, pad_edge=False)
        for row in rows:
            table.add_row(row["check"], Text(row["status"], STYLES[row["status"]]), Text(row["detail"]))
        Console().print(table)
    if any(row["status"] == "failed" for row in rows):
        raise typer.Exit(2)
