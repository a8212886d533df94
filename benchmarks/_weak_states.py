"""States the sub-optimal policy of a task leads to: where its experts are trained to be strong too, and judged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from ultra_agents.contracts import Environment, Policy
from ultra_agents.evaluation.returns import play_on
from ultra_agents.policies import load_policy
from ultra_agents.records import Array, FloatArray, Trajectory
from ultra_agents.rollout.collect import collect, waves
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams

LONGEST = 30_000


class AsCloned:
    """Acts as a perfect clone of a policy would: its likeliest actions, under the spread of the one that learns them.

    Cloning leaves the spread alone, so what is strong with little noise of its own may fall with that of a beginner.

    Args:
        policy: The one that is cloned.
        weak: A policy of `ppo` whose spread is kept.
    """

    def __init__(self, policy: Policy, weak: Any) -> None:
        self._policy, self._weak = policy, weak

    def act_with_uniforms(self, observations: Array, uniforms: FloatArray) -> Array:
        """Observations `(n, ...)`, uniforms `(n, action_dim)` -> actions `(n, action_dim)`."""
        return spread(self._weak, self._policy.act(observations, deterministic=True), uniforms)


class SpreadWorlds(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """Environments, the first of which carry out actions with the spread of another policy added.

    Args:
        envs: The environments.
        weak: A policy of `ppo` whose spread is added.
        count: How many of them do.
        rng: Source of the draws.
    """

    def __init__(self, envs: Any, weak: Any, count: int, rng: np.random.Generator) -> None:
        self.num_envs, self.metadata = envs.num_envs, envs.metadata
        self.observation_space, self.action_space = envs.observation_space, envs.action_space
        self.single_observation_space = envs.single_observation_space
        self.single_action_space = envs.single_action_space
        self._envs, self._weak, self._count, self._rng = envs, weak, count, rng

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start an episode everywhere."""
        found: tuple[Array, dict[str, Any]] = self._envs.reset(seed=seed, options=options)
        return found

    def step(self, actions: Any) -> tuple[Array, FloatArray, Array, Array, dict[str, Any]]:
        """As the environments step."""
        actions, few = np.array(actions), slice(0, self._count)
        uniforms = self._rng.random(actions[few].shape).clip(1e-9, 1 - 1e-9)
        actions[few] = spread(self._weak, actions[few], uniforms)
        found: tuple[Array, FloatArray, Array, Array, dict[str, Any]] = self._envs.step(actions)
        return found


def spread(weak: Any, actions: Array, uniforms: FloatArray) -> Array:
    """Actions `(n, d)` with the noise of `weak` about them, within bounds; uniforms `(n, d)` in (0, 1)."""
    return np.asarray(weak.bounded(weak.sample(np.asarray(actions, np.float32), uniforms)))


def weak_policy(environment: Environment, task: str) -> Policy:
    """The sub-optimal policy that ships with a task."""
    return load_policy(environment.policies()["suboptimal"], task, environment).policy


def weak_episodes(
    policy: Policy, environment: Environment, simulators: Simulators, streams: Streams, episodes: int
) -> list[Trajectory]:
    """Episodes of sampled actions, with the simulator's state before each."""
    seeds = streams.integers(episodes, "reset")
    return collect(policy, environment, simulators, seeds, streams, LONGEST)


def states_of(episodes: Sequence[Trajectory], most: int, streams: Streams) -> list[bytes]:
    """At most `most` of the states of these episodes, each step as likely."""
    states = [state for episode in episodes for state in episode.snapshots or ()]
    chosen = streams.generator("states").permutation(len(states))[:most]
    return [states[index] for index in chosen]


def returns_from(
    policy: Policy | AsCloned,
    environment: Environment,
    simulators: Simulators,
    states: Sequence[bytes],
    streams: Streams,
    steps: int,
    deterministic: bool = False,
) -> FloatArray:
    """Sum of rewards of the next `steps` steps (fewer where the episode ends) from each state, `(len(states),)`.

    State `i` is played with the draws of the stream `("from", i)` only, so that two policies are compared in pairs.
    """
    returns = np.zeros(len(states))
    for wave, numbers in waves(range(len(states)), simulators.num_envs):
        generators = [streams.generator("from", number) for number in wave]
        simulators.reset(seed=[0] * simulators.num_envs)
        here = np.array(simulators.restore(range(simulators.num_envs), [states[number] for number in numbers]))
        played = play_on(policy, environment, simulators, here, generators, steps, deterministic)
        returns[wave.start : wave.start + len(wave)] = played[0]
    return returns
