"""Policies of Stable-Baselines3: the `.zip` of `model.save`, with its `vecnormalize.pkl`; read without its pickles.

Weights, architecture and spaces are plain data in the zip (`zip_file`), the normaliser's numbers are taken out of its
pickle without running it (`_normalizer`). A PPO or A2C policy that the native `ppo` can hold exactly becomes one, a
SAC policy likewise `sac`; any other goes on as `sb3-ppo`, `sb3-a2c`, `sb3-sac`, `sb3-td3` or `sb3-dqn`.

Where `VecNormalize` divided the rewards, values are in units of that scale. The native algorithms learn from whole
rewards, so their critics are multiplied by it, SAC's temperature with them; `sb3-*` keep it as `reward_scale`. What
the policy was trained with (`settings`) comes along as options to go on with, for the user to take or leave.

What stays behind: the optimiser's moments and the replay buffer.
"""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from gymnasium.spaces.utils import unflatten

from ultra_agents.contracts import Options
from ultra_agents.contracts.formats import Foreign, Outgoing, PolicyFormat, Request, Weights
from ultra_agents.contracts.spaces import actions_of
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array

from .._native import cnn_ppo, in_reward_units, layers, mlp_ppo
from .._native_sac import mlp_sac
from .._normalizer import Statistics, find_normalizer, reward_scale
from .settings import as_native, as_sb3
from .zip_file import ON_POLICY, Zip, check_spaces, read_json, read_zip

DEFAULT_ACTIVATION = {"ppo": "tanh", "a2c": "tanh", "trpo": "tanh", "sac": "relu", "td3": "relu", "dqn": "relu"}


class SB3(PolicyFormat):
    """`.zip` files of Stable-Baselines3 1.0 and newer."""

    Options: ClassVar[type[Options]] = Options
    suffixes: ClassVar[tuple[str, ...]] = (".zip",)
    beside: ClassVar[tuple[str, ...]] = ("_vecnormalize.pkl",)

    def recognises(self, path: Path) -> bool:
        """A zip with the members `data` and `policy.pth`."""
        try:
            with zipfile.ZipFile(path) as file:
                return {"data", "policy.pth"} <= set(file.namelist())
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
            return False

    def read(self, request: Request) -> Foreign:
        """The policy for `ppo`, `sac` or `sb3-*`; with `trust`, whatever Stable-Baselines3 makes of the file."""
        try:
            found = read_zip(request)
        except PolicyError:
            if request.trust:
                return _by_sb3(request)
            raise
        statistics = find_normalizer(request, found.normalized)
        spaces = request.observation_space, request.action_space
        native, scale = _native(found, spaces, statistics), reward_scale(request)
        notes = [f"{found.kind.upper()} of {found.steps:,} steps, saved by {_versions(found)}"]
        if statistics is None:
            notes.append("observations are taken as they are: no normaliser")
        else:
            notes.append(f"normaliser of {statistics.count:,.0f} observations from {statistics.source}")
        if scale != 1.0:
            notes.append(f"rewards were divided by {scale:,.3g}: taken along, so values are those of whole rewards")
        told = {
            "tool": "stable-baselines3", "algorithm": found.kind, "steps": found.steps, "versions": found.versions,
            "trained_with": found.settings,
        }  # fmt: skip
        fits = [_as_sb3(found, statistics, scale)]
        if native is not None:
            options = as_native(found.settings, found.kind)
            fits.insert(0, replace(native, arrays=in_reward_units(native.arrays, scale), options=options))
        return Foreign(tuple(fits), told=told, notes=tuple(notes))

    def write(self, outgoing: Outgoing) -> list[Path]:
        """A zip that `PPO.load` and its like read, and `vecnormalize.pkl` beside it where there is a normaliser."""
        from .write import write_zip

        (beside,) = self.files_beside(outgoing.path)
        return write_zip(outgoing, beside)


def _native(
    found: Zip, spaces: tuple[gymnasium.Space[Any], gymnasium.Space[Any]], statistics: Statistics | None
) -> Weights | None:
    tensors = found.tensors
    activation = found.activation or DEFAULT_ACTIVATION[found.kind]
    if isinstance(spaces[0], Box) and len(spaces[0].shape) == 3 and not found.images:
        return None  # SB3 divides pixels by 255 before flattening them
    if found.kind == "sac":
        fits = not found.images and activation == "relu"
        return mlp_sac(tensors, found.log_alpha, spaces, statistics) if fits else None
    if found.kind not in ON_POLICY or not {"action_net.weight", "value_net.weight"} <= set(tensors):
        return None
    heads = [(tensors[f"{name}.weight"], tensors[f"{name}.bias"]) for name in ("action_net", "value_net")]
    shared = layers(tensors, "mlp_extractor.shared_net.")
    inner = [layers(tensors, f"mlp_extractor.{name}_net.") for name in ("policy", "value")]
    if found.images:
        trunk = [*layers(tensors, "features_extractor.cnn."), *layers(tensors, "features_extractor.linear.")]
        if shared or inner[0] or inner[1] or statistics is not None or not _shared_trunk(tensors):
            return None
        return cnn_ppo(trunk, heads[0], heads[1], spaces)
    if activation != "tanh":
        return None
    actor, critic = ([*shared, *rows, head] for rows, head in zip(inner, heads, strict=True))
    return mlp_ppo(actor, critic, tensors.get("log_std"), spaces, statistics)


def _shared_trunk(tensors: dict[str, Array]) -> bool:
    """Whether actor and critic see the same features: the zip then holds one trunk under three names."""
    for name, array in tensors.items():
        for which in ("pi_", "vf_"):
            if name.startswith(f"{which}features_extractor."):
                twin = tensors.get(name.removeprefix(which))
                if twin is None or not np.array_equal(twin, array):
                    return False
    return True


def _as_sb3(found: Zip, statistics: Statistics | None, scale: float) -> Weights:
    arrays, kind = dict(found.tensors), "ppo" if found.kind == "trpo" else found.kind
    description: dict[str, Any] = {
        "library": "stable-baselines3",
        "algorithm": kind,
        "policy": "CnnPolicy" if found.images else "MlpPolicy",
        # The layers' widths are read off the arrays: SB3 has written `net_arch` in three ways over the years.
        "policy_kwargs": {} if found.activation is None else {"activation_fn": found.activation},
    }
    if found.kind == "sac":
        description["ent_coef"] = float(np.exp(found.log_alpha))
    if scale != 1.0:
        description["reward_scale"] = scale
    if statistics is not None:
        arrays |= {
            "normalizer/mean": statistics.mean,
            "normalizer/var": statistics.var,
            "normalizer/count": np.asarray([statistics.count]),
        }
        description |= {"clip_obs": statistics.clip, "epsilon": statistics.epsilon}
    return Weights(f"sb3-{kind}", arrays, description, as_sb3(found.settings))


def _by_sb3(request: Request) -> Foreign:
    """The policy as Stable-Baselines3 itself loads it, pickles and all; asked for actions only."""
    try:
        import stable_baselines3  # noqa: F401
    except ImportError as error:
        raise PolicyError(
            "loading this policy needs Stable-Baselines3", hint="pip install 'ultra-agents[sb3]'"
        ) from error
    data = read_json(request)
    check_spaces(data, request)
    statistics = find_normalizer(request, None)
    failures: list[tuple[str, Exception]] = []
    for name, load in _loaders(data, request).items():
        try:
            model = load(request.path, device="cpu")
            break
        except Exception as error:  # each algorithm refuses the others' files in its own way
            failures.append((name, error))
    else:
        raise _not_loaded(request, data, failures)

    inner, actions = model.observation_space, actions_of(model.action_space, str(request.path), np.inf)

    def act(observations: Array) -> Array:
        inputs: Any = observations if statistics is None else statistics.normalize(observations)
        if not isinstance(inner, Box):
            rows = [unflatten(inner, row) for row in inputs]
            nested = isinstance(inner, gymnasium.spaces.Dict)
            inputs = {key: np.stack([row[key] for row in rows]) for key in inner} if nested else np.stack(rows)
        return actions.from_inner(np.asarray(model.predict(inputs, deterministic=True)[0]))

    told = {"tool": "stable-baselines3", "loaded": "by Stable-Baselines3, trusted"}
    return Foreign(act=act, told=told, notes=(f"loaded by Stable-Baselines3 as {name}, its code included",))


def _loaders(data: dict[str, Any], request: Request) -> dict[str, Callable[..., Any]]:
    """Who may load the file, by name: sb3-contrib where the policy is of its kind, else every algorithm of SB3."""
    import stable_baselines3

    row = data.get("policy_class")
    module = str(row.get("__module__")) if isinstance(row, dict) else ""
    contrib = _CONTRIB.get(module.split(".")[1]) if module.startswith("sb3_contrib.") else None
    contrib = "TRPO" if "cg_max_steps" in data else contrib
    if contrib is None:
        return {name: getattr(stable_baselines3, name).load for name in ("PPO", "SAC", "TD3", "DQN", "A2C")}
    try:
        sb3_contrib = importlib.import_module("sb3_contrib")
    except ImportError as error:
        raise PolicyError(
            f"loading the policy {request.path} needs sb3-contrib, which is not installed",
            found=f"a policy of {contrib}",
            hint="pip install sb3-contrib",
        ) from error
    return {contrib: getattr(sb3_contrib, contrib).load}


def _not_loaded(request: Request, data: dict[str, Any], failures: list[tuple[str, Exception]]) -> PolicyError:
    """What is missing, by name; which failure tells most."""
    import stable_baselines3

    problem = f"Stable-Baselines3 {stable_baselines3.__version__} cannot load {request.path}"
    missing = next((error for _, error in failures if isinstance(error, ModuleNotFoundError)), None)
    lost = next((error for _, error in failures if isinstance(error, AttributeError | ImportError)), None)
    hint = "load it with the version it was saved by and save it again"
    if missing is not None:
        return PolicyError(
            problem,
            found=f"it needs the module {missing.name!r}, which is not found",
            expected="the packages it was saved with; system_info.txt in the zip lists them",
            hint=_GYM if str(missing.name).partition(".")[0] == "gym" else "yours? add its folder to PYTHONPATH",
        )
    if lost is not None:
        return PolicyError(problem, found=f"{type(lost).__name__}: {lost}"[:200], hint=hint)
    told = "; ".join(f"{name}: {type(error).__name__}: {error}"[:90] for name, error in failures)
    return PolicyError(problem, found=told[:300], hint=hint)


_CONTRIB = {"tqc": "TQC", "qrdqn": "QRDQN", "trpo": "TRPO", "common": "MaskablePPO", "ppo_mask": "MaskablePPO"}
"""Algorithms of sb3-contrib by the package their policies are in; recurrent ones need more than observations."""
_GYM = "pip install gym==0.26.2 'shimmy>=2', or save it again where it was made, with Stable-Baselines3 2.0 or newer"


def _versions(found: Zip) -> str:
    return f"Stable-Baselines3 {found.versions.get('stable-baselines3', 'of an unknown version')}"
