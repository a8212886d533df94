"""Stable-Baselines3 draws from the global generators of Python, numpy and torch: it gets private ones instead."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ultra_agents.records import Array


class PrivateRandomness:
    """The state of the global generators while `active`; outside it they are as they were before.

    Args:
        seed: What all three start from.
    """

    def __init__(self, seed: int) -> None:
        outside = _take()
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self._inside = _take()
        _put(outside)

    @contextmanager
    def active(self) -> Iterator[None]:
        """The block draws from this state, and moves it on."""
        outside = _take()
        _put(self._inside)
        try:
            yield
        finally:
            self._inside = _take()
            _put(outside)

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Arrays and a JSON-able rest; Python's own generator, from which SB3's five draw nothing, is left out."""
        _, mt19937, legacy = self._inside
        _, keys, position, has_gauss, gauss = mt19937
        arrays = {"torch": legacy.numpy().copy(), "numpy": np.array(keys)}
        return arrays, {"position": int(position), "has_gauss": int(has_gauss), "gauss": float(gauss)}

    def load_state(self, arrays: dict[str, Array], rest: dict[str, Any]) -> None:
        """Inverse of `state`."""
        numpys = ("MT19937", np.array(arrays["numpy"]), rest["position"], rest["has_gauss"], rest["gauss"])
        self._inside = (self._inside[0], numpys, torch.from_numpy(np.array(arrays["torch"])))


def _take() -> tuple[Any, Any, torch.Tensor]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()


def _put(state: tuple[Any, Any, torch.Tensor]) -> None:
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
