"""The summary of a run, printed at its end."""

from __future__ import annotations

import math

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ultra_agents.text import clean, counted
from ultra_agents.ui.run_state import MeanReturn, RunState
from ultra_agents.ui.text import score, took
from ultra_agents.ui.theme import BAD, DIM, GOOD, WARM, method_colours

SIGN = {"finished": ("✔", GOOD), "interrupted": ("■", WARM), "budget": ("■", WARM), "failed": ("✘", BAD)}


def summary(state: RunState, now: float) -> RenderableType:
    """The table of methods where policies were evaluated, how the run ended, and the path of its report."""
    parts: list[RenderableType] = []
    table = method_table(state)
    if table is not None:
        parts.append(table)
    if table is not None and state.settings:
        parts.append(Text.assemble(("refined by ", DIM), (clean(state.settings), DIM)))
    if state.forked:
        parts.append(Text(clean(f"{state.forked}; the shared stages cost there {state.inherited}"), DIM))
    sign, colour = SIGN.get(state.status, ("·", DIM))
    parts.append(
        Text.assemble(
            (f"{sign} ", colour),
            (clean(state.name), "bold"),
            f" {clean(state.status)} after {took(state.elapsed(now))}",
            f": {clean(state.summary)}" if state.summary else "",
        )
    )
    if state.warnings:
        parts += [Text(f"! {clean(text)}", WARM) for text in dict.fromkeys(state.warnings)]
    if state.report:
        parts.append(Text.assemble(("report: ", DIM), clean(state.report)))
    return Group(*parts)


def method_table(state: RunState) -> Table | None:
    """Before, last and best return of every refined method; None before anything was evaluated at the end."""
    methods = [name for name, purposes in state.scores.items() if {"last", "best"} & set(purposes)]
    if not methods:
        return None
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("method")
    ruled = any("with rules" in state.scores[method] for method in methods)
    for title in ("before", "last", *(("with rules",) if ruled else ()), "change", "best", "env steps"):
        table.add_column(title, justify="right", no_wrap=True)
    colours = method_colours(methods, state.colours)
    for method in methods:
        purposes = state.scores[method]
        before, last, best = purposes.get("before") or state.before, purposes.get("last"), purposes.get("best")
        spent = last.steps if last is not None else state.steps.get(method, (0, 0))[0]
        table.add_row(
            Text(clean(method), colours[method]), _cell(before), _cell(last),
            *((_cell(purposes.get("with rules")),) if ruled else ()), _change(before, last), _cell(best),
            f"{spent:,}" if spent else "-",
        )  # fmt: skip
    finals = [state.scores[method].get(purpose) for method in methods for purpose in ("last", "best")]
    episodes = max(found.episodes for found in finals if found is not None)
    table.caption = f"mean return ± standard error of {counted(episodes, 'episode')}"
    table.caption_style = DIM
    table.caption_justify = "left"
    return table


def _cell(found: MeanReturn | None) -> str:
    if found is None:
        return "-"
    return score(found.mean) + ("" if math.isnan(found.error) else f" ± {score(found.error)}")


def _change(before: MeanReturn | None, last: MeanReturn | None) -> Text:
    if before is None or last is None:
        return Text("-")
    change = last.mean - before.mean
    return Text(f"{change:+.2f}", GOOD if change > 0 else BAD if change < 0 else "")
