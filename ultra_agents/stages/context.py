"""What every stage of a run needs, and the checks made before anything is spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ultra_agents.config import Config
from ultra_agents.contracts import Algorithm, Environment, Policy, capabilities
from ultra_agents.errors import ConfigError, Interrupted
from ultra_agents.events import Emit, Grow, Warned
from ultra_agents.methods import check_methods
from ultra_agents.policies import save_policy
from ultra_agents.registry import create_algorithm, create_environment
from ultra_agents.rollout.simulators import Simulators, make_simulators
from ultra_agents.runs import RunFolder
from ultra_agents.seeding import Streams


@dataclass
class RunContext:
    """What every stage needs.

    Attributes:
        start: The starting policy, once stage 0 read or trained it.
        grow: Told of the agents' replies while they are written; None where nobody looks.
    """

    folder: RunFolder
    config: Config
    emit: Emit
    stop: Callable[[], bool]
    environment: Environment
    algorithm: Algorithm
    streams: Streams
    start: Policy | None = None
    grow: Grow | None = None
    _noted: set[str] = field(default_factory=set)

    @property
    def policy(self) -> Policy:
        """The starting policy."""
        assert self.start is not None, "stage 0 comes first"
        return self.start

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
        )

    def check_stop(self) -> None:
        """Raise `Interrupted` when asked to stop."""
        if self.stop():
            raise Interrupted("stopped; everything so far is kept", hint=f"ultra resume {self.folder.path}")


@contextmanager
def open_context(
    folder: RunFolder, config: Config, emit: Emit, stop: Callable[[], bool], grow: Grow | None = None
) -> Iterator[RunContext]:
    """Build the plugins of a run and check, before anything is spent, that they fit together."""
    environment = create_environment(config.environment.name, config.environment.options)
    algorithm = create_algorithm(config.refine.algorithm.name, config.refine.algorithm.options)
    check_methods(config, environment, algorithm)
    if config.proposer == "oracle" and "expert" not in capabilities(environment):
        raise ConfigError(
            f"the environment {config.environment.name!r} has no expert", expected="proposer: llm or random"
        )
    longest = max(config.verification.horizon, config.verification.max_test_steps // 2)
    if config.proposer == "oracle" and config.agents.expert_steps > longest:
        raise ConfigError(
            "an oracle's plans are longer than the test of a suggestion can be",
            found=f"agents.expert_steps: {config.agents.expert_steps}",
            expected=f"at most {longest}",
            hint="lower agents.expert_steps, or raise verification.max_test_steps",
        )
    yield RunContext(folder, config, emit, stop, environment, algorithm, Streams(config.seed), grow=grow)
