"""What a person did with the screen: focus, scrolling, one pane alone, help. A value; `press` gives the next one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ultra_agents.ui.model import ViewState
from ultra_agents.ui.panels import Look
from ultra_agents.ui.picture import Depth

FAR = 1_000_000
"""Further than anything can be scrolled; drawing says how far it really is."""
FROM_BELOW = ("conversation", "advice", "environment")
"""Panes whose newest entry stands last: up goes back in time."""


@dataclass(frozen=True)
class View:
    """How the screen is looked at.

    Attributes:
        focus: The pane that keys scroll; empty for none.
        zoom: It is shown alone.
        help: The keys are shown instead.
        scroll: Lines by pane, away from where it stands by itself.
        held: What a pane that is scrolled back shows, so that it stands still under the reader.
        keys: There is a keyboard, so the bottom line says what it does.
        watching: The run belongs to another process, or is over.
        stopping: The wish to stop was heard.
        depth: Colours the terminal has.
        tabs: One line per run that is watched, ready to show; none for a single one.
    """

    focus: str = ""
    zoom: bool = False
    help: bool = False
    scroll: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, ViewState] = field(default_factory=dict)
    keys: bool = False
    watching: bool = False
    stopping: bool = False
    depth: Depth = "truecolor"
    tabs: tuple[tuple[str, bool], ...] = ()

    def look(self, pane: str) -> Look:
        """How `pane` is looked at."""
        return Look(self.scroll.get(pane, 0), self.focus == pane, self.depth)

    def state(self, pane: str, state: ViewState) -> ViewState:
        """What `pane` shows: the run as it is, or as it was when the reader scrolled back."""
        return self.held.get(pane, state)


def press(view: View, key: str, panes: Sequence[str], state: ViewState, page: int = 10) -> View:
    """The view after `key`; `panes` are those on the screen, in the order of Tab. Other keys change nothing."""
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
    steps = {"UP": 1, "DOWN": -1, "PAGEUP": page, "PAGEDOWN": -page, "HOME": FAR, "END": -FAR, "k": 1, "j": -1}
    if key in steps:
        return _scrolled(view, steps[key], state)
    return view


def _scrolled(view: View, step: int, state: ViewState) -> View:
    focus = view.focus or "conversation"
    if focus not in FROM_BELOW:
        step = {FAR: -FAR, -FAR: FAR}.get(-step, -step) if abs(step) < FAR else -step
    at = max(view.scroll.get(focus, 0) + step, 0)
    scroll = {**view.scroll, focus: at}
    held = dict(view.held)
    if at and focus in FROM_BELOW:
        held.setdefault(focus, state)
    else:
        held.pop(focus, None)
    if not at:
        scroll.pop(focus)
    return replace(view, focus=focus, scroll=scroll, held=held)


def settled(view: View, scrolled: Mapping[str, int]) -> View:
    """The view with its scrolling as far as it really went."""
    scroll = {pane: min(lines, scrolled.get(pane, lines)) for pane, lines in view.scroll.items()}
    return view if scroll == view.scroll else replace(view, scroll=scroll)
