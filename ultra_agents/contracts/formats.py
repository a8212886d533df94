"""What a policy format offers: policies of other tools read as arrays, or as something that can be asked for actions.

A format never scores, stores or trains: it says what a file holds, and the engine (`ultra_agents.exchange`) rebuilds,
scores and writes it. It must not run code that a file brings along unless it is told to trust the file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ultra_agents.contracts.environment import CONTRACT_VERSION, Options
from ultra_agents.contracts.widening import WIDENING
from ultra_agents.errors import PolicyError
from ultra_agents.records import Array


@dataclass(frozen=True, eq=False)
class Weights:
    """A policy as an algorithm plugin takes it: what `Policy.state` would have given.

    Attributes:
        algorithm: Registered name of the algorithm that rebuilds it.
        arrays: For `Algorithm.load_policy`.
        description: For `Algorithm.load_policy`.
        options: What the tool trained it with, as options of `algorithm`; told to the person who imports, and kept in
            the policy's file: refining goes on alike where the configuration says nothing else.
    """

    algorithm: str
    arrays: dict[str, Array]
    description: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Weights({self.algorithm}, arrays={len(self.arrays)})"


@dataclass(frozen=True)
class Request:
    """What is asked of a format that reads.

    Attributes:
        path: The file.
        observation_space: Of one environment; the file must be made for it.
        action_space: Likewise.
        normalizer: File with the statistics that observations are normalised by; None looks for one beside `path`.
        normalize: False reads the policy without any, on the user's word.
        trust: The user vouches for the file, so code in it may run.
    """

    path: Path
    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    normalizer: Path | None = None
    normalize: bool = True
    trust: bool = False


@dataclass(frozen=True, eq=False)
class Foreign:
    """What a file of another tool holds.

    Attributes:
        fits: The same policy for one or several algorithms, the most useful first; each acts exactly like the file.
            Empty where the file can only be asked for actions.
        act: Raw observations `(n, ...)` -> likeliest actions `(n, ...)`, the file's own; None where `fits` says all.
        told: What the file says of itself, JSON types; kept in the policy's provenance.
        notes: For the person who imports: what was found and taken along, one line each.
    """

    fits: tuple[Weights, ...] = ()
    act: Callable[[Array], Array] | None = None
    told: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outgoing:
    """A policy to be written by a format.

    Attributes:
        path: Where.
        weights: The policy, and whose it is.
        observation_space: Of one environment.
        action_space: Likewise.
        env_id: The simulated task.

    Raises:
        ultra_agents.errors.PolicyError: The policy takes quantities as inputs, which only its plugin can tell.
    """

    path: Path
    weights: Weights
    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    env_id: str

    def __post_init__(self) -> None:
        if WIDENING in self.weights.description:
            raise PolicyError(
                f"the policy cannot be written to {self.path} for another tool: it takes quantities as inputs that "
                f"only the environment plugin tells",
                found=", ".join(name for name, _ in self.weights.description[WIDENING]["quantities"]),
                expected="a policy of observations alone",
                hint="export one that was not widened, or use this one from Python: ultra_agents.load_policy(path)",
            )


class PolicyFormat(ABC):
    """Files of one tool; built with `cls(cls.Options(**options))`."""

    contract_version: ClassVar[int] = CONTRACT_VERSION
    Options: ClassVar[type[Options]] = Options
    suffixes: ClassVar[tuple[str, ...]] = ()
    """Usual endings of its files, with the dot; the first is the one it writes."""
    beside: ClassVar[tuple[str, ...]] = ()
    """What further files that it writes are called after the stem of the policy's: `_vecnormalize.pkl`, ..."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @classmethod
    def files_beside(cls, path: Path) -> list[Path]:
        """Where the further files of a policy written to `path` go, in the order of `beside`."""
        return [path.with_name(f"{path.stem}{end}") for end in cls.beside]

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """Whether the existing file `path` looks like one of these; must not raise, and must not run anything."""

    @abstractmethod
    def read(self, request: Request) -> Foreign:
        """Read a file.

        Raises:
            ultra_agents.errors.PolicyError: Damaged, malicious, made for other spaces, or of a kind not understood.
        """

    # -- optional capability -----------------------------------------------------------------------------------

    def write(self, outgoing: Outgoing) -> list[Path]:
        """Write a policy so that the tool itself reads it; the files written, the policy first.

        Raises:
            ultra_agents.errors.PolicyError: The tool has no such policy, or is not installed.
        """
        raise NotImplementedError

    @property
    def can_write(self) -> bool:
        """Whether `write` is offered."""
        return type(self).write is not PolicyFormat.write


def check_finite(path: Path, arrays: Mapping[str, Array]) -> None:
    """Raise `PolicyError` unless every number of the policy in `path` is finite."""
    bad = sorted(name for name, array in arrays.items() if array.dtype.kind == "f" and not np.isfinite(array).all())
    if bad:
        raise PolicyError(
            f"the policy {path} holds weights that are not finite",
            found=f"NaN or infinity in: {', '.join(bad)[:200]}",
            expected="finite numbers",
            hint="its training diverged or the file is damaged: use another policy or an earlier checkpoint",
        )
