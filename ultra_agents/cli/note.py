"""`ultra note`: a person's word to the agents of a run."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ultra_agents.text import counted

if TYPE_CHECKING:
    from ultra_agents.runs import RunFolder

MOST_BYTES = 1 << 20
"""Read of standard input."""


def note(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run folder, or its name below --runs.")],
    text: Annotated[
        str | None, typer.Argument(metavar="[TEXT]", help="What to tell the agents; - reads standard input.")
    ] = None,
    runs: Annotated[Path, typer.Option(help="Folder of all runs.")] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="The notes as JSON.")] = False,
) -> None:
    """Tell the agents of a run something: they read it with every question from their next one on.

    A running run picks it up by itself, a stopped one when it goes on. Without a text the notes are listed.
    """
    from ultra_agents.cli.console import out
    from ultra_agents.cli.run_display import find_folder
    from ultra_agents.runs import RunFolder
    from ultra_agents.runs.notes import add_note, note_rows

    folder = RunFolder.open(find_folder(run, runs))
    if text is not None:
        add_note(folder.path, _standard_input() if text == "-" else text)
    rows, fate = note_rows(folder.path), who_reads(folder)
    if json:
        from json import dumps

        print(dumps({"run": folder.name, "told": fate, "notes": rows}, indent=1, ensure_ascii=False))
        return
    console = out()
    for number, row in enumerate(rows, 1):
        seen = f"read with {counted(row['questions'], 'question')}"
        console.print(f"note {number}, {row['time']}, {seen}:", highlight=False, markup=False, soft_wrap=True)
        for line in row["text"].split("\n"):
            console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    console.print(fate if rows else "no notes", highlight=False, markup=False, soft_wrap=True)


def who_reads(folder: RunFolder) -> str:
    """Whether any agent will still read notes, in words."""
    config = folder.config
    if config.proposer != "llm":
        return f"kept, and read by nobody: no agents are asked in this run (proposer: {config.proposer})"
    stages = [*(["explain"] if config.of_moves else []), *(["rules"] if config.of_rules else [])]
    if all(folder.stage_done(stage) is not None for stage in stages):
        return "the agents of this run have finished: a note from now on is kept, and read by nobody"
    return "the agents read notes from their next question on"


def _standard_input() -> str:
    return sys.stdin.buffer.read(MOST_BYTES + 1).decode("utf-8", "surrogateescape")
