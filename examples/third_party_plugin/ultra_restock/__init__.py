"""Restocking a small shop, as an environment for ultra-agents."""
