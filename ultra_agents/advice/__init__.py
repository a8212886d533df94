"""Accepted advice and how a visited state finds it."""

from ultra_agents.advice.neighbours import rings_of
from ultra_agents.advice.table import AdviceTable, build_table, measured_rewards

__all__ = ["AdviceTable", "build_table", "measured_rewards", "rings_of"]
