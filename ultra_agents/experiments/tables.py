"""The tables of a comparison as text: Markdown for a README, LaTeX for a paper, CSV for other programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ultra_agents.evaluation.wording import digits_for, interval, number
from ultra_agents.experiments import presets
from ultra_agents.experiments.answers import HELPED, IDLE, Answer
from ultra_agents.text import counted

WITH_RULES = "with rules"
"""The column of returns of networks whose rules are in force; of seeds without such the network alone."""
Table = tuple[Sequence[str], Sequence[Sequence[str]]]
_TEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}"}


def performance(summary: Mapping[str, Any], only: Sequence[str] | None = None) -> Table:
    """Final performance by task and method, with the paired difference from the baseline.

    Where a network ended with rules in force a column has its return with them.
    """
    rows, ruled = [], _ruled(summary)
    for task, found in summary["tasks"].items():
        here = {name: row for name, row in found["methods"].items() if only is None or name in only}
        digits = digits_for([row["last"] for row in here.values()])
        for name, row in here.items():
            difference, acting = row["difference"], row["with_rules"]
            rows.append(
                [
                    task,
                    name,
                    str(len(row["seeds"])),
                    _start(found, digits),
                    with_interval(row["last"], digits),
                    *(("" if acting is None else with_interval(acting, digits),) if ruled else ()),
                    with_interval(row["iqm"], digits),
                    with_interval(row["best"], digits),
                    "" if difference is None else interval(difference, digits),
                    "" if row["improvement"] is None else f"{row['improvement']['value']:.0%}",
                    _reached(row["reach"]),
                ]
            )
    head = ["task", "method", "seeds", "before", "after (last)", *((WITH_RULES,) if ruled else ())]
    return (
        *head,
        "IQM (last)",
        "after (best)",
        f"minus {summary['baseline']}",
        "P(better)",
        reach_head(summary),
    ), rows


@dataclass(frozen=True)
class Side:
    """One method on one task among all of them.

    Attributes:
        gain: The difference from the baseline.
        helped: Its interval is above 0.
        rest: What else is told of it: the network alone, whether anything acted.
        seeds: How many are finished, where the task has more; else empty.
    """

    gain: str
    helped: bool
    rest: str
    seeds: str

    @property
    def text(self) -> str:
        """`**+16.7 [12.2, 21.1]**; alone -5.2 [-10.2, -0.1] (4 seeds)`: bold where it helped."""
        told = [f"**{self.gain}**" if self.helped else self.gain, *([self.rest] if self.rest else [])]
        return "; ".join(told) + self.seeds


def sides(summary: Mapping[str, Any], found: Sequence[Answer]) -> dict[str, dict[str, Side | None]]:
    """By method and task; nothing for a single task, whose own table says all."""
    at = {(one.method, one.task): one for one in found}
    tasks = [task for task in summary["tasks"] if any(one.task == task for one in found)]
    methods = [name for name in summary["methods"] if any(one.method == name for one in found)]
    if len(tasks) < 2:
        return {}
    return {name: {task: _side(at.get((name, task)), summary) for task in tasks} for name in methods}


def _side(one: Answer | None, summary: Mapping[str, Any]) -> Side | None:
    if one is None:
        return None
    seeds = len({cell["seed"] for cell in summary["cells"] if cell["task"] == one.task})
    there = len(summary["tasks"][one.task]["methods"][one.method]["difference_by_seed"])
    rest = [*([f"alone {one.alone}"] if one.alone else []), *([IDLE] if one.verdict == IDLE else [])]
    fewer = "" if there == seeds else f" ({counted(there, 'seed')})"
    return Side(one.gain, one.verdict == HELPED, "; ".join(rest), fewer)


def side_by_side(summary: Mapping[str, Any], found: Sequence[Answer]) -> Table | None:
    """`sides` as text, a row for each method and a column for each task."""
    rows = sides(summary, found)
    if not rows:
        return None
    head = (f"minus {summary['baseline']}", *next(iter(rows.values())))
    return head, [[name, *("" if one is None else one.text for one in row.values())] for name, row in rows.items()]


CELL = ("before", "last", "best", "with_rules", "env_steps", "env_steps_before_refining", "seconds")
"""Of a finished cell: mean returns of the policy it began with, of its last and its best checkpoint, of the last with
its rules in force, environment steps, those paid before refining, and wall time."""


def cells(summary: Mapping[str, Any]) -> Table:
    """A row for each finished cell, its figures not rounded: for other people's statistics and plots."""
    rows = [
        [row["task"], row["method"], str(row["seed"]), *("" if row[key] is None else repr(row[key]) for key in CELL)]
        for row in summary["cells"]
        if row["status"] == "finished"
    ]
    return ("task", "method", "seed", *CELL), rows


def reach_head(summary: Mapping[str, Any]) -> str:
    """Head of the column of charged steps until a curve is where the baseline's of the same seed ended."""
    return f"steps to {summary['baseline']}'s end"


def _reached(reach: Mapping[str, Any] | None) -> str:
    """`14,200 (5 of 5)`; `(1 of 5)` where the median seed never got there."""
    if reach is None:
        return ""
    seeds = f"({reach['reached']} of {reach['seeds']})"
    return seeds if reach["steps"] is None else f"{reach['steps']:,.0f} {seeds}"


def refining(summary: Mapping[str, Any]) -> Table:
    """What the methods of each task refined with; more than one row of a task are different settings in it."""
    rows = [
        [task, ", ".join(row["methods"]), str(row["words"]), str(row["unused"] or "")]
        for task, found in summary["tasks"].items()
        for row in found["refining"]
    ]
    return ("task", "methods", "refined with", "not used of the policy file"), rows


def _ruled(summary: Mapping[str, Any]) -> bool:
    """Some network ended with rules in force."""
    return any(row["with_rules"] for found in summary["tasks"].values() for row in found["methods"].values())


def ablation(summary: Mapping[str, Any]) -> Table | None:
    """The methods that use advice, tested and untested; None unless two of them were compared."""
    there = {name for found in summary["tasks"].values() for name in found["methods"]}
    parts = [name for name in presets.ablation() if name in there]
    return performance(summary, [*parts, summary["baseline"]]) if len(parts) > 1 else None


def overall(summary: Mapping[str, Any]) -> Table | None:
    """Normalised scores over all tasks that have a reference; None without any."""
    rows = [
        [
            name,
            with_interval(row["iqm"], 2),
            with_interval(row["mean"], 2),
            "" if row["improvement"] is None else with_interval(row["improvement"], 2),
        ]
        for name, row in summary["overall"]["methods"].items()
    ]
    return (("method", "IQM", "mean", f"P(better than {summary['baseline']})"), rows) if rows else None


def rules(summary: Mapping[str, Any]) -> Table | None:
    """What advice as rules was worth, and what its test cost; None where there was none."""
    rows = []
    for task, found in summary["tasks"].items():
        for name, row in found["methods"].items():
            worth = row["rules"]
            if worth is None:
                continue
            gain = worth["gain"]
            tokens = 0 if row["advice"] is None else row["advice"]["cost"]["tokens"] / worth["seeds"]
            rows.append(
                [
                    task,
                    name,
                    f"{worth['held']} of {worth['seeds']}",
                    ", ".join(f"{count} {word}" for word, count in sorted(worth["verdicts"].items())),
                    "" if gain is None else interval(gain, digits_for([gain])),
                    "" if worth["coverage"] is None else f"{worth['coverage']:.0%}",
                    f"{worth['env_steps']:,.0f}",
                    f"{tokens:,.0f}",
                ]
            )
    head = ("task", "method", "in use", "verdicts", "gain in force", "act at", "steps of the test", "tokens")
    return (head, rows) if rows else None


def advice(summary: Mapping[str, Any]) -> Table | None:
    """What the advice was worth, and what it cost; None where nobody asked for any."""
    rows = []
    for task, found in summary["tasks"].items():
        for name, row in found["methods"].items():
            worth = row["advice"]
            if worth is None or (row["rules"] is not None and not worth["proposed"]):
                continue
            per = worth["per_accepted"]
            rows.append(
                [
                    task,
                    name,
                    str(worth["tested"]),
                    "" if worth["precision"] is None else _percent(worth["precision"]),
                    "" if worth["gain"] is None else interval(worth["gain"], 3),
                    str(worth["accepted"]),
                    "" if per is None else f"{per['env_steps']:,.0f}",
                    "" if per is None else f"{per['tokens']:,.0f}",
                    _fidelity(worth["fidelity"]),
                ]
            )
    head = (
        "task",
        "method",
        "tested",
        "precision",
        "gain of one",
        "accepted",
        "steps each",
        "tokens each",
        "fidelity",
    )
    return (head, rows) if rows else None


def comma_separated(table: Table) -> str:
    """A table as CSV."""
    head, rows = table
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


def markdown(table: Table) -> str:
    """A table in Markdown."""
    head, rows = table
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def latex(table: Table) -> str:
    """A table for LaTeX's `booktabs`."""
    head, rows = table
    lines = [r"\begin{tabular}{" + "l" * 2 + "r" * (len(head) - 2) + "}", r"\toprule"]
    lines += [" & ".join(map(_tex, head)) + r" \\", r"\midrule"]
    lines += [" & ".join(map(_tex, row)) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def with_interval(row: Mapping[str, Any], digits: int) -> str:
    """`-6.3 (-8.3 to -4.4)`, or the value alone where there is no interval."""
    text = number(row["value"], digits)
    return text if row["low"] is None else f"{text} ({number(row['low'], digits)} to {number(row['high'], digits)})"


def _start(found: Mapping[str, Any], digits: int) -> str:
    return "" if found["before"] is None else number(found["before"]["value"], digits)


def _percent(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.0%} ({row['low']:.0%} to {row['high']:.0%})"


def _fidelity(measured: Sequence[Mapping[str, Any]] | None) -> str:
    """Identified minus random windows, mean over seeds and shares K (`docs/method.md`, "Rivals")."""
    found = (row["difference"] for one in measured or () for row in one["scores"])
    values = [float(value) for value in found if value is not None]
    return f"{sum(values) / len(values):+.2f}" if values else ""


def _tex(text: str) -> str:
    plain = re.sub(r"[&%_#${}]", lambda found: _TEX[found.group()], text)
    return re.sub(r"\*\*(.+?)\*\*", r"\\textbf{\1}", plain)
