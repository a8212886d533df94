"""Any space as the algorithms here take it: observations as a `Box`, actions as `Discrete` from 0 or a flat `Box`.

Observations that are no box are flattened, discrete parts one-hot; parts without numbers are left out. Several
discrete parts of an action become one: every combination is an action, up to `MOST_JOINT`. Policies and datasets of
other tools are compared and taken over after the same flattening.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.spaces.utils import flatten, flatten_space

from ultra_agents.errors import ConfigError
from ultra_agents.records import Array

TAKE_FLAT = (
    "let the plugin flatten them: actions_of and flat of ultra_agents.contracts.spaces; gymnasium:ID does it by itself"
)
"""Hint of algorithms that are given another space."""
MOST_JOINT = 256
"""Combinations of discrete parts that can be told apart as single actions; a network gives each a number."""
WRAP = (
    "wrap it so that its actions are Discrete or a bounded Box (gymnasium.wrappers.TransformAction), register the "
    'wrapped one in a module of yours, and name it "module:Id-v0"'
)


@dataclass(frozen=True, eq=False)
class Actions:
    """How actions of the policy become actions of the environment.

    Attributes:
        space: What the policy sees.
        inner: The environment's own.
        first: Of discrete parts, the lowest value of each, `(parts,)`.
        counts: Of discrete parts, how many values each has; empty for boxes of numbers.
    """

    space: gymnasium.Space[Any]
    inner: gymnasium.Space[Any]
    first: tuple[int, ...] = ()
    counts: tuple[int, ...] = ()

    def to_inner(self, action: Array) -> Any:
        """One action of the policy as the environment takes it."""
        if isinstance(self.inner, Discrete):
            return int(action) + self.first[0]
        kind, shape = self.inner.dtype, self.inner.shape
        if self.counts:
            return self.parts(int(action)).reshape(shape).astype(kind)
        values = np.asarray(action)
        if kind is not None and kind.kind in "iu":
            values = np.rint(values)
        return values.reshape(shape).astype(kind)

    def from_inner(self, actions: Array) -> Array:
        """Actions of the environment `(n, ...)` as the policy's, `(n,)` or `(n, k)`."""
        if isinstance(self.inner, Discrete):
            return np.asarray(actions, np.int64) - self.first[0]
        flat = np.asarray(actions).reshape(len(actions), -1)
        if self.counts:
            return np.asarray(np.ravel_multi_index(tuple((flat - np.array(self.first)).T), self.counts), np.int64)
        return flat.astype(self.space.dtype)

    def parts(self, action: int) -> Array:
        """The value of every discrete part in one of the joint actions, `(parts,)`."""
        return np.array(np.unravel_index(action, self.counts), np.int64) + np.array(self.first, np.int64)

    def joint_names(self, labels: Sequence[str]) -> list[str]:
        """A name for every joint action: `a0=1 a1=2`."""
        rows = (self.parts(action).tolist() for action in range(int(np.prod(self.counts))))
        return [" ".join(f"{label}={value}" for label, value in zip(labels, row, strict=True)) for row in rows]


def actions_of(inner: gymnasium.Space[Any], env_id: str, bound: float | None) -> Actions:
    """How a policy acts in an environment with the action space `inner`.

    Args:
        inner: The environment's.
        env_id: For messages.
        bound: Put on continuous actions where they have none; None refuses them.

    Raises:
        ConfigError: The space is of a kind, or of a size, that no algorithm here takes.
    """
    if isinstance(inner, Discrete):
        return Actions(Discrete(int(inner.n)), inner, (int(inner.start),), (int(inner.n),))
    if isinstance(inner, MultiDiscrete):
        return _joint(inner, np.ravel(inner.start), np.ravel(inner.nvec), env_id)
    if isinstance(inner, MultiBinary):
        size = int(np.prod(inner.shape))
        return _joint(inner, np.zeros(size, np.int64), np.full(size, 2), env_id)
    if isinstance(inner, Box):
        return _box(inner, env_id, bound)
    raise ConfigError(
        f"the actions of {env_id!r} cannot be named",
        found=str(inner)[:200],
        expected="Discrete, MultiDiscrete, MultiBinary or Box",
        hint=WRAP,
    )


def _joint(inner: gymnasium.Space[Any], first: Array, counts: Array, env_id: str) -> Actions:
    total = int(np.prod(counts, dtype=object))
    if total > MOST_JOINT:
        raise ConfigError(
            f"the actions of {env_id!r} have too many combinations to tell apart as single actions",
            found=f"{str(inner)[:120]}: {total:,} combinations",
            expected=f"at most {MOST_JOINT}",
            hint=WRAP,
        )
    return Actions(Discrete(total), inner, tuple(map(int, first)), tuple(map(int, counts)))


def _box(inner: Box, env_id: str, bound: float | None) -> Actions:
    bounded = np.isfinite(inner.low).all() and np.isfinite(inner.high).all()
    if inner.dtype is not None and inner.dtype.kind in "iu":
        low, high = inner.low.ravel().astype(object), inner.high.ravel().astype(object)
        counts = [int(top) - int(bottom) + 1 for bottom, top in zip(low, high, strict=True)]
        if int(np.prod(counts, dtype=object)) <= MOST_JOINT:
            return _joint(inner, inner.low.ravel(), np.array(counts), env_id)
    elif len(inner.shape) == 1 and bounded:
        return Actions(inner, inner)
    low, high = inner.low.ravel().astype(np.float64), inner.high.ravel().astype(np.float64)
    if not bounded:
        if bound is None:
            raise ConfigError(
                f"the actions of {env_id!r} have no bounds",
                found=str(inner)[:200],
                expected="bounds: advice is given and explored within them",
                hint="set environment.options.action_bound: 1.0, the largest number that makes sense for it",
            )
        low, high = np.where(np.isfinite(low), low, -bound), np.where(np.isfinite(high), high, bound)
        if not (low <= high).all():
            raise ConfigError(
                f"environment.options.action_bound does not suit the bounds that {env_id!r} has",
                found=f"{bound:g}",
                expected=str(inner)[:200],
            )
    return Actions(Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32), inner)


def numeric(space: gymnasium.Space[Any], env_id: str) -> gymnasium.Space[Any]:
    """`space` without the parts that hold no numbers (MiniGrid's mission)."""
    if isinstance(space, Dict):
        parts = {key: numeric_or_none(part) for key, part in space.spaces.items()}
        kept = {key: part for key, part in parts.items() if part is not None}
        if kept:
            return Dict(kept)
    elif (plain := numeric_or_none(space)) is not None:
        return plain
    raise ConfigError(
        f"the observations of {env_id!r} hold no numbers",
        found=str(space),
        expected="boxes, discrete, multi-discrete or multi-binary spaces, or dictionaries and tuples of them",
        hint="wrap it so that its observations are numbers (gymnasium.wrappers.TransformObservation), register the "
        'wrapped one in a module of yours, and name it "module:Id-v0"',
    )


def numeric_or_none(space: gymnasium.Space[Any]) -> gymnasium.Space[Any] | None:
    """The space itself where it can be flattened to numbers of a fixed count."""
    plain = (Box, Discrete, MultiDiscrete,
             MultiBinary)  # fmt: skip
    if isinstance(space, plain):
        return space
    if isinstance(space, Tuple) and all(numeric_or_none(part) is not None for part in space.spaces):
        return space
    if isinstance(space, Dict):
        kept = {key: part for key, part in space.spaces.items() if numeric_or_none(part) is not None}
        return Dict(kept) if kept else None
    return None


def flat_space(inner: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    """What `flat` gives: boxes as they are, all else as one box of one dimension."""
    return inner if isinstance(inner, Box) else flatten_space(inner)


def flat(inner: gymnasium.Space[Any], observation: Any) -> Array:
    """An observation as the policy sees it."""
    if isinstance(inner, Box):
        return np.asarray(observation, inner.dtype)
    if isinstance(inner, Dict):
        observation = {key: observation[key] for key in inner.spaces}
    return np.asarray(flatten(inner, observation), flatten_space(inner).dtype)
