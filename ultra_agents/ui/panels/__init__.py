"""One panel a file: a pure function from the state, the time and a size to something Rich can draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from ultra_agents.ui.model import ViewState
from ultra_agents.ui.panels.frame import Framed
from ultra_agents.ui.picture import Depth


@dataclass(frozen=True)
class Look:
    """How a person looks at a panel.

    Attributes:
        scroll: Lines away from where the panel stands by itself.
        focused: The keys that scroll go here; the frame says so.
        depth: Colours the terminal has, for pictures.
    """

    scroll: int = 0
    focused: bool = False
    depth: Depth = "truecolor"


PLAIN = Look()

PanelFunction: TypeAlias = Callable[[ViewState, float, int, int, Look], Framed]
"""`(state, now, width, height, look)` -> a renderable of exactly that size in cells; `look` may be left out."""
