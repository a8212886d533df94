"""The end of `ultra compare` on a terminal: who helped, by how much, how sure, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ultra_agents.experiments.answers import HELPED, HURT, Answer
from ultra_agents.text import clean

_STYLES = {HELPED: "bold green", HURT: "bold red"}
_WIDE = 100
"""Columns of a terminal from which a table is readable; below it, and in a file, an answer is a line."""


def print_answers(console: Console, claims: Sequence[str], answers: Sequence[Answer], page: Path) -> None:
    """Print the answers, then what may be claimed (a sentence for each task), then where the report is."""
    if answers and console.is_terminal and console.width >= _WIDE:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("task", "method", "did it help?", "difference", "advice", "cost, per seed"):
            table.add_column(name, overflow="fold")
        for one in answers:
            alone = f"\nthe network alone {one.alone}" if one.alone else ""
            table.add_row(
                clean(one.task), clean(one.method), Text(one.verdict, _STYLES.get(one.verdict, "")),
                f"{one.gain}{alone}", one.advice, one.cost,
            )  # fmt: skip
        console.print(table)
    else:
        for one in answers:
            console.print(clean(one.sentence), soft_wrap=True, highlight=False, markup=False)
    if console.is_terminal:
        for sentence in claims:  # a line for each task, wrapped between words, hanging
            lines = Text(clean(sentence)).wrap(console, max(console.width - 2, 20))
            for number, line in enumerate(lines):
                console.print(Text("  " if number else "") + line, highlight=False, soft_wrap=True)
    else:
        console.print(clean(" ".join(claims)), soft_wrap=True, highlight=False, markup=False)
    console.print(str(page), soft_wrap=True, highlight=False, markup=False)
