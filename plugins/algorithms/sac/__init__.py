"""Soft actor-critic (arXiv 1801.01290, 1812.05905)."""

from .algorithm import SAC, SACOptions, SACTrainer

__all__ = ["SAC", "SACOptions", "SACTrainer"]
