"""One panel a file: a pure function from the state, the time and a size to something Rich can draw.

Each shows itself on sample data: `python -m ultra_agents.ui.panels.flow`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from rich.console import RenderableType

from ultra_agents.ui.model import ViewState

PanelFunction: TypeAlias = Callable[[ViewState, float, int, int], RenderableType]
"""`(state, now, width, height)` -> a renderable of exactly that size in cells."""
