"""`ultra rules check`: can these rules be used in this environment?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def rules_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rules, in YAML.")],
    environment: Annotated[
        str, typer.Option("--environment", "-e", metavar="NAME", help="Environment plugin, or gymnasium:ID.")
    ],
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="An option of the environment. May be repeated."),
    ] = None,
) -> None:
    """Check rules against an environment's quantities and actions; exits with 2 and says what is wrong, and where."""
    from ultra_agents.cli.console import out
    from ultra_agents.cli.plugins.check import parse_settings
    from ultra_agents.registry import create_environment
    from ultra_agents.rules import interface_of, load_rules

    made = create_environment(environment, parse_settings(settings or []))
    rules = load_rules(file, interface_of(made))
    interface = rules.interface
    rows = {
        "rules": f"{len(rules.document.rules)}, the first whose condition holds acts",
        "quantities": ", ".join(rules.names) or "none",
        "decides": ", ".join(interface.components or interface.actions),
        "constants": ", ".join(
            f"{name} = {at:g} in [{low:g}, {high:g}]" for name, (at, low, high) in rules.constants.items()
        ),
        "potential": rules.document.potential,
        "reward": rules.document.reward,
    }
    console = out()
    console.print(f"{file}: can be used in {made.env_id}", highlight=False, markup=False, soft_wrap=True)
    for name, told in rows.items():
        if told:
            console.print(f"  {name:<12}{told}", highlight=False, markup=False, soft_wrap=True)
