"""What a Stable-Baselines3 `.zip` says in plain JSON: algorithm, spaces, architecture.

Its `data` member is JSON in which whatever JSON cannot say is a pickle in base64 (`:serialized:`) with a text beside
it. The text is what is read here; the pickles are left alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from ultra_agents.contracts.formats import Request
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

from .._torch_files import Members, read_tensors
from .settings import settings

_ACTIVATIONS = {
    "Tanh": "tanh",
    "ReLU": "relu",
    "ELU": "elu",
    "LeakyReLU": "leaky_relu",
    "GELU": "gelu",
    "SiLU": "silu",
}
_EXTRACTORS = {"FlattenExtractor", "NatureCNN", "CombinedExtractor"}
_KINDS = {
    "stable_baselines3.sac.policies": "sac",
    "stable_baselines3.td3.policies": "td3",
    "stable_baselines3.dqn.policies": "dqn",
}
_FLATTENED = {"Discrete", "MultiDiscrete", "MultiBinary", "Dict"}
"""Spaces of observations that are one-hot or joined before the first layer, there as here."""
_HARMLESS = {
    "net_arch", "ortho_init", "log_std_init", "n_critics", "optimizer_class", "optimizer_kwargs",
    "features_extractor_kwargs",
}  # fmt: skip
_USUAL = {"use_sde": False, "squash_output": False, "normalize_images": True, "share_features_extractor": True}
"""Keyword arguments of a policy that change nothing here, and those that must be what they usually are."""
TRUST = "if you made this file yourself: --trust lets Stable-Baselines3 load it, and its actions are imitated"
_ON_POLICY = "stable_baselines3.common.policies"
ON_POLICY = ("ppo", "a2c", "trpo")
"""Their policies are of one class; TRPO of sb3-contrib goes on as PPO."""


@dataclass(frozen=True, eq=False)
class Zip:
    """A Stable-Baselines3 zip.

    Attributes:
        kind: `ppo`, `a2c`, `trpo`, `sac`, `td3` or `dqn`.
        tensors: The policy's state dictionary.
        activation: `tanh`, `relu`, ... ; None for the policy's default.
        images: The policy has the Nature CNN.
        log_alpha: Logarithm of SAC's temperature; 0 where nothing is said.
        steps: Environment steps it was trained for.
        versions: Of the libraries it was saved with.
        normalized: Why its observations must have been normalised, or None where nothing says so.
        settings: What it was trained with, under SB3's names.
    """

    kind: str
    tensors: dict[str, Array]
    activation: str | None
    images: bool
    log_alpha: float
    steps: int
    versions: dict[str, str]
    normalized: str | None
    settings: dict[str, Any]


def read_zip(request: Request) -> Zip:
    """Read a zip without running a pickle; raises `PolicyError`."""
    path = request.path
    members = Members(path)
    try:
        data = _json(request, members)
        kind = _kind(data, request)
        check_spaces(data, request)
        tensors = read_tensors(path, members.read("policy.pth"), "the weights")
        log_alpha = _log_alpha(data, members) if kind == "sac" else 0.0
        versions = _versions(members)
    finally:
        members.close()
    row = data.get("policy_kwargs")
    kwargs = {k: v for k, v in row.items() if not k.startswith(":")} if isinstance(row, dict) else {}
    activation = _word(kwargs.pop("activation_fn", None))
    extractor = _word(kwargs.pop("features_extractor_class", None))
    if (activation is not None and activation not in _ACTIVATIONS) or extractor not in {None, *_EXTRACTORS}:
        raise untrusted(request, f"the activation or feature extractor {activation or extractor}")
    odd = sorted(name for name, value in kwargs.items() if name not in _HARMLESS and value is not _USUAL.get(name))
    if data.get("use_sde") or odd:
        raise PolicyError(
            f"the policy {path} uses what no algorithm here has",
            found="use_sde" if data.get("use_sde") else f"policy_kwargs: {', '.join(odd)}"[:120],
            expected="one of Stable-Baselines3's policies without state-dependent exploration",
            hint=TRUST,
        )
    images = any(name.endswith("features_extractor.cnn.0.weight") for name in tensors)
    return Zip(
        kind=kind,
        tensors=tensors,
        activation=_ACTIVATIONS[activation] if activation else None,
        images=images,
        log_alpha=log_alpha,
        steps=int(data["num_timesteps"]) if isinstance(data.get("num_timesteps"), int) else 0,
        versions=versions,
        normalized=_normalized(data, kind, images),
        settings=settings(data, kind),
    )


def read_json(request: Request) -> dict[str, Any]:
    """The JSON of a zip by itself; raises `PolicyError`."""
    members = Members(request.path)
    try:
        return _json(request, members)
    finally:
        members.close()


def untrusted(request: Request, found: str) -> PolicyError:
    """The refusal of a policy whose Python code lies in the zip."""
    return PolicyError(
        f"the policy {request.path} is made of Python code of its own, which lies in the zip as a pickle",
        found=found,
        expected="one of Stable-Baselines3's own policies: MlpPolicy or CnnPolicy",
        hint=TRUST,
    )


def check_spaces(data: dict[str, Any], request: Request) -> None:
    """Compare the zip's spaces with the environment's; raises `PolicyError`."""
    path = request.path
    seen, here = _space(data, "observation_space", request), request.observation_space
    shape = tuple(seen.get("shape", ()))
    wanted = tuple(here.shape or ())
    flipped = len(shape) == 3 and len(wanted) == 3 and shape == (wanted[2], wanted[0], wanted[1])
    flattened = isinstance(here, Box) and seen["kind"] in _FLATTENED and wanted == (seen["width"],)
    if not flattened and (seen["kind"] != type(here).__name__ or (shape != wanted and not flipped)):
        raise PolicyError(
            f"the policy {path} is made for other observations",
            found=f"{seen['kind']} of {seen['width'] or shape} numbers"
            if seen["kind"] in _FLATTENED
            else f"{seen['kind']} of shape {shape}",
            expected=f"{type(here).__name__} of shape {wanted}, as the environment gives them",
            hint="give --environment the one it was trained in, its wrappers (frame stack) included",
        )
    seen, here = _space(data, "action_space", request), request.action_space
    if not _same_actions(seen, here):
        raise PolicyError(
            f"the policy {path} is made for other actions",
            found=_action_words(seen),
            expected=f"{here}, as the environment takes them",
            hint="give --environment the one it was trained in",
        )


def _same_actions(seen: dict[str, Any], here: gymnasium.Space[Any]) -> bool:
    if isinstance(here, Discrete):
        return bool(seen["kind"] == "Discrete" and seen["n"] == int(here.n) and seen["start"] == int(here.start))
    flattened = len(here.shape or ()) == 1 and int(np.prod(seen["shape"] or (1,))) == (here.shape or (0,))[0]
    if not isinstance(here, Box) or seen["kind"] != "Box" or not (flattened or tuple(seen["shape"]) == here.shape):
        return False
    return all(
        found is None
        or len(found) != bound.size
        or np.allclose(np.where(np.isinf(found), bound.ravel(), found), bound.ravel(), rtol=1e-4)
        for found, bound in ((seen["low"], here.low), (seen["high"], here.high))
    )


def _action_words(seen: dict[str, Any]) -> str:
    if seen["kind"] == "Discrete":
        return f"Discrete({seen['n']})" + (f" from {seen['start']}" if seen["start"] else "")
    bounds = f", {seen['low']} to {seen['high']}" if seen.get("low") else ""
    return f"{seen['kind']} of shape {tuple(seen.get('shape', ()))}{bounds}"[:200]


def _space(data: dict[str, Any], name: str, request: Request) -> dict[str, Any]:
    """A space as its text in the zip describes it."""
    row = data.get(name)
    kind = _word(row.get(":type:")) if isinstance(row, dict) else None
    if not isinstance(row, dict) or kind is None:
        raise _damaged(request, f"no {name}")
    try:
        if kind == "Discrete":
            start = int(row.get("start", 0))
            return {"kind": kind, "n": int(row["n"]), "start": start, "shape": (), "width": int(row["n"])}
        if kind in _FLATTENED:
            told = {"MultiDiscrete": row.get("nvec"), "MultiBinary": f"MultiBinary({row.get('n')})"}
            return {"kind": kind, "shape": (), "width": _width(str(told.get(kind, row.get("spaces"))))}
        shape = row.get("_shape", row.get("shape", ()))
        sizes = tuple(int(size) for size in (shape if isinstance(shape, list) else re.findall(r"\d+", str(shape))))
        return {"kind": kind, "shape": sizes, "low": _numbers(row.get("low")), "high": _numbers(row.get("high"))}
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(request, f"{name}: {error}") from error


def _width(text: str) -> int | None:
    """Numbers of the spaces named in a text, flattened as Stable-Baselines3 does it: discrete parts one-hot."""
    if re.fullmatch(r"\[[\d\s]+\]", text):
        return sum(int(n) for n in re.findall(r"\d+", text))
    total = 0
    for name, inside in re.findall(r"(Box|Discrete|MultiDiscrete|MultiBinary)\(((?:[^()]|\([^()]*\))*)\)", text):
        shape = re.search(r"\(([\d,\s]*)\), \w+$", inside)
        numbers = [int(n) for n in re.findall(r"\d+", shape[1] if shape else inside)]
        if name == "Box" and shape is None:
            return None  # abbreviated
        total += (
            sum(numbers) if name == "MultiDiscrete" else numbers[0] if name == "Discrete" else int(np.prod(numbers))
        )
    return total or None


def _numbers(text: Any) -> list[float] | None:
    """The numbers in numpy's text of an array; None where it is abbreviated."""
    if not isinstance(text, str) or "..." in text:
        return None
    return [float(word) for word in text.replace("[", " ").replace("]", " ").split()]


def _json(request: Request, members: Members) -> dict[str, Any]:
    try:
        data = json.loads(members.read("data"))
    except (ValueError, RecursionError) as error:
        raise _damaged(request, f"{type(error).__name__}: {error}"[:120]) from error
    if not isinstance(data, dict):
        raise _damaged(request, type(data).__name__)
    return data


def _kind(data: dict[str, Any], request: Request) -> str:
    row = data.get("policy_class")
    module = row.get("__module__") if isinstance(row, dict) else None
    if module == _ON_POLICY:
        return "ppo" if "clip_range" in data else "trpo" if "cg_max_steps" in data else "a2c"
    if str(module).startswith("sb3_contrib."):
        raise PolicyError(
            f"the policy {request.path} is one of sb3-contrib, which no algorithm here holds",
            found=str(module)[:80],
            expected="PPO, A2C, SAC, TD3, DQN of Stable-Baselines3, or TRPO",
            hint="pip install sb3-contrib, then --trust lets it load the file, and its actions are imitated; "
            "or export the policy to ONNX",
        )
    if module in _KINDS:
        return _KINDS[module]
    raise untrusted(request, f"a policy class of {module or 'an unknown module'}")


def _normalized(data: dict[str, Any], kind: str, images: bool) -> str | None:
    """Why the observations must have been normalised.

    PPO and A2C keep the original observations beside the others only then. Off-policy zips keep both always, so
    nothing can be told from them.
    """
    if images or kind not in ON_POLICY or not isinstance(data.get("_last_original_obs"), dict):
        return None
    return "the zip keeps the original observations beside normalised ones"


def _log_alpha(data: dict[str, Any], members: Members) -> float:
    fixed = data.get("ent_coef")
    if isinstance(fixed, int | float) and not isinstance(fixed, bool):
        return float(np.log(max(float(fixed), 1e-8)))
    if "pytorch_variables.pth" not in members.names:
        return 0.0
    kept = read_tensors(members.path, members.read("pytorch_variables.pth"), "the variables").get("log_ent_coef")
    return 0.0 if kept is None or kept.size != 1 else float(kept.ravel()[0])


def _versions(members: Members) -> dict[str, str]:
    found = {}
    if "_stable_baselines3_version" in members.names:
        found["stable-baselines3"] = members.read("_stable_baselines3_version").decode("utf-8", "replace").strip()[:40]
    if "system_info.txt" in members.names:
        text = members.read("system_info.txt").decode("utf-8", "replace")
        for line in text.splitlines()[:20]:
            word, _, version = line.removeprefix("- ").partition(": ")
            if word in ("Gymnasium", "OpenAI Gym", "PyTorch", "Numpy", "Python"):
                found[word.lower()] = version.strip()[:40]
    return found


def _word(text: Any) -> str | None:
    """`Tanh` of `<class 'torch.nn.modules.activation.Tanh'>`."""
    found = re.fullmatch(r"<class '(?:[\w.]+\.)?(\w+)'>", text) if isinstance(text, str) else None
    return found[1] if found else None if text is None else str(text)[:80]


def _damaged(request: Request, found: str) -> PolicyError:
    return PolicyError(
        f"{request.path} is not a complete Stable-Baselines3 policy",
        found=found,
        expected="a zip written by model.save",
        hint="copy or save it again",
    )
