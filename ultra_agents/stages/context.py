"""What every stage of a run needs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ultra_agents.config import Config
from ultra_agents.contracts import Algorithm, Environment, Policy
from ultra_agents.errors import Interrupted
from ultra_agents.events import Emit, EmitStreaming, Warned
from ultra_agents.policies import save_policy
from ultra_agents.records import Trajectory
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.runs import RunFolder
from ultra_agents.seeding import Streams
from ultra_agents.stages.check import build_plugins


@dataclass(frozen=True, eq=False)
class RunContext:
    """What every stage needs.

    Attributes:
        emit_streaming: Told of the agents' replies while they are written; None where nobody looks.
        start: The starting policy, once stage 0 made it.
    """

    folder: RunFolder
    config: Config
    emit: Emit
    stop: Callable[[], bool]
    environment: Environment
    algorithm: Algorithm
    streams: Streams
    emit_streaming: EmitStreaming | None = None
    start: Policy | None = None
    _noted: set[str] = field(default_factory=set)

    @property
    def policy(self) -> Policy:
        """The starting policy."""
        assert self.start is not None, "stage 0 comes first"
        return self.start

    def starting_with(self, policy: Policy) -> RunContext:
        """The same run with its starting policy."""
        return replace(self, start=policy)

    def telling(self, trajectories: Sequence[Trajectory]) -> Streams:
        """Random numbers of what agents are shown.

        Of recorded episodes they are the same whatever the run's seed, and so are the questions: recorded answers
        are found.
        """
        if self.config.collect.folder is None:
            return self.streams
        return Streams(zlib.crc32(repr([one.seed for one in trajectories]).encode()), ("recorded",))

    def simulators(self, num_envs: int, workers: int | None = None) -> Simulators:
        """Parallel environments of this run."""
        count = min(self.config.refine.workers if workers is None else workers, num_envs)
        return make_simulators(self.environment, num_envs, count, partial(self.note, "simulators"))

    def note(self, kind: str, text: str) -> None:
        """Tell a person something that stops nothing; of each kind the first text only."""
        if kind not in self._noted:
            self._noted.add(kind)
            self.emit(Warned(text))

    def save_policy(self, path: Path, policy: Policy, method: str) -> None:
        """Write a policy that `method` made in this run."""
        config = self.config
        save_policy(
            path,
            policy,
            algorithm=config.refine.algorithm.name,
            environment_name=config.environment.name,
            environment=self.environment,
            provenance={"method": method, "run": config.name, "config_hash": config.hash(), "seed": config.seed},
            score=None,
            environment_options=config.environment.options,
        )

    def check_stop(self) -> None:
        """Raise `Interrupted` when asked to stop."""
        if self.stop():
            raise Interrupted("stopped; everything so far is kept", hint=f"ultra resume {self.folder.path}")


def run_context(
    folder: RunFolder,
    config: Config,
    emit: Emit,
    stop: Callable[[], bool],
    emit_streaming: EmitStreaming | None = None,
) -> RunContext:
    """Build the plugins of a run; raises what `build_plugins` raises."""
    environment, algorithm = build_plugins(config)
    return RunContext(folder, config, emit, stop, environment, algorithm, Streams(config.seed), emit_streaming)
