"""`ultra llm list`: which models could be asked right now."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def llm_list(json: Annotated[bool, typer.Option("--json", help="As a JSON array.")] = False) -> None:
    """List the LLM providers with the options each needs, and whether it could be asked right now."""
    from ultra_agents.cli.console import out
    from ultra_agents.registry import catalogue

    rows = [readiness(row.name, f"{row.distribution} {row.version}") for row in catalogue() if row.kind == "llm"]
    if json:
        from json import dumps

        print(dumps(rows, indent=1))
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("provider")
    table.add_column("what it is, and whether it could be asked now", overflow="fold")
    for row in rows:
        about = Text("✔ ready\n", "green") if row["ready"] else Text(f"○ {row['problem']}\n", "yellow")
        about.append(row["about"], "default")
        for label, said in (("needs", ", ".join(row["needs"])), ("do", row["do"])):
            if said:
                about.append(f"\n{label}: {said}", "bright_black")
        table.add_row(Text(row["name"], "bold"), about, end_section=row is not rows[-1])
    console = out()
    console.print(table)
    console.print(
        "In a configuration: llms: {default: {provider: NAME, options: {model: ...}}}",
        style="bright_black",
        markup=False,
    )


def readiness(name: str, distribution: str) -> dict[str, Any]:
    """One provider as JSON types; `problem` and `do` say what is missing and what helps."""
    from ultra_agents.errors import ConfigError, UltraError
    from ultra_agents.registry import create_llm, find

    row: dict[str, Any] = {
        "name": name, "distribution": distribution, "about": "", "needs": [], "ready": False, "problem": None,
        "do": None,
    }  # fmt: skip
    try:
        cls = find("llm", name).load()
        row["about"] = first_sentence(cls.__doc__)
        needs = [key for key, field in cls.Options.model_fields.items() if field.is_required()]
        row["needs"] = [f"options.{key}" for key in needs]
        llm = create_llm(name, {"model": "MODEL"} if "model" in needs else {})
        try:
            llm.check()
        finally:
            llm.close()
    except ConfigError as error:
        told = str(error.expected or "").removeprefix("Value error, ")  # what is needed is listed beside it
        why = f": {told}" if told and not row["needs"] else ""
        return {**row, "problem": f"it depends on its options{why}"}
    except UltraError as error:
        detail = f" ({error.found})" if error.found else ""
        return {**row, "problem": f"{error.problem}{detail}", "do": error.hint}
    except Exception as error:  # a plugin's defect is a state to show, not ours to die of
        return {**row, "problem": f"its check raised {type(error).__name__}: {error}"}
    return {**row, "ready": True}


def first_sentence(docstring: str | None) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join((docstring or "").strip().split("\n\n")[0].split())
