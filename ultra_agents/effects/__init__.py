"""What actions do and what precedes events, measured before anybody is asked."""

from ultra_agents.effects.events import Event, events_table
from ultra_agents.effects.measure import AHEAD, Effect, Effects, measure_action, measure_effects, steps_of_action
from ultra_agents.effects.text import effects_text

__all__ = [
    "AHEAD",
    "Effect",
    "Effects",
    "Event",
    "effects_text",
    "events_table",
    "measure_action",
    "measure_effects",
    "steps_of_action",
]
