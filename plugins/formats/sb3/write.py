"""Policies written as Stable-Baselines3 writes them, by Stable-Baselines3 itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from ultra_agents.contracts.formats import Outgoing
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

from .._native import CNN_LAYERS, NATIVE_CLIP, NATIVE_EPSILON, NO_CLIP
from .._native_sac import sac_tensors


def write_zip(outgoing: Outgoing, beside: Path) -> list[Path]:
    """Write the zip, and to `beside` the statistics where observations are normalised.

    Raises:
        PolicyError: Stable-Baselines3 is missing, has no such policy, or the file cannot be written.
    """
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as error:
        raise PolicyError(
            "a Stable-Baselines3 policy is written by Stable-Baselines3, which is not installed",
            hint="pip install 'ultra-agents[sb3]'",
        ) from error
    algorithm = outgoing.weights.algorithm
    if algorithm == "ppo":
        kind, policy, kwargs, tensors = _from_ppo(outgoing)
    elif algorithm == "sac":
        hidden = [int(n) for n in outgoing.weights.description.get("hidden", [])]
        kind, policy, kwargs = "SAC", "MlpPolicy", {"net_arch": hidden}
        tensors = sac_tensors(outgoing.weights.arrays, hidden)
    elif algorithm.startswith("sb3-"):
        kind, policy, kwargs, tensors = _from_sb3(outgoing)
    else:
        raise PolicyError(
            "Stable-Baselines3 has no policy like this one",
            found=f"a policy of the algorithm {algorithm!r}",
            expected="ppo, sac or one of sb3-*",
            hint="only such policies go to other tools; the file itself is plain arrays and JSON",
        )
    path = outgoing.path
    model = _model(kind, policy, kwargs, outgoing)
    _load(model, tensors, outgoing)
    if kind == "SAC":
        told = np.log(outgoing.weights.description.get("ent_coef") or 1.0)
        model.log_ent_coef.data.fill_(float(outgoing.weights.arrays.get("log_alpha", told)))
    statistics, scale = _statistics(outgoing), float(outgoing.weights.description.get("reward_scale", 1.0))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:  # of a name SB3 would make another one
            model.save(file)
        written = [path]
        if statistics is not None or scale != 1.0:
            _save_statistics(statistics, scale, outgoing, beside)
            written.append(beside)
    except OSError as error:
        raise PolicyError(f"{path} cannot be written", found=str(error), hint="check the folder's rights") from error
    return written


def _from_ppo(outgoing: Outgoing) -> tuple[str, str, dict[str, Any], dict[str, Array]]:
    """The native PPO policy under SB3's names."""
    arrays, hidden = outgoing.weights.arrays, [int(n) for n in outgoing.weights.description.get("hidden", [])]
    last = 2 * len(hidden)
    tensors: dict[str, Array] = {}
    for ours, inner, head in (("actor", "policy_net", "action_net"), ("critic", "value_net", "value_net")):
        for part in ("weight", "bias"):
            tensors |= {f"mlp_extractor.{inner}.{n}.{part}": arrays[f"{ours}.{n}.{part}"] for n in range(0, last, 2)}
            tensors[f"{head}.{part}"] = arrays[f"{ours}.{last}.{part}"]
    if "log_std" in arrays:
        tensors["log_std"] = arrays["log_std"]
    if outgoing.weights.description.get("network") != "nature_cnn":
        return "PPO", "MlpPolicy", {"net_arch": {"pi": hidden, "vf": hidden}}, tensors
    theirs = ("cnn.0", "cnn.2", "cnn.4", "linear.0")
    for which in ("", "pi_", "vf_"):
        for number, name in zip(CNN_LAYERS, theirs, strict=True):
            for part in ("weight", "bias"):
                tensors[f"{which}features_extractor.{name}.{part}"] = arrays[f"encoder.layers.{number}.{part}"]
    return "PPO", "CnnPolicy", {}, tensors


def _from_sb3(outgoing: Outgoing) -> tuple[str, str, dict[str, Any], dict[str, Array]]:
    """A policy of the `sb3-*` algorithms, which are SB3's names already."""
    from ...algorithms.sb3.networks import described

    weights = outgoing.weights
    kind: Any = weights.algorithm.removeprefix("sb3-")
    network = described(kind, weights.description, weights.arrays)
    kwargs = {name: value for name, value in network.kwargs().items() if name != "features_extractor_class"}
    tensors = {name: array for name, array in weights.arrays.items() if "/" not in name}
    return kind.upper(), network.policy, kwargs, tensors


def _model(kind: str, policy: str, kwargs: dict[str, Any], outgoing: Outgoing) -> Any:
    """An untrained SB3 model for the spaces."""
    import stable_baselines3
    from stable_baselines3.common.vec_env import DummyVecEnv

    buffer = {} if kind in ("PPO", "A2C") else {"buffer_size": 1}
    make = getattr(stable_baselines3, kind)
    model = make(policy, DummyVecEnv([_stand_in(outgoing)]), policy_kwargs=kwargs, device="cpu", **buffer)
    if buffer:
        model.buffer_size = 1_000_000
    return model


def _stand_in(outgoing: Outgoing) -> Callable[[], gymnasium.Env[Any, Any]]:
    """What SB3 wants to see of an environment: its spaces."""

    class Spaces(gymnasium.Env[Any, Any]):
        observation_space, action_space = outgoing.observation_space, outgoing.action_space

    return Spaces


def _load(model: Any, tensors: dict[str, Array], outgoing: Outgoing) -> None:
    import torch

    try:
        model.policy.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in tensors.items()})
    except RuntimeError as error:
        raise PolicyError(
            "the policy does not fit into Stable-Baselines3's network",
            found=" ".join(str(error).split())[:200],
            hint=f"its algorithm is {outgoing.weights.algorithm!r}; is the file whole?",
        ) from error


def _statistics(outgoing: Outgoing) -> dict[str, Any] | None:
    """`mean`, `var`, `count`, `clip`, `epsilon`; None where observations are taken as they are."""
    arrays, description = outgoing.weights.arrays, outgoing.weights.description
    shape = outgoing.observation_space.shape or ()
    for sign, epsilon, clip in (
        (".", NATIVE_EPSILON, float(arrays.get("normalizer.clip", np.asarray([NATIVE_CLIP]))[0])),
        ("/", float(description.get("epsilon", NATIVE_EPSILON)), float(description.get("clip_obs", NATIVE_CLIP))),
    ):
        mean, var, count = (arrays.get(f"normalizer{sign}{name}") for name in ("mean", "var", "count"))
        if mean is None or var is None or mean.size == 0 or clip >= NO_CLIP:
            continue
        number = 0.0 if count is None else float(count.ravel()[0])
        if outgoing.weights.algorithm == "sac" and not number:
            return None
        return {
            "mean": mean.reshape(shape), "var": var.reshape(shape), "count": number, "epsilon": epsilon, "clip": clip,
        }  # fmt: skip
    return None


def _save_statistics(statistics: dict[str, Any] | None, scale: float, outgoing: Outgoing, path: Path) -> None:
    """Write a `VecNormalize` of observations, and of rewards where `scale` is not 1."""
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    usual = {"clip": NATIVE_CLIP, "epsilon": NATIVE_EPSILON}
    wrapped = VecNormalize(
        DummyVecEnv([_stand_in(outgoing)]),
        norm_obs=statistics is not None,
        norm_reward=scale != 1.0,
        clip_obs=(statistics or usual)["clip"],
        epsilon=(statistics or usual)["epsilon"],
    )
    if statistics is not None:
        rms: Any = wrapped.obs_rms
        rms.mean, rms.var, rms.count = statistics["mean"], statistics["var"], statistics["count"]
    if scale != 1.0:
        wrapped.ret_rms.var = np.asarray(max(scale**2 - wrapped.epsilon, 0.0))
        wrapped.ret_rms.count = float((statistics or {"count": 1.0})["count"])
    wrapped.save(str(path))
