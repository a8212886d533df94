"""Policy files: safetensors with a JSON description, complete or not there at all, never unpickled.

A file says which algorithm and environment it belongs to, how it was made and what it scored. The arrays hold
everything the policy needs to act alike elsewhere, its observation normaliser included.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import Space
from gymnasium.spaces import Box, Discrete
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ultra_agents.contracts import Environment, Policy
from ultra_agents.contracts.formats import check_finite
from ultra_agents.contracts.widening import WIDENING
from ultra_agents.errors import PolicyError, UltraError
from ultra_agents.files import what_is_at, write_whole
from ultra_agents.records import Array
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rules.layer import RulePolicy, parts_of, restored
from ultra_agents.rules.margins import teller, without_margins
from ultra_agents.text import clean, parsed_json

FORMAT_VERSION = 1
METADATA_KEY = "ultra_agents"
CHECKSUM_KEY = "sha256"
"""In the header: the checksum of everything else in the file."""
_PICKLES = (".pt", ".pth", ".pkl", ".pickle", ".zip", ".ckpt")
_FIELDS: dict[str, type] = {
    "algorithm": str,
    "environment": str,
    "env_id": str,
    "observation_space": dict,
    "action_space": dict,
    "architecture": dict,
}


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy read from a file.

    Attributes:
        policy: Ready to act, with the file's rules in force where it holds some.
        algorithm: Name of the algorithm plugin it belongs to.
        metadata: The file's description: `env_id`, `provenance`, `score`, `versions`, ...
    """

    policy: Policy
    algorithm: str
    metadata: dict[str, Any]

    @property
    def alone(self) -> Policy:
        """The policy without rules."""
        return self.policy.alone if isinstance(self.policy, RulePolicy) else self.policy

    def act(self, observations: Array, rng: np.random.Generator | None = None, deterministic: bool = False) -> Array:
        """Raw observations `(n, ...)` -> actions `(n, ...)`, as `Policy.act`."""
        return self.policy.act(observations, rng, deterministic)


@dataclass(frozen=True)
class Carried:
    """What a policy file says it was trained with; empty where it says nothing.

    Attributes:
        file: The file's name.
        algorithm: Name of the algorithm.
        options: Its options, as the file has them: JSON types, not checked by the algorithm.
        problem: Why what the file says cannot be read.
    """

    file: str = ""
    algorithm: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def save_policy(
    path: Path,
    policy: Policy,
    *,
    algorithm: str,
    environment_name: str,
    environment: Environment,
    provenance: Mapping[str, Any],
    score: Mapping[str, Any] | None,
    environment_options: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a policy file atomically; folders are made as needed.

    Args:
        path: Where; ends in `.safetensors`.
        policy: What.
        algorithm: Registered name of the algorithm that can rebuild it.
        environment_name: Registered name of the environment plugin.
        environment: The plugin, for its id and spaces.
        provenance: How it was made: `command`, `seed`, `steps`, whatever is known; JSON types.
        score: `{"mean", "stderr", "episodes", "seed"}` of an unmodulated evaluation, or None.
        environment_options: What the environment was built with, as far as it matters to who loads the file.
        training: `{"algorithm", "options"}` it was trained with (`training.trained_with`), from which refining
            starts; None where that is not known.

    Raises:
        PolicyError: Not a `.safetensors` name, weights that are not finite, or a file that cannot be written.
    """
    if path.suffix != ".safetensors":
        raise PolicyError(f"policies are not written to {path.name}", expected="a file name ending in .safetensors")
    arrays, architecture = policy.state()
    check_finite(path, arrays)
    metadata = {
        "format": FORMAT_VERSION,
        "algorithm": algorithm,
        "environment": environment_name,
        "env_id": environment.env_id,
        "observation_space": describe_space(environment.observation_space),
        "action_space": describe_space(environment.action_space),
        "architecture": architecture,
        "provenance": dict(provenance),
        "score": None if score is None else dict(score),
        "versions": _versions(),
    }
    if environment_options:
        metadata["environment_options"] = dict(environment_options)
    if training is not None:
        metadata["training"] = dict(training)
    write_safetensors(path, arrays, {METADATA_KEY: json.dumps(metadata, sort_keys=True)})


def open_policy(path: Path | str) -> LoadedPolicy:
    """Read a policy for the environment that its file names; what `ultra_agents.load_policy` is.

    Raises:
        UltraError: The file cannot be used, or the plugin it needs is not installed.
    """
    path = Path(path)
    metadata, _ = read_policy_file(path)
    name = metadata["environment"]
    return load_policy(path, name, create_environment(name, metadata.get("environment_options") or {}))


def load_policy(
    path: Path,
    environment_name: str,
    environment: Environment,
    algorithm_options: dict[str, Any] | None = None,
) -> LoadedPolicy:
    """Read a policy for an environment.

    Args:
        path: A file written by `save_policy`.
        environment_name: Registered name of the environment it shall act in, for messages.
        environment: That plugin.
        algorithm_options: Options for the algorithm that rebuilds the policy.

    Raises:
        PolicyError: Missing, damaged, of a newer format, or made for something else.
    """
    metadata, arrays = read_policy_file(path)
    if metadata["env_id"] != environment.env_id:
        raise PolicyError(
            f"the policy {path} is made for another environment",
            found=f"{metadata['env_id']} (plugin {metadata['environment']!r})",
            expected=f"{environment.env_id} (plugin {environment_name!r})",
            hint="name another policy, or set environment.name and environment.options to what it was made for",
        )
    for name, space in (
        ("observation_space", environment.observation_space),
        ("action_space", environment.action_space),
    ):
        here = describe_space(space)
        if metadata[name] != here:
            raise PolicyError(
                f"the policy {path} is made for another {name.replace('_', ' ')}",
                found=json.dumps(metadata[name]),
                expected=json.dumps(here),
                hint="the environment changed since: train the policy again",
            )
    algorithm = create_algorithm(metadata["algorithm"], algorithm_options)
    description, rules = parts_of(metadata["architecture"])
    try:
        policy = algorithm.load_policy(arrays, description, environment.observation_space, environment.action_space)
        read = () if policy.widening is None else policy.widening.rules
        policy.bind(teller(environment, read, f"the rules whose margins {path} takes"))
        if rules is not None:
            policy = restored(policy, rules, environment, f"the rules of {path}")
    except PolicyError as error:
        raise PolicyError(
            f"the policy {path} cannot be rebuilt: {error.problem}",
            found=error.found,
            expected=error.expected,
            hint=error.hint or "the file is damaged or hand-made: use another policy",
        ) from error
    except UltraError:
        raise
    except Exception as error:
        raise PolicyError(
            f"the policy {path} cannot be rebuilt by the algorithm {metadata['algorithm']!r}",
            found=f"{type(error).__name__}: {error}",
            expected="arrays and a description written by the same algorithm",
            hint="the file is damaged or hand-made: use another policy",
        ) from error
    return LoadedPolicy(policy, metadata["algorithm"], metadata)


def carried_by(metadata: Mapping[str, Any], file: str) -> Carried:
    """What the description of a policy file called `file` says it was trained with."""
    told = metadata.get("training")
    if told is None:
        return Carried()
    algorithm, options = (told.get("algorithm"), told.get("options")) if isinstance(told, dict) else (None, None)
    if not isinstance(algorithm, str) or not isinstance(options, dict):
        return Carried(file, problem=f"its `training` is {shortened(told)}, not an algorithm with its options")
    return Carried(file, algorithm, options)


def shortened(value: Any) -> str:
    """A value of JSON types from a file as one short line."""
    return clean(json.dumps(value, default=repr), 60)


def describe_policy_file(metadata: Mapping[str, Any]) -> list[str]:
    """What a policy file says of itself, one line each."""
    provenance, score = metadata.get("provenance") or {}, metadata.get("score") or {}
    lines = [f"{metadata['algorithm']} for {metadata['env_id']} (plugin {metadata['environment']!r})"]
    architecture, rules = parts_of(metadata.get("architecture") or {})
    if rules is not None:
        lines.append("acts by rules where they cover a state")
    if (widening := architecture.get(WIDENING)) is not None:
        names, margins = without_margins(name for name, _ in widening["quantities"])
        text = f"takes quantities as inputs: {', '.join(names)}"
        lines.append(text + (f", and {margins} margins of rules" if margins else ""))
    carried = carried_by(metadata, "")
    if carried.problem:
        lines.append(f"trained with something unreadable: {carried.problem}")
    elif carried.algorithm:
        options = ", ".join(f"{clean(key, 60)} {shortened(value)}" for key, value in sorted(carried.options.items()))
        lines.append(f"trained with {clean(carried.algorithm, 60)}: {options or 'settings unknown'}")
    lines += [f"{name}: {value}" for name, value in provenance.items() if isinstance(value, str | int | float)]
    if isinstance(score.get("mean"), int | float):
        lines.append(f"recorded score {score['mean']:,.1f} over {score.get('episodes', '?')} episodes")
    return lines


def read_policy_file(path: Path) -> tuple[dict[str, Any], dict[str, Array]]:
    """A policy file's description and arrays, checked for themselves; raises `PolicyError`."""
    if path.suffix.lower() in _PICKLES:
        raise PolicyError(
            f"the policy {path} is of a kind that can run code when it is read",
            found=f"a {path.suffix.lower()} file (pickle)",
            expected="a .safetensors file",
            hint=f"ultra policy import {path} --environment NAME reads it without running anything",
        )
    header, arrays = read_safetensors(path)
    wrong = PolicyError(
        f"{path} is a safetensors file but not a policy of ultra-agents",
        found=f"metadata keys: {', '.join(sorted(header)) or 'none'}",
        expected=f"the key {METADATA_KEY!r} holding the policy's description",
        hint="use a policy written by `ultra` or by ultra_agents.policies.save_policy",
    )
    try:
        metadata = parsed_json(header[METADATA_KEY], parse_int=_whole_number)
        made_by = metadata["format"]
    except (KeyError, TypeError, ValueError):
        raise wrong from None
    if not isinstance(made_by, int):
        raise wrong
    if made_by > FORMAT_VERSION:
        raise PolicyError(
            f"the policy {path} is of a newer format",
            found=f"format {made_by}",
            expected=f"format {FORMAT_VERSION} or older",
            hint="pip install --upgrade ultra-agents",
        )
    for name, kind in _FIELDS.items():
        if not isinstance(metadata.get(name), kind):
            raise PolicyError(
                f"the policy {path} has an incomplete description",
                found=f"{name} = {metadata.get(name)!r}",
                expected=f"{name} as {kind.__name__}",
                hint="the file is damaged or hand-made: use another policy",
            )
    check_finite(path, arrays)
    return metadata, arrays


def require_file(path: Path, expected: str = "a .safetensors file") -> None:
    """Raise `PolicyError` where there is no file at `path`."""
    if not path.is_file():
        raise PolicyError(
            f"there is no policy file {path}",
            found=what_is_at(path),
            expected=expected,
            hint="check the path; policies that ship with an environment are named with policy.shipped",
        )


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Array]]:
    """Header metadata and arrays of a safetensors file; raises `PolicyError`."""
    require_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            arrays: dict[str, Array] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise PolicyError(
            f"{path} cannot be read as safetensors: it is damaged, cut short, or something else",
            found=f"{path.stat().st_size} bytes; {error}",
            expected="a complete .safetensors file",
            hint="copy or download it again",
        ) from error
    wanted = metadata.pop(CHECKSUM_KEY, None)  # files of other tools have none
    if wanted is not None and wanted != _checksum(arrays, metadata):
        raise PolicyError(
            f"{path} is damaged: its content does not match its checksum",
            found=_checksum(arrays, metadata),
            expected=wanted,
            hint="copy it again, or use another checkpoint",
        )
    return metadata, arrays


def _checksum(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    """SHA-256 over every array's name, type, shape and bytes, and over the header's words."""
    found = hashlib.sha256(json.dumps(sorted(metadata.items())).encode())
    for name, array in sorted(arrays.items()):
        found.update(f"\n{name} {array.dtype} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _whole_number(digits: str) -> int | float:
    """A whole number of JSON; one that no float can hold becomes infinite."""
    return int(digits) if len(digits) <= 300 else float(digits)


def write_safetensors(path: Path, arrays: Mapping[str, Array], metadata: dict[str, str]) -> None:
    """Write a safetensors file that appears complete or not at all; raises `PolicyError`."""
    kept = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    data = save(kept, metadata={**metadata, CHECKSUM_KEY: _checksum(kept, metadata)})
    try:
        write_whole(path, data)
    except OSError as error:
        raise PolicyError(
            f"{path} cannot be written", found=str(error), hint="make room, or make the folder writable"
        ) from error


def describe_space(space: Space[Any]) -> dict[str, Any]:
    """A space in JSON types; equal spaces give equal descriptions."""
    if isinstance(space, Discrete):
        return {"kind": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, Box):
        return {
            "kind": "Box",
            "shape": list(space.shape),
            "dtype": str(space.dtype),
            "low": _bounds(space.low),
            "high": _bounds(space.high),
        }
    return {"kind": type(space).__name__, "text": str(space)}


def _bounds(values: Array) -> list[str]:
    """Every bound as text (JSON has no infinity); a single one where all are alike."""
    if values.size and (values == values.flat[0]).all():
        return [repr(values.flat[0].item())]
    return [repr(value) for value in values.ravel().tolist()]


def _versions() -> dict[str, str]:
    found = {}
    for package in ("ultra-agents", "numpy", "torch", "gymnasium", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
