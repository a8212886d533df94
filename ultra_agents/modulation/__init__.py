"""The engine that acts on advice while an algorithm trains."""

from ultra_agents.modulation.engine import ModulationEngine

__all__ = ["ModulationEngine"]
