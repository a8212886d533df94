"""A comparison as one self-contained page; every number leads to the run folders it comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ultra_agents.experiments import tables
from ultra_agents.experiments.answers import answers, gaps, mixed, sentences
from ultra_agents.experiments.charts import costs, curves, forest, profiles

if TYPE_CHECKING:
    from markupsafe import Markup


def render(summary: Mapping[str, Any], command: str) -> str:
    """The page for what `summarise` made.

    Args:
        summary: Content of `report.json`.
        command: The line that makes all of it again.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    methods = {name: index for index, name in enumerate(summary["methods"])}
    engine = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    engine.filters["parted"] = _parted
    source = files("ultra_agents.experiments").joinpath("comparison.html.j2").read_text(encoding="utf-8")
    missing = [cell["name"] for cell in summary["cells"] if cell["status"] == "missing"]
    found = answers(summary)
    lost = [cell for cell in summary["cells"] if cell["status"] not in ("finished", "missing")]
    return engine.from_string(source).render(
        summary=summary,
        command=command,
        baseline=summary["baseline"],
        sentences=sentences(summary),
        answers=found,
        beside=tables.sides(summary, found),
        sections=[
            {
                "task": task,
                "found": found,
                "table": _linked(summary, task),
                "curves": Markup(curves(task, found, methods)),
                "forest": Markup(forest(task, found, methods, summary["baseline"])),
                "costs": Markup(costs(task, found, methods)),
            }
            for task, found in summary["tasks"].items()
            if found["methods"]
        ],
        overall=_with_runs(summary, tables.overall(summary)),
        profiles=Markup(profiles(summary["overall"], methods)),
        ablation=_with_runs(summary, tables.ablation(summary)),
        advice=_with_runs(summary, tables.advice(summary)),
        rules=_with_runs(summary, tables.rules(summary)),
        lost=lost,
        missing=missing,
        gaps=gaps(summary),
        mixed=mixed(summary),
    )


def _parted(cell: str) -> Markup:
    """A cell of a table with its interval, or what else is in brackets behind its number, below the number."""
    from markupsafe import Markup

    found = re.fullmatch(r"(\S+) ([(\[].*)", cell)
    return Markup("{}<small>{}</small>").format(*found.groups()) if found else Markup("{}").format(cell)


def _linked(summary: Mapping[str, Any], task: str) -> list[dict[str, Any]]:
    """The rows of the performance table, each with the run of every seed."""
    found = summary["tasks"][task]["methods"]
    head, rows = tables.performance({**summary, "tasks": {task: summary["tasks"][task]}})
    return [
        {
            "cells": dict(zip(head, row, strict=True)),
            "runs": [
                {"seed": seed, "path": f"cells/{name}/report.html", "value": found[row[1]]["by_seed"][str(seed)]}
                for seed, name in zip(found[row[1]]["seeds"], found[row[1]]["cells"], strict=True)
            ],
        }
        for row in rows
    ]


def _with_runs(summary: Mapping[str, Any], table: tables.Table | None) -> dict[str, Any] | None:
    """A table of one row by method, or by task and method, with the runs that each row comes from."""
    if table is None:
        return None
    head, rows = table
    by_task = head[0] == "task"
    made = []
    for row in rows:
        tasks, method = ([row[0]], row[1]) if by_task else (summary["overall"]["tasks"], row[0])
        found = {task: summary["tasks"][task]["methods"][method] for task in tasks}
        runs = [
            {"name": name, "seed": seed, "path": f"cells/{name}/report.html"}
            for one in found.values()
            for seed, name in zip(one["seeds"], one["cells"], strict=True)
        ]
        made.append({"cells": row, "runs": runs})
    return {"head": head, "rows": made}
