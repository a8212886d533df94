"""The last words of `ultra compare`: wrapped between words on a terminal, one line in a file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from ultra_agents.cli.compare.answers import print_answers

CLAIMS = [
    "pong, against continue (from -6.1 to -7.1): recorded-model helped, +23.2 [20.5, 26.8]; not known for others.",
    "acrobot, against continue (from -177.5 to -97): recorded-model helped, +12 [2, 22]; nothing acted for random.",
]
LONG = Path("runs") / ("a-comparison-with-a-long-name" * 4) / "report.html"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_sentences_are_wrapped_between_words_and_hang(width: int) -> None:
    out = io.StringIO()
    print_answers(Console(file=out, force_terminal=True, width=width, color_system=None), CLAIMS, [], LONG)
    *lines, page = out.getvalue().splitlines()
    assert page == str(LONG), "a path is copied, so it stays in one piece"
    assert max(map(len, lines)) <= width
    assert " ".join(" ".join(lines).split()) == " ".join(CLAIMS)
    assert [line.split(",")[0] for line in lines if not line.startswith("  ")] == ["pong", "acrobot"]


def test_a_file_gets_one_line() -> None:
    out = io.StringIO()
    print_answers(Console(file=out, width=80), CLAIMS, [], LONG)
    assert out.getvalue().splitlines() == [" ".join(CLAIMS), str(LONG)]
