"""How the value of each stage is kept in the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from pydantic import TypeAdapter

from ultra_agents.contracts import Policy
from ultra_agents.policies import load_policy
from ultra_agents.records import Trajectory
from ultra_agents.rollout.store import load_trajectories, save_trajectories
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Explained, Imitation, Start
from ultra_agents.stages.rounds import Round

T = TypeVar("T")


class Keeping(Protocol[T]):
    """How the value of a stage is kept in the run folder."""

    def write(self, value: T) -> Any:
        """Keep it; what `state.json` remembers."""
        ...

    def read(self, kept: Any) -> T:
        """The value, from what `write` returned."""
        ...


@dataclass(frozen=True)
class AsJSON(Generic[T]):
    """Kept in `state.json` itself; `kind` is the value's type."""

    kind: Any

    def write(self, value: T) -> Any:
        """In JSON types."""
        return TypeAdapter(self.kind).dump_python(value, mode="json")

    def read(self, kept: Any) -> T:
        """Validated."""
        value: T = TypeAdapter(self.kind).validate_python(kept)
        return value


@dataclass(frozen=True)
class Episodes:
    """Episodes, kept as files below `trajectories/`."""

    context: RunContext

    def write(self, value: Sequence[Trajectory]) -> Any:
        """One file each."""
        save_trajectories(self.context.folder.trajectories, value)
        return {"episodes": len(value)}

    def read(self, kept: Any) -> Sequence[Trajectory]:
        """From the files."""
        return load_trajectories(self.context.folder.trajectories)


C = TypeVar("C", Explained, Imitation, Round, Start)


@dataclass(frozen=True)
class WithCopy(Generic[C]):
    """A value with a policy in it, which is kept as `checkpoints/<checkpoint>.safetensors`."""

    context: RunContext
    kind: type[C]
    checkpoint: str

    def write(self, value: C) -> Any:
        """The policy first, then the rest in JSON types."""
        copied = value.copy is not None
        if copied:
            self.context.save_policy(self.context.folder.checkpoint(self.checkpoint), value.copy, "imitation")
        return {**AsJSON[C](self.kind).write(replace(value, copy=None)), "copy": copied}

    def read(self, kept: Any) -> C:
        """The value with its policy."""
        copy: Policy | None = None
        if kept["copy"]:
            path, name = self.context.folder.checkpoint(self.checkpoint), self.context.config.environment.name
            copy = load_policy(path, name, self.context.environment).policy
        return replace(AsJSON[C](self.kind).read({**kept, "copy": None}), copy=copy)
