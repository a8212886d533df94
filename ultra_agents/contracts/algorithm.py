"""What an algorithm plugin offers: a policy, and a trainer that improves it one update at a time.

The engine owns the loop (`ultra_agents.refinement`): it calls `Trainer.update` until the budget is spent, evaluates,
checkpoints and reports in between. Files are the engine's too: plugins hand over and take arrays and JSON.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium
import numpy as np

from ultra_agents.contracts.environment import CONTRACT_VERSION, Options
from ultra_agents.contracts.modulation import Learn, Modulation
from ultra_agents.contracts.widening import Teller, Widening
from ultra_agents.records import Array, FloatArray
from ultra_agents.seeding import Streams


class Policy(ABC):
    """A policy with everything it needs to act alike elsewhere: weights, normaliser, architecture.

    Attributes:
        stochastic: Whether `act` draws at all unless told not to; where it does not, randomness makes no difference.
        widening: Quantities of the environment that its network takes beside observations; None for none.
    """

    stochastic: bool = True
    widening: Widening | None = None

    @abstractmethod
    def act(self, observations: Array, rng: np.random.Generator | None = None, deterministic: bool = False) -> Array:
        """Raw observations `(n, ...)` -> actions `(n, ...)`.

        Row `i` of the answer depends on row `i` of the input (and on the draws of `rng`) only.
        """

    @abstractmethod
    def value(self, observations: Array) -> FloatArray:
        """Estimated discounted return `(n,)`; zeros where the policy has no value function."""

    @abstractmethod
    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        """Sample actions with given randomness, for paired rollouts under common random numbers.

        Args:
            observations: `(n, ...)`.
            uniforms: `(n, d)` in (0, 1): `d` = 1 for discrete actions (inverse CDF), `action_dim` otherwise.
        """

    @abstractmethod
    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Named arrays, and a JSON-able description from which `Algorithm.load_policy` rebuilds the same policy.

        One with a `widening` is given its environment's plugin then (`bind`).
        """

    def acting_state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """`state` without what changes nothing: equal for policies that are known to act alike, to the bit."""
        return self.state()

    def bind(self, environment: Teller) -> None:
        """Give a rebuilt policy whoever tells the quantities it takes; changes nothing for one that takes none.

        Raises:
            ultra_agents.errors.PolicyError: The plugin does not tell them, or not alike.
        """
        if self.widening is not None:
            self.widening = self.widening.bound(environment)


@dataclass(frozen=True, eq=False)
class Demonstrations:
    """States met while accepted advice was followed in the simulator, and what was done there.

    Attributes:
        observations: `(m, *observation_shape)`.
        actions: `(m, ...)` executed there.
        weights: `(m,)` how much each counts, mean 1.
        visited: `(k, *observation_shape)` states of the starting policy's own episodes, where nothing was advised.
        held_out: Others that are not learnt from (their observations and actions are looked at): `imitate` goes on
            until it agrees with them no better than before (`agreed`), instead of for a fixed time.
        anchor: The policy that is acted like on `visited`, of the same algorithm; None for the one that learns, as it
            was. For lessons that go on where an earlier one ended.
    """

    observations: Array
    actions: Array
    weights: FloatArray
    visited: Array
    held_out: Demonstrations | None = None
    anchor: Policy | None = None

    def __len__(self) -> int:
        return len(self.actions)

    def __repr__(self) -> str:
        return f"Demonstrations(steps={len(self)}, visited={len(self.visited)})"


def agreed(made: Array, wanted: Array) -> float:
    """How far actions `made` `(n, ...)` are those `wanted`, 1 at most.

    Discrete: the share of equal ones. Continuous: 1 - mean squared difference / variance of those wanted (about the
    mean of each part, averaged over parts), so 0 for who always does the same; without any variance 1 - mean squared
    difference.
    """
    if np.asarray(wanted).dtype.kind in "iub":
        return float(np.mean(made == wanted))
    missed, spread = np.square(made - wanted).mean(), np.square(wanted - wanted.mean(axis=0)).mean()
    return float(1.0 - missed / (spread if spread > 0 else 1.0))


class Trainer(ABC):
    """Training in progress.

    Attributes:
        policy: The policy being trained; always usable for acting.
        steps: Environment steps taken so far.
    """

    policy: Policy
    steps: int

    @property
    def exact_at_checkpoints_only(self) -> bool:
        """`state` changes what follows (it may end running episodes), so it is taken at fixed steps only.

        A run stopped in between then goes on from the last of them, and ends as one that was not stopped.
        """
        return False

    @abstractmethod
    def update(self) -> dict[str, float]:
        """Collect one rollout and learn from it; metrics by their documented names.

        Always present: `return_mean` (unshaped returns of the training episodes that ended; NaN if none did),
        `episodes` (how many that were).
        """

    @abstractmethod
    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Everything needed to go on exactly: named arrays (weights, optimiser, snapshots), and a JSON-able rest."""

    @abstractmethod
    def load_state(self, arrays: dict[str, Array], rest: dict[str, Any]) -> None:
        """Inverse of `state`."""


class Algorithm(ABC):
    """A reinforcement-learning algorithm; built with `cls(cls.Options(**options))`."""

    contract_version: ClassVar[int] = CONTRACT_VERSION
    Options: ClassVar[type[Options]] = Options
    learns: ClassVar[frozenset[Learn]] = frozenset()
    """The ways of learning from overridden steps it supports."""
    not_carried: ClassVar[frozenset[str]] = frozenset()
    """Names of options that a policy file does not carry to those who train the policy on: the machine's, a fresh
    network's, those of cloning and of how refining begins."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def training_options(self) -> dict[str, Any]:
        """What it trains with, JSON types, for the file of a policy it trained; refining starts from these."""
        told: dict[str, Any] = self.options.model_dump(mode="json", exclude=set(self.not_carried), fallback=repr)
        return told

    @abstractmethod
    def create_policy(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
        seed: int,
    ) -> Policy:
        """A freshly initialised policy for the spaces of one environment."""

    @abstractmethod
    def load_policy(
        self,
        arrays: dict[str, Array],
        description: dict[str, Any],
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.Space[Any],
    ) -> Policy:
        """Rebuild a policy from `Policy.state`; one with a `widening` acts after `Policy.bind`.

        Raises:
            ultra_agents.errors.PolicyError: Arrays missing, of the wrong shape, or not finite.
        """

    @abstractmethod
    def trainer(
        self,
        policy: Policy,
        envs: gymnasium.vector.VectorEnv,
        total_steps: int,
        streams: Streams,
        modulation: Modulation | None = None,
        fresh: bool = False,
    ) -> Trainer:
        """Start training `policy` (a copy; the argument is left alone).

        Args:
            policy: Where to start.
            envs: Parallel training environments, `SAME_STEP` autoreset, not yet reset.
            total_steps: Budget in environment steps, for schedules.
            streams: Source of all randomness, environment seeds included.
            modulation: The engine that overrides actions and adds rewards; `None` trains plainly.
            fresh: The policy was just created, so nothing learnt needs protecting (no value warm-up).
        """

    # -- optional capability -----------------------------------------------------------------------------------

    def imitate(self, policy: Policy, demonstrations: Demonstrations, streams: Streams) -> Policy:
        """A copy of `policy` that acts as demonstrated, and elsewhere as before (`visited` says where that is).

        Where there are steps `held_out`, what it learnt when it agreed with them most (`agreed`, of the likeliest
        actions; `policy` as it was included).

        Args:
            policy: Where to start; left alone.
            demonstrations: At least one step.
            streams: Source of all randomness.
        """
        raise NotImplementedError

    @property
    def can_imitate(self) -> bool:
        """Whether `imitate` is offered."""
        return type(self).imitate is not Algorithm.imitate

    def widen(self, policy: Policy, widening: Widening) -> Policy:
        """A copy of `policy` whose network takes quantities of the environment as further inputs, of weight 0 so far.

        It acts exactly as `policy` does, and learns from the quantities from here on. Those that `policy` takes
        already stay as they are.

        Args:
            policy: Left alone.
            widening: Which quantities, and their scale (`Widening.of`).

        Raises:
            ultra_agents.errors.PluginError: The policy's network takes no further inputs.
        """
        raise NotImplementedError

    @property
    def can_widen(self) -> bool:
        """Whether `widen` is offered."""
        return type(self).widen is not Algorithm.widen
