"""Policy files of this distribution's PPO as plain functions: the oracle needs no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

POLICIES = Path(__file__).parent / "policies"


def shipped(prefix: str) -> dict[str, Path]:
    """`suboptimal` and `expert`: the policy files installed for a task."""
    paths = {name: POLICIES / f"{prefix}_{name}.safetensors" for name in ("suboptimal", "expert")}
    return {name: path for name, path in paths.items() if path.is_file()}


def load_expert(prefix: str, whose: str) -> Callable[[Array], Array]:
    """The outputs of the actor of the expert policy that ships for a task: logits, or the mean action.

    Raises:
        PolicyError: The file is missing or is not one of a three-layer perceptron.
    """
    path = POLICIES / f"{prefix}_expert.safetensors"
    if not path.is_file():
        raise PolicyError(
            f"{whose}'s expert policy is not installed",
            found=f"no file {path}",
            hint="reinstall ultra-agents, or use another proposer than the oracle",
        )
    try:
        tensors = load_file(path)
        layers = [(tensors[f"actor.{i}.weight"].T, tensors[f"actor.{i}.bias"]) for i in (0, 2, 4)]
        mean, scale = tensors["normalizer.mean"], np.sqrt(tensors["normalizer.var"] + 1e-8)
    except (SafetensorError, KeyError, OSError) as error:
        raise PolicyError(
            f"{whose}'s expert policy {path} cannot be used", found=str(error), hint="reinstall ultra-agents"
        ) from error

    def outputs(observations: Array) -> Array:
        hidden = np.clip((observations - mean) / scale, -10, 10)
        for weight, bias in layers[:-1]:
            hidden = np.tanh(hidden @ weight + bias)
        return np.asarray(hidden @ layers[-1][0] + layers[-1][1])

    return outputs
