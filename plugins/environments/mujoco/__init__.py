"""MuJoCo locomotion and reaching, dense and sparse."""

from .tasks import HalfCheetah, Hopper, Reacher, Walker2d

__all__ = ["HalfCheetah", "Hopper", "Reacher", "Walker2d"]
