"""The measures of advice as a table for the terminal: one column per proposer, as many side by side as fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Measures: TypeAlias = Mapping[str, Any]
NOTHING = "-"
INTERVAL = "   interval"
LABEL, COLUMN = 25, 18
"""Columns of the terminal for the names of the rows, and at least for each proposer."""


def print_measures(console: Console, columns: Mapping[str, Measures]) -> None:
    """Print the measures of each proposer; where the terminal is too narrow for all, in several tables."""
    fit = max(1, (console.width - LABEL) // COLUMN)
    names = list(columns)
    for start in range(0, len(names), fit):
        console.print(measures_table({name: columns[name] for name in names[start : start + fit]}))
    confidence = f"{next(iter(columns.values()))['confidence']:.0%}"
    note = f"Intervals at {confidence}. Precision: the share of tested suggestions whose measured gain holds."
    if any(one.get("rules") for one in columns.values()):
        note = "Gain per episode: rules in force against the policy alone; its interval is that of their test."
    console.print(note, style="bright_black")
    for one in columns.values():
        if (human := one.get("human")) is not None:
            told = f"{human['headline']} It is in no figure above but the rules in use; {human['env_steps']:,} steps."
            console.print(told, markup=False, highlight=False, soft_wrap=True)


def measures_table(columns: Mapping[str, Measures]) -> Table:
    """One table with a column for each of `columns`; rows without any value are left out."""
    from rich import box
    from rich.table import Table

    from ultra_agents.text import clean

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False, padding=(0, 1))
    table.add_column("", no_wrap=True, style="bright_black")
    for name in columns:
        table.add_column(clean(name), justify="right", no_wrap=True)
    for group in GROUPS:
        told = [(label, [show(measures) for measures in columns.values()]) for label, show in group]
        told = [row for row in told if any(cell != NOTHING for cell in row[1])]
        for place, (label, cells) in enumerate(told, 1):
            style = "bold" if label in ("advice precision", "gain of a suggestion", "gain per episode") else ""
            table.add_row(label, *cells, style=style, end_section=place == len(told))
    for share in _shares(columns.values()):
        found = [_fidelity(measures, share) for measures in columns.values()]
        table.add_row(f"fidelity - random, K {share:.0%}", *(value for value, _ in found))
        if any(ends != NOTHING for _, ends in found):
            table.add_row(INTERVAL, *(ends for _, ends in found))
    return table


def _only_rules(measures: Measures) -> bool:
    """Nobody was asked for moves."""
    return bool(measures.get("rules")) and not measures["segments"]


def _count(key: str) -> Callable[[Measures], str]:
    def show(measures: Measures) -> str:
        counted = measures[key] or (key in ("proposed", "accepted") and not _only_rules(measures))
        return f"{measures[key]:,}" if counted else NOTHING

    return show


def _rules(key: str) -> Callable[[Measures], str]:
    """A cell about the rules; `-` where there are none, or it was not measured."""

    def show(measures: Measures) -> str:
        row = measures.get("rules")
        if row is None or (key in ("gain", "range", "coverage", "pairs") and not row["pairs"]):
            return NOTHING
        if key == "range":
            return _range(row["low"], row["high"])
        if key == "gain":
            return figure(row["gain"], True)
        if key == "coverage":
            return f"{100 * row['coverage']:.3g} %"
        return f"{row[key]:,}" if isinstance(row[key], int) else str(row[key])

    return show


def _precision(measures: Measures) -> str:
    row = measures["precision"]
    return NOTHING if row is None else f"{100 * row['value']:.0f} %"


def _precision_ends(measures: Measures) -> str:
    row = measures["precision"]
    return NOTHING if row is None else f"{100 * row['low']:.0f} to {100 * row['high']:.0f} %"


def _gain(key: str) -> Callable[[Measures], str]:
    return lambda measures: NOTHING if measures[key] is None else figure(measures[key]["value"], True)


def _gain_ends(key: str) -> Callable[[Measures], str]:
    def show(measures: Measures) -> str:
        row = measures[key]
        return NOTHING if row is None or row["low"] is None else _range(row["low"], row["high"])

    return show


def _range(low: float, high: float) -> str:
    return f"{figure(low)} to {figure(high)}"


def _joint(measures: Measures) -> str:
    row = measures.get("joint")
    return NOTHING if row is None else f"{len(row['kept'])} of {row['rows']}"


def _set_verdict(measures: Measures) -> str:
    row = measures.get("joint")
    return NOTHING if row is None else str(row["verdict"])


def _touched(key: str) -> Callable[[Measures], str]:
    return lambda measures: NOTHING if _only_rules(measures) else f"{100 * measures['touched'][key]:.3g} %"


def _rank(key: str) -> Callable[[Measures], str]:
    def show(measures: Measures) -> str:
        row = measures["rank"][key]
        return NOTHING if row is None else f"{row['rho']:+.2f} (p {row['p']:.2f})"

    return show


def _critic(key: str) -> Callable[[Measures], str]:
    """`60 % of 5`: of the suggestions the critic accepted, or of those that held."""

    def show(measures: Measures) -> str:
        found = measures.get("critic")
        if found is None or found[key] is None:
            return NOTHING
        return f"{100 * found[key]['value']:.0f} % of {found['accepted' if key == 'precision' else 'held']}"

    return show


def _spent(measures: Measures, key: str) -> float:
    """On moves and on rules."""
    return measures["cost"][key] + (measures.get("rules") or {}).get(key, 0)  # type: ignore[no-any-return]


def _cost(key: str) -> Callable[[Measures], str]:
    def show(measures: Measures) -> str:
        value = _spent(measures, key)
        return (f"{value:.1f}" if key == "seconds" else f"{value:,}") if value else NOTHING

    return show


def _price(key: str) -> Callable[[Measures], str]:
    def show(measures: Measures) -> str:
        if not _spent(measures, key):
            return NOTHING
        return "none accepted" if measures["per_accepted"] is None else figure(measures["per_accepted"][key])

    return show


def _per_test(measures: Measures) -> str:
    return NOTHING if measures["steps_per_test"] is None else figure(measures["steps_per_test"])


def _shares(columns: Any) -> list[float]:
    shares = {row["share"] for measures in columns if measures["fidelity"] for row in measures["fidelity"]["scores"]}
    return sorted(shares)


def _fidelity(measures: Measures, share: float) -> tuple[str, str]:
    rows = measures["fidelity"]["scores"] if measures["fidelity"] else []
    row = next((row for row in rows if math.isclose(row["share"], share)), None)
    if row is None or row["difference"] is None:
        return NOTHING, NOTHING
    return f"{row['difference']:+.2f}", NOTHING if row["low"] is None else _range(row["low"], row["high"])


def figure(value: float, sign: bool = False) -> str:
    """A number with about three significant figures."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 0.095 or size == 0 else 3
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.lstrip("+-") if float(text.replace(",", "")) == 0 else text


TableRow: TypeAlias = tuple[str, Callable[[Measures], str]]
GROUPS: Sequence[Sequence[TableRow]] = (
    (
        ("segments explained", _count("segments")),
        ("critical states", _count("critical")),
        ("left as they are", lambda measures: f"{measures.get('left') or NOTHING}"),
        ("suggestions", _count("proposed")),
        ("unusable replies, plans", _count("unusable")),
        ("   no recorded answer", lambda measures: f"{measures.get('not_recorded') or NOTHING}"),
        ("tested", _count("tested")),
        ("undecided", lambda measures: f"{measures.get('undecided', 0):,}"),
        ("accepted", _count("accepted")),
    ),
    (
        ("sets of rules", _rules("sets")),
        ("rules: verdict", _rules("verdict")),
        ("rules left in the set", _rules("rules")),
        ("gain per episode", _rules("gain")),
        (INTERVAL, _rules("range")),
        ("paired episodes", _rules("pairs")),
        ("rules act, share of steps", _rules("coverage")),
        ("steps of their test", _rules("env_steps")),
    ),
    (
        ("advice precision", _precision),
        (INTERVAL, _precision_ends),
        ("gain of a suggestion", _gain("gain")),
        (INTERVAL, _gain_ends("gain")),
        ("gain of those that hold", _gain("gain_held")),
        (INTERVAL, _gain_ends("gain_held")),
        ("tested together, used", _joint),
        ("   the set", _set_verdict),
        ("importance ~ gain, rank", _rank("importance")),
        ("reward ~ gain, rank", _rank("reward")),
        ("critic's yes: precision", _critic("precision")),
        ("critic's yes: recall", _critic("recall")),
        ("episodes touched", _touched("episodes")),
        ("steps touched", _touched("steps")),
    ),
    (
        ("tokens", _cost("tokens")),
        ("model calls", _cost("calls")),
        ("environment steps", _cost("env_steps")),
        ("   of a test, median", _per_test),
        ("seconds", _cost("seconds")),
    ),
    (
        ("tokens per accepted", _price("tokens")),
        ("calls per accepted", _price("calls")),
        ("env. steps per accepted", _price("env_steps")),
        ("seconds per accepted", _price("seconds")),
    ),
)
