"""The screen of a comparison: the cells, the curves of a task, and the panels of the cell looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.text import Text

from ultra_agents.ui import screen
from ultra_agents.ui.compare.board import Board
from ultra_agents.ui.compare.cells import cells_panel, counts
from ultra_agents.ui.compare.curves import curves_panel
from ultra_agents.ui.compare.help import compare_help
from ultra_agents.ui.experiment import LOOK
from ultra_agents.ui.model import ViewState
from ultra_agents.ui.panels import PLAIN, Look
from ultra_agents.ui.panels.flow import bar
from ultra_agents.ui.panels.frame import Framed, framed
from ultra_agents.ui.screen import PANELS, Region, compose, depth_of
from ultra_agents.ui.text import about, clean, clock
from ultra_agents.ui.theme import DIM, FOCUS, WARM
from ultra_agents.ui.view import View

BoardPanel: TypeAlias = Callable[[Board, float, int, int, Look], Framed]
BOARD_PANELS: dict[str, BoardPanel] = {"cells": cells_panel, "curves": curves_panel}
WHEN = {"running": "at work"}


def regions(width: int, height: int, board: Board, view: View = View()) -> list[Region]:  # noqa: B008 - a value
    """Where everything stands; the regions tile the screen exactly."""
    bottom = 1 if (view.keys or board.warnings) and height > 2 else 0
    found = [Region("header", 0, 0, width, 1)]
    body = height - 1 - bottom
    if body > 0:
        if view.help:
            found.append(Region("help", 0, 1, width, body))
        elif view.zoom and view.focus in {**PANELS, **BOARD_PANELS}:
            found.append(Region(view.focus, 0, 1, width, body))
        elif board.opened:
            found.append(Region("cell", 0, 1, width, 1))
            if body > 1:
                found += screen.body(width, body - 1, 2, board.live)
        else:
            found += _body(width, body, board)
    if bottom:
        found.append(Region("footer", 0, height - 1, width, 1))
    return found


def _body(width: int, height: int, board: Board) -> Iterator[Region]:
    rows = len({(cell.what.task, cell.what.method) for cell in board.cells}) + 3
    talks, advised = _talks(board.live), bool(board.live.shown or board.live.advice)
    advised = advised or talks
    if width >= 130 and height >= 30:
        left = width * 6 // 13
        right = width - left
        upper = min(max(rows, 8), height // 2)
        yield Region("cells", 0, 1, left, upper)
        yield Region("curves", 0, 1 + upper, left, height - upper)
        yield Region("cell", left, 1, right, 1)
        top = min(max(len(board.live.stages) + 4, 10), height // 3)
        picture = right // 2
        yield Region("flow", left, 2, right - picture, top)
        yield Region("environment" if advised else "budget", left + right - picture, 2, picture, top)
        rest = height - 1 - top
        lower = max(rest // 3, 6)
        lower = lower if advised else 0
        yield Region("conversation" if talks else "learning_curve", left, 2 + top, right, rest - lower)
        if not advised:
            return
        yield Region("advice", left, 2 + top + rest - lower, right - right * 2 // 5, lower)
        yield Region("budget", left + right - right * 2 // 5, 2 + top + rest - lower, right * 2 // 5, lower)
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
    top = min(max(len(board.live.stages) + 2, 6), rest // 2)
    yield Region("flow", 0, y, part, top)
    yield Region("environment" if advised else "budget", 0, y + top, part, rest - top)
    lower = max(rest // 3, 5) if advised else 0
    yield Region(spoken, part, y, width - part, rest - lower)
    if lower:
        yield Region("advice", part, y + rest - lower, width - part, lower)


def _talks(state: ViewState) -> bool:
    """Whether the cell's agents have spoken, or may yet: advice that came without them says that they do not."""
    to_come = any(stage.name == "explain" and stage.status in ("waiting", "running") for stage in state.stages)
    return bool(state.messages or state.asked) or (to_come and not state.advice)


def renderable(region: Region, board: Board, now: float, view: View) -> RenderableType:
    """What stands in `region`."""
    if region.name == "header":
        return header(board, now, region.width)
    if region.name == "footer":
        return footer(board, region.width, view)
    if region.name == "cell":
        return cell_line(board, now, region.width)
    if region.name == "help":
        return compare_help(region.width, region.height)
    if region.name in BOARD_PANELS:
        return BOARD_PANELS[region.name](board, now, region.width, region.height, view.look(region.name))
    state = view.state(region.name, board.live)
    if region.name == "flow" and not state.stages:
        lines = [Text(_unbegun(board), DIM)]
        return framed("Flow", lines, region.width, region.height, focused=view.look("flow").focused)
    return PANELS[region.name](state, now, region.width, region.height, view.look(region.name))


def depends(region: Region, board: Board, now: float, view: View) -> tuple[Any, ...]:
    """What the look of `region` depends on."""
    second = int(board.moment(now))
    if region.name == "cells":
        return (board.cells, board.chosen, second, view.look("cells"))
    if region.name == "curves":
        states = [cell.state for cell in board.cells if cell.what.task == board.task]
        return (*(part for one in states for part in (one.curves, one.scores)), board.task, view.look("curves"))
    if region.name in PANELS:
        cell = board.cell.what if board.cell is not None else None
        return (*screen.depends(region, board.live, board.moment(now), view), cell)
    return (board, second, view)


class CompareScreen:
    """A renderable of one moment.

    Args:
        board: What is shown.
        now: The time, on the clock the board was made with.
        view: What a person did with the screen.
    """

    def __init__(self, board: Board, now: float, view: View | None = None) -> None:
        self.board, self.now, self.view = board, now, view or View(focus="cells")

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.size.height
        view = replace(self.view, depth=depth_of(console))
        parts = regions(width, height, self.board, view)
        return compose(console, options, height, [(one, renderable(one, self.board, self.now, view)) for one in parts])


def panes(width: int, height: int, board: Board, view: View) -> list[str]:
    """The panes on the screen without zoom, in reading order: what Tab goes through."""
    plain = replace(view, zoom=False, help=False)
    return [one.name for one in regions(width, height, board, plain) if one.name in {**PANELS, **BOARD_PANELS}]


def header(board: Board, now: float, width: int) -> Text:
    """Name, state, how many cells are finished, time passed and time left, on one line."""
    paused, left = board.paused is not None, board.left(now)
    line = Text.assemble((" ultra compare ", "bold reverse"), (f" {clean(board.name, 40)} ", "bold"))
    if paused:
        line.append(" PAUSED ", f"bold reverse {WARM}")
    told = "waiting for you" if paused else f"about {about(left)} left" if left else ""
    time = Text.assemble((clock(board.elapsed(now)), "bold"), (f"  {told}" if told else "", "cyan"), " ")
    share = board.worth / max(len(board.cells), 1)
    progress = Text.assemble((" " if paused else "", ""), bar(share, 16), (f" {share:.0%}  ", "cyan"))
    for part in (progress, Text(counts(board), DIM)):
        if line.cell_len + part.cell_len + time.cell_len + 2 <= width:
            line.append_text(part)
    line.append(" " * max(width - line.cell_len - time.cell_len, 1))
    line.append_text(time)
    line.truncate(width)
    return line


def cell_line(board: Board, now: float, width: int) -> Text:
    """Which cell is looked at, and where it is, on one line."""
    if board.cell is None:
        return Text(" no cells", DIM)
    what = board.cell.what
    line = Text.assemble(
        (f" {clean(what.task, 24)} ", f"bold reverse {FOCUS}"),
        (f" {clean(what.method, 24)}", "bold"),
        (f"  seed {what.seed}  ", ""),
        (WHEN.get(what.status, what.status), LOOK.get(what.status, "")),
    )
    if what.status == "running":
        stage = board.cell.state.current
        left = about(board.cell.left(board.moment(now)))
        line.append(f"  {clean(stage.name, 24)}" if stage else "")
        line.append(f"  {board.cell.fraction:.0%}", "cyan").append(f"  about {left} left" if left else "", "cyan")
    elif what.note:
        line.append(f"  {'return ' if what.status == 'finished' else ''}{clean(what.note, 200)}", DIM)
    told = Text("follows the work ", DIM) if board.follow else Text("f follows the work ", DIM)
    if line.cell_len + told.cell_len + 2 <= width:
        line.append(" " * (width - line.cell_len - told.cell_len)).append_text(told)
    line.truncate(width, overflow="ellipsis")
    return line


def footer(board: Board, width: int, view: View) -> Text:
    """The last warning, or that it is stopping, on the left; the keys on the right."""
    hints = _hints(board, view) if view.keys else Text()
    left = Text()
    if view.stopping and board.ended is None:
        left = Text(" stopping: cells end their work in hand …", f"bold {WARM}")
        hints = Text() if width - hints.cell_len < left.cell_len + 1 else hints
    elif board.warnings:
        left = Text(f" ! {clean(board.warnings[-1])}", WARM)
    room = width - hints.cell_len
    if room < 24 and hints.cell_len:
        left = Text()
    left.truncate(max(room - 1, 0) if hints.cell_len else width, overflow="ellipsis")
    line = left + Text(" " * max(room - left.cell_len, 0)) + hints
    line.truncate(width)
    return line


def _hints(board: Board, view: View) -> Text:
    pairs = [("p", "go on" if board.paused is not None else "pause"), ("q", "stop"), ("Tab", "focus")]
    if board.opened:
        pairs += [("Esc", "back"), ("←→", "cell"), ("↑↓", "scroll")]
    elif view.focus in ("", "cells"):
        pairs += [("↑↓←→", "cell"), ("Enter", "open"), ("[ ]", "task")]
    else:
        pairs += [("↑↓", "scroll"), ("z", "zoom"), ("[ ]", "task")]
    text = Text()
    for key, what in (*pairs, ("?", "help")):
        text.append(f" {key} ", f"bold {FOCUS}").append(f"{what} ", DIM)
    return text


def _unbegun(board: Board) -> str:
    status = board.cell.what.status if board.cell is not None else ""
    return {"waiting": "not begun: it waits for its turn"}.get(status, "starting ...")


__all__ = ["PLAIN", "CompareScreen", "depends", "panes", "regions", "renderable"]
