"""How the user views the screen: focus, scroll offsets, zoom, help. Immutable; `press` returns the next view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ultra_agents.ui.panels import PanelView
from ultra_agents.ui.picture import Depth
from ultra_agents.ui.run_state import RunState

MAX_SCROLL = 1_000_000
"""More lines than any panel has; `with_scroll_limits` reduces it to what there is."""
NEWEST_LAST = ("conversation", "advice", "environment")
"""Panels whose newest entry stands last: scrolling up goes back in time."""


@dataclass(frozen=True)
class View:
    """How the user views the screen.

    Attributes:
        focus: The panel that keys scroll; empty for none.
        zoom: The focused panel fills the screen.
        help: The list of keys fills the screen.
        scroll: Scroll offset by panel in lines, from its position when new entries arrive.
        held: By panel that is scrolled back: the state when scrolling began, so that its content does not move.
        keys: There is a keyboard: the bottom line lists the keys.
        watching: The run belongs to another process, or is over.
        stopping: The user asked to stop.
        depth: Colours of the terminal.
        tabs: Label of each watched run and whether it is the one shown; empty for a single run.
    """

    focus: str = ""
    zoom: bool = False
    help: bool = False
    scroll: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, RunState] = field(default_factory=dict)
    keys: bool = False
    watching: bool = False
    stopping: bool = False
    depth: Depth = "truecolor"
    tabs: tuple[tuple[str, bool], ...] = ()

    def panel(self, pane: str) -> PanelView:
        """The part of the view that concerns the panel `pane`."""
        return PanelView(self.scroll.get(pane, 0), self.focus == pane, self.depth)

    def state(self, pane: str, state: RunState) -> RunState:
        """The state `pane` shows: the current one, or the one held since it was scrolled back."""
        return self.held.get(pane, state)


def press(view: View, key: str, panes: Sequence[str], state: RunState, page: int = 10) -> View:
    """The view after `key`; `panes` are the panels on the screen in the order of Tab. Others change nothing."""
    if view.help:
        return replace(view, help=False)
    if key in ("?", "h"):
        return replace(view, help=True)
    if key in ("TAB", "SHIFT_TAB") and panes:
        names = ["", *panes]
        at = names.index(view.focus) if view.focus in names else 0
        return replace(view, focus=names[(at + (1 if key == "TAB" else -1)) % len(names)], zoom=False)
    if key == "ESC":
        return replace(view, zoom=False) if view.zoom else replace(view, focus="", scroll={}, held={})
    if key in ("z", "ENTER"):
        focus = view.focus or ("conversation" if "conversation" in panes else next(iter(panes), ""))
        return replace(view, focus=focus, zoom=not view.zoom)
    steps = {
        "UP": 1,
        "DOWN": -1,
        "PAGEUP": page,
        "PAGEDOWN": -page,
        "HOME": MAX_SCROLL,
        "END": -MAX_SCROLL,
        "k": 1,
        "j": -1,
    }
    if key in steps:
        return _scrolled(view, steps[key], state)
    return view


def _scrolled(view: View, step: int, state: RunState) -> View:
    focus = view.focus or "conversation"
    if focus not in NEWEST_LAST:
        step = -step
    at = max(view.scroll.get(focus, 0) + step, 0)
    scroll = {**view.scroll, focus: at}
    held = dict(view.held)
    if at and focus in NEWEST_LAST:
        held.setdefault(focus, state)
    else:
        held.pop(focus, None)
    if not at:
        scroll.pop(focus)
    return replace(view, focus=focus, scroll=scroll, held=held)


def with_scroll_limits(view: View, scrolled: Mapping[str, int]) -> View:
    """The view with each scroll offset reduced to the one that was drawn, in `scrolled`."""
    scroll = {pane: min(lines, scrolled.get(pane, lines)) for pane, lines in view.scroll.items()}
    return view if scroll == view.scroll else replace(view, scroll=scroll)
