"""What a report says of rules: what acts at the end, what they were worth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.sample_results import LAST, made, returns
from ultra_agents.experiments import tables
from ultra_agents.experiments.answers import answers, headline
from ultra_agents.experiments.cells import CellOutcome
from ultra_agents.experiments.drive import drive
from ultra_agents.experiments.page import render
from ultra_agents.experiments.summary import summarise
from ultra_agents.ui.compare.cell_table import CellStatus

RULES = {
    "headline": "accepted", "verdict": "accepted", "held": True, "sets": 1, "unusable": 0, "rules": 2, "gain": 60.0,
    "low": 10.0, "high": 110.0, "pairs": 4, "coverage": 0.5, "env_steps": 3000, "seconds": 1.0,
}  # fmt: skip


def with_rules(small: Any, worth: dict[str, Any], ruled: bool = True) -> dict[str, Any]:
    """Three seeds; the rules held on the first two, and are in force at the end of the first."""
    experiment, cells, _ = small(seeds=3)
    results = {cell.name: made(cell, worth if cell.method == "ultra-ra" else None) for cell in cells}
    for name, one in results.items():
        if one.cell.method != "ultra-ra":
            continue
        held = one.cell.seed < 2
        told = {**RULES, **({} if held else {"verdict": "undecided", "held": False, "gain": 0.0})}
        acting = returns(9.0) if one.cell.seed == 0 and ruled else None
        moved = {**worth, "proposed": 0, "rules": told}
        results[name] = replace(one, method=replace(one.method, with_rules=acting), measures=moved)
    return summarise(experiment, cells, results, {}, {"corridor": 10.0})


def test_a_cell_is_shown_with_what_acts_at_its_end(small: Any, worth: dict[str, Any], tmp_path: Path) -> None:
    _, cells, _ = small(seeds=2)
    results = {cell.name: made(cell, None) for cell in cells}
    name = "corridor-ultra-ra-0"
    alone = results[name].method
    results[name] = replace(results[name], method=replace(alone, with_rules=returns(9.0)))

    class Idle:
        """All cells are finished: it is shown once, and nothing runs."""

        def run(self, cells: Any, root: Path, done: Any, tick: Any) -> Iterator[CellOutcome]:
            assert not cells
            return iter(())

    shown: list[CellStatus] = []
    drive(cells, tmp_path, Idle(), lambda: False, shown.extend, lambda: False, results)
    notes = {(one.method, one.seed): one.note for one in shown}
    other = results["corridor-ultra-ra-1"].method.last.values
    assert notes["ultra-ra", 0] == "9"
    assert notes["ultra-ra", 1] == f"{sum(other) / len(other):.4g}" != "9"


def test_networks_that_end_with_rules_have_a_column_more(small: Any, worth: dict[str, Any]) -> None:
    summary = with_rules(small, worth)
    head, rows = tables.performance(summary)
    assert head.index("with rules") == head.index("after (last)") + 1
    by_method = {row[1]: row for row in rows}
    assert by_method["continue"][head.index("with rules")] == ""
    row = summary["tasks"]["corridor"]["methods"]["ultra-ra"]
    assert row["with_rules"]["value"] == pytest.approx((9.0 + 5.5 + 6.0) / 3), "alone where none is in force"
    assert row["difference_with_rules_by_seed"] == {"0": 8.0, "1": 3.5, "2": 3.0}
    clear = {"value": 5.0, "low": 1.0, "high": 9.0, "confidence": 0.95}
    methods = {**summary["tasks"]["corridor"]["methods"], "ultra-ra": {**row, "difference_with_rules": clear}}
    ruled = {**summary, "tasks": {"x": {**summary["tasks"]["corridor"], "methods": methods}}}
    (one,) = answers(ruled)
    assert (one.verdict, one.gain) == ("helped", "+5.0 [1.0, 9.0]"), "the policy with its rules is what it ended with"
    assert one.alone.startswith("+3.2 ["), "and the network alone is told beside it"
    assert one.advice == "rules held on 2 of 3 seeds"
    assert headline(ruled) == "x, against continue (from 0.0 to 2.0): ultra-ra helped, +5.0 [1.0, 9.0]."
    page = render(summary, "ultra compare x.yaml")
    assert "<th>with rules</th>" in page
    assert "ultra-ra, with rules" in page
    without = with_rules(small, worth, ruled=False)
    assert "with rules" not in tables.performance(without)[0]
    assert "<th>with rules</th>" not in render(without, "ultra compare x.yaml")


def test_what_rules_were_worth_is_a_table_of_its_own(small: Any, worth: dict[str, Any]) -> None:
    summary = with_rules(small, worth)
    table = tables.rules(summary)
    assert table is not None
    row = dict(zip(*(table[0], table[1][0]), strict=True))
    assert (row["in use"], row["verdicts"]) == ("2 of 3", "2 accepted, 1 undecided")
    assert row["gain in force"].startswith("+40 [")
    assert (row["act at"], row["steps of the test"]) == ("50%", "3,000")
    assert tables.advice(summary) is None, "nobody was asked for moves"
    assert "What the rules were worth" in render(summary, "ultra compare x.yaml")


def test_a_reward_alone_acts_by_methods_that_take_rewards(
    small: Any, worth: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = {"verdict": "reward only", "held": False, "pairs": 0, "gain": None, "coverage": None}
    told = {**RULES, **nothing, "rewards": True, "text": "reward: x"}
    for method, verdict, advice in (
        ("ultra-r", None, "an implicit reward was added on 2 of 2 seeds"),
        ("ultra-a", "nothing acted", "no rules held on any of 2 seeds"),
    ):
        monkeypatch.setitem(LAST, method, LAST["ultra-ra"])
        experiment, cells, _ = small(seeds=2, methods=["continue", method])
        moved = {**worth, "proposed": 0, "accepted": 0, "rules": told}
        results = {cell.name: made(cell, moved if cell.method == method else None) for cell in cells}
        summary = summarise(experiment, cells, results, {}, {"corridor": 10.0})
        one = next(one for one in answers(summary) if one.method == method)
        assert one.advice == advice
        assert verdict is None or one.verdict == verdict
        assert (one.verdict == "nothing acted") == (method == "ultra-a")
        assert one.rules == ("reward: x" if method == "ultra-r" else "")


def test_rules_that_nothing_tested_are_not_said_to_have_held(small: Any, worth: dict[str, Any]) -> None:
    untested = {"verdict": "untested", "held": True, "pairs": 0, "gain": None, "coverage": None}
    told = {**worth, "proposed": 0, "accepted": 0, "rules": {**RULES, **untested, "rewards": False}}
    experiment, cells, _ = small(seeds=2)
    results = {cell.name: made(cell, told if cell.method == "ultra-ra" else None) for cell in cells}
    (one,) = answers(summarise(experiment, cells, results, {}, {"corridor": 10.0}))
    assert one.advice == "rules acted untested on 2 of 2 seeds"
