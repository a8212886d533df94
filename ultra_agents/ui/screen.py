"""The whole screen: panels laid out for the room there is.

`regions` lays the panels out. `Screen` draws all of them as one renderable; `lines_of` draws one, so that the live
display draws only regions whose `dependencies` changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.text import Text

from ultra_agents.text import clean
from ultra_agents.ui.panels import PanelFunction
from ultra_agents.ui.panels.advice import advice
from ultra_agents.ui.panels.budget import budget
from ultra_agents.ui.panels.conversation import conversation
from ultra_agents.ui.panels.environment import environment
from ultra_agents.ui.panels.flow import flow
from ultra_agents.ui.panels.frame import Framed
from ultra_agents.ui.panels.help import help_panel
from ultra_agents.ui.panels.learning_curve import learning_curve
from ultra_agents.ui.picture import Depth
from ultra_agents.ui.run_state import RunState
from ultra_agents.ui.text import about, clock
from ultra_agents.ui.theme import BAD, DIM, FOCUS, GOOD, WARM
from ultra_agents.ui.view import View

STATUS = {"running": "cyan", "finished": GOOD, "interrupted": WARM, "budget": WARM, "failed": BAD, "starting": DIM}
PANELS: dict[str, PanelFunction] = {
    "flow": flow,
    "learning_curve": learning_curve,
    "environment": environment,
    "conversation": conversation,
    "advice": advice,
    "budget": budget,
}
DEPENDENCIES: dict[str, Callable[[RunState, int], tuple[Any, ...]]] = {
    "flow": lambda s, second: (s.stages, s.paused, second if s.current else 0),
    "learning_curve": lambda s, _: (s.curves, s.training, s.scores),
    "environment": lambda s, _: (s.shown, s.advice),
    "conversation": lambda s, second: (s.messages, s.pending, s.usage, second if s.pending else 0),
    "advice": lambda s, _: (s.advice, s.decisions, s.rules),
    "budget": lambda s, _: (s.usage, s.spent, s.steps, s.drops, s.warnings),
}
"""The values each panel depends on, given the state and the second: while they are identical it looks the same."""


@dataclass(frozen=True)
class Region:
    """A rectangle of the screen: its panel, the upper left cell from 0, and its size in cells."""

    name: str
    x: int
    y: int
    width: int
    height: int


def regions(width: int, height: int, state: RunState, view: View = View()) -> list[Region]:  # noqa: B008 - a value
    """The layout; the regions tile the screen exactly."""
    top = 1 + (1 if view.tabs else 0)
    bottom = 1 if view.keys or state.warnings else 0
    found = [Region("header", 0, 0, width, 1)]
    if view.tabs:
        found.append(Region("tabs", 0, 1, width, 1))
    room = height - top - bottom
    if room > 0:
        if view.help:
            found.append(Region("help", 0, top, width, room))
        elif view.zoom and view.focus in PANELS:
            found.append(Region(view.focus, 0, top, width, room))
        else:
            found += body(width, room, top, state)
    if bottom:
        found.append(Region("footer", 0, height - 1, width, 1))
    return found


def body(width: int, height: int, y: int, state: RunState) -> Iterator[Region]:
    """The panels of a run that fit into `height` rows from row `y` on."""
    stages = max(len(state.stages), 4)
    learning, pictured = bool(state.curves or state.training), state.pictured
    if width >= 130 and height >= 32:
        left = width * 5 // 13
        right = width - left
        flow_rows = min(stages + 4, height // 3)
        spent = min(max((height - flow_rows) * 2 // 5, 10), 22)
        told = height - flow_rows - spent
        yield from _column(0, y, left, (("flow", flow_rows), ("advice", told), ("budget", spent)))
        upper = min(height * 9 // 20, 28)
        curve = right * 11 // 20 if learning and pictured else 0 if pictured else right
        if curve:
            yield Region("learning_curve", left, y, curve, upper)
        if pictured:
            yield Region("environment", left + curve, y, right - curve, upper)
        yield Region("conversation", left, y + upper, right, height - upper)
    elif width >= 100 and height >= 30:
        left = width // 2
        upper, lower = min(stages + 3, height // 3), max(height // 4, 8)
        shared = "learning_curve" if learning or not pictured else "environment"
        other = "environment" if learning else "learning_curve"
        middle = height - upper - lower
        extra = middle // 2 if pictured else 0
        yield Region("flow", 0, y, left, upper)
        yield Region(shared, left, y, width - left, upper)
        yield Region("conversation", 0, y + upper, left, middle)
        yield from _column(left, y + upper, width - left, ((other, extra), ("budget", middle - extra)))
        yield Region("advice", 0, y + upper + middle, width, lower)
    elif width >= 72:
        upper = min(stages + 3, height // 2)
        lower = (height - upper) // 2
        middle = height - upper - lower
        left = width * 6 // 11
        yield Region("flow", 0, y, left, upper)
        shared = "learning_curve" if learning or not pictured else "environment"
        yield Region(shared, left, y, width - left, upper)
        yield Region("conversation", 0, y + upper, width, middle)
        yield Region("advice", 0, y + upper + middle, left, lower)
        yield Region("budget", left, y + upper + middle, width - left, lower)
    else:
        upper = min(stages + 3, height // 2)
        yield from _column(0, y, width, (("flow", upper), ("conversation", height - upper)))


def _column(x: int, y: int, width: int, parts: tuple[tuple[str, int], ...]) -> Iterator[Region]:
    for name, rows in parts:
        if rows > 0:
            yield Region(name, x, y, width, rows)
        y += rows


def renderable(region: Region, state: RunState, now: float, view: View) -> RenderableType:
    """The content of `region`."""
    if region.name == "header":
        return header(state, now, region.width)
    if region.name == "footer":
        return footer(state, region.width, view)
    if region.name == "tabs":
        return tabs(view, region.width)
    if region.name == "help":
        return help_panel(state, now, region.width, region.height, watching=view.watching)
    shown = view.state(region.name, state)
    return PANELS[region.name](shown, now, region.width, region.height, view.panel(region.name))


def dependencies(region: Region, state: RunState, now: float, view: View) -> tuple[Any, ...]:
    """The values that the content of `region` depends on."""
    if region.name not in PANELS:
        return (state, int(now), view)
    return (*DEPENDENCIES[region.name](view.state(region.name, state), int(now)), view.panel(region.name))


def lines_of(console: Console, options: ConsoleOptions, region: Region, what: RenderableType) -> list[list[Segment]]:
    """`what` as exactly the region's rows, each exactly as wide."""
    options = options.update(width=region.width, height=region.height, max_width=region.width)
    lines = console.render_lines(what, options, pad=True)
    return Segment.set_shape(lines, region.width, region.height)


class Screen:
    """The screen at one moment as a Rich renderable.

    Args:
        state: What is shown.
        now: The time in seconds, on the clock of the state.
        view: How the user views it.
    """

    def __init__(self, state: RunState, now: float, view: View | None = None) -> None:
        self.state, self.now, self.view = state, now, view or View()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.size.height
        view = replace(self.view, depth=depth_of(console))
        there = regions(width, height, self.state, view)
        return compose(console, options, height, [(one, renderable(one, self.state, self.now, view)) for one in there])


def compose(
    console: Console, options: ConsoleOptions, height: int, parts: Iterable[tuple[Region, RenderableType]]
) -> RenderResult:
    """Regions and their contents as the rows of one renderable."""
    rows: list[list[tuple[int, list[Segment]]]] = [[] for _ in range(height)]
    for region, what in parts:
        for index, line in enumerate(lines_of(console, options, region, what)):
            rows[region.y + index].append((region.x, line))
    for index, row in enumerate(rows):
        for _, line in sorted(row, key=lambda part: part[0]):
            yield from line
        if index < height - 1:
            yield Segment.line()


def depth_of(console: Console) -> Depth:
    """The colours pictures may use on `console`."""
    if console.no_color or console.color_system is None:
        return "none"
    return {"standard": "standard", "256": "256"}.get(console.color_system, "truecolor")  # type: ignore[return-value]


def scrolled_of(what: RenderableType) -> int:
    """The scroll offset at which a panel was drawn, in lines."""
    return what.scrolled if isinstance(what, Framed) else 0


def header(state: RunState, now: float, width: int) -> Text:
    """Name, state, time passed and time left, on one line."""
    left = state.left(state.moment(now))
    paused = state.paused is not None
    line = Text.assemble(
        (" ultra ", "bold reverse"),
        (f" {clean(state.name, 40)} ", "bold"),
        (" PAUSED ", f"bold reverse {WARM}") if paused else (clean(state.status, 44), STATUS.get(state.status, WARM)),
        (f" (fork of {clean(state.parent, 30)})" if state.parent else "", DIM),
        (" (resumed)" if state.resumed else "", DIM),
    )
    told = "waiting for you" if paused else f"about {about(left)} left" if left else ""
    time = Text.assemble((clock(state.elapsed(now)), "bold"), (f"  {told}" if told else "", "cyan"), " ")
    gap = width - line.cell_len - time.cell_len
    if gap >= len(state.folder) + 4:
        line.append(f"  {clean(state.folder)}", DIM)
        gap = width - line.cell_len - time.cell_len
    line.append(" " * max(gap, 1))
    line.append_text(time)
    line.truncate(width)
    return line


def tabs(view: View, width: int) -> Text:
    """The runs that are watched, the one shown marked."""
    line = Text(" ")
    for index, (name, here) in enumerate(view.tabs):
        line.append(f" {index + 1} {clean(name, 40)} ", f"bold reverse {FOCUS}" if here else DIM)
        line.append(" ")
    line.truncate(width, overflow="ellipsis")
    return line


def footer(state: RunState, width: int, view: View | None = None) -> Text:
    """The last warning on the left, the keys on the right."""
    view = view or View()
    hints = _hints(state, view) if view.keys else Text()
    text = Text()
    if view.stopping and state.ended is None:
        text = Text(" stopping after the work in hand …", f"bold {WARM}")
    elif state.warnings:
        more = f" ({len(state.warnings)} warnings)" if len(state.warnings) > 1 else ""
        text = Text(f" ! {clean(state.warnings[-1])}{more}", WARM)
    room = width - hints.cell_len
    if not text.cell_len or room < 24:
        text = Text() if view.keys and room < 24 else text
    text.truncate(max(room - 1, 0) if hints.cell_len else width, overflow="ellipsis")
    if hints.cell_len:
        text.append(" " * max(width - text.cell_len - hints.cell_len, 0))
        text.append_text(hints)
    text.truncate(width)
    return text


def _hints(state: RunState, view: View) -> Text:
    pairs = [] if view.watching else [("p", "go on" if state.paused is not None else "pause")]
    pairs += [("q", "leave" if view.watching else "stop"), ("Tab", "focus"), ("↑↓", "scroll"), ("z", "zoom")]
    pairs += [("n", "next run")] if view.tabs else []
    text = Text()
    for key, what in (*pairs, ("?", "help")):
        text.append(f" {key} ", f"bold {FOCUS}").append(f"{what} ", DIM)
    return text


def panes(width: int, height: int, state: RunState, view: View) -> list[str]:
    """The panels on the screen without zoom, in reading order, which is the order of Tab."""
    plain = replace(view, zoom=False, help=False)
    return [one.name for one in regions(width, height, state, plain) if one.name in PANELS]
