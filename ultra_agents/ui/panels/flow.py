"""The stages of the run with their status, the current one with a progress bar and the time left."""

from __future__ import annotations

from rich.text import Text

from ultra_agents.text import clean, counted
from ultra_agents.ui.panels import DEFAULT_VIEW, PanelView
from ultra_agents.ui.panels.frame import Framed, framed, hint
from ultra_agents.ui.run_state import RunState, StageState
from ultra_agents.ui.text import about, clock, took
from ultra_agents.ui.theme import DIM, SIGNS


def flow(state: RunState, now: float, width: int, height: int, view: PanelView = DEFAULT_VIEW) -> Framed:
    """The panel "Flow"; scrolling goes down."""
    now = state.moment(now)
    inner, rows = max(width - 4, 10), max(height - 2, 1)
    names = min(max((len(stage.name) for stage in state.stages), default=0), max(inner // 2, 8))
    blocks = [_stage(stage, now, inner, names) for stage in state.stages]
    spare = rows - len(blocks)
    lines: list[Text] = []
    at = 0
    for block, stage in zip(blocks, state.stages, strict=True):
        if stage.status == "running":
            at = len(lines)
        details = block[1:] if spare >= len(block) - 1 else []
        spare -= len(details)
        lines += [block[0], *details]
    if len(lines) > rows:  # scroll so that the current stage is visible, at most two lines from the bottom
        first = min(max(at - rows + 2, 0), len(lines) - rows)
        scrolled = min(view.scroll, len(lines) - rows) if view.scroll else 0
        lines = lines[scrolled or first :]
    else:
        scrolled = 0
    if not lines:
        lines = hint("starting ...", width, height)
    finished = sum(stage.status in ("done", "kept") for stage in state.stages)
    told = f"{finished} of {counted(len(state.stages), 'stage')}" if state.stages else ""
    return framed("Flow", lines, width, height, told, focused=view.focused, scrolled=scrolled)


def _stage(stage: StageState, now: float, inner: int, names: int) -> list[Text]:
    """The stage's line, and further ones that are shown where there is room."""
    sign, colour = SIGNS[stage.status]
    quiet = stage.status in ("waiting", "kept")
    name = clean(stage.name, names).ljust(names)
    line = Text.assemble((f"{sign} ", colour), (name, DIM if quiet else "bold" if stage.status == "running" else ""))
    room = inner - names - 3
    if stage.status == "running":
        line.append(" ")
        line.append_text(_running(stage, now, room))
        told = clean(" · ".join(part for part in (_units(stage), stage.note or stage.title) if part), inner - 2)
        return [line, Text(f"  {told}", DIM)] if told else [line]
    if stage.status == "kept":
        line.append(" kept from before", DIM)
    elif stage.status == "done":
        line.append(f" {took(stage.seconds):<7}", DIM)
        line.append(f" {clean(stage.summary)}" if stage.summary else "", DIM)
    elif stage.status == "stopped":
        line.append(" stopped here", "yellow")
    return [line]


def _running(stage: StageState, now: float, room: int) -> Text:
    left = stage.left(now)
    if stage.total <= 0:
        return Text(clock(now - stage.started), "cyan")
    words = f" {stage.fraction:4.0%}" + (f" {about(left)} left" if left is not None else "")
    return bar(stage.fraction, max(min(room - len(words), 40), 4)) + Text(words, "cyan")


def _units(stage: StageState) -> str:
    return f"{stage.done:,}/{stage.total:,} {stage.unit}".rstrip() if stage.total > 0 else ""


def bar(fraction: float, width: int, colour: str = "cyan") -> Text:
    """A progress bar of `width` cells, exact to half a cell."""
    halves = round(min(max(fraction, 0.0), 1.0) * width * 2)
    full, half = divmod(halves, 2)
    return Text.assemble(("━" * full + "╸" * half, colour), ("━" * (width - full - half), DIM))
