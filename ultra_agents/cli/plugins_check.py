"""`ultra plugins check`: a plugin against its contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table


def plugins_check(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of an environment or algorithm, or distribution:name.")
    ],
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the plugin.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check a plugin with the conformance kit: what passes, what is not offered, what is broken.

    Exits with 2 when a check failed.
    """
    from ultra_agents.cli.console import out

    kinds = find_kinds(name)
    options = parse_settings(settings or [])
    reports = [(kind, _check(kind, name, options)) for kind in kinds]
    if json:
        from json import dumps

        print(dumps([
            {"kind": kind, "subject": report.subject, "ok": report.ok,
             "rows": [{"check": r.check, "status": r.status, "detail": r.detail} for r in report.rows]}
            for kind, report in reports
        ], indent=1))  # fmt: skip
    else:
        for kind, report in reports:
            console = out()
            console.print(_table(kind, report))
            failed = sum(row.status == "failed" for row in report.rows)
            console.print(f"{report.subject}: " + (f"{failed} checks failed" if failed else "conforms"))
    if not all(report.ok for _, report in reports):
        raise typer.Exit(2)


def find_kinds(name: str) -> list[str]:
    """The kinds among which `name` is to be checked.

    Raises:
        PluginError: No plugin of a kind that has a kit is called so.
    """
    from ultra_agents.errors import PluginError, did_you_mean
    from ultra_agents.registry import catalogue

    distribution, _, plain = name.rpartition(":")
    rows = [row for row in catalogue() if distribution in ("", row.distribution)]
    kinds = list(dict.fromkeys(row.kind for row in rows if row.name == plain and row.kind != "llm"))
    if kinds:
        return list(kinds)
    if any(row.name == plain for row in rows):
        raise PluginError(
            f"{name!r} is an LLM provider, for which there is no conformance kit",
            hint="ultra llm list says whether it is ready",
        )
    known = [row.name for row in rows if row.kind != "llm"]
    raise PluginError(
        f"unknown plugin {name!r}", expected=f"one of: {', '.join(known)}", hint=did_you_mean(plain, known)
    )


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """`key=value` pairs, values in YAML.

    Raises:
        ConfigError: Not a pair, or an unreadable value.
    """
    import yaml

    from ultra_agents.errors import ConfigError

    options: dict[str, Any] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not key or not equals:
            raise ConfigError("--set takes key=value", found=setting)
        try:
            options[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {key} has an unreadable value", found=value) from error
    return options


def _check(kind: str, name: str, options: dict[str, Any]) -> Any:
    from ultra_agents.registry import create_algorithm, create_environment

    if kind == "environment":
        from ultra_agents.testing.environment_kit import check_environment

        return check_environment(create_environment(name, options))
    from ultra_agents.testing.algorithm_kit import check_algorithm

    return check_algorithm(create_algorithm(name, options))


def _table(kind: str, report: Any) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    signs = {"pass": ("✔ pass", "green"), "skipped": ("- skipped", "bright_black"), "failed": ("✘ failed", "bold red")}
    table = Table(title=Text(f"{kind} {report.subject}"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("check", "", "detail"):
        table.add_column(title, overflow="fold")
    for row in report.rows:
        table.add_row(row.check, Text(*signs.get(row.status, (row.status, ""))), Text(row.detail))
    return table
