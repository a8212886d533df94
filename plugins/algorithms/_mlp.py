"""Networks of linear layers with tanh between them: built in torch, computed in numpy for acting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ultra_agents.records import Array

F32 = npt.NDArray[np.float32]
BLOCK = 16
"""Rows per matrix product. A product's last bits depend on its shape, so every batch is padded to whole blocks of one
shape: what a row gets does not depend on how many rows come with it."""


@contextmanager
def one_thread() -> Iterator[None]:
    """The last bits of orthogonal weights depend on how many threads take part in the decomposition."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def mlp(
    inputs: int, hidden: Sequence[int], outputs: int, head_gain: float, generator: torch.Generator
) -> nn.Sequential:
    """Layers with orthogonal weights (gain sqrt(2) inside, `head_gain` at the end) and biases of 0."""
    sizes = [inputs, *hidden, outputs]
    layers: list[nn.Module] = []
    for index, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        last = index == len(sizes) - 2
        layer = nn.Linear(fan_in, fan_out)
        nn.init.orthogonal_(layer.weight, head_gain if last else 2**0.5, generator=generator)
        nn.init.zeros_(layer.bias)
        layers += [layer] if last else [layer, nn.Tanh()]
    return nn.Sequential(*layers)


def clipped(values: Array, low: float | Array, high: float | Array) -> Array:
    """`np.clip` to the bit, in half the time for a few hundred numbers."""
    return np.minimum(np.maximum(values, low), high)


def forward(layers: Sequence[tuple[F32, F32]], rows: F32, own: int | None = None) -> F32:
    """Inputs `(n, inputs)` -> outputs `(n, outputs)`.

    Args:
        layers: Weight `(in, out)` and bias of each.
        rows: The inputs.
        own: The first so many inputs are multiplied apart from the others, so that others of weight 0 change no bit.
    """
    n, width = rows.shape
    padding = -n % BLOCK
    if padding:
        padded = np.zeros((n + padding, width), dtype=np.float32)
        padded[:n] = rows
        rows = padded
    out = rows.reshape(-1, BLOCK, width)
    for index, (weight, bias) in enumerate(layers):
        if index:
            np.tanh(out, out=out)
        if index or own is None:
            out = np.matmul(out, weight)
            out += bias
        else:
            out, further = np.matmul(out[..., :own], weight[:own]), np.matmul(out[..., own:], weight[own:])
            out += bias
            out += further
    return np.asarray(out.reshape(n + padding, -1)[:n])
