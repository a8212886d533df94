"""The whole screen: panels laid out for the room there is."""

from __future__ import annotations

from rich.console import Console, ConsoleOptions, RenderResult
from rich.layout import Layout
from rich.text import Text

from ultra_agents.ui.model import ViewState
from ultra_agents.ui.panels import PanelFunction
from ultra_agents.ui.panels.advice import advice
from ultra_agents.ui.panels.budget import budget
from ultra_agents.ui.panels.conversation import conversation
from ultra_agents.ui.panels.curves import curves
from ultra_agents.ui.panels.flow import flow
from ultra_agents.ui.text import about, clean, clock
from ultra_agents.ui.theme import BAD, DIM, GOOD, WARM

STATUS = {"running": "cyan", "finished": GOOD, "interrupted": WARM, "budget": WARM, "failed": BAD, "starting": DIM}


class Screen:
    """A renderable of one moment.

    Args:
        state: What is shown.
        now: The time, on the clock the state was made with.
    """

    def __init__(self, state: ViewState, now: float) -> None:
        self.state, self.now = state, now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = options.max_width, options.height or console.size.height
        rows = [Layout(header(self.state, self.now, width), size=1), self._body(width, height)]
        bottom = footer(self.state, width)
        if bottom is not None:
            rows.append(Layout(bottom, size=1))
        layout = Layout()
        layout.split_column(*rows)
        yield from console.render(layout, options.update(height=height))

    def _pane(self, panel: PanelFunction, size: int | None = None, ratio: int = 1) -> Layout:
        return Layout(_Pane(panel, self.state, self.now), size=size, ratio=ratio)

    def _body(self, width: int, height: int) -> Layout:
        stages = len(self.state.stages)
        body = Layout()
        if width >= 130 and height >= 34:
            left, right = Layout(ratio=5), Layout(ratio=8)
            left.split_column(
                self._pane(flow, size=max(stages, 4) + 4), self._pane(advice, ratio=3), self._pane(budget, ratio=2)
            )
            right.split_column(self._pane(curves, ratio=5), self._pane(conversation, ratio=6))
            body.split_row(left, right)
        elif width >= 72:
            top, bottom = Layout(size=min(max(stages, 4) + 3, height // 2)), Layout(ratio=2)
            top.split_row(self._pane(flow, ratio=6), self._pane(curves, ratio=5))
            bottom.split_row(self._pane(advice, ratio=6), self._pane(budget, ratio=5))
            body.split_column(top, self._pane(conversation, ratio=2), bottom)
        else:
            body.split_column(self._pane(flow, size=min(max(stages, 4) + 3, height // 2)), self._pane(conversation))
        return body


class _Pane:
    """A panel that learns its size when it is drawn."""

    def __init__(self, panel: PanelFunction, state: ViewState, now: float) -> None:
        self.panel, self.state, self.now = panel, state, now

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield self.panel(self.state, self.now, options.max_width, options.height or options.max_height)


def header(state: ViewState, now: float, width: int) -> Text:
    """Name, state, time passed and time left, on one line."""
    left = state.left(now)
    line = Text.assemble(
        (" ultra ", "bold reverse"),
        (f" {clean(state.name, 40)} ", "bold"),
        (clean(state.status, 20), STATUS.get(state.status, "")),
        (" (resumed)" if state.resumed else "", DIM),
    )
    time = Text.assemble(
        (clock(state.elapsed(now)), "bold"), (f"  about {about(left)} left" if left else "", "cyan"), " "
    )
    gap = width - line.cell_len - time.cell_len
    if gap >= len(state.folder) + 4:
        line.append(f"  {clean(state.folder)}", DIM)
        gap = width - line.cell_len - time.cell_len
    line.append(" " * max(gap, 1))
    line.append_text(time)
    line.truncate(width)
    return line


def footer(state: ViewState, width: int) -> Text | None:
    """The last warning; None when there is none."""
    if not state.warnings:
        return None
    more = f" ({len(state.warnings)} warnings)" if len(state.warnings) > 1 else ""
    text = Text(f" ! {clean(state.warnings[-1])}{more}", WARM)
    text.truncate(width, overflow="ellipsis")
    return text
