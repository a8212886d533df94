"""`ultra llm log`: what the agents were asked in a run, and what they said."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import RenderableType


def llm_log(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or its name below --runs.")],
    agent: Annotated[str | None, typer.Option(help="Only this agent: identifier, advisor, critic.")] = None,
    episode: Annotated[int | None, typer.Option(help="Only this episode.")] = None,
    segment: Annotated[
        str | None, typer.Option(help="Only this segment, as episode:start-stop, or an episode.")
    ] = None,
    prompts: Annotated[
        bool, typer.Option("--prompts/--replies", help="With the prompts, or the replies only.")
    ] = True,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
) -> None:
    """Print the conversation of a run for reading."""
    from ultra_agents.cli.console import out
    from ultra_agents.cli.run_display import find_folder
    from ultra_agents.errors import RunError, did_you_mean
    from ultra_agents.runs import RunFolder, read_lines

    folder = RunFolder.open(find_folder(run, runs))
    rows = list(read_lines(folder.transcript))
    if not rows:
        raise RunError(f"no model was asked in {folder.path}", found=f"nothing in {folder.transcript.name}")
    chosen = [row for row in rows if matches(row, agent, segment) and matches(row, None, _name(episode))]
    if not chosen:
        agents = sorted({str(row.get("agent")) for row in rows})
        segments = list(dict.fromkeys(str(row.get("segment")) for row in rows))
        raise RunError(
            "no exchange fits",
            expected=f"agents: {', '.join(agents)}; segments: {', '.join(segments[:12])}",
            hint=did_you_mean(agent, agents) if agent and agent not in agents else None,
        )
    console = out()
    for row in chosen:
        console.print(exchange(row, prompts))
    console.print(f"{len(chosen)} of {len(rows)} exchanges", style="bright_black")


def _name(episode: int | None) -> str | None:
    return None if episode is None else str(episode)


def matches(row: dict[str, Any], agent: str | None, segment: str | None) -> bool:
    """Whether the filters let a line pass; `--segment 3` is every segment of episode 3."""
    where = str(row.get("segment", ""))
    fits = segment is None or where == segment or where.partition(":")[0] == segment
    return fits and agent in (None, row.get("agent"))


def exchange(row: dict[str, Any], prompts: bool) -> RenderableType:
    """One exchange: who, where, what it cost, the messages, the reply."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.rule import Rule
    from rich.text import Text

    from ultra_agents.text import clean
    from ultra_agents.ui.text import count, took
    from ultra_agents.ui.theme import agent_colour

    name = clean(str(row.get("agent", "?")))
    colour, verdict = agent_colour(name), clean(str(row.get("verdict", "")))
    tokens = f"{count(row.get('prompt_tokens') or 0)} + {count(row.get('completion_tokens') or 0)} tokens"
    spent = "from the cache" if row.get("cached") else f"{tokens}, {took(float(row.get('seconds') or 0))}"
    spent += f", paid by {clean(str(row['paid_by']), 40)}" if row.get("paid_by") else ""
    segment, model = clean(str(row.get("segment", ""))), clean(str(row.get("model", "")))
    head = Text.assemble(
        (name, f"bold {colour}"), f"  {segment}  ", (model, "bright_black"),
        ("  repair" if row.get("attempt") else "", "yellow"),
        (f"  {verdict}", "green" if verdict == "ok" else "red"), (f"  {spent}", "bright_black"),
    )  # fmt: skip
    parts: list[RenderableType] = [Rule(head, style=colour, align="left")]
    if prompts:
        for role, text in row.get("messages") or []:
            parts.append(
                Padding(Text.assemble((f"{clean(str(role))}: ", "bold"), (_lines(text), "bright_black")), (0, 2))
            )
    parts.append(Padding(Text.assemble(("reply: ", f"bold {colour}"), _lines(row.get("reply") or "")), (0, 2, 1, 2)))
    return Group(*parts)


def _lines(text: object) -> str:
    """Text with its line breaks and without anything a terminal would obey."""
    from ultra_agents.text import printable

    return "\n".join(printable(line) for line in str(text).splitlines())
