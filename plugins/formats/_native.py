"""Layers of other tools' policies under the names the native algorithms give theirs.

`ppo` takes tanh networks of equal shape for actor and critic, or the Nature CNN with linear heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from ultra_agents.contracts.formats import Weights
from ultra_agents.records import Array

from ._normalizer import Statistics

Layer: TypeAlias = tuple[Array, Array]
"""Weight `(out, in)` and bias `(out,)`."""
CNN_LAYERS = (0, 2, 4, 7)
"""Where the native encoder has its three convolutions and its linear layer."""
NATIVE_EPSILON, NATIVE_CLIP = 1e-8, 10.0
NO_CLIP = float(np.finfo(np.float32).max)


def layers(tensors: Mapping[str, Array], prefix: str) -> list[Layer]:
    """The linear layers below `prefix` (`mlp_extractor.policy_net.`), in order."""
    numbers = sorted(
        int(part)
        for name in tensors
        if name.startswith(prefix) and (part := name.removeprefix(prefix).partition(".")[0]).isdigit()
        if name.endswith(".weight")
    )
    return [(tensors[f"{prefix}{n}.weight"], tensors[f"{prefix}{n}.bias"]) for n in numbers]


def chained(rows: Sequence[Layer], inputs: int, outputs: int) -> bool:
    """Whether linear layers follow each other from `inputs` numbers to `outputs`."""
    sizes = [inputs, *(weight.shape[0] for weight, _ in rows)]
    fitting = all(
        weight.ndim == 2 and weight.shape == (after, before) and bias.shape == (after,)
        for (weight, bias), (before, after) in zip(rows, pairwise(sizes), strict=True)
    )
    return bool(rows) and fitting and sizes[-1] == outputs


def action_width(space: gymnasium.Space[Any]) -> int | None:
    """Numbers an actor's head gives for the spaces `ppo` takes; None for others."""
    if isinstance(space, Discrete):
        return int(space.n) if int(space.start) == 0 else None
    if isinstance(space, Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
        return int(space.shape[0])
    return None


def mlp_ppo(
    actor: Sequence[Layer],
    critic: Sequence[Layer],
    log_std: Array | None,
    spaces: tuple[gymnasium.Space[Any], gymnasium.Space[Any]],
    statistics: Statistics | None,
) -> Weights | None:
    """A tanh policy for the native `ppo`; None where it does not fit exactly.

    Args:
        actor: Layers from observations to logits or means.
        critic: Layers from observations to the value.
        log_std: `(action_dim,)` for continuous actions.
        spaces: Of observations and actions.
        statistics: How observations are normalised; None for not at all.
    """
    observations, width = int(np.prod(spaces[0].shape or (1,))), action_width(spaces[1])
    hidden = [weight.shape[0] for weight, _ in actor[:-1]]
    if (
        width is None
        or not isinstance(spaces[0], Box)
        or hidden != [weight.shape[0] for weight, _ in critic[:-1]]
        or not chained(actor, observations, width)
        or not chained(critic, observations, 1)
    ):
        return None
    arrays = numbered("actor", actor) | numbered("critic", critic) | _normalizer(spaces[0], statistics)
    head = "categorical"
    if isinstance(spaces[1], Box):
        if log_std is None or log_std.size != width:
            return None
        arrays["log_std"], head = as_f32(log_std.reshape(width)), "gaussian, state-independent log_std"
    description = {"network": "mlp", "hidden": hidden, "activation": "tanh", "head": head}
    return Weights("ppo", arrays, description)


def cnn_ppo(
    trunk: Sequence[Layer], actor: Layer, critic: Layer, spaces: tuple[gymnasium.Space[Any], gymnasium.Space[Any]]
) -> Weights | None:
    """A Nature CNN shared by two linear heads for the native `ppo`; None where it does not fit exactly."""
    width = action_width(spaces[1])
    shapes = [weight.shape[:1] + weight.shape[2:] for weight, _ in trunk[:3]]
    if (
        not isinstance(spaces[1], Discrete)
        or width is None
        or shapes != [(32, 8, 8), (64, 4, 4), (64, 3, 3)]
        or len(trunk) != 4
        or not chained([actor], 512, width)
        or not chained([critic], 512, 1)
    ):
        return None
    arrays = numbered("actor", [actor]) | numbered("critic", [critic])
    for number, (weight, bias) in zip(CNN_LAYERS, trunk, strict=True):
        arrays |= {f"encoder.layers.{number}.weight": as_f32(weight), f"encoder.layers.{number}.bias": as_f32(bias)}
    empty = np.zeros(0)
    arrays |= {"normalizer.mean": empty, "normalizer.var": empty.copy(), "normalizer.count": np.zeros(1)}
    description = {"network": "nature_cnn", "hidden": [], "activation": "relu", "head": "categorical"}
    return Weights("ppo", arrays, description)


def numbered(name: str, rows: Sequence[Layer]) -> dict[str, Array]:
    """Layers as a `torch.nn.Sequential` of linear layers with an activation between them names them."""
    named: dict[str, Array] = {}
    for index, (weight, bias) in enumerate(rows):
        named |= {f"{name}.{2 * index}.weight": as_f32(weight), f"{name}.{2 * index}.bias": as_f32(bias)}
    return named


def in_reward_units(arrays: dict[str, Array], scale: float) -> dict[str, Array]:
    """A native policy whose values are of rewards `scale` times those it was trained on; it acts as before.

    Values are linear in the critics' last layers; SAC's entropy bonus grows with the rewards it is weighed against.
    """
    if scale == 1.0:
        return arrays
    scaled = dict(arrays)
    for critic in {name.rpartition(".")[0].rpartition(".")[0] for name in arrays if name.startswith("critic")}:
        last = max(int(name.split(".")[-2]) for name in arrays if name.startswith(f"{critic}."))
        for part in ("weight", "bias"):
            scaled[f"{critic}.{last}.{part}"] = as_f32(arrays[f"{critic}.{last}.{part}"] * scale)
    if "log_alpha" in arrays:
        scaled["log_alpha"] = np.asarray(arrays["log_alpha"] + np.log(scale), dtype=np.float32)
    return scaled


def _normalizer(space: Box, statistics: Statistics | None) -> dict[str, Array]:
    """The native normaliser, clip((obs - mean) / sqrt(var + 1e-8), -clip, clip), saying what `statistics` say."""
    size = int(np.prod(space.shape))
    if statistics is None:
        mean, var, count, clip = np.zeros(size), np.full(size, 1.0 - NATIVE_EPSILON), 0.0, NO_CLIP
    else:
        mean, count, clip = statistics.mean.ravel(), statistics.count, statistics.clip
        var = statistics.var.ravel() + (statistics.epsilon - NATIVE_EPSILON)
    arrays = {"normalizer.mean": mean, "normalizer.var": var, "normalizer.count": np.asarray([count])}
    return arrays if clip == NATIVE_CLIP else arrays | {"normalizer.clip": np.asarray([clip])}


def as_f32(array: Array) -> Array:
    """Contiguous float32."""
    return np.ascontiguousarray(array, dtype=np.float32)
