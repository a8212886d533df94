"""From a file of any tool to a policy that acts alike and can be trained on; and out again."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ultra_agents.contracts import (
    Algorithm,
    Environment,
    Foreign,
    Outgoing,
    Policy,
    PolicyFormat,
    Request,
    Weights,
)
from ultra_agents.errors import ConfigError, PolicyError, UltraError
from ultra_agents.exchange.distil import Distilled, distil
from ultra_agents.policies import describe_policy_file, load_policy, require_file
from ultra_agents.records import Array
from ultra_agents.registry import catalogue, create_algorithm, create_format, find

OURS = "safetensors"
NATIVE = "ppo"
"""What a policy that can only be asked for actions is distilled into, unless the user says otherwise."""


@dataclass(frozen=True)
class Imported:
    """A policy taken over.

    Attributes:
        policy: Ready to act and to be trained.
        algorithm: Registered name of the algorithm that trains it.
        format: Registered name of the format, or `safetensors` for our own.
        told: What the file says of itself.
        recorded: The score an own file states; None elsewhere.
        distilled: How the policy was taught; None where it acts exactly like the file.
        act: What the teacher did, for its own score; None where nothing was distilled.
        options: Of `algorithm`: what the tool trained the policy with, as far as it differs from the defaults.
        training: What the policy's file shall carry: `algorithm` and the options it was trained with, as far as they
            are known; None where nothing is.
    """

    policy: Policy
    algorithm: str
    format: str
    told: dict[str, Any]
    recorded: dict[str, Any] | None = None
    distilled: Distilled | None = None
    act: Callable[[Array], Array] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] | None = None


@dataclass(frozen=True)
class Teaching:
    """How a policy is distilled where it must be.

    Attributes:
        wanted: Also where the file's weights could be taken over.
        steps: Environment steps.
        seed: Of everything random.
        say: Called with a line of text for the person as things go on.
    """

    wanted: bool = False
    steps: int = 20_000
    seed: int = 0
    say: Callable[[str], None] = print


def import_policy(
    request: Request,
    environment_name: str,
    environment: Environment,
    *,
    format_name: str | None = None,
    algorithm: str | None = None,
    teaching: Teaching | None = None,
) -> Imported:
    """Read a policy file of any registered format.

    Args:
        request: The file, and what is known of it.
        environment_name: Registered name of the environment it shall act in.
        environment: That plugin.
        format_name: Read it as this; None asks every format.
        algorithm: Take the policy over for this algorithm; None takes the first that holds it exactly.
        teaching: How to distil where the file only gives actions, or `algorithm` cannot hold its weights.

    Raises:
        PolicyError: Missing, damaged, malicious, made for something else, or recognised by nobody.
        ConfigError: What is asked cannot be done.
    """
    path, teaching = request.path, teaching or Teaching()
    require_file(path, "a file of Stable-Baselines3, CleanRL, TorchScript, ONNX, or a .safetensors of ultra-agents")
    name = format_name or recognise(path)
    if name == OURS:
        return _own(request, environment_name, environment, algorithm, teaching)
    foreign = create_format(name).read(request)
    for note in foreign.notes:
        teaching.say(note)
    made = None if teaching.wanted else _rebuilt(foreign, algorithm, request)
    if made is not None:
        weights = made[1]
        known, options = _known_options(weights)
        training = {"algorithm": weights.algorithm, "options": known} if known else None
        return Imported(made[0], weights.algorithm, name, foreign.told, options=options, training=training)
    act, teacher = _teacher(foreign, request)
    student = algorithm or NATIVE

    def told(number: int, agreement: float) -> None:
        teaching.say(f"lesson {number}: agrees with {agreement:.1%} of what is new to it")

    distilled = distil(act, _algorithm(student), environment, teaching.steps, teaching.seed, told)
    return Imported(
        distilled.policy, student, name, {**foreign.told, "distilled_from": teacher},
        distilled=distilled, act=act,
    )  # fmt: skip


def recognise(path: Path) -> str:
    """The name of the format a file is in.

    Raises:
        PolicyError: Nobody's, or a bare pickle.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if path.suffix.lower() == ".safetensors" or head[8:9] == b"{":
        return OURS
    rows = [row for row in catalogue() if row.kind == "format"]
    for row in sorted(rows, key=lambda row: path.suffix.lower() not in row.load().suffixes):
        reader: PolicyFormat = create_format(f"{row.distribution}:{row.name}")
        if reader.recognises(path):
            return f"{row.distribution}:{row.name}" if sum(one.name == row.name for one in rows) > 1 else row.name
    found, hint = (
        f"{path.stat().st_size:,} bytes starting with {head!r}",
        "is the file whole? --format NAME reads it as one",
    )
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        found, hint = "a bare pickle, which could run code", "save it again with torch 1.6 or newer"
    elif head.startswith(b"PK"):
        cut = not zipfile.is_zipfile(path)
        found = "a zip that is cut short" if cut else "a zip with other contents, or cut short before a zip within it"
        hint = "copy or save it again"
    raise PolicyError(
        f"{path} is in no format that is known here",
        found=found,
        expected=f"one of: {OURS}, {', '.join(row.name for row in rows)}",
        hint=hint,
    )


def export_policy(
    path: Path, out: Path, format_name: str, environment: Environment, environment_name: str
) -> list[Path]:
    """Write an own policy file in another tool's format; the files written.

    No other tool holds rules: a policy with rules is written without them, with a warning.

    Raises:
        PolicyError: It cannot be read, or the tool holds no such policy.
        ConfigError: The format is not written.
    """
    loaded = load_policy(path, environment_name, environment)
    writer = create_format(format_name)
    if not writer.can_write:
        able = [row.name for row in catalogue() if row.kind == "format" and create_format(row.name).can_write]
        raise ConfigError(
            f"policies are not written as {format_name}", expected=f"one of: {', '.join(able)}",
            hint=f"--format {able[0]}" if able else None,
        )  # fmt: skip
    if loaded.alone is not loaded.policy:
        warnings.warn(
            f"{path} acts by rules where they cover a state; {format_name} holds the policy alone, without them",
            stacklevel=2,
        )
    weights = Weights(loaded.algorithm, *loaded.alone.state())
    return writer.write(
        Outgoing(out, weights, environment.observation_space, environment.action_space, environment.env_id)
    )


def _own(
    request: Request,
    environment_name: str,
    environment: Environment,
    algorithm: str | None,
    teaching: Teaching,
) -> Imported:
    if request.normalizer is not None or not request.normalize or teaching.wanted:
        raise ConfigError(
            "a policy of ultra-agents brings its own normaliser and is taken over as it is", found=str(request.path),
            expected="no --normalizer, --no-normalizer or --distil",
        )  # fmt: skip
    loaded = load_policy(request.path, environment_name, environment)
    if algorithm is not None and algorithm != loaded.algorithm:
        raise ConfigError(
            "a policy of ultra-agents stays with its algorithm", found=f"--algorithm {algorithm}",
            expected=loaded.algorithm,
        )  # fmt: skip
    for line in describe_policy_file(loaded.metadata):
        teaching.say(line)
    told = {"tool": "ultra-agents", "provenance": loaded.metadata.get("provenance", {})}
    return Imported(
        loaded.policy, loaded.algorithm, OURS, told,
        recorded=loaded.metadata.get("score"), training=loaded.metadata.get("training"),
    )  # fmt: skip


def _rebuilt(foreign: Foreign, algorithm: str | None, request: Request) -> tuple[Policy, Weights] | None:
    """The first fitting policy and what it is made of; None where the user's algorithm cannot hold the weights."""
    fits = [one for one in foreign.fits if algorithm in (None, one.algorithm)]
    failure: UltraError | None = None
    for weights in fits:
        try:
            return _load(weights, request), weights
        except UltraError as error:
            failure = failure or error
    if failure is not None and not foreign.act:
        raise PolicyError(
            f"the policy {request.path} cannot be rebuilt: {failure.problem}",
            found=failure.found,
            expected=failure.expected,
            hint=failure.hint or "--algorithm ppo imitates it",
        ) from failure
    return None


def _teacher(foreign: Foreign, request: Request) -> tuple[Callable[[Array], Array], str]:
    """Something to imitate: what the file itself says, or the policy rebuilt from it by whoever can."""
    if foreign.act is not None:
        return foreign.act, str(foreign.told.get("tool", "file"))
    made = _rebuilt(foreign, None, request)
    if made is None:
        raise PolicyError(
            f"the policy {request.path} can neither be rebuilt nor be asked for actions",
            found="no weights that fit an installed algorithm",
        )
    policy = made[0]
    return lambda observations: policy.act(observations, deterministic=True), made[1].algorithm


def _known_options(weights: Weights) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options a policy was trained with that its algorithm takes from a file: all, and those not its defaults."""
    cls = find("algorithm", weights.algorithm).load()
    usual = cls.Options().model_dump(mode="json")
    known = {}
    for name, value in weights.options.items():
        try:
            known[name] = create_algorithm(weights.algorithm, {name: value}).options.model_dump(mode="json")[name]
        except UltraError:
            continue  # out of the option's range: another version's meaning, or a hand-made file
    known = {name: value for name, value in known.items() if name not in cls.not_carried}
    return known, {name: value for name, value in known.items() if value != usual[name]}


def _load(weights: Weights, request: Request) -> Policy:
    algorithm = _algorithm(weights.algorithm)
    spaces = request.observation_space, request.action_space
    try:
        return algorithm.load_policy(weights.arrays, weights.description, *spaces)
    except UltraError:
        raise
    except Exception as error:
        raise PolicyError(
            f"the algorithm {weights.algorithm!r} cannot hold it", found=f"{type(error).__name__}: {error}"[:200]
        ) from error


def _algorithm(name: str) -> Algorithm:
    find("algorithm", name)
    return create_algorithm(name)
