"""Proximal policy optimisation (arXiv 1707.06347)."""

from .algorithm import PPO, PPOOptions, PPOTrainer

__all__ = ["PPO", "PPOOptions", "PPOTrainer"]
