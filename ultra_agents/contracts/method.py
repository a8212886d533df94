"""What a method plugin offers: one way of refining a policy, out of the same budget as all others.

A method does not train; the engine does, with one loop for all (`ultra_agents.refinement`). A method says where to
start, what modulates the rollouts, where their episodes begin, and what preparing that has cost. Whatever it needs of
the engine on the way (simulators, episodes, other algorithms, files) it is given as `Services`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeAlias, TypeVar

import gymnasium

from ultra_agents.contracts.algorithm import Algorithm, Policy
from ultra_agents.contracts.environment import CONTRACT_VERSION, Environment, Options, capabilities
from ultra_agents.contracts.modulation import Learn, Modulation
from ultra_agents.records import Array, FloatArray, Trajectory, Variant
from ultra_agents.seeding import Streams

T = TypeVar("T")
COLOURS = 6
"""Places of the palettes of charts; a method may claim one."""


class Simulators(Protocol):
    """Parallel environments of a run: a `gymnasium.vector.VectorEnv` that autoresets in the same step."""

    num_envs: int
    metadata: dict[str, Any]
    can_snapshot: bool
    observation_space: gymnasium.Space[Any]
    single_observation_space: gymnasium.Space[Any]

    def __enter__(self) -> Any:
        """Use them in a `with` block, which closes them."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close them."""
        ...

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode everywhere; one seed per environment."""
        ...

    def step(self, actions: Any) -> tuple[Array, FloatArray, Array, Array, dict[str, Any]]:
        """Actions `(n, ...)` -> observations, rewards, terminated, truncated, information."""
        ...

    def snapshot(self, indices: Sequence[int]) -> list[bytes]:
        """The complete states of the environments at `indices`."""
        ...

    def restore(self, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put `snapshots` into the environments at `indices`; their observations `(len(indices), ...)`."""
        ...


Restarts: TypeAlias = Callable[[Any], gymnasium.vector.VectorEnv]
"""Puts around the training environments (`Simulators`) what decides where their episodes begin."""
Watch: TypeAlias = Callable[[Simulators, Callable[[], Array]], None]
"""Told of the training environments, and how to ask which running episodes `(n,)` began at a stored state."""


@dataclass(frozen=True, eq=False)
class Terms:
    """What holds for every method of a run, known before anything is spent.

    Attributes:
        environment_name: As the configuration has it.
        environment: The plugin.
        algorithm_name: Of what will refine, as the configuration has it.
        algorithm: That plugin, with the settings of the run: those of the configuration, else those that trained the
            starting policy.
        total_steps: Budget of each method in environment steps, everything included.
        num_envs: Parallel training environments.
        learn: How overridden steps enter the update where advice acts (`modulation.learn`).
        restart_probability: Chance that an episode of a method that uses advice starts at a critical state.
        keep_table: Whether the advice table acts beside a policy that imitated it (`imitation.table: keep`).
        create_algorithm: Builds another algorithm by name and options; raises `PluginError` or `ConfigError`.
    """

    environment_name: str
    environment: Environment
    algorithm_name: str
    algorithm: Algorithm
    total_steps: int
    num_envs: int
    learn: Learn
    restart_probability: float
    keep_table: bool
    create_algorithm: Callable[[str, dict[str, Any]], Algorithm]


class Services(Protocol):
    """What the engine does for a method that prepares."""

    def simulators(self, num_envs: int) -> Simulators:
        """Parallel environments of the run, not yet reset; the caller closes them and charges their steps."""
        ...

    def collect(
        self,
        episodes: int,
        streams: Streams,
        on_episode: Callable[[Trajectory], None] | None = None,
        poll: Callable[[], None] = lambda: None,
    ) -> list[Trajectory]:
        """Episodes of the starting policy with the simulator's states; the caller charges their steps.

        Args:
            episodes: How many.
            streams: Source of the reset seeds and of the policy's draws.
            on_episode: Called with each episode as it ends.
            poll: Called at every step; what it raises ends the collection.
        """
        ...

    def starts(
        self,
        states: Callable[[], Sequence[bytes]],
        probability: float,
        streams: Streams,
        watch: Watch | None = None,
    ) -> Restarts:
        """For `Prepared.restarts`: episodes begin, with a chance, at a stored state; else where the environment does.

        Args:
            states: The stored states as they are now, each as likely; none leaves the environment's own start.
            probability: The chance of one.
            streams: Source of the draws.
            watch: Told of the bare environments.
        """
        ...

    def fidelity(
        self, trajectories: Sequence[Trajectory], importance: Callable[[Trajectory], FloatArray]
    ) -> Mapping[str, float]:
        """Metrics of how well the importance `(steps,)` of every step of an episode ranks them.

        Empty unless the run measures fidelity (`evaluate.fidelity`), and `importance` is not asked then; charged to
        nobody.
        """
        ...

    def save(
        self, name: str, arrays: Mapping[str, Array], rest: Mapping[str, Any], made_by: Mapping[str, Any]
    ) -> None:
        """Keep something made at some cost for a run that is taken up again: arrays, and a JSON-able rest.

        `made_by` holds the method's settings it depends on; the run's own (seed, environment, policy, budget) are
        added.
        """
        ...

    def load(
        self, name: str, made_by: Mapping[str, Any], rebuild: Callable[[dict[str, Array], dict[str, Any]], T]
    ) -> T | None:
        """What `rebuild` makes of the arrays and the rest that `save` kept under `name`; None where nothing was.

        Raises:
            ultra_agents.errors.RunError: The file was made under other settings, or is damaged: `rebuild` raised a
                `PolicyError`, `KeyError`, `TypeError` or `ValueError`.
        """
        ...


@dataclass(frozen=True, eq=False)
class Ruled:
    """What rules that held left for the methods that use advice.

    Attributes:
        start: The network that the paired test chose to begin with.
        over: Puts the rules in force over a network; None without any, and where a copy learnt to add what they add.
        in_force: They act in training; else the network alone tested best, and is only scored with them as well.
        modulation: Builds what acts, shows and rewards in training; None where nothing is left to do.
        note: Which start was chosen, in one line for a person.
        corrects: They speak of the network's own action, so that it has a say in every state.
    """

    start: Policy
    over: Callable[[Policy], Policy] | None
    in_force: bool
    modulation: Callable[[Variant], Modulation | None]
    note: str
    corrects: bool = False


@dataclass(frozen=True, eq=False)
class Advised:
    """What explaining the starting policy's episodes left for the methods that use advice.

    Attributes:
        engine: Builds the engine that acts on the table, for actions, rewards or both.
        spent: Environment steps of collecting and testing.
        copy: A copy of the starting policy that learnt from accepted plans; None where that was not done or did not
            help.
        copying: Environment steps this took.
        critical: Simulator states training episodes may start at; none unless `Terms.restart_probability`.
        rules: Where rules held; they then take the place of table and copy.
        refused: Why the engine must not act, in a word: what the test of the table found; empty where it may.
    """

    engine: Callable[[Variant], Modulation]
    spent: Mapping[str, int]
    copy: Policy | None = None
    copying: int = 0
    critical: Sequence[bytes] = ()
    rules: Ruled | None = None
    refused: str = ""


@dataclass(frozen=True, eq=False)
class Setting:
    """What a method is given to prepare with.

    Attributes:
        terms: What holds for every method of the run.
        start: The policy to be refined; left alone.
        streams: All randomness; every method draws from addresses of its own.
        trajectories: Collected episodes of `start`; a method that uses them charges their steps as `collect`.
        services: What the engine does for it.
        advised: For methods that use advice; None where nobody was asked.
        on_progress: Told (environment steps done, of how many, what is being done).
        check_stop: Raises `Interrupted` when the user wants to stop.
    """

    terms: Terms
    start: Policy
    streams: Streams
    trajectories: Sequence[Trajectory]
    services: Services
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
        fresh: `start` was just created, nothing learnt needs protecting.
        metrics: What was measured on the way.
        over: Puts the method's rules in force over a network; None without any.
        in_force: They are part of what is trained: it is scored and compared under them, and else in the end only.
        corrects: Those rules speak of the network's own action, so that it has a say in every state.
        confirm: What training made is tested against the start, and kept only where it earned more.
    """

    start: Policy
    modulation: Modulation | None = None
    restarts: Restarts | None = None
    spent: Mapping[str, int] = field(default_factory=dict)
    note: str = ""
    fresh: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    over: Callable[[Policy], Policy] | None = None
    in_force: bool = False
    corrects: bool = False
    confirm: bool = False

    def as_trained(self, network: Policy) -> Policy:
        """A network as it acts in training and is compared."""
        return network if self.over is None or not self.in_force else self.over(network)


class Method(ABC):
    """One way of refining a policy; built with `cls(cls.Options(**options))`.

    Attributes:
        name: What it is registered as; configurations and files call it so.
        label: What reports call it; `{algorithm}` stands for the refining algorithm's name.
        about: What it does, in one sentence for people who choose.
        advice: What it does with advice: follows it ("a"), is rewarded by it ("r"), both ("ra"); None uses none.
        trains: False evaluates the starting policy as it is and spends nothing.
        baseline: Reports hold the other methods of a run against it.
        colour: Its place in the palettes, 0 to `COLOURS` - 1; None: any that is free.
        needs: Capabilities of the environment it cannot do without, each with what for.
    """

    contract_version: ClassVar[int] = CONTRACT_VERSION
    Options: ClassVar[type[Options]] = Options
    name: ClassVar[str]
    label: ClassVar[str]
    about: ClassVar[str]
    advice: ClassVar[Variant | None] = None
    trains: ClassVar[bool] = True
    baseline: ClassVar[bool] = False
    colour: ClassVar[int | None] = None
    needs: ClassVar[Mapping[str, str]] = {}

    def __init__(self, options: Any) -> None:
        self.options = options

    def missing(self, terms: Terms) -> list[str]:
        """What this run lacks for the method, in words; empty if nothing. Costs no environment step."""
        offered = capabilities(terms.environment)
        return [
            f"the environment {terms.environment_name!r} has no {need} ({why})"
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
