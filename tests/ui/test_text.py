"""Words for screens."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from ultra_agents.text import clean, counted, printable
from ultra_agents.ui.text import about, clock, count, prose, score, took, wrap


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\tand\r\nmore", "two lines and more"),
        ("\x1b[31mred\x1b[0m \x07bell", "[31mred[0m bell"),
        ("\x9b2Jgone", "2Jgone"),
        ("abc\u202edef\u200b", "abcdef"),
        ("[bold]not markup[/]", "[bold]not markup[/]"),
        ("  a   b  ", "a b"),
    ],
)
def test_nothing_a_terminal_would_obey_is_left(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_cutting_leaves_an_ellipsis() -> None:
    assert clean("abcdefgh", 5) == "abcd…"
    assert clean("abcde", 5) == "abcde"
    assert len(clean("x" * 10_000_000, 20)) == 20


def test_printable_keeps_spacing() -> None:
    assert printable("  a\x1b  b") == "  a  b"


def test_wrapping_counts_cells_not_characters() -> None:
    assert wrap("one two three", 7, 5) == ["one two", "three"]
    assert wrap("one two three four", 7, 2) == ["one two", "three…"]
    assert wrap("abcdefghij", 4, 5) == ["abcd", "efgh", "ij"]
    assert wrap("word", 4, 0) == []
    assert all(cell_len(line) <= 7 for line in wrap("評価環境の方策を改善する提案", 7, 2))


def test_json_is_told_as_prose() -> None:
    assert prose('{"rationale": "why", "steps": [4, 7]}') == "rationale: why; steps: 4 | 7"
    assert prose("plain {words}") == "plain {words}"
    assert prose("12") == "12"


def test_json_that_was_cut_is_told_as_prose_as_well() -> None:
    assert prose('{"reasoning":"Signs: +1.\\nBAD, step 4", "verdict":"acc') == (
        "reasoning: Signs: +1. BAD, step 4; verdict: acc"
    )
    assert prose('[{"step": 4, "why": "the ba') == "step: 4; why: the ba"
    assert prose('{ball} is at "x": y') == '{ball} is at "x": y', "no JSON"


def test_one_is_no_plural() -> None:
    assert [counted(n, "pair") for n in (0, 1, 2, 1200)] == ["0 pairs", "1 pair", "2 pairs", "1,200 pairs"]


def test_durations() -> None:
    assert [clock(s) for s in (-1, 0, 187.9, 3723)] == ["0:00", "0:00", "3:07", "1:02:03"]
    assert [took(s) for s in (0.04, 9.94, 9.96, 99, 187, 3723)] == [
        "0.0 s", "9.9 s", "10 s", "99 s", "3:07 min", "1:02:03 h",
    ]  # fmt: skip
    assert [about(s) for s in (None, 0, 12, 56, 240, 3599, 7800)] == [
        "", "5 s", "15 s", "1 min", "4 min", "60 min".replace("60 min", "1 h 00"), "2 h 10",
    ]  # fmt: skip


def test_numbers() -> None:
    assert [count(n) for n in (0, 950, 1000, 12_345, 999_600, 1_200_000, 3e9)] == [
        "0", "950", "1k", "12.3k", "1M", "1.2M", "3G",
    ]  # fmt: skip
    assert [score(v) for v in (-3.456, 123.45, 12345.6, float("nan"))] == ["-3.46", "123.5", "12346", "-"]
