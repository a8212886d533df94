"""`ultra plugins check`: a plugin against its contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ultra_agents.text import counted

if TYPE_CHECKING:
    from rich.table import Table

    from ultra_agents.registry import Kind


def plugins_check(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of a plugin, or distribution:name, or gymnasium:ID.")
    ],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the plugin.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check a plugin with the conformance kit: what passes, what is not offered, what is broken and what to do.

    An LLM provider is asked three short questions. Exits with 2 when a check failed.
    """
    from ultra_agents.cli.console import out
    from ultra_agents.cli.plugin_output import plugins_print_to

    kinds = find_kinds(name)
    options = parse_settings(settings or [])
    with plugins_print_to(None):
        reports = [(kind, _check(kind, name, options)) for kind in kinds]
    if json:
        from json import dumps

        print(dumps([
            {"kind": kind, "subject": report.subject, "ok": report.ok,
             "rows": [{"check": r.check, "status": r.status, "detail": r.detail, "do": r.do or None}
                      for r in report.rows]}
            for kind, report in reports
        ], indent=1))  # fmt: skip
    else:
        for kind, report in reports:
            console = out()
            console.print(_table(kind, report))
            console.print(verdict(report), markup=False, highlight=False)
    if not all(report.ok for _, report in reports):
        raise typer.Exit(2)


def verdict(report: Any) -> str:
    """One line: does it conform?"""
    counts = {status: sum(row.status == status for row in report.rows) for status in ("pass", "skipped", "failed")}
    failed = counts["failed"]
    told = f"{counted(failed, 'check')} failed" if failed else "conforms"
    return f"{report.subject}: {told} ({counts['pass']} passed, {counts['skipped']} skipped)"


def find_kinds(name: str) -> list[Kind]:
    """The kinds among which `name` is to be checked.

    Raises:
        PluginError: No plugin is called so, or two distributions claim the name.
    """
    from ultra_agents.errors import PluginError, did_you_mean
    from ultra_agents.registry import GROUPS, catalogue, find

    kinds: list[Kind] = []
    for kind in GROUPS:
        try:
            find(kind, name)
        except PluginError as error:
            if "unknown" not in error.problem:
                raise
            continue
        kinds.append(kind)
    if kinds:
        return kinds
    known = list(dict.fromkeys(row.name for row in catalogue()))
    raise PluginError(
        f"unknown plugin {name!r}",
        expected=f"one of: {', '.join(known)}",
        hint=did_you_mean(name.rpartition(":")[2], known),
    )


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """`key=value` pairs, values in YAML.

    Raises:
        ConfigError: Not a pair, or an unreadable value.
    """
    from ultra_agents.yaml_text import read_setting

    return dict(read_setting(setting, "kwargs={goal: 1e-2}") for setting in settings)


def _check(kind: Kind, name: str, options: dict[str, Any]) -> Any:
    from ultra_agents import registry

    if kind == "environment":
        from ultra_agents.testing.environment_kit import check_environment

        return check_environment(registry.create_environment(name, options))
    if kind == "algorithm":
        from ultra_agents.testing.algorithm_kit import check_algorithm

        return check_algorithm(registry.create_algorithm(name, options))
    if kind == "format":
        from ultra_agents.testing.format_kit import check_format

        return check_format(registry.create_format(name, options))
    if kind == "method":
        from ultra_agents.testing.method_kit import check_method

        return check_method(registry.create_method(name, options))
    from ultra_agents.testing.llm_kit import check_llm

    return check_llm(registry.create_llm(name, options))


def _table(kind: str, report: Any) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    signs = {"pass": ("✔ pass", "green"), "skipped": ("- skipped", "bright_black"), "failed": ("✘ failed", "bold red")}
    table = Table(title=Text(f"{kind} {report.subject}"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("check", "", "detail"):
        table.add_column(title, overflow="fold")
    for row in report.rows:
        told = Text(row.detail, overflow="fold")
        if row.do:
            told.append(f"\ndo: {row.do}", "yellow" if row.status == "failed" else "bright_black")
        table.add_row(row.check, Text(*signs.get(row.status, (row.status, ""))), told)
    return table
