"""Episodes that begin at restored states, with a chance: the training environments, some of their starts replaced.

Nothing else changes: actions and ends are the environments' own, and so are the starts that are not replaced. An
environment's next own start is put aside while an episode from a stored state is played, and comes after it: the
stored state brings the random generator it was saved with, and without this every such episode would be followed by
the same start. A stored state also brings its step counter, so that an episode begun at step t of a time limit of T is
cut after T - t more. What the simulator itself draws in such an episode is what followed the stored state when it was
saved; the policy's draws are new.

`infos["restarted"]` `(n,)` says of each step whether its episode began at a stored state: algorithms keep those out of
`return_mean` (`ultra_agents.contracts.vector.from_reset`), because their returns lack what came before.

Each environment draws from a generator of its own, so what one does never depends on its neighbours. Snapshots hold
that generator, the start put aside and how the running episode began: a training that goes on from them goes on
exactly.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from ultra_agents.contracts.vector import GENERATOR_BYTES, pack_generator, unpack_generator, unpack_snapshot
from ultra_agents.errors import ConfigError
from ultra_agents.records import Advice, Array, Explanation, FloatArray, Trajectory
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams

_HEAD = struct.Struct(f"<4s?{GENERATOR_BYTES}sI")
_MAGIC = b"RST1"


class Restarts(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Environments whose episodes begin, with a chance, at one of some stored states; autoreset in the same step.

    Args:
        simulators: The environments, able to restore states; closed by whoever made them.
        states: The stored states as they are now, each as likely; none leaves the environment's own start.
        probability: The chance of a stored state, in [0, 1].
        streams: Source of the draws.

    Attributes:
        restored: `(n,)` whether the running episode began at a stored state.
        starts: Episodes begun so far.
        restored_starts: Those begun at a stored state.
    """

    can_snapshot = True

    def __init__(
        self, simulators: Simulators, states: Callable[[], Sequence[bytes]], probability: float, streams: Streams
    ) -> None:
        if not 0.0 <= probability <= 1.0:
            raise ConfigError(
                "the chance of starting at a critical state is no probability",
                found=f"modulation.restart_probability: {probability}",
                expected="a number from 0 to 1",
            )
        self.num_envs, self.metadata = simulators.num_envs, simulators.metadata
        self.observation_space, self.action_space = simulators.observation_space, simulators.action_space
        self.single_observation_space = simulators.single_observation_space
        self.single_action_space = simulators.single_action_space
        self.restored = np.zeros(self.num_envs, np.bool_)
        self.starts = self.restored_starts = 0
        self._simulators, self._states, self._probability = simulators, states, probability
        self._generators = [streams.generator(index) for index in range(self.num_envs)]
        self._aside: list[bytes] = [b""] * self.num_envs

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode everywhere."""
        observations, info = self._simulators.reset(seed=seed, options=options)
        self._aside = [b""] * self.num_envs
        return self._begin(np.arange(self.num_envs), observations), info

    def step(self, actions: Any) -> tuple[Array, FloatArray, Array, Array, dict[str, Any]]:
        """As the environments step; the observation of a replaced start is that of its stored state."""
        observations, rewards, terminated, truncated, infos = self._simulators.step(actions)
        told = {**infos, "restarted": self.restored.copy()}
        ended = np.flatnonzero(np.asarray(terminated) | np.asarray(truncated))
        return self._begin(ended, observations), rewards, terminated, truncated, told

    def snapshot(self, indices: Sequence[int]) -> list[bytes]:
        """The complete states of the environments at `indices`, what decides their next starts included."""
        return [
            _HEAD.pack(_MAGIC, self.restored[i], pack_generator(self._generators[i]), len(self._aside[i]))
            + self._aside[i]
            + state
            for i, state in zip(indices, self._simulators.snapshot(indices), strict=True)
        ]

    def restore(self, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Inverse of `snapshot`; the observations `(len(indices), ...)`."""
        inner = []
        for index, state in zip(indices, snapshots, strict=True):
            restored, generator, length = unpack_snapshot(_HEAD, state, _MAGIC, "environments with restored starts")
            self.restored[index] = restored
            unpack_generator(self._generators[index], generator)
            self._aside[index] = state[_HEAD.size : _HEAD.size + length]
            inner.append(state[_HEAD.size + length :])
        return self._simulators.restore(indices, inner)

    def _begin(self, begun: Array, observations: Array) -> Array:
        """Episodes have begun in the environments at `begun`: the observations, with those of other starts."""
        if not len(begun):
            return observations
        states, chosen = self._states(), {}
        for index in begun.tolist():
            coin, place = self._generators[index].random(2)
            if states and coin < self._probability:
                chosen[index] = states[int(place * len(states))]
            self.restored[index] = index in chosen
        self.starts += len(begun)
        self.restored_starts += len(chosen)
        own = [index for index in chosen if not self._aside[index]]
        for index, state in zip(own, self._simulators.snapshot(own) if own else [], strict=True):
            self._aside[index] = state
        put = dict(chosen)
        for index in begun.tolist():
            if index not in chosen and self._aside[index]:
                put[index], self._aside[index] = self._aside[index], b""
        if not put:
            return observations
        out = np.array(observations)
        out[list(put)] = self._simulators.restore(list(put), list(put.values()))
        return out


def critical_snapshots(
    trajectories: Sequence[Trajectory], explanations: Sequence[Explanation], advice: Sequence[Advice]
) -> list[bytes]:
    """The simulator states advice was accepted for; where none was, those of all critical states named.

    Args:
        trajectories: The collected episodes.
        explanations: What came out of explaining them.
        advice: What was accepted.

    Raises:
        ConfigError: The episodes have no simulator states.
    """
    places = {(row.episode, row.step) for row in advice}
    places = places or {(one.segment.episode, state.step) for one in explanations for state in one.states}
    if any(trajectory.snapshots is None for trajectory in trajectories):
        raise ConfigError(
            "episodes cannot start at critical states: the collected episodes hold no simulator states",
            found="modulation.restart_probability above 0 with episodes of a dataset",
            hint="set modulation.restart_probability=0, or collect the episodes in this run",
        )
    kept = {trajectory.episode: trajectory.snapshots or () for trajectory in trajectories}
    return [kept[episode][step] for episode, step in sorted(places) if step < len(kept.get(episode, ()))]
