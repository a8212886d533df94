"""Policies of Stable-Baselines3, trained on by Stable-Baselines3 itself."""

from .algorithm import SB3A2C, SB3DQN, SB3PPO, SB3SAC, SB3TD3

__all__ = ["SB3A2C", "SB3DQN", "SB3PPO", "SB3SAC", "SB3TD3"]
