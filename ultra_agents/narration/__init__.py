"""Episodes in words: which segments are told, and how."""

from ultra_agents.narration.describe import narrate
from ultra_agents.narration.lines import step_line
from ultra_agents.narration.numbers import Numbers, figure
from ultra_agents.narration.segments import choose_segments

__all__ = ["Numbers", "choose_segments", "figure", "narrate", "step_line"]
