"""Any registered Gymnasium environment by its id: `gymnasium:CartPole-v1`."""

from .environment import AnyGymnasium

__all__ = ["AnyGymnasium"]
