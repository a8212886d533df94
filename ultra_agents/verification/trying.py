"""A short try from stored states: something done in the policy's place, beside the policy alone, with the same draws.

Nothing is decided here: it answers a question that somebody has before making a suggestion. Its random numbers are
not those of the tests, so that what was tried is not tested on the luck it was chosen by. Not part of the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ultra_agents.contracts import Policy
from ultra_agents.records import Array, FloatArray
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams
from ultra_agents.verification.paired import Horizon, play

Instead: TypeAlias = Callable[[Array, Array, int], Array]
"""Observations `(n, ...)`, what the policy would do there `(n, ...)`, steps since the start -> what is done."""


@dataclass(frozen=True, eq=False)
class TriedSide:
    """One side of a try, `n` replays.

    Attributes:
        returns: `(n,)` discounted, value at the cut.
        rewards: By replay, the rewards it earned, step by step.
        terminated: `(n,)` bool.
        truncated: `(n,)` bool, by the environment itself.
        observations: By replay, what was seen before each step, `(T, ...)`.
        actions: By replay, what was done.
    """

    returns: FloatArray
    rewards: tuple[FloatArray, ...]
    terminated: Array
    truncated: Array
    observations: tuple[Array, ...]
    actions: tuple[Array, ...]

    @property
    def steps(self) -> int:
        """Environment steps of all replays."""
        return sum(map(len, self.rewards))


@dataclass(frozen=True, eq=False)
class Tried:
    """Both sides, replay by replay from the same state with the same draws."""

    instead: TriedSide
    alone: TriedSide

    @property
    def gains(self) -> FloatArray:
        """`(n,)` paired differences."""
        return np.asarray(self.instead.returns - self.alone.returns)

    @property
    def env_steps(self) -> int:
        """Environment steps of both sides."""
        return self.instead.steps + self.alone.steps


def try_from(
    snapshots: Sequence[bytes],
    instead: Instead,
    policy: Policy,
    simulators: Simulators,
    streams: Streams,
    addresses: Sequence[tuple[int, ...]],
    horizon: Horizon,
) -> Tried:
    """Play from each of `snapshots` both ways.

    Args:
        snapshots: At most half as many as there are simulators.
        instead: What is done in the policy's place on one side.
        policy: What acts alone on the other; its value function stands for what follows a cut.
        simulators: Used by this call alone. Their number decides the last bits of a matrix product: it should be the
            same for everything that is compared.
        streams: Source of the random numbers.
        addresses: Of each replay: equal addresses draw equal numbers.
        horizon: How long, and what is counted.
    """
    half, count = simulators.num_envs // 2, len(snapshots)
    simulators.reset(seed=streams.integers(simulators.num_envs, "reset"))  # some cannot be restored before that
    rows = [*snapshots, *[snapshots[-1]] * (half - count)]
    seen = simulators.restore(range(2 * half), [*rows, *rows])
    places = [*addresses, *[addresses[-1]] * (half - count)]
    draws = [streams.generator("try", *address) for address in (*places, *places)]
    playing = np.arange(2 * half) % half < count
    watching = _Watching()
    actor = _Sides(policy, instead, half)
    wave = play(simulators, seen, actor, policy, draws, horizon, playing=playing, watch=watching)
    return Tried(*(watching.side(range(first, first + count), wave.returns) for first in (0, half)))


class _Sides(Policy):
    """The first rows are acted for in the policy's place, the others are the policy's own."""

    def __init__(self, policy: Policy, instead: Instead, first: int) -> None:
        self.stochastic = policy.stochastic
        self._policy, self._instead, self._first, self._time = policy, instead, first, 0

    def act(self, observations: Array, rng: np.random.Generator | None = None, deterministic: bool = False) -> Array:
        raise NotImplementedError("it is played with given random numbers")

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        actions = np.array(self._policy.act_with_uniforms(observations, uniforms))
        some = slice(0, self._first)
        actions[some] = self._instead(observations[some], actions[some].copy(), self._time)
        self._time += 1
        return actions

    def value(self, observations: Array) -> FloatArray:
        return self._policy.value(observations)

    def state(self) -> tuple[dict[str, Array], dict[str, Any]]:
        return self._policy.state()


@dataclass
class _Watching:
    rows: dict[str, list[Array]] = field(default_factory=dict)

    def __call__(
        self, observations: Array, actions: Array, rewards: Array, terminated: Array, truncated: Array, alive: Array
    ) -> None:
        told = {"observations": observations, "actions": actions, "rewards": rewards, "alive": alive}
        for name, value in (told | {"terminated": terminated, "truncated": truncated}).items():
            self.rows.setdefault(name, []).append(np.array(value))

    def side(self, places: range, returns: FloatArray) -> TriedSide:
        """What happened in some of the rows."""
        columns = {name: np.array(rows) for name, rows in self.rows.items()}

        def column(name: str, place: int) -> Array:
            made: Array = columns[name][columns["alive"][:, place], place]
            return made

        return TriedSide(
            returns=np.asarray(returns[places.start : places.stop]),
            rewards=tuple(column("rewards", place).astype(np.float64) for place in places),
            terminated=np.array([column("terminated", place)[-1] for place in places], np.bool_),
            truncated=np.array([column("truncated", place)[-1] for place in places], np.bool_),
            observations=tuple(column("observations", place) for place in places),
            actions=tuple(column("actions", place) for place in places),
        )
