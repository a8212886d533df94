"""Frames as the browser draws them: those of `ultra_agents.ui.picture`."""

from ultra_agents.ui.picture import Depth, picture

__all__ = ["Depth", "picture"]
