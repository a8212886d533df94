"""Stage 1: play episodes of a policy and keep everything, the simulator's states included."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ultra_agents.contracts import Environment, Policy
from ultra_agents.contracts.environment import uniforms_per_action
from ultra_agents.records import Array, FloatArray, Scalar, Trajectory
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams
from ultra_agents.text import valid_text


def collect(
    policy: Policy,
    environment: Environment,
    simulators: Simulators,
    seeds: Sequence[int],
    streams: Streams,
    max_steps: int,
    snapshots: bool = True,
    on_episode: Callable[[Trajectory], None] | None = None,
    poll: Callable[[], None] | None = None,
) -> list[Trajectory]:
    """Play one episode per seed, as many at a time as there are simulators.

    Episode `i` depends on `seeds[i]` and on the stream `("episode", i)` only, not on what is played beside it.

    Args:
        policy: Acts by `act_with_uniforms`.
        environment: The plugin, for its spaces.
        simulators: Parallel environments; reset here.
        seeds: One reset seed per episode.
        streams: Source of the policy's randomness.
        max_steps: Longer episodes are cut: neither terminated nor truncated.
        snapshots: Keep the simulator's state before each action, where the environment can.
        on_episode: Called with each episode as it ends.
        poll: Called at every step; what it raises ends the collection.

    Returns:
        Trajectories in the order of `seeds`.
    """
    keep = snapshots and simulators.can_snapshot
    dims = uniforms_per_action(environment)
    done: dict[int, Trajectory] = {}
    for wave, wave_seeds in waves(seeds, simulators.num_envs):
        episodes = [_Episode(number, seeds[number], streams.generator("episode", number)) for number in wave]
        observations, info = simulators.reset(seed=wave_seeds)
        observations = np.array(observations)
        playing = list(range(len(episodes)))
        simulators.rest(np.arange(simulators.num_envs) >= len(episodes))
        uniforms = np.full((simulators.num_envs, dims), 0.5)
        while playing:
            if poll is not None:
                poll()
            states = simulators.snapshot(playing) if keep else [b""] * len(playing)
            for slot in playing:
                uniforms[slot] = draw(episodes[slot].generator, dims)
            actions = policy.act_with_uniforms(observations, uniforms)
            values = policy.value(observations)
            following, rewards, terminated, truncated, next_info = simulators.step(actions)
            for slot, state in zip(playing, states, strict=True):
                episodes[slot].add(
                    observations[slot], actions[slot], rewards[slot], values[slot], scalars(info, slot), state
                )
            ended = [
                slot for slot in playing if terminated[slot] or truncated[slot] or len(episodes[slot]) >= max_steps
            ]
            for slot in ended:
                episode = episodes[slot]
                done[episode.number] = episode.finish(bool(terminated[slot]), bool(truncated[slot]), keep)
                if on_episode is not None:
                    on_episode(done[episode.number])
            if ended:
                playing = [slot for slot in playing if slot not in ended]
                simulators.rest(~np.isin(np.arange(simulators.num_envs), playing))
            observations, info = np.array(following), next_info
    return [done[number] for number in range(len(seeds))]


def waves(seeds: Sequence[int], num_envs: int) -> Iterator[tuple[range, list[int]]]:
    """Episodes played together, and `num_envs` reset seeds for them; left-over slots repeat the last seed."""
    for start in range(0, len(seeds), num_envs):
        numbers = range(start, min(start + num_envs, len(seeds)))
        used = [seeds[number] for number in numbers]
        yield numbers, used + [used[-1]] * (num_envs - len(used))


def draw(generator: np.random.Generator, count: int) -> FloatArray:
    """`count` uniforms in the open interval (0, 1)."""
    return np.maximum(generator.random(count), 2.0**-54)


def scalars(info: Mapping[str, Any], index: int) -> dict[str, Scalar]:
    """The plain numbers, truth values and words of one environment in a vector environment's information."""
    found: dict[str, Scalar] = {}
    for key, values in info.items():
        if key.startswith(("_", "final_")) or not isinstance(values, np.ndarray) or values.ndim == 0:
            continue
        present = info.get(f"_{key}")  # gymnasium's mask: which environments said this at all
        if present is not None and not present[index]:
            continue
        value = values[index]
        plain = value.item() if isinstance(value, np.generic) else value
        if isinstance(plain, bool | int | float | str):
            found[key] = valid_text(plain) if isinstance(plain, str) else plain
    return found


@dataclass
class _Episode:
    """An episode being played."""

    number: int
    seed: int
    generator: np.random.Generator
    observations: list[Array] = field(default_factory=list)
    actions: list[Array] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    infos: list[dict[str, Scalar]] = field(default_factory=list)
    states: list[bytes] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rewards)

    def add(
        self,
        observation: Array,
        action: Array,
        reward: float,
        value: float,
        info: dict[str, Scalar],
        state: bytes,
    ) -> None:
        """One step."""
        self.observations.append(np.array(observation))
        self.actions.append(np.array(action))
        self.rewards.append(float(reward))
        self.values.append(float(value))
        self.infos.append(info)
        self.states.append(state)

    def finish(self, terminated: bool, truncated: bool, snapshots: bool) -> Trajectory:
        """The episode as a record."""
        return Trajectory(
            episode=self.number,
            seed=int(self.seed),
            observations=np.stack(self.observations),
            actions=np.stack(self.actions),
            rewards=np.array(self.rewards),
            values=np.array(self.values),
            infos=tuple(self.infos),
            terminated=terminated,
            truncated=truncated,
            snapshots=tuple(self.states) if snapshots else None,
        )
