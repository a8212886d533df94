"""What every stage of a run needs."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

from pydantic import TypeAdapter

from ultra_agents.config import AgentsConfig, Config, ModulationConfig, NarrationConfig, Settled, settled
from ultra_agents.contracts import Algorithm, Environment, Policy
from ultra_agents.errors import Interrupted
from ultra_agents.events import Emit, EmitStreaming, RefiningSettled, Warned
from ultra_agents.policies import Carried, save_policy
from ultra_agents.records import Trajectory
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.runs import RunFolder
from ultra_agents.seeding import Streams
from ultra_agents.stages.check import build_plugins
from ultra_agents.training import Refining, carried_into, trained_with

_CARRIED = TypeAdapter(Carried)


@dataclass(frozen=True, eq=False)
class RunContext:
    """What every stage needs.

    Attributes:
        algorithm: What every method refines with.
        refining: Its settings, and where they come from.
        emit_streaming: Told of the agents' replies while they are written; None where nobody looks.
        start: The starting policy, once stage 0 made it.
        round: Of expert iteration: 1 but in `stages.iterate`, where `start` is the copy that is iterated from.
    """

    folder: RunFolder
    config: Config
    emit: Emit
    stop: Callable[[], bool]
    environment: Environment
    algorithm: Algorithm
    refining: Refining
    streams: Streams
    emit_streaming: EmitStreaming | None = None
    start: Policy | None = None
    round: int = 1
    _noted: set[str] = field(default_factory=set)

    @property
    def policy(self) -> Policy:
        """The starting policy."""
        assert self.start is not None, "stage 0 comes first"
        return self.start

    @cached_property
    def settled(self) -> Settled:
        """What goes by the models that are asked."""
        return settled(self.config)

    @property
    def narration(self) -> NarrationConfig:
        """`config.narration`, with a value everywhere."""
        return self.settled.narration

    @property
    def agents(self) -> AgentsConfig:
        """`config.agents`, likewise."""
        return self.settled.agents

    @property
    def modulation(self) -> ModulationConfig:
        """How advice acts in training, with the discount that the algorithm really uses."""
        given, gamma = self.config.modulation, getattr(self.algorithm.options, "gamma", None)
        known = isinstance(gamma, int | float) and 0 < gamma <= 1
        return given if given.discount is not None or not known else given.model_copy(update={"discount": gamma})

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

    def tell_settings(self) -> None:
        """Say what refining works with, and what of the policy's file it does not use."""
        told = self.refining
        self.emit(RefiningSettled(**told.record()))
        if told.unused:
            self.note("training", told.unused)

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
            training=trained_with(config.refine.algorithm.name, self.algorithm),
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
    """Build the plugins of a run; raises what `build_plugins` raises, and `RunError` where the folder is damaged."""

    def carried(environment: Environment) -> Carried:
        if (kept := folder.carried) is None:
            found = carried_into(config, environment)
            folder.keep_carried(asdict(found))
            return found
        with folder.reading("carried"):
            return _CARRIED.validate_python(kept)

    environment, algorithm, settings = build_plugins(config, carried)
    return RunContext(
        folder, config, emit, stop, environment, algorithm, settings, Streams(config.seed), emit_streaming
    )  # fmt: skip
