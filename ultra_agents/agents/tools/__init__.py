"""Tools that models may call before they answer: look at the collected episodes, try things in the simulator."""

from ultra_agents.agents.tools.consulting import Consulted, consult
from ultra_agents.agents.tools.toolbox import AsksInTurns, Share, Toolbox

__all__ = ["AsksInTurns", "Consulted", "Share", "Toolbox", "consult"]
