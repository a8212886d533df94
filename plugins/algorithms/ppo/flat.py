"""The parameters of a network as one vector, and Adam (Kingma and Ba 2015, arXiv 1412.6980) on it.

A network of two 64-unit layers has half a dozen tensors; an optimiser that visits them one by one spends its time on
the visits. As one vector they are clipped and moved by a handful of operations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from ultra_agents.records import Array

BETAS, EPS = (0.9, 0.999), 1e-5
LINE = 16
"""Every tensor starts at a multiple of so many floats, a cache line; what is left between them stays 0."""


class FlatAdam:
    """Turns `parameters` into views of `values`, and their gradients into views of `gradient`.

    Args:
        parameters: Of one network, float32, on one device. They are changed in place from here on.

    Attributes:
        values: `(size,)` all parameters, one after another.
        gradient: `(size,)` alike; whoever computes it overwrites it.
        steps: Steps made.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        starts, size = [], 0
        for parameter in parameters:
            starts.append(size)
            size += -(-parameter.numel() // LINE) * LINE
        self.values, self.gradient, self._mean, self._square, self._scratch = (
            torch.zeros(size, device=parameters[0].device) for _ in range(5)
        )
        self.steps = 0
        for parameter, start in zip(parameters, starts, strict=True):
            part = slice(start, start + parameter.numel())
            view = self.values[part].view(parameter.shape)
            view.copy_(parameter.data)
            parameter.data = view
            parameter.grad = self.gradient[part].view(parameter.shape)

    @torch.no_grad()
    def step(self, learning_rate: float, max_norm: float) -> None:
        """Clip the gradient to a norm of `max_norm`, as `torch.nn.utils.clip_grad_norm_` does, and move."""
        norm = float(torch.linalg.vector_norm(self.gradient))
        scale = max_norm / (norm + 1e-6)
        if scale < 1.0:
            self.gradient.mul_(scale)
        self.steps += 1
        first, second = BETAS
        self._mean.lerp_(self.gradient, 1.0 - first)
        self._square.mul_(second).addcmul_(self.gradient, self.gradient, value=1.0 - second)
        unbias = math.sqrt(1.0 - second**self.steps)
        # mean / (sqrt(square) / unbias + eps), with numerator and denominator times unbias
        torch.sqrt(self._square, out=self._scratch).add_(EPS * unbias)
        self.values.addcdiv_(self._mean, self._scratch, value=-learning_rate * unbias / (1.0 - first**self.steps))

    def state(self) -> dict[str, Array]:
        """Moments and number of steps; the values are the network's own."""
        return {
            "mean": self._mean.cpu().numpy().copy(),
            "square": self._square.cpu().numpy().copy(),
            "steps": np.asarray([self.steps]),
        }

    def load_state(self, arrays: dict[str, Array]) -> None:
        """Inverse of `state`; raises `ValueError` where the sizes differ."""
        for moment, name in ((self._mean, "mean"), (self._square, "square")):
            if arrays[name].shape != tuple(moment.shape):
                raise ValueError(f"the optimiser's {name} has {arrays[name].shape}, not {tuple(moment.shape)} numbers")
            moment.copy_(torch.from_numpy(np.asarray(arrays[name], dtype=np.float32)))
        self.steps = int(arrays["steps"][0])
