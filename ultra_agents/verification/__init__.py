"""Advice is tested before it is believed."""

from ultra_agents.verification.counterfactual import CounterfactualTester, max_tests

__all__ = ["CounterfactualTester", "max_tests"]
