"""What the kit for formats does with a file of the format: read it, cut it, offer it to other spaces, write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete

from ultra_agents.contracts import Foreign, Outgoing, Policy, PolicyFormat, Request, Weights
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array
from ultra_agents.testing._report import Skip, require

_GIVE = "in a test: check_format(plugin, Sample(Request(path, *spaces), observations, actions))"
TOLERANCE = 1e-4
"""Continuous actions may differ by so much: other libraries sum in another order."""


@dataclass(frozen=True, eq=False)
class Sample:
    """A file of the format, and what the tool that made it says the policy does.

    Attributes:
        request: The file, and the spaces it is made for.
        observations: Raw, `(n, ...)`.
        actions: What the tool itself does there when it does not explore, `(n, ...)`.
        rebuild: Weights -> policy, `create_algorithm(weights.algorithm).load_policy(...)`; None leaves `fits` unasked.
    """

    request: Request
    observations: Array
    actions: Array
    rebuild: Callable[[Weights], Policy] | None = None


def check_reads(plugin: PolicyFormat, sample: Sample | None) -> str:
    """It knows its own file, and what it makes of it acts as the tool does."""
    sample = _given(sample)
    require(plugin.recognises(sample.request.path) is True, f"does not recognise {sample.request.path.name}, its own")
    foreign = plugin.read(sample.request)
    require(foreign.fits or foreign.act, "read gives neither weights (`fits`) nor anything to ask (`act`)")
    require(_is_json(foreign.told), "`told` holds what JSON cannot say, and goes into policy files as JSON")
    require(
        all(isinstance(note, str) and note and "\n" not in note for note in foreign.notes),
        "`notes` are not lines of text, one each",
    )
    for weights in foreign.fits:
        require(_is_json(weights.description), f"the description for {weights.algorithm} holds what JSON cannot say")
    return _acts_alike(foreign, sample)


def check_cut(plugin: PolicyFormat, sample: Sample | None, folder: Path) -> str:
    """Half of the file is refused."""
    sample = _given(sample)
    whole = sample.request.path.read_bytes()
    path = folder / f"half{sample.request.path.suffix}"
    path.write_bytes(whole[: len(whole) // 2])
    require(isinstance(plugin.recognises(path), bool), "recognises gives neither True nor False for half of the file")
    _refused(plugin, replace(sample.request, path=path), "half of the file")
    return f"PolicyError for {len(whole) // 2:,} of {len(whole):,} bytes"


def check_spaces(plugin: PolicyFormat, sample: Sample | None) -> str:
    """The file is refused where an environment has other observations, or other actions."""
    sample = _given(sample)
    request, told = sample.request, []
    seen, taken = _another(request.observation_space), _another(request.action_space)
    if seen is not None:
        _refused(plugin, replace(request, observation_space=seen), f"for the observations {seen}")
        told.append(str(seen))
    if taken is not None:
        _refused(plugin, replace(request, action_space=taken), f"for the actions {taken}")
        told.append(str(taken))
    if not told:
        raise Skip("the sample's spaces are neither Box nor Discrete")
    return f"PolicyError for {' and for '.join(told)}"


def check_write(plugin: PolicyFormat, sample: Sample | None, folder: Path) -> str:
    """What it writes it reads again, and it acts as before."""
    if not plugin.can_write:
        raise Skip("policies of this format are not written", "override write to let policies go out again")
    if sample is None:
        return "offered"
    fits = plugin.read(sample.request).fits
    if not fits:
        return "offered; the sample has no weights to write"
    spaces = sample.request.observation_space, sample.request.action_space
    path = folder / f"written{plugin.suffixes[0]}"
    written = plugin.write(Outgoing(path, fits[0], *spaces, "sample"))
    require(written and written[0] == path, f"write gives {written!r}, not the files it wrote, the policy first")
    require(all(one.is_file() for one in written), "write names files that are not there")
    again = plugin.read(Request(path, *spaces, trust=sample.request.trust))
    return f"written as {fits[0].algorithm} and read again: {_acts_alike(again, sample)}"


def _acts_alike(foreign: Foreign, sample: Sample) -> str:
    """Compare with the sample's actions whatever can be asked for some."""
    askable: dict[str, Callable[[Array], Array]] = {} if foreign.act is None else {"act": foreign.act}
    if sample.rebuild is not None:
        for weights in foreign.fits:
            policy = sample.rebuild(weights)
            askable[weights.algorithm] = lambda rows, policy=policy: policy.act(rows, deterministic=True)  # type: ignore[misc]
    wanted = np.asarray(sample.actions)
    for name, act in askable.items():
        found = np.asarray(act(sample.observations))
        require(found.shape == wanted.shape, f"{name} gives actions of shape {found.shape}, not {wanted.shape}")
        close = np.isclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE)
        require(close.all(), f"{name} does otherwise than the tool in {int((~close).sum())} of {close.size} numbers")
    if not askable:
        return (
            f"weights for {', '.join(one.algorithm for one in foreign.fits)}; not rebuilt: no `rebuild` in the sample"
        )
    return f"{', '.join(askable)}: the tool's own actions for {len(wanted)} observations"


def _refused(plugin: PolicyFormat, request: Request, what: str) -> None:
    try:
        plugin.read(request)
    except PolicyError as error:
        require(error.found or error.hint, f"reading {what} says neither what was found nor what to do")
        return
    require(False, f"reads {what}, and raises no PolicyError")


def _another(space: gymnasium.Space[Any]) -> gymnasium.Space[Any] | None:
    """A space of the same kind with one number more."""
    if isinstance(space, Discrete):
        return Discrete(int(space.n) + 1, start=int(space.start))
    if isinstance(space, Box) and space.shape and np.issubdtype(space.dtype, np.floating):
        return Box(-1.0, 1.0, (space.shape[0] + 1, *space.shape[1:]), np.float32)
    return None


def _given(sample: Sample | None) -> Sample:
    if sample is None:
        raise Skip("needs a file of the format and what the tool itself does with it", _GIVE)
    return sample


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True
