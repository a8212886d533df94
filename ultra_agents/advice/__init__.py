"""Accepted advice and how a visited state finds it."""

from ultra_agents.advice.table import AdviceTable, build_table, measured_rewards

__all__ = ["AdviceTable", "build_table", "measured_rewards"]
