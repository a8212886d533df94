"""What every method is: something that prepares the refining of one policy, out of the same budget as all others.

A method does not train; `ultra_agents.refinement.refine` does, with one loop for all. A method says where to start,
what modulates the rollouts, where their episodes begin, and what that has cost.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeAlias

import gymnasium

from ultra_agents.config import Config
from ultra_agents.contracts import Algorithm, Environment, Modulation, Policy
from ultra_agents.records import Trajectory, Variant
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams

Restarts: TypeAlias = Callable[[Simulators], gymnasium.vector.VectorEnv]
"""Puts around the training environments what decides where their episodes begin."""


@dataclass(frozen=True, eq=False)
class Advised:
    """What explaining the starting policy's episodes left for the methods that use advice.

    Attributes:
        engine: Builds the engine that acts on the table, for actions, rewards or both.
        spent: Environment steps of collecting and testing.
        copy: A copy of the starting policy that learnt from accepted plans; None where that was not done or did not
            help.
        copying: Environment steps this took.
        critical: Simulator states training episodes may start at; none unless `modulation.restart_probability`.
    """

    engine: Callable[[Variant], Modulation]
    spent: Mapping[str, int]
    copy: Policy | None = None
    copying: int = 0
    critical: Sequence[bytes] = ()


@dataclass(frozen=True, eq=False)
class Setting:
    """What a method is given.

    Attributes:
        config: The run's.
        environment: The plugin.
        algorithm: What will refine.
        start: The policy to be refined; left alone.
        streams: All randomness; every method draws from addresses of its own.
        trajectories: Collected episodes of `start`; a method that uses them charges their steps as `collect`.
        simulators: Builds parallel environments, as many as asked.
        folder: Where files are kept for a run that is taken up again.
        advised: For methods that use advice; None where nobody was asked.
        on_progress: Told (environment steps done, of how many, what is being done).
        check_stop: Raises `Interrupted` when the user wants to stop.
    """

    config: Config
    environment: Environment
    algorithm: Algorithm
    start: Policy
    streams: Streams
    trajectories: Sequence[Trajectory]
    simulators: Callable[[int], Simulators]
    folder: Path
    advised: Advised | None = None
    on_progress: Callable[[int, int, str], None] = lambda done, total, what: None
    check_stop: Callable[[], None] = lambda: None


@dataclass(frozen=True, eq=False)
class Prepared:
    """How one method refines.

    Attributes:
        start: Where to start.
        modulation: What acts on the rollouts; None trains plainly.
        restarts: What decides where episodes begin; None leaves that to the environment.
        spent: Environment steps of the budget that are gone, by purpose.
        note: What was prepared, in one line for a person.
        trains: False leaves `start` as it is and the budget unspent.
        fresh: `start` was just created, nothing learnt needs protecting.
        metrics: What was measured on the way.
    """

    start: Policy
    modulation: Modulation | None = None
    restarts: Restarts | None = None
    spent: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    trains: bool = True
    fresh: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)


class Method(ABC):
    """One way of refining a policy.

    Attributes:
        name: What it is called in configurations.
        needs: Capabilities of the environment it cannot do without, each with what for.
    """

    name: ClassVar[str]
    needs: ClassVar[Mapping[str, str]] = {}

    def missing(self, config: Config, environment: Environment, algorithm: Algorithm) -> list[str]:
        """What this run lacks for the method, in words; empty if nothing. Costs no environment step."""
        from ultra_agents.contracts import capabilities

        offered = capabilities(environment)
        return [
            f"the environment {config.environment.name!r} has no {need} ({why})"
            for need, why in self.needs.items()
            if need not in offered
        ]

    @abstractmethod
    def prepare(self, setting: Setting) -> Prepared:
        """Do what comes before refining.

        Asked again when a run is taken up: what is made must come out the same, and costs the same steps.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
