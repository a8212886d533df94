"""One panel a file: a pure function from the state, the time and a size to something Rich can draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ultra_agents.ui.panels.frame import Framed
from ultra_agents.ui.picture import Depth
from ultra_agents.ui.run_state import RunState


@dataclass(frozen=True)
class PanelView:
    """How the user views one panel.

    Attributes:
        scroll: Scroll offset in lines, from the panel's position when new entries arrive.
        focused: Keys scroll this panel; its frame is highlighted.
        depth: Colours of the terminal, for pictures.
    """

    scroll: int = 0
    focused: bool = False
    depth: Depth = "truecolor"


DEFAULT_VIEW = PanelView()

PanelFunction: TypeAlias = Callable[[RunState, float, int, int, PanelView], Framed]
"""`(state, now, width, height, view)` -> a renderable of exactly that size in cells; `view` may be left out."""
