"""Policies of CleanRL: state dictionaries written by `torch.save` (`.cleanrl_model`, `.pt`), read without a pickle.

Known by the names of their layers:
  - `ppo.py`: `actor.{0,2,4}`, `critic.{0,2,4}`; `ppo_continuous_action.py`: `actor_mean.*`, `actor_logstd`, `critic.*`
  - `ppo_atari.py`: `network.{0,2,4,7}`, `actor`, `critic`
  - `dqn.py`, `dqn_atari.py`: `network.*` from observations to one value per action, as `sb3-dqn`

`ppo_continuous_action.py` trains behind gymnasium's `NormalizeObservation`, and a CleanRL file does not hold its
statistics: save them beside it with `np.savez("normalizer.npz", mean=rms.mean, var=rms.var, count=rms.count)`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Discrete

from ultra_agents.contracts import Options
from ultra_agents.contracts.formats import Foreign, Outgoing, PolicyFormat, Request, Weights
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

from ._native import NATIVE_CLIP, NO_CLIP, chained, cnn_ppo, layers, mlp_ppo
from ._normalizer import Statistics, named_normalizer
from ._torch_files import is_torch_zip, read_tensors

LAYOUTS = "actor.*, actor_mean.*, network.* and critic.*, as CleanRL's ppo, ppo_continuous_action, ppo_atari and dqn"


class CleanRL(PolicyFormat):
    """State dictionaries of CleanRL's agents."""

    Options: ClassVar[type[Options]] = Options
    suffixes: ClassVar[tuple[str, ...]] = (".cleanrl_model", ".pt", ".pth")
    beside: ClassVar[tuple[str, ...]] = ("_normalizer.npz",)

    def recognises(self, path: Path) -> bool:
        """A zip of `torch.save` that is no TorchScript archive."""
        return is_torch_zip(path)

    def read(self, request: Request) -> Foreign:
        """The policy for `ppo`, or a DQN for `sb3-dqn`."""
        tensors = read_tensors(request.path)
        statistics = named_normalizer(request)
        made = _ppo(tensors, request, statistics) or _dqn(tensors, request, statistics)
        if made is None:
            raise PolicyError(
                f"the policy {request.path} does not fit this environment, or has layers that are not known",
                found=", ".join(f"{name} {tuple(array.shape)}" for name, array in list(tensors.items())[:6])[:300],
                expected=f"{LAYOUTS}; observations of shape {request.observation_space.shape}, {request.action_space}",
                hint="give --environment the one it was trained in; or export it to ONNX, whose actions are imitated",
            )
        notes = [f"a {made.algorithm} policy of {len(tensors)} tensors"]
        if statistics is not None:
            notes.append(f"normaliser of {statistics.count:,.0f} observations from {statistics.source}")
        elif "actor_logstd" in tensors:
            notes.append("CleanRL trains such agents on normalised observations and saves no statistics: --normalizer")
        if made.description.get("network") != "nature_cnn":
            assumed = "ReLU" if made.algorithm == "sb3-dqn" else "tanh"
            notes.append(
                f"the file does not say what lies between its layers: {assumed} is assumed, as in CleanRL; a network "
                "with another activation acts otherwise, so compare the score (--expect), or export it to ONNX"
            )
        return Foreign((made,), told={"tool": "cleanrl"}, notes=tuple(notes))

    def write(self, outgoing: Outgoing) -> list[Path]:
        """A state dictionary for CleanRL's agents; `normalizer.npz` beside it for continuous actions."""
        arrays = outgoing.weights.arrays
        if outgoing.weights.algorithm != "ppo":
            raise PolicyError(
                "CleanRL's agents hold no such policy",
                found=f"a policy of the algorithm {outgoing.weights.algorithm!r}",
                expected="ppo",
                hint="only ppo policies go to CleanRL; the file itself is plain arrays and JSON",
            )
        (beside,) = self.files_beside(outgoing.path)
        return _write(outgoing.path, beside, arrays)


def _ppo(tensors: dict[str, Array], request: Request, statistics: Statistics | None) -> Weights | None:
    spaces = request.observation_space, request.action_space
    trunk = layers(tensors, "network.")
    if {"actor.weight", "actor.bias", "critic.weight", "critic.bias"} <= set(tensors) and len(trunk) == 4:
        heads = [(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in ("actor", "critic")]
        return None if statistics is not None else cnn_ppo(trunk, heads[0], heads[1], spaces)
    actor = layers(tensors, "actor_mean.") or layers(tensors, "actor.")
    return mlp_ppo(actor, layers(tensors, "critic."), tensors.get("actor_logstd"), spaces, statistics)


def _dqn(tensors: dict[str, Array], request: Request, statistics: Statistics | None) -> Weights | None:
    """CleanRL's Q-networks (ReLU) as SB3's."""
    action, rows = request.action_space, layers(tensors, "network.")
    inputs = int(np.prod(request.observation_space.shape or (1,)))
    if not isinstance(action, Discrete) or set(n.split(".")[0] for n in tensors) != {"network"}:
        return None
    if not chained(rows, inputs, int(action.n)):
        return None
    arrays: dict[str, Array] = {}
    for which in ("q_net", "q_net_target"):
        for index, (weight, bias) in enumerate(rows):
            arrays |= {f"{which}.q_net.{2 * index}.weight": weight, f"{which}.q_net.{2 * index}.bias": bias}
    kwargs = {"net_arch": [len(bias) for _, bias in rows[:-1]], "activation_fn": "relu"}
    description: dict[str, Any] = {
        "library": "stable-baselines3", "algorithm": "dqn", "policy": "MlpPolicy", "policy_kwargs": kwargs,
    }  # fmt: skip
    if statistics is not None:
        count = np.asarray([statistics.count])
        arrays |= {"normalizer/mean": statistics.mean, "normalizer/var": statistics.var, "normalizer/count": count}
        description |= {"clip_obs": statistics.clip, "epsilon": statistics.epsilon}
    return Weights("sb3-dqn", arrays, description)


def _write(path: Path, beside: Path, arrays: dict[str, Array]) -> list[Path]:
    import torch

    names = {"actor.": "actor_mean." if "log_std" in arrays else "actor.", "critic.": "critic."}
    images = any(name.startswith("encoder.") for name in arrays)
    found: dict[str, Array] = {}
    for name, array in arrays.items():
        if name.startswith("encoder.layers."):
            found[f"network.{name.removeprefix('encoder.layers.')}"] = array
        elif name == "log_std":
            found["actor_logstd"] = array.reshape(1, -1)
        elif (start := name.partition(".")[0] + ".") in names:
            found[name.replace(".0.", ".") if images else names[start] + name.removeprefix(start)] = array
    written = [path]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({name: torch.from_numpy(np.array(array)) for name, array in found.items()}, path)
        clip = float(arrays.get("normalizer.clip", np.asarray([NATIVE_CLIP]))[0])
        if arrays["normalizer.mean"].size and clip < NO_CLIP:  # else observations are taken as they are
            mean, var, count = (arrays[f"normalizer.{name}"] for name in ("mean", "var", "count"))
            np.savez(beside, mean=mean, var=var, count=count[0], epsilon=1e-8, clip=clip)
            written.append(beside)
    except OSError as error:
        raise PolicyError(f"{path} cannot be written", found=str(error), hint="check the folder's rights") from error
    return written
