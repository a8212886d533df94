"""Any environment registered with Gymnasium, without a plugin of its own: `gymnasium:CartPole-v1`.

What a plugin's author would write is made from what the environment tells: spaces and bounds, the specification, and
the docstring in Gymnasium's conventions. A plugin written by hand is better: it knows units and what matters.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any, ClassVar, Literal

import gymnasium
import numpy as np
from gymnasium.spaces.utils import unflatten
from pydantic import Field

from ultra_agents.contracts import (
    ActionCodec,
    Brief,
    DiscreteActions,
    Environment,
    Options,
    Quantity,
    ReferenceReturns,
)
from ultra_agents.contracts.quantities import is_word
from ultra_agents.contracts.spaces import flat
from ultra_agents.contracts.vector import SameStepVectorEnv, VectorOptions
from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array, FloatArray, Scalar

from .._box_actions import BoxActions
from . import calls, docs, minigrid, named, plain_state, probe, units

_MAGIC = b"GYM1"
_TOLD = 12
"""Numbers of an observation that are told; more is no description."""


class AnyOptions(VectorOptions):
    """Options of `AnyGymnasium`."""

    id: str = Field("CartPole-v1", min_length=1, description='id in Gymnasium; "package:Id-v0" imports the package')
    kwargs: dict[str, Any] = Field(default_factory=dict, description="arguments for the environment, as in its docs")
    action_bound: float | None = Field(
        None, gt=0, description="bound put on continuous actions that have none, either way; null: such are refused"
    )
    max_steps: int | None = Field(None, ge=1, description="steps after which an episode is truncated; null: its own")
    vector: Literal["sync", "async"] = Field(
        "sync",
        description="sync: one after another in each process; async: the engine spreads them over at least one "
        "worker process per CPU core",
    )


class AnyVectorEnv(SameStepVectorEnv):
    """`num_envs` single environments, one after another; observations flattened to what the policy sees."""

    def __init__(self, num_envs: int, facts: probe.Facts, options: AnyOptions) -> None:
        super().__init__(num_envs, facts.observation_space, facts.actions.space)
        self._facts = facts
        self.envs = [probe.make(options.id, options.kwargs, options.max_steps) for _ in range(num_envs)]
        self._seeds: dict[int, int] = {}
        self._observations = np.zeros(
            (num_envs, *(facts.observation_space.shape or ())), facts.observation_space.dtype
        )
        self._info = {key: np.zeros(num_envs) for key in facts.info_keys}
        self._crc = zlib.crc32(f"{facts.id} {sorted(options.kwargs.items())} {gymnasium.__version__}".encode())

    def observe(self) -> Array:
        """What the environments said last."""
        return self._observations.copy()

    def info(self) -> dict[str, Any]:
        """The scalars that are in every step's information."""
        return {key: values.copy() for key, values in self._info.items()}

    def close_extras(self, **kwargs: Any) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()

    def snapshot(self, index: int) -> bytes:
        """The state of one environment and its wrappers, and what it said last."""
        told = json.dumps([values[index] for values in self._info.values()]).encode()
        last: bytes = self._observations[index].tobytes()
        head: bytes = _MAGIC + self._crc.to_bytes(4, "little") + len(told).to_bytes(4, "little") + told
        return head + last + plain_state.save(self.envs[index])

    def _restore(self, index: int, snapshot: bytes) -> None:
        if snapshot[:8] != _MAGIC + self._crc.to_bytes(4, "little"):
            raise EnvironmentFault(
                f"this is not a snapshot of {self._facts.id} with these arguments",
                found=f"{len(snapshot)} bytes starting with {snapshot[:8]!r}",
                hint="collect the episodes again",
            )
        end = 12 + int.from_bytes(snapshot[8:12], "little")
        size = self._observations[index].nbytes
        plain_state.load(self.envs[index], snapshot[end + size :])
        last = np.frombuffer(snapshot[end : end + size], self._observations.dtype)
        self._observations[index] = last.reshape(self._observations.shape[1:])
        for values, value in zip(self._info.values(), json.loads(snapshot[12:end]), strict=True):
            values[index] = value

    def _seed(self, index: int, seed: int) -> None:
        self._seeds[index] = seed

    def _begin(self, indices: Sequence[int]) -> None:
        for index in indices:
            observation, info = calls.reset(self.envs[index], self._seeds.pop(index, None))
            self._note(index, observation, info)

    def _advance(self, actions: Array) -> tuple[FloatArray, Array, Array]:
        rewards, ends = np.zeros(self.num_envs), np.zeros((2, self.num_envs), np.bool_)
        to_inner = self._facts.actions.to_inner
        for index in self.active:
            observation, reward, terminated, truncated, info = calls.step(self.envs[index], to_inner(actions[index]))
            rewards[index], ends[:, index] = reward, (terminated, truncated)
            self._note(index, observation, info)
        return rewards, ends[0], ends[1]

    def _note(self, index: int, observation: Any, info: dict[str, Any]) -> None:
        try:
            self._observations[index] = flat(self._facts.inner_space, observation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise EnvironmentFault(
                f"the environment {self._facts.id} returned an observation that does not fit its space",
                found=f"{observation!r}"[:200],
                expected=str(self._facts.inner_space)[:200],
                hint="change its observation_space, or what it returns",
            ) from error
        plain = probe.scalars(info)
        for key, values in self._info.items():
            values[index] = plain.get(key, values[index])


class AnyGymnasium(Environment):
    """A registered Gymnasium environment; see the module.

    Observations that are no box are flattened (discrete parts one-hot; parts without numbers are left out). The state
    can be saved where that proved exact: an environment was saved, restored into another one and both agreed to the
    bit for `PROBE_STEPS` steps with resets, from three places. That is evidence, not proof.
    """

    Options: ClassVar[type[Options]] = AnyOptions
    argument: ClassVar[str | None] = "id"
    enforces_bounds: ClassVar[bool] = False
    options: AnyOptions

    def __init__(self, options: AnyOptions) -> None:
        super().__init__(options)
        self._id = probe.known(options.id)

    @cached_property
    def facts(self) -> probe.Facts:
        """What playing it told; found out once, then kept with the instance."""
        return probe.investigate(
            self.options.id, self.options.kwargs, self.options.max_steps, self.options.action_bound
        )

    @property
    def env_id(self) -> str:
        """Gymnasium's id; arguments and another time limit are named in it."""
        arguments = json.dumps(self.options.kwargs, sort_keys=True) if self.options.kwargs else ""
        limit = f"-{self.options.max_steps}steps" if self.options.max_steps is not None else ""
        return self._id + arguments + limit

    @property
    def absent(self) -> frozenset[str]:
        """What this environment cannot do: save its state exactly, draw itself, say what is a good return, name it."""
        return self.facts.absent | (frozenset() if self._named else {"quantities"})

    @property
    def observation_space(self) -> gymnasium.Space[Any]:
        """What the policy sees."""
        return self.facts.observation_space

    @property
    def action_space(self) -> gymnasium.Space[Any]:
        """What the policy chooses from; `Actions.to_inner` makes it the environment's own."""
        return self.facts.actions.space

    def make(self, num_envs: int) -> AnyVectorEnv:
        """Build `num_envs` environments in this process."""
        return AnyVectorEnv(num_envs, self.facts, self.options)

    @property
    def brief(self) -> Brief:
        """The environment in words, from its docstring."""
        found, limit = self.facts.sections, self.facts.max_steps
        goal = docs.prose(found, ("description", "mission", ""), 600)
        ends = docs.prose(found, ("episode end", "termination", "episode termination", "episode truncation"), 300)
        return Brief(
            goal=f"Earn as much reward as possible in {self._id}. {goal}".strip(),
            dynamics=docs.prose(found, ("transition dynamics", "dynamics", "observation"), 400)
            or f"An observation is {docs.clean(str(self.facts.inner_space))[:200]}.",
            actions=(
                docs.prose(found, ("action",), 250) + " Named actions: " + "; ".join(self.actions.names) + "."
            ).strip(),
            reward=docs.prose(found, ("reward",), 400) or "Not described; see the rewards of the steps.",
            termination=(ends or "Not described.") + (f" At most {limit} steps." if limit else ""),
            advice_scale="How long to hold an action is not known: judge by how much the state changes in a step.",
        )

    def describe(self, observation: Array, info: Mapping[str, Scalar]) -> str:
        """The observation's numbers by name."""
        inner = self.facts.inner_space
        value: Any = observation
        if not isinstance(inner, gymnasium.spaces.Box):
            value = unflatten(inner, _legal(inner, observation))
        if minigrid.sees_a_grid(value) and "MiniGrid" in self._id:
            return minigrid.in_words(np.asarray(value["image"]), int(value["direction"]))
        text = _worded(value, self._labels)
        extra = [f"{docs.clean(key)[:30]} {_number(float(value))}" for key, value in list(info.items())[:4]]
        return docs.cut("; ".join([text, *extra]), 560)

    @cached_property
    def _labels(self) -> dict[int, str]:
        told = docs.rows(self.facts.sections, "observation")
        return {index: name[:40] for index, name in told.items() if name}

    @cached_property
    def actions(self) -> ActionCodec:
        """Names from the docstring where it lists them, else `action 0`; presets for continuous ones."""
        space, inner, found = self.facts.actions.space, self.facts.actions.inner, self.facts.sections
        if isinstance(inner, gymnasium.spaces.Discrete):
            count, start = int(inner.n), int(inner.start)
            told = docs.names(found, "action", count) if start == 0 else None
            if len(set(self.facts.meanings)) == count and all(self.facts.meanings):
                told = self.facts.meanings
            return DiscreteActions(told or [f"action {start + index}" for index in range(count)])
        joint = isinstance(space, gymnasium.spaces.Discrete)
        count = len(self.facts.actions.counts) if joint else int(np.prod(space.shape or ()))
        told = docs.names(found, "action", count)
        labels = [_word(name) for name in told] if told else []
        if len(set(labels)) != count or not all(map(is_word, labels)):
            labels = [f"a{index}" for index in range(count)]
        if joint:
            return DiscreteActions(self.facts.actions.joint_names(labels))
        assert isinstance(space, gymnasium.spaces.Box)
        return BoxActions(labels, _presets(space), space.low, space.high)

    def features(self, observations: Array) -> FloatArray:
        """Every number against its mean and deviation in random play, within +-10; `(n, k)`."""
        mean, deviation = self.facts.spread
        values = np.asarray(observations, np.float64).reshape(len(observations), -1)
        # A number that did not move at random may be what matters later: it counts unscaled.
        scaled = (np.nan_to_num(values) - mean) / np.where(deviation > 1e-6, deviation, 1.0)
        return np.asarray(np.clip(scaled, -10, 10), np.float32)

    def quantities(self, observations: Array) -> Mapping[str, FloatArray]:
        """The observation's numbers by name; of a grid what a person would name."""
        if self._named is None:
            raise NotImplementedError
        return self._named.of(observations)

    @property
    def legend(self) -> Mapping[str, Quantity]:
        """Units and ranges from the docstring's table, else from the spaces and from random play."""
        if self._named is None:
            raise NotImplementedError
        return self._named.legend

    @cached_property
    def _named(self) -> named.Names | minigrid.GridNames | None:
        facts, inner = self.facts, self.facts.inner_space
        if "MiniGrid" in self._id and minigrid.is_a_grid(inner):
            assert isinstance(inner, gymnasium.spaces.Dict)
            return minigrid.GridNames(inner)
        found = named.names_of(inner, facts.observation_space, facts.sections, facts.spread)
        if found is not None:
            found.legend = units.completed(self._id, found.legend)
        return found

    def snapshot(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int]) -> list[bytes]:
        """The complete state of the environments at `indices`, where it can be saved."""
        assert isinstance(envs, AnyVectorEnv)
        self._saveable()
        return [envs.snapshot(index) for index in indices]

    def restore(self, envs: gymnasium.vector.VectorEnv, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put `snapshots` into the environments at `indices`."""
        assert isinstance(envs, AnyVectorEnv)
        self._saveable()
        return envs.restore(indices, snapshots)

    @property
    def reference_returns(self) -> ReferenceReturns:
        """Random play as measured here; the threshold the environment's authors call solved."""
        if self.facts.returns is None:
            raise NotImplementedError
        return self.facts.returns

    def render(self, envs: gymnasium.vector.VectorEnv, index: int) -> Array:
        """The environment's own picture."""
        assert isinstance(envs, AnyVectorEnv)
        return np.asarray(envs.envs[index].render(), np.uint8)

    def _saveable(self) -> None:
        if self.facts.why:
            raise probe.fault(self.facts.why, self._id)


def _presets(space: gymnasium.spaces.Box) -> list[list[float]]:
    """Rest, and each part alone at its bounds and halfway; of one or two parts all combinations of these."""
    count, rest = space.shape[0], np.clip(0.0, space.low, space.high).astype(np.float64)
    bounds = zip(space.low.tolist(), space.high.tolist(), rest.tolist(), strict=True)
    levels = [(low, (low + at) / 2, (at + high) / 2, high) for low, high, at in bounds]
    found = [rest.tolist()]
    if count <= 2:
        choices = [sorted({at, *levels[part]}) for part, at in enumerate(rest.tolist())]
        return found + [list(each) for each in product(*choices)]
    for part in range(min(count, 12)):
        for level in levels[part]:
            action = rest.tolist()
            action[part] = level
            found.append(action)
    return found


def _word(name: str) -> str:
    """A name as one word that can be followed by `=number`."""
    return "_".join("".join(c if c.isalnum() else " " for c in name).lower().split())[:20].strip("_")


def _legal(inner: gymnasium.Space[Any], observation: Array) -> Array:
    """A flat observation that can be unflattened: one-hot parts must have exactly one 1."""
    plain = np.nan_to_num(np.asarray(observation, np.float64)).copy()
    start = 0
    parts = inner.spaces.values() if isinstance(inner, gymnasium.spaces.Dict) else (
        inner.spaces if isinstance(inner, gymnasium.spaces.Tuple) else [inner])  # fmt: skip
    for part in parts:
        width = int(np.prod(gymnasium.spaces.flatten_space(part).shape or (1,)))
        if isinstance(part, gymnasium.spaces.Discrete):
            hot = int(np.argmax(plain[start : start + width]))
            plain[start : start + width] = 0
            plain[start + hot] = 1
        start += width
    return np.asarray(plain, gymnasium.spaces.flatten_space(inner).dtype)


def _worded(value: Any, labels: Mapping[int, str]) -> str:
    """Numbers by name; a few of many."""
    if isinstance(value, Mapping):
        return "; ".join(f"{docs.clean(str(key))[:30]}: {_worded(part, {})}" for key, part in list(value.items())[:8])
    if isinstance(value, tuple):
        return ", ".join(
            f"{labels.get(i, f'part {i}')} {_worded(part, {}).removeprefix('state ')}"
            for i, part in enumerate(value[:_TOLD])
        )
    array = np.asarray(value)
    if array.ndim == 0:
        return f"state {_number(float(array))}"
    if array.ndim > 1:
        plain = np.nan_to_num(array.astype(np.float64))
        return f"an array of {' x '.join(map(str, array.shape))}, mean {_number(float(plain.mean()))}"
    told = [f"{labels.get(i, f'x{i}')} {_number(float(number))}" for i, number in enumerate(array[:_TOLD])]
    return ", ".join(told) + (f" and {len(array) - _TOLD} more numbers" if len(array) > _TOLD else "")


def _number(value: float) -> str:
    plain = float(np.clip(np.nan_to_num(value), -1e6, 1e6))
    return f"{plain + 0.0:.3g}" if plain else "0"
