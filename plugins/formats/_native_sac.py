"""Stable-Baselines3's SAC policies under the names of the native `sac`, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from ultra_agents.contracts.formats import Weights
from ultra_agents.records import Array

from ._native import NATIVE_CLIP, NATIVE_EPSILON, as_f32, chained, layers, numbered
from ._normalizer import Statistics

LOG_STD = (-20.0, 2.0)
"""Where SB3 cuts the log standard deviation."""


def mlp_sac(
    tensors: Mapping[str, Array],
    log_alpha: float,
    spaces: tuple[gymnasium.Space[Any], gymnasium.Space[Any]],
    statistics: Statistics | None,
) -> Weights | None:
    """A ReLU policy with its twin critics; None where `sac` cannot hold it exactly.

    Args:
        tensors: SB3's state dictionary.
        log_alpha: Logarithm of the temperature.
        spaces: Of observations and actions.
        statistics: How observations are normalised; None for not at all.
    """
    action = spaces[1]
    if not isinstance(spaces[0], Box) or not isinstance(action, Box) or len(action.shape) != 1:
        return None
    inputs, width = int(np.prod(spaces[0].shape)), int(action.shape[0])
    heads = ("actor.mu.weight", "actor.mu.bias", "actor.log_std.weight", "actor.log_std.bias")
    if not set(heads) <= set(tensors):
        return None
    head = tuple(np.concatenate([tensors[f"actor.{name}.{part}"] for name in ("mu", "log_std")], axis=0)
                 for part in ("weight", "bias"))  # fmt: skip
    actor = [*layers(tensors, "actor.latent_pi."), (head[0], head[1])]
    critics = [layers(tensors, f"critic.qf{number}.") for number in range(2)]
    hidden = [len(bias) for _, bias in actor[:-1]]
    if (
        not chained(actor, inputs, 2 * width)
        or not all(chained(rows, inputs + width, 1) for rows in critics)
        or any([len(bias) for _, bias in rows[:-1]] != hidden for rows in critics)
        or "critic.qf2.0.weight" in tensors
        or (statistics is not None and (statistics.clip != NATIVE_CLIP or statistics.count <= 0))
    ):
        return None
    arrays = numbered("actor", actor) | numbered("critics.0", critics[0]) | numbered("critics.1", critics[1])
    arrays["log_alpha"] = np.asarray(log_alpha, dtype=np.float32)
    if statistics is None:  # a count of 0 lets observations through as they are
        mean, var, count = np.zeros(inputs), np.ones(inputs), 0.0
    else:
        mean, count = statistics.mean.ravel(), statistics.count
        var = statistics.var.ravel() + (statistics.epsilon - NATIVE_EPSILON)
    arrays |= {"normalizer.mean": mean, "normalizer.var": var, "normalizer.count": np.asarray([count])}
    description = {
        "network": "mlp", "hidden": hidden, "activation": "relu", "head": "tanh-squashed gaussian",
        "log_std": list(LOG_STD),
    }  # fmt: skip
    return Weights("sac", arrays, description)


def sac_tensors(arrays: Mapping[str, Array], hidden: list[int]) -> dict[str, Array]:
    """A native `sac` policy as SB3's state dictionary, its target networks set to its critics."""
    last, tensors = 2 * len(hidden), {}
    for part in ("weight", "bias"):
        for number in range(0, last, 2):
            tensors[f"actor.latent_pi.{number}.{part}"] = arrays[f"actor.{number}.{part}"]
        mean, log_std = np.split(arrays[f"actor.{last}.{part}"], 2, axis=0)
        tensors |= {f"actor.mu.{part}": as_f32(mean), f"actor.log_std.{part}": as_f32(log_std)}
        for critic in range(2):
            for number in range(0, last + 1, 2):
                value = arrays[f"critics.{critic}.{number}.{part}"]
                tensors |= {f"{which}.qf{critic}.{number}.{part}": value for which in ("critic", "critic_target")}
    return tensors
