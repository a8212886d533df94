"""Scaffolding for parallel environments that keep the contract's promises: seeds, autoreset, snapshots of generators.

A plugin may build any `gymnasium.vector.VectorEnv` that keeps them; `SameStepVectorEnv` leaves it only the world
itself to write: `_begin`, `_advance`, `observe`, and where states can be saved `snapshot` and `_restore`.
"""

from __future__ import annotations

import os
import struct
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from pydantic import Field

from ultra_agents.contracts.environment import Environment, Options
from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array, FloatArray

_stepping = 1
"""Processes of the engine that step side by side with this one, itself included."""


def share_cores(processes: int) -> int:
    """Let environments built in this process from now on share its cores with so many processes, itself included.

    The engine says so in every process it starts; the former number is returned, for whoever puts it back.
    """
    global _stepping
    before, _stepping = _stepping, max(processes, 1)
    return before


def sharing_cores() -> int:
    """Processes that step on this process's cores, itself included."""
    return _stepping


def stepping_threads() -> int:
    """Threads an environment of this process may step on, at least 1: its share of the cores, so that none has two."""
    return max(cores() // _stepping, 1)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


Vectorisation: TypeAlias = Literal["sync", "async", "native"]

_GENERATOR = struct.Struct("<B16s16sI")
GENERATOR_BYTES = _GENERATOR.size
"""Length of what `pack_generator` gives."""


class VectorOptions(Options):
    """Base of the options of environments that can be stepped in more than one way, always with the same results."""

    vector: Vectorisation = Field(
        "sync",
        description="sync: one after another in each process; async: the engine spreads them over at least one "
        "worker process per CPU core; native: the simulator's own parallelism, in each process as many threads as it "
        "has cores to itself",
    )


def workers_wanted(environment: Environment) -> int:
    """Worker processes the environment's options ask for, however few the engine would start."""
    return (os.cpu_count() or 1) if getattr(environment.options, "vector", None) == "async" else 0


def before_reset(obs: Array, ended: Array, infos: dict[str, Any]) -> Array:
    """Observations `(n, ...)` as they were before any episode was reset (`SAME_STEP` autoreset)."""
    if not ended.any():
        return obs
    final = infos.get("final_obs")
    if final is None or any(final[i] is None for i in np.flatnonzero(ended)):
        raise EnvironmentFault(
            "an episode ended without its last observation",
            expected="SAME_STEP autoreset: info['final_obs'][i] for every ended environment i",
        )
    out = np.array(obs)
    for i in np.flatnonzero(ended):
        out[i] = final[i]
    return out


def from_reset(ended: Array, infos: dict[str, Any]) -> Array:
    """Which of the `ended` `(n,)` episodes began with a reset: their returns may be told as an episode's return.

    `infos["restarted"]` `(n,)`, where it is given, marks episodes that began at a restored state instead.
    """
    restarted = infos.get("restarted")
    return ended if restarted is None else ended & ~np.asarray(restarted, dtype=bool)


class SameStepVectorEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """`num_envs` worlds in this process, autoresetting in the same step.

    Each has a generator of its own in `_generators`, which `reset` seeds; whatever is random in a world must be drawn
    from that one.

    Attributes:
        idle: `(n,)` bool, set by callers: environments whose steps are of no interest until they are restored or
            reset, and can be left out.
    """

    def __init__(
        self, num_envs: int, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]
    ) -> None:
        self.num_envs = num_envs
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": ["rgb_array"]}
        self.single_observation_space, self.single_action_space = observation_space, action_space
        self.observation_space = batch_space(observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self._generators = [np.random.default_rng() for _ in range(num_envs)]
        self.idle = np.zeros(num_envs, np.bool_)

    @property
    def active(self) -> Sequence[int]:
        """Indices of the environments that have to be stepped: those not `idle`."""
        return np.flatnonzero(~self.idle).tolist() if self.idle.any() else range(self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Start an episode everywhere; without seeds each environment goes on with its own generator."""
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed
        if seeds is not None:
            if len(seeds) != self.num_envs:
                raise ValueError(f"{len(seeds)} seeds for {self.num_envs} environments")
            for index, one in enumerate(seeds):
                if one is not None:
                    self._seed(index, one)
        self._begin(range(self.num_envs))
        return self.observe(), self.info()

    def step(self, actions: Any) -> tuple[Array, FloatArray, Array, Array, dict[str, Any]]:
        """One step everywhere; ended episodes are replaced by the next ones (`info["final_obs"]`)."""
        rewards, terminated, truncated = self._advance(np.asarray(actions))
        observations = self.observe()
        ended = terminated | truncated
        final: dict[str, Any] = {}
        if ended.any():
            last = np.full(self.num_envs, None, dtype=object)
            which = np.flatnonzero(ended).tolist()
            for index in which:
                last[index] = observations[index].copy()
            final = {"final_obs": last, "_final_obs": ended}
            self._begin(which)
            observations = self.observe()
        return observations, rewards, terminated, truncated, {**self.info(), **final}

    def restore(self, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put `snapshots` into the environments at `indices`; their observations `(len(indices), ...)`.

        Raises:
            EnvironmentFault: A snapshot is none of this environment.
        """
        for index, snapshot in zip(indices, snapshots, strict=True):
            self._restore(index, snapshot)
        return self.observe()[list(indices)]

    def _seed(self, index: int, seed: int) -> None:
        """Let everything random in one environment follow from `seed`; an episode begins right after."""
        self._generators[index] = np.random.default_rng(seed)

    @abstractmethod
    def _begin(self, indices: Sequence[int]) -> None:
        """Start the next episode in the environments at `indices`."""

    @abstractmethod
    def _advance(self, actions: Array) -> tuple[FloatArray, Array, Array]:
        """Move the worlds by one step: rewards `(n,)` float64, terminated and truncated `(n,)` bool.

        Where a step costs much, only the `active` ones; what is returned for the others is of no interest.
        """

    @abstractmethod
    def observe(self) -> Array:
        """The observations of all environments as they are now, `(n, ...)`, a fresh array."""

    def info(self) -> dict[str, Any]:
        """Scalars beside the observations, arrays `(n,)`."""
        return {}

    def snapshot(self, index: int) -> bytes:
        """The complete state of one environment, exact to the bit."""
        raise NotImplementedError

    def _restore(self, index: int, snapshot: bytes) -> None:
        """Inverse of `snapshot`."""
        raise NotImplementedError


def pack_generator(generator: np.random.Generator) -> bytes:
    """The state of a PCG64 generator, `GENERATOR_BYTES` long."""
    rng: Any = generator.bit_generator.state
    state, inc = (rng["state"][key].to_bytes(16, "little") for key in ("state", "inc"))
    return _GENERATOR.pack(int(rng["has_uint32"]), state, inc, rng["uinteger"])


def unpack_generator(generator: np.random.Generator, packed: bytes) -> None:
    """Put a state packed by `pack_generator` into `generator`."""
    has, state, inc, uinteger = _GENERATOR.unpack(packed)
    generator.bit_generator.state = {
        "bit_generator": "PCG64",
        "state": {"state": int.from_bytes(state, "little"), "inc": int.from_bytes(inc, "little")},
        "has_uint32": has,
        "uinteger": uinteger,
    }


def unpack_snapshot(layout: struct.Struct, snapshot: bytes, magic: bytes, whose: str) -> tuple[Any, ...]:
    """The fields of the head of a snapshot, after its magic word.

    Args:
        layout: Of the head; its first field is the magic word.
        snapshot: At least as long as the head.
        magic: What the first field must be.
        whose: The environment, for the message ("MountainCar").

    Raises:
        EnvironmentFault: Too short, or of something else.
    """
    if len(snapshot) < layout.size or (fields := layout.unpack_from(snapshot))[0] != magic:
        raise EnvironmentFault(
            f"this is not a snapshot of {whose}",
            found=f"{len(snapshot)} bytes starting with {snapshot[:4]!r}",
            expected=f"at least {layout.size} bytes starting with {magic!r}",
        )
    return fields[1:]
