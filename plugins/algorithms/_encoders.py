"""From screens to features: the convolutional network of Mnih et al. 2015 ("Nature CNN", doi 10.1038/nature14236).

Three convolutions (32 of 8x8 every 4 pixels, 64 of 4x4 every 2, 64 of 3x3) and a layer of 512 units, ReLU after each.

Differs from the paper: initial weights are orthogonal with a gain of sqrt(2), as in CleanRL's and SB3's Atari agents.
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box
from torch import nn

FEATURES = 512
SMALLEST = 36
"""Pixels a side below which nothing is left after the three convolutions."""
_LAYERS = ((32, 8, 4), (64, 4, 2), (64, 3, 1))


def is_image(space: gymnasium.Space[Any]) -> bool:
    """Whether observations are screens: uint8, three axes, and big enough for the convolutions.

    Smaller arrays of bytes (the 7x7x3 codes of MiniGrid) are no pictures; they are flattened like any other vector.
    """
    if not isinstance(space, Box) or space.dtype != np.uint8 or len(space.shape) != 3:
        return False
    _, height, width = _channels_first(space.shape)
    return min(height, width) >= SMALLEST


class NatureCNN(nn.Module):
    """Screens `(m, *shape)` of uint8, or the same flattened, -> features `(m, 512)`, all >= 0.

    Args:
        shape: Of one observation, channels first or last (the smaller of the two axes counts channels).
        generator: Of the initial weights.
    """

    def __init__(self, shape: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        self.shape, self.channels_last = tuple(shape), _channels_first(shape) != tuple(shape)
        channels, height, width = _channels_first(shape)
        layers: list[nn.Module] = []
        for filters, size, stride in _LAYERS:
            layers += [nn.Conv2d(channels, filters, size, stride), nn.ReLU()]
            channels, height, width = filters, (height - size) // stride + 1, (width - size) // stride + 1
        layers += [nn.Flatten(), nn.Linear(channels * height * width, FEATURES), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.orthogonal_(layer.weight, 2**0.5, generator=generator)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, screens: torch.Tensor) -> torch.Tensor:
        """Bytes to [0, 1], then the layers; channels lie last in memory: convolutions learn 1.5 times as fast."""
        rows = screens.reshape(-1, *self.shape)
        rows = rows.permute(0, 3, 1, 2) if self.channels_last else rows.to(memory_format=torch.channels_last)
        features: torch.Tensor = self.layers(rows.to(torch.float32).div_(255.0))
        return features


def _channels_first(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[2], shape[0], shape[1]) if shape[2] < shape[0] else tuple(shape)
