"""Random network distillation (Burda et al. 2018, arXiv 1810.12894): what is new is what cannot be predicted yet.

A fixed random network turns a state into features; a second one learns to predict them from the states visited. The
squared error is large where few states like it were seen, and falls for good where many were.

As in the paper: the bonus is divided by the running standard deviation of the discounted sum of bonuses (per
environment, never cut at the end of an episode), nothing is subtracted; observations are whitened by their running
mean and deviation and clipped to +-5; the predictor has one layer more than the target.

Differs from the paper:
  - Everything happens per vector step, not per rollout: the statistics take in a step before its bonus is divided,
    and the predictor learns from every state once, in one Adam step of as many rows as there are environments.
  - The statistics of observations begin with what mask training met, not with a random agent's steps. For the first
    `WAIT` vector steps there is no bonus: a deviation of so few sums says nothing.
  - Small fully connected networks in NumPy (ReLU), for screens over the environment's features of them.
  - One reward, one value function: the sum R + lambda x bonus is discounted and cut like R (RICE does so, too).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from ultra_agents.records import Array, FloatArray

from ._moments import Moments

WAIT = 100
"""Vector steps without a bonus."""
CLIP = 5.0
_BETAS, _EPSILON = (0.9, 0.999), 1e-8


class Novelty:
    """The two networks and both running normalisations.

    Args:
        inputs: Moments of flat observations so far; copied.
        width: Units of each layer, and features predicted.
        learning_rate: Adam's.
        discount: Of the sum whose deviation the bonus is divided by.
        rng: Draws the weights.

    Attributes:
        inputs: Moments of the observations.
        sums: Moments of the discounted sums.
    """

    def __init__(
        self, inputs: Moments, width: int, learning_rate: float, discount: float, rng: np.random.Generator
    ) -> None:
        self.inputs, self.sums = Moments(len(inputs.mean)), Moments(1)
        self.inputs.load(inputs.arrays())
        self._learning_rate, self._discount = learning_rate, discount
        sizes = [len(inputs.mean), width, width]
        self._target = _layers(rng, sizes)
        self._predictor = _layers(rng, [*sizes, width])
        self._first = [np.zeros_like(part) for part in self._predictor]
        self._second = [np.zeros_like(part) for part in self._predictor]
        self._steps = 0
        self._running = np.zeros(0)

    def begin(self, num_envs: int) -> None:
        """`num_envs` environments start anew; what was learnt stays."""
        if len(self._running) != num_envs:
            self._running = np.zeros(num_envs)

    def error(self, rows: FloatArray) -> FloatArray:
        """Squared distance `(n,)` of the prediction for flat observations `(n, width)`; changes nothing."""
        whitened = self.inputs.scaled(rows, CLIP)
        gap = _outputs(self._predictor, whitened)[-1] - _outputs(self._target, whitened)[-1]
        return np.asarray(np.square(gap).sum(axis=1))

    def bonus(self, rows: FloatArray) -> FloatArray:
        """Normalised novelty `(n,)` of the states reached, one per environment; learns from them."""
        error = self.error(rows)
        self._running = self._discount * self._running + error
        self.sums.add(self._running[:, None])
        self._learn(rows)
        self.inputs.add(rows)
        if self._steps <= WAIT:
            return np.zeros(len(rows))
        return error / max(float(np.sqrt(self.sums.var[0])), 1e-8)

    def _learn(self, rows: FloatArray) -> None:
        """One Adam step on the mean squared distance over the batch."""
        whitened = self.inputs.scaled(rows, CLIP)
        values = _outputs(self._predictor, whitened)
        slope = 2.0 * (values[-1] - _outputs(self._target, whitened)[-1]) / len(rows)
        slopes: list[FloatArray] = []
        for layer in reversed(range(len(self._predictor) // 2)):
            slopes = [values[layer].T @ slope, slope.sum(axis=0), *slopes]
            slope = (slope @ self._predictor[2 * layer].T) * (values[layer] > 0)
        self._steps += 1
        for part, gradient, first, second in zip(self._predictor, slopes, self._first, self._second, strict=True):
            first += (1 - _BETAS[0]) * (gradient - first)
            second += (1 - _BETAS[1]) * (np.square(gradient) - second)
            scale = np.sqrt(1 - _BETAS[1] ** self._steps) / (1 - _BETAS[0] ** self._steps)
            part -= self._learning_rate * scale * first / (np.sqrt(second) + _EPSILON)

    def state(self) -> dict[str, Any]:
        """JSON-able, for exact resume; the target follows from its seed and is not kept."""
        arrays = {f"predictor/{i}": part for i, part in enumerate(self._predictor)}
        arrays |= {f"first/{i}": part for i, part in enumerate(self._first)}
        arrays |= {f"second/{i}": part for i, part in enumerate(self._second)}
        arrays |= {f"inputs/{key}": part for key, part in self.inputs.arrays().items()}
        arrays |= {f"sums/{key}": part for key, part in self.sums.arrays().items()}
        return {
            "steps": self._steps,
            **{key: pack(part) for key, part in {**arrays, "running": self._running}.items()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state`."""
        self._steps = int(state["steps"])
        for index in range(len(self._predictor)):
            self._predictor[index] = unpack(state[f"predictor/{index}"])
            self._first[index], self._second[index] = (unpack(state[f"{k}/{index}"]) for k in ("first", "second"))
        for name, moments in (("inputs", self.inputs), ("sums", self.sums)):
            moments.load({key: unpack(state[f"{name}/{key}"]) for key in ("mean", "var", "count")})
        self._running = unpack(state["running"])


def pack(array: Array) -> dict[str, Any]:
    """An array in JSON types, exact."""
    data = np.ascontiguousarray(array)
    return {"dtype": str(data.dtype), "shape": list(data.shape), "data": base64.b64encode(data.tobytes()).decode()}


def unpack(packed: Mapping[str, Any]) -> Array:
    """Inverse of `pack`."""
    flat = np.frombuffer(base64.b64decode(packed["data"]), dtype=packed["dtype"])
    return flat.reshape(packed["shape"]).copy()


def _layers(rng: np.random.Generator, sizes: list[int]) -> list[FloatArray]:
    """Weights `(in, out)` and zero biases by turns, He-scaled."""
    made: list[FloatArray] = []
    for before, after in pairwise(sizes):
        made += [rng.standard_normal((before, after)) * np.sqrt(2.0 / before), np.zeros(after)]
    return made


def _outputs(layers: list[FloatArray], rows: FloatArray) -> list[FloatArray]:
    """The input and every layer's output, ReLU between layers; the last one is linear."""
    found = [rows]
    for index in range(0, len(layers), 2):
        rows = rows @ layers[index] + layers[index + 1]
        rows = np.maximum(rows, 0.0) if index + 2 < len(layers) else rows
        found.append(rows)
    return found
