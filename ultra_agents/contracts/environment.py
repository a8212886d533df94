"""What an environment plugin offers.

Required: `make`, `brief`, `describe`, `actions`, `features`. Optional capabilities are found by whether the base
method is overridden (`capabilities`): `snapshot`/`restore` (testing advice, starting at critical states), `expert`
(oracle proposer), `reference_returns`, `render`, `policies` (starting policies that ship with the plugin),
`quantities`/`legend` (what rules can speak of). A plugin whose options decide names what an instance lacks in
`absent`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from pydantic import BaseModel, ConfigDict

from ultra_agents.contracts.quantities import Quantity
from ultra_agents.errors import ConfigError
from ultra_agents.records import Array, FloatArray, Move, Scalar

CONTRACT_VERSION = 1
IDLE = re.compile(
    r"\b(do nothing|don'?t \w+|no[ _-]?op|(no|0) (force|push|thrust|torque)|stay|coast|rest|idle|wait)\b", re.I
)
"""What actions that do nothing are usually called."""


class Options(BaseModel):
    """Base of a plugin's options: unknown keys are an error, units belong in the field descriptions."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Brief:
    """The environment in words, shown to every agent.

    Attributes:
        goal: What the policy is after.
        dynamics: How the world moves, with units and directions.
        actions: What each named action does.
        reward: What is rewarded, and when.
        termination: When an episode ends.
        advice_scale: What a suggestion of one step is worth and how long actions usually need to be held.
    """

    goal: str
    dynamics: str
    actions: str
    reward: str
    termination: str
    advice_scale: str = ""


@dataclass(frozen=True)
class ReferenceReturns:
    """Returns that give a number its meaning.

    Attributes:
        random: Mean return of uniformly random actions.
        reference: Mean return of a good policy; normalised scores put it at 1.
        source: Where the figures come from.
    """

    random: float
    reference: float
    source: str


class ActionCodec(ABC):
    """Between words an LLM can say and actions an environment takes."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Every action that can be named, in a fixed order."""

    @property
    def components(self) -> tuple[str, ...]:
        """One word for each part of a continuous action, in order; empty where actions are told apart by name only."""
        return ()

    @property
    def idle(self) -> str | None:
        """The name of the action that does nothing, None where there is none; found by its words unless overridden."""
        return next((name for name in self.names if IDLE.search(name)), None)

    @abstractmethod
    def encode(self, name: str) -> Array:
        """The action called `name`: a 0-d integer array, or `(action_dim,)` floats.

        Raises:
            KeyError: No action has this name.
        """

    @abstractmethod
    def decode(self, action: Array) -> str:
        """The name of `action`, or of the named action nearest to it."""

    def spell(self, action: Array) -> str:
        """A name from which `encode` gives `action` back as closely as a name can; `decode`'s unless overridden.

        For codecs that understand more names than they list.
        """
        return self.decode(action)

    def encode_plan(self, moves: Sequence[Move]) -> Array:
        """The actions `(length, ...)` of every step of a plan; raises `KeyError` as `encode` does."""
        actions = np.stack([np.asarray(self.encode(name)) for name, _ in moves])
        return np.repeat(actions, [hold for _, hold in moves], axis=0)


class DiscreteActions(ActionCodec):
    """Names for the actions 0, 1, ... of a `gymnasium.spaces.Discrete` space.

    Args:
        names: One name per action, in order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._index = {name: index for index, name in enumerate(self._names)}

    @property
    def names(self) -> tuple[str, ...]:
        """Every action's name, in the order of the action space."""
        return self._names

    def encode(self, name: str) -> Array:
        """The integer called `name`, as a 0-d array."""
        return np.asarray(self._index[name], dtype=np.int64)

    def decode(self, action: Array) -> str:
        """The name of the integer `action`."""
        return self._names[int(action)]


class Environment(ABC):
    """A family of parallel environments with the words to explain them.

    A plugin is a class with an `Options` model; the engine builds it with `cls(cls.Options(**options))`. An instance
    holds no simulator: `make` builds those, in this process or in workers, so an instance must be picklable.
    """

    contract_version: ClassVar[int] = CONTRACT_VERSION
    Options: ClassVar[type[Options]] = Options
    argument: ClassVar[str | None] = None
    """The option that may be written after the plugin's name and a colon (`gymnasium:CartPole-v1`), if any."""
    enforces_bounds: ClassVar[bool] = True
    """An observation outside `observation_space` stops a run. False where the environments are other people's, whose
    bounds are often only roughly right: a run tells it once and goes on. The conformance kit is strict either way."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @property
    def absent(self) -> frozenset[str]:
        """Optional capabilities the class offers and this instance, with its options, does not."""
        return frozenset()

    @property
    @abstractmethod
    def env_id(self) -> str:
        """Id and version of the simulated task, stored with policies and numbers ("ALE/Pong-ram-3actions-v1")."""

    @property
    @abstractmethod
    def observation_space(self) -> gymnasium.Space[Any]:
        """Space of one environment's observation."""

    @property
    @abstractmethod
    def action_space(self) -> gymnasium.Space[Any]:
        """Space of one environment's action."""

    @abstractmethod
    def make(self, num_envs: int) -> gymnasium.vector.VectorEnv:
        """Build `num_envs` parallel environments in this process.

        They autoreset in `gymnasium.vector.AutoresetMode.SAME_STEP`: when an episode ends, the returned observation
        is the next episode's first and `info["final_obs"]` holds the ended one's last (an object array, `None` where
        nothing ended). `reset(seed=[...])` takes one seed per environment; an environment's future depends on its
        own seed and actions only, never on its neighbours or on how many there are.
        """

    @property
    @abstractmethod
    def brief(self) -> Brief:
        """The environment in words."""

    @abstractmethod
    def describe(self, observation: Array, info: Mapping[str, Scalar]) -> str:
        """The state interpretation function (ULTRA section 3): one state in one line of plain words.

        Args:
            observation: `(*observation_shape,)` of one environment.
            info: The scalars the environment gave beside it.
        """

    @property
    @abstractmethod
    def actions(self) -> ActionCodec:
        """Names for actions."""

    @abstractmethod
    def features(self, observations: Array) -> FloatArray:
        """What makes two states alike: `(n, *observation_shape)` -> `(n, k)`, each column of scale about 1."""

    def segment_kind(self, trajectory_rewards: FloatArray) -> str | None:
        """A word for what a stretch with these `(m,)` rewards was ("point lost"), or None for a generic one."""
        return None

    # -- optional capabilities ---------------------------------------------------------------------------------

    def snapshot(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int]) -> list[bytes]:
        """The complete state of the environments at `indices`, exact to the bit, as bytes (never a pickle)."""
        raise NotImplementedError

    def restore(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put `snapshots` into the environments at `indices`; their observations `(len(indices), ...)`."""
        raise NotImplementedError

    def expert(self) -> Callable[[Array], Array]:
        """A strong policy for the oracle control: observations `(n, ...)` -> actions `(n, ...)`."""
        raise NotImplementedError

    @property
    def reference_returns(self) -> ReferenceReturns:
        """Returns that give a number its meaning."""
        raise NotImplementedError

    def render(self, envs: gymnasium.vector.VectorEnv, index: int) -> Array:
        """The environment at `index` as an RGB frame `(height, width, 3)` of uint8."""
        raise NotImplementedError

    def policies(self) -> Mapping[str, Path]:
        """Starting policies that ship with the plugin: name -> policy file."""
        raise NotImplementedError

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        """What a person would name in these states: `(n, *observation_shape)` -> name -> `(n,)` float64.

        The names are those of `legend`, for any observations; row by row; finite, or NaN where a quantity has no
        meaning (where the ball will arrive while it flies away).
        """
        raise NotImplementedError

    @property
    def legend(self) -> Mapping[str, Quantity]:
        """What each of `quantities` means, in the same order; a name is one word (`contracts.quantities.is_word`)."""
        raise NotImplementedError


OPTIONAL = ("snapshot", "expert", "reference_returns", "render", "policies", "quantities")


def capabilities(environment: Environment | type[Environment]) -> frozenset[str]:
    """The optional capabilities a plugin overrides, less an instance's `absent`.

    `restore` goes with `snapshot`, `legend` with `quantities`.
    """
    cls = environment if isinstance(environment, type) else type(environment)
    offered = frozenset(name for name in OPTIONAL if getattr(cls, name) is not getattr(Environment, name))
    return offered if isinstance(environment, type) else offered - environment.absent


def uniforms_per_action(environment: Environment) -> int:
    """How many uniforms `Policy.act_with_uniforms` needs per action."""
    return max(int(np.prod(environment.action_space.shape or ())), 1)


def random_actions(environment: Environment, rng: np.random.Generator, n: int) -> Array:
    """`(n, ...)` actions drawn uniformly from the action space."""
    space = environment.action_space
    if isinstance(space, Discrete):
        return np.asarray(space.start + rng.integers(space.n, size=n))
    if isinstance(space, Box) and space.is_bounded():
        return np.asarray(rng.uniform(space.low, space.high, size=(n, *space.shape)), dtype=space.dtype)
    raise ConfigError(
        "no random action can be drawn from this action space",
        found=str(space),
        expected="Discrete, or a bounded Box",
        hint="set evaluate.fidelity: 0, and leave out methods that train a mask",
    )
