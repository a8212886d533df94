"""`ultra plugins list`: the registered plugins, and why one does not load."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ultra_agents.contracts import Method
    from ultra_agents.registry import Listing


def plugins_list(json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False) -> None:
    """List every registered plugin; one that fails to load is shown with the reason and the remedy."""
    from ultra_agents.cli.console import out
    from ultra_agents.registry import catalogue

    rows = [describe(listing) for listing in catalogue()]
    taken = {(row["kind"], row["name"]) for row in rows if _claims(rows, row) > 1}
    for row in rows:
        row["ambiguous"] = (row["kind"], row["name"]) in taken
    if json:
        from json import dumps

        print(dumps(rows, indent=1))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("kind", "name", "distribution"):
        table.add_column(title, no_wrap=True, overflow="fold")  # whole, so that it can be copied and searched for
    table.add_column("capabilities", overflow="fold")
    for row in rows:
        name = f"{row['distribution']}:{row['name']}" if row["ambiguous"] else row["name"]
        if row["error"]:
            told = Text.assemble(("fails to load: ", "bold red"), row["error"])
            if row["do"]:
                told.append(f"\ndo: {row['do']}", "yellow")
        else:
            told = Text(_in_words(row["capabilities"]), "" if row["capabilities"] else "bright_black")
        table.add_row(row["kind"], Text(name, "bold"), f"{row['distribution']} {row['version']}", told)
    console = out()
    console.print(table)
    if taken:
        console.print("A name claimed twice is chosen as distribution:name.", style="yellow")


def _claims(rows: list[dict[str, Any]], row: dict[str, Any]) -> int:
    return sum((other["kind"], other["name"]) == (row["kind"], row["name"]) for other in rows)


def _in_words(capabilities: list[str]) -> str:
    """`learns by mask, policy` for `learns by mask` and `learns by policy`."""
    first = (capabilities or ["-"])[0].rpartition(" ")[0]
    return ", ".join([*capabilities[:1], *(one.removeprefix(f"{first} ") for one in capabilities[1:])]) or "-"


def describe(listing: Listing) -> dict[str, Any]:
    """One plugin as JSON types; `error` and `do` say why it does not load and what helps."""
    from ultra_agents.contracts import PolicyFormat, capabilities
    from ultra_agents.errors import PluginError

    row: dict[str, Any] = {
        "kind": listing.kind, "name": listing.name, "distribution": listing.distribution,
        "version": listing.version, "target": listing.target, "capabilities": [], "error": None, "do": None,
    }  # fmt: skip
    try:
        cls = listing.load()
    except PluginError as error:
        told = "; expected ".join(part for part in (error.found, error.expected) if part) or error.problem
        return {**row, "error": told, "do": error.hint}
    if listing.kind == "environment":
        row["capabilities"] = sorted(capabilities(cls))
    elif listing.kind == "algorithm":
        row["capabilities"] = sorted(f"learns by {way}" for way in cls.learns)
    elif listing.kind == "format":
        row["capabilities"] = ["reads", *(["writes"] if cls.write is not PolicyFormat.write else [])]
    elif listing.kind == "method":
        row["capabilities"] = _of_method(cls)
    else:
        row["capabilities"] = [f"structured by {cls.structured}"]
    return row


def _of_method(cls: type[Method]) -> list[str]:
    """What a method uses and needs."""
    told = {"follows advice": "a" in (cls.advice or ""), "is rewarded by advice": "r" in (cls.advice or "")}
    told |= {f"needs {need}": True for need in cls.needs}
    told |= {"baseline": cls.baseline, "does not train": not cls.trains}
    return [words for words, holds in told.items() if holds]
