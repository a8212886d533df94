"""What the engine does for methods that prepare: simulators, episodes, critical starts, fidelity, kept files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ultra_agents.config import Config
from ultra_agents.contracts import Algorithm, Environment, Policy, Terms
from ultra_agents.contracts.method import Restarts, Watch
from ultra_agents.errors import PolicyError, RunError
from ultra_agents.policies import read_safetensors, write_safetensors
from ultra_agents.records import Array, CriticalState, Explanation, FloatArray, Segment, Trajectory
from ultra_agents.registry import create_algorithm
from ultra_agents.rollout.collect import collect
from ultra_agents.rollout.restarts import Restarts as CriticalStarts
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.runs.inputs import read_elsewhere
from ultra_agents.seeding import Streams
from ultra_agents.text import parsed_json
from ultra_agents.verification.fidelity import Fidelity, measure_fidelity

T = TypeVar("T")
_KEY, _VERSION = "ultra_agents_method", 1


def terms_of(config: Config, environment: Environment, algorithm: Algorithm) -> Terms:
    """What holds for every method of the run `config`."""
    return Terms(
        environment_name=config.environment.name,
        environment=environment,
        algorithm_name=config.refine.algorithm.name,
        algorithm=algorithm,
        total_steps=config.refine.steps,
        num_envs=config.refine.num_envs,
        learn=config.modulation.learn,
        restart_probability=config.modulation.restart_probability,
        keep_table=config.imitation.table == "keep",
        create_algorithm=create_algorithm,
    )


@dataclass(frozen=True, eq=False)
class EngineServices:
    """The engine's `Services` of one run.

    Attributes:
        config: The run's.
        environment: The plugin.
        start: The starting policy.
        streams: The run's.
        make: Builds parallel environments, as many as asked.
        folder: Where files are kept.
    """

    config: Config
    environment: Environment
    start: Policy
    streams: Streams
    make: Callable[[int], Simulators]
    folder: Path

    def simulators(self, num_envs: int) -> Simulators:
        """Parallel environments of the run."""
        return self.make(num_envs)

    def collect(
        self,
        episodes: int,
        streams: Streams,
        on_episode: Callable[[Trajectory], None] | None = None,
        poll: Callable[[], None] = lambda: None,
    ) -> list[Trajectory]:
        """Episodes of the starting policy with the simulator's states; `poll` may raise `Interrupted`."""
        with self.make(min(episodes, self.config.refine.num_envs)) as simulators:
            seeds, longest = streams.integers(episodes, "reset"), self.config.collect.max_steps
            return collect(
                self.start, self.environment, simulators, seeds, streams, longest, on_episode=on_episode, poll=poll
            )

    def starts(
        self,
        states: Callable[[], Sequence[bytes]],
        probability: float,
        streams: Streams,
        watch: Watch | None = None,
    ) -> Restarts:
        """What puts `CriticalStarts` around training environments."""
        return critical_starts(states, probability, streams, watch)

    def fidelity(
        self, trajectories: Sequence[Trajectory], importance: Callable[[Trajectory], FloatArray]
    ) -> Mapping[str, float]:
        """`fidelity_K` and `fidelity_random_K`, in nats, for each share K in percent that has a score.

        Measured as identification by language models is, but over whole episodes, since every step has an importance.
        """
        config = self.config
        if not config.evaluate.fidelity or not trajectories:
            return {}
        named = []
        for one in trajectories:
            states = tuple(CriticalState(step, "importance", float(p)) for step, p in enumerate(importance(one)))
            named.append(Explanation(Segment(one.episode, 0, len(one), "whole episode"), states))
        with self.make(min(2 * len(named), 32)) as simulators:
            found = measure_fidelity(
                named,
                trajectories,
                environment=self.environment,
                policy=self.start,
                simulators=simulators,
                streams=self.streams.child("fidelity"),
                repeats=config.evaluate.fidelity,
                horizon=config.verification.horizon,
                discount=config.verification.discount,
                confidence=config.evaluate.confidence,
            )
        return {} if found is None else fidelity_metrics(found)

    def save(
        self, name: str, arrays: Mapping[str, Array], rest: Mapping[str, Any], made_by: Mapping[str, Any]
    ) -> None:
        """Keep arrays and a JSON-able rest, with the settings they depend on."""
        told = {"version": _VERSION, "made_by": self._digest(name, made_by), "rest": rest}
        try:
            write_safetensors(self._path(name), arrays, {_KEY: json.dumps(told)})
        except PolicyError as error:
            raise RunError(error.problem, found=error.found, hint=error.hint) from error

    def load(
        self, name: str, made_by: Mapping[str, Any], rebuild: Callable[[dict[str, Array], dict[str, Any]], T]
    ) -> T | None:
        """What `rebuild` makes of what `save` kept; None where nothing was."""
        path = self._path(name)
        if not path.exists():
            return None
        again = f"delete {path} to make it anew"
        try:
            header, arrays = read_safetensors(path)
            told = parsed_json(header[_KEY])
            version, digest, made = int(told["version"]), str(told["made_by"]), rebuild(arrays, told["rest"])
        except (PolicyError, KeyError, ValueError, TypeError) as error:
            raise RunError(f"{path} is not what this method keeps there", found=error, hint=again) from error
        wanted = self._digest(name, made_by)
        if (version, digest) != (_VERSION, wanted):
            raise RunError(
                f"{path} was made under other settings", found=f"settings {digest}", expected=f"settings {wanted}",
                hint=again,
            )  # fmt: skip
        return made

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _digest(self, name: str, made_by: Mapping[str, Any]) -> str:
        """Twelve hex digits of all settings it depends on; spending caps, which may be raised, are not among them.

        A policy's file counts by what is in it, as it does for the run (`runs/inputs.py`).
        """
        rest = {"name": name, **made_by, "steps": self.config.refine.steps, "num_envs": self.config.refine.num_envs}
        rest |= self.config.model_dump(mode="json", include={"seed", "environment", "policy"})
        rest["policy"]["path"] = read_elsewhere(self.config).get("policy.path", rest["policy"]["path"])
        return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()[:12]


def fidelity_metrics(found: Fidelity) -> dict[str, float]:
    """`fidelity_K` and `fidelity_random_K`, in nats, for each share K in percent that has a score."""
    pairs = [(f"fidelity_{100 * row.share:.0f}", row.critical) for row in found.scores]
    pairs += [(f"fidelity_random_{100 * row.share:.0f}", row.random) for row in found.scores]
    return {name: value for name, value in pairs if value is not None}


def critical_starts(
    states: Callable[[], Sequence[bytes]], probability: float, streams: Streams, watch: Watch | None = None
) -> Callable[[Simulators], CriticalStarts]:
    """What puts `CriticalStarts` around training environments, as `Services.starts` has it."""

    def around(simulators: Simulators) -> CriticalStarts:
        made = CriticalStarts(simulators, states, probability, streams)
        if watch is not None:
            watch(simulators, lambda: made.restored)
        return made

    return around
