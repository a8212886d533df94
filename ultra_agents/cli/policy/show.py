"""`ultra policy show`: what a policy file says of itself, its rules included."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ultra_agents.cli.policy.import_policy import JSON


def policy_show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors policy.")],
    json: Annotated[bool, JSON] = False,
) -> None:
    """Print what a policy file says of itself, and the rules that act where they cover a state. Nothing is played."""
    from ultra_agents.cli.console import out
    from ultra_agents.policies import carried_by, describe_policy_file, read_policy_file
    from ultra_agents.rules import parse_rules
    from ultra_agents.rules.layer import parts_of
    from ultra_agents.text import clean
    from ultra_agents.training import unusable

    metadata, arrays = read_policy_file(file)
    _, rules = parts_of(metadata["architecture"])
    if rules is not None:
        parse_rules(rules, whose=f"the rules of {file}")  # what is printed is text of the language and nothing else
    carried_wrong = unusable(carried_by(metadata, file.name))
    size = sum(array.size for array in arrays.values())
    if json:
        from json import dumps

        row = {"policy": str(file), **metadata, "numbers": size, "rules": rules, "unused": carried_wrong}
        print(dumps(row, indent=1, ensure_ascii=False))
        return
    console = out()
    console.print(f"{file}: {size:,} numbers", highlight=False, markup=False, soft_wrap=True)
    for line in describe_policy_file(metadata):
        console.print(f"  {clean(line)}", highlight=False, markup=False, soft_wrap=True)
    if carried_wrong:
        console.print(f"  {carried_wrong}", highlight=False, markup=False, soft_wrap=True, style="yellow")
    for line in (rules or "").splitlines():
        console.print(f"    {line}", highlight=False, markup=False, soft_wrap=True)
