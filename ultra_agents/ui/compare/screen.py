"""The screen of a comparison: the cells, the curves of a task, and the panels of the selected cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from ultra_agents.text import clean
from ultra_agents.ui import screen
from ultra_agents.ui.compare.cell_table import STATUS_COLOURS
from ultra_agents.ui.compare.cells import cells_panel, counts
from ultra_agents.ui.compare.curves import curves_panel
from ultra_agents.ui.compare.help import compare_help
from ultra_agents.ui.compare.state import ComparisonState
from ultra_agents.ui.panels import PanelView
from ultra_agents.ui.panels.flow import bar
from ultra_agents.ui.panels.frame import Framed, framed
from ultra_agents.ui.run_state import RunState
from ultra_agents.ui.screen import PANELS, Region, compose, depth_of
from ultra_agents.ui.text import about, clock
from ultra_agents.ui.theme import DIM, FOCUS, WARM
from ultra_agents.ui.view import View

ComparisonPanel: TypeAlias = Callable[[ComparisonState, float, int, int, PanelView], Framed]
COMPARISON_PANELS: dict[str, ComparisonPanel] = {"cells": cells_panel, "curves": curves_panel}
WHEN = {"running": "at work"}


def regions(width: int, height: int, comparison: ComparisonState, view: View = View()) -> list[Region]:  # noqa: B008 - a value
    """The layout; the regions tile the screen exactly."""
    bottom = 1 if (view.keys or comparison.warnings) and height > 2 else 0
    found = [Region("header", 0, 0, width, 1)]
    body = height - 1 - bottom
    if body > 0:
        if view.help:
            found.append(Region("help", 0, 1, width, body))
        elif view.zoom and view.focus in {**PANELS, **COMPARISON_PANELS}:
            found.append(Region(view.focus, 0, 1, width, body))
        elif comparison.opened:
            found.append(Region("cell", 0, 1, width, 1))
            if body > 1:
                found += screen.body(width, body - 1, 2, comparison.run)
        else:
            found += _body(width, body, comparison)
    if bottom:
        found.append(Region("footer", 0, height - 1, width, 1))
    return found


def _body(width: int, height: int, comparison: ComparisonState) -> Iterator[Region]:
    rows = len({(cell.reported.task, cell.reported.method) for cell in comparison.cells}) + 3
    talks = _talks(comparison.run)
    advised = talks or bool(comparison.run.shown or comparison.run.advice)
    pictured = advised and comparison.run.pictured
    if width >= 130 and height >= 30:
        left = width * 6 // 13
        right = width - left
        upper = min(max(rows, 8), height // 2)
        yield Region("cells", 0, 1, left, upper)
        yield Region("curves", 0, 1 + upper, left, height - upper)
        yield Region("cell", left, 1, right, 1)
        top = min(max(len(comparison.run.stages) + 4, 10), height // 3)
        picture = right // 2
        yield Region("flow", left, 2, right - picture, top)
        yield Region("environment" if pictured else "budget", left + right - picture, 2, picture, top)
        rest = height - 1 - top
        lower = max(rest // 3, 6)
        lower = lower if advised else 0
        yield Region("conversation" if talks else "learning_curve", left, 2 + top, right, rest - lower)
        if not advised:
            return
        spent = right * 2 // 5 if pictured else 0
        yield Region("advice", left, 2 + top + rest - lower, right - spent, lower)
        if pictured:
            yield Region("budget", left + right - spent, 2 + top + rest - lower, spent, lower)
        return
    if height < 18 or width < 60:
        upper = min(rows, max(height - 5, 3), height)
        yield Region("cells", 0, 1, width, upper)
        if height > upper:
            yield Region("cell", 0, 1 + upper, width, 1)
        if height > upper + 1:
            yield Region("flow", 0, 2 + upper, width, height - upper - 1)
        return
    tall = height >= 28 and width >= 100
    upper = min(max(rows, 9), height // 2) if not tall else min(max(rows, 13), height * 2 // 5)
    left = width * 6 // 11
    yield Region("cells", 0, 1, left, upper)
    yield Region("curves", left, 1, width - left, upper)
    yield Region("cell", 0, 1 + upper, width, 1)
    y, rest = 2 + upper, height - upper - 1
    part = width * 2 // 5
    spoken = "conversation" if talks else "learning_curve"
    if not tall:
        yield Region("flow", 0, y, part, rest)
        yield Region(spoken, part, y, width - part, rest)
        return
    top = min(max(len(comparison.run.stages) + 2, 6), rest // 2)
    yield Region("flow", 0, y, part, top)
    yield Region("environment" if pictured else "budget", 0, y + top, part, rest - top)
    lower = max(rest // 3, 5) if advised else 0
    yield Region(spoken, part, y, width - part, rest - lower)
    if lower:
        yield Region("advice", part, y + rest - lower, width - part, lower)


def _talks(state: RunState) -> bool:
    """Whether the cell's agents have replied or still may: advice without replies was taken over from another cell."""
    to_come = any(stage.name == "explain" and stage.status in ("waiting", "running") for stage in state.stages)
    return bool(state.messages or state.pending) or (to_come and not state.advice)


def renderable(region: Region, comparison: ComparisonState, now: float, view: View) -> RenderableType:
    """The content of `region`."""
    if region.name == "header":
        return header(comparison, now, region.width)
    if region.name == "footer":
        return footer(comparison, region.width, view)
    if region.name == "cell":
        return cell_line(comparison, now, region.width)
    if region.name == "help":
        return compare_help(region.width, region.height)
    if region.name in COMPARISON_PANELS:
        return COMPARISON_PANELS[region.name](comparison, now, region.width, region.height, view.panel(region.name))
    state = view.state(region.name, comparison.run)
    if region.name == "flow" and not state.stages:
        lines = [Text(_unbegun(comparison), DIM)]
        return framed("Flow", lines, region.width, region.height, focused=view.panel("flow").focused)
    return PANELS[region.name](state, now, region.width, region.height, view.panel(region.name))


def dependencies(region: Region, comparison: ComparisonState, now: float, view: View) -> tuple[Any, ...]:
    """The values that the content of `region` depends on."""
    second = int(comparison.moment(now))
    if region.name == "cells":
        return (comparison.cells, comparison.selected, second, view.panel("cells"))
    if region.name == "curves":
        states = [cell.state for cell in comparison.cells if cell.reported.task == comparison.task]
        return (*(part for one in states for part in (one.curves, one.scores)), comparison.task, view.panel("curves"))
    if region.name in PANELS:
        cell = comparison.cell.reported if comparison.cell is not None else None
        return (*screen.dependencies(region, comparison.run, comparison.moment(now), view), cell)
    return (comparison, second, view)


class CompareScreen:
    """The screen at one moment as a Rich renderable.

    Args:
        comparison: What is shown.
        now: The time in seconds, on the clock of the comparison.
        view: How the user views it.
    """

    def __init__(self, comparison: ComparisonState, now: float, view: View | None = None) -> None:
        self.comparison, self.now, self.view = comparison, now, view or View(focus="cells")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.size.height
        view = replace(self.view, depth=depth_of(console))
        parts = regions(width, height, self.comparison, view)
        return compose(
            console, options, height, [(one, renderable(one, self.comparison, self.now, view)) for one in parts]
        )


def panes(width: int, height: int, comparison: ComparisonState, view: View) -> list[str]:
    """The panels on the screen without zoom, in reading order, which is the order of Tab."""
    plain = replace(view, zoom=False, help=False)
    return [
        one.name for one in regions(width, height, comparison, plain) if one.name in {**PANELS, **COMPARISON_PANELS}
    ]


def header(comparison: ComparisonState, now: float, width: int) -> Text:
    """Name, state, how many cells are finished, time passed and time left, on one line."""
    paused, left = comparison.paused is not None, comparison.left(now)
    line = Text.assemble((" ultra compare ", "bold reverse"), (f" {clean(comparison.name, 40)} ", "bold"))
    if paused:
        line.append(" PAUSED ", f"bold reverse {WARM}")
    told = "waiting for you" if paused else f"{left} left" if left and str(left) else ""
    time = Text.assemble((clock(comparison.elapsed(now)), "bold"), (f"  {told}" if told else "", "cyan"), " ")
    share = comparison.work_done / max(len(comparison.cells), 1)
    progress = Text.assemble((" " if paused else "", ""), bar(share, 16), (f" {share:.0%}  ", "cyan"))
    for part in (progress, Text(counts(comparison), DIM)):
        if line.cell_len + part.cell_len + time.cell_len + 2 <= width:
            line.append_text(part)
    line.append(" " * max(width - line.cell_len - time.cell_len, 1))
    line.append_text(time)
    line.truncate(width)
    return line


def cell_line(comparison: ComparisonState, now: float, width: int) -> Text:
    """The selected cell and its progress, on one line."""
    if comparison.cell is None:
        return Text(" no cells", DIM)
    what = comparison.cell.reported
    line = Text.assemble(
        (f" {clean(what.task, 24)} ", f"bold reverse {FOCUS}"),
        (f" {clean(what.method, 24)}", "bold"),
        (f"  seed {what.seed}  ", ""),
        (WHEN.get(what.status, what.status), STATUS_COLOURS.get(what.status, "")),
    )
    if what.status == "running":
        stage = comparison.cell.state.current
        left = about(comparison.cell.left(comparison.moment(now)))
        line.append(f"  {clean(stage.name, 24)}" if stage else "")
        line.append(f"  {comparison.cell.fraction:.0%}", "cyan").append(f"  about {left} left" if left else "", "cyan")
    elif what.note:
        line.append(f"  {'return ' if what.status == 'finished' else ''}{clean(what.note, 200)}", DIM)
    told = Text("follows the work ", DIM) if comparison.follow else Text("f follows the work ", DIM)
    if line.cell_len + told.cell_len + 2 <= width:
        line.append(" " * (width - line.cell_len - told.cell_len)).append_text(told)
    line.truncate(width, overflow="ellipsis")
    return line


def footer(comparison: ComparisonState, width: int, view: View) -> Text:
    """The last warning, or that it is stopping, on the left; the keys on the right."""
    hints = _hints(comparison, view) if view.keys else Text()
    left = Text()
    if view.stopping and comparison.ended is None:
        left = Text(" stopping: cells end their work in hand …", f"bold {WARM}")
        hints = Text() if width - hints.cell_len < left.cell_len + 1 else hints
    elif comparison.warnings:
        left = Text(f" ! {clean(comparison.warnings[-1])}", WARM)
    room = width - hints.cell_len
    if room < 24 and hints.cell_len:
        left = Text()
    left.truncate(max(room - 1, 0) if hints.cell_len else width, overflow="ellipsis")
    line = left + Text(" " * max(room - left.cell_len, 0)) + hints
    line.truncate(width)
    return line


def _hints(comparison: ComparisonState, view: View) -> Text:
    pairs = [("p", "go on" if comparison.paused is not None else "pause"), ("q", "stop"), ("Tab", "focus")]
    if comparison.opened:
        pairs += [("Esc", "back"), ("←→", "cell"), ("↑↓", "scroll")]
    elif view.focus in ("", "cells"):
        pairs += [("↑↓←→", "cell"), ("Enter", "open"), ("[ ]", "task")]
    else:
        pairs += [("↑↓", "scroll"), ("z", "zoom"), ("[ ]", "task")]
    text = Text()
    for key, what in (*pairs, ("?", "help")):
        text.append(f" {key} ", f"bold {FOCUS}").append(f"{what} ", DIM)
    return text


def _unbegun(comparison: ComparisonState) -> str:
    status = comparison.cell.reported.status if comparison.cell is not None else ""
    return {"waiting": "not begun: it waits for its turn"}.get(status, "starting ...")
