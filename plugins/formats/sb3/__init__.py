"""Policies of Stable-Baselines3: its zip files, read without unpickling, and written."""

from .format import SB3

__all__ = ["SB3"]
