"""Atari Pong, seen as numbers read from its memory (`ram_pong`) or as screens (`pixel_pong`)."""

from .ram_pong import Pong

__all__ = ["Pong"]
