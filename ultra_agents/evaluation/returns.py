"""Returns of a policy: one unmodulated episode per seed, nothing kept but its return and length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ultra_agents.contracts import Environment, Policy
from ultra_agents.contracts.environment import uniforms_per_action
from ultra_agents.records import Array, FloatArray, Returns
from ultra_agents.rollout.collect import draw, waves
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams

LONGEST = 30_000
"""Environment steps at which an episode is cut; the longest that ends by itself here, of Pong, has 27,000."""
POLL_STEPS = 64
"""Vector steps between two calls of `poll`."""


def evaluate_returns(
    policy: Policy,
    environment: Environment,
    simulators: Simulators,
    seeds: Sequence[int],
    streams: Streams,
    deterministic: bool = False,
    max_steps: int = LONGEST,
    poll: Callable[[], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Returns:
    """Play one episode per seed to its end or to `max_steps`, as many at a time as there are simulators.

    Episode `i` depends on `seeds[i]` and on the stream `("episode", i)` only, so two policies evaluated alike meet the
    same starts and the same random numbers.

    Args:
        policy: What is evaluated.
        environment: The plugin, for its spaces.
        simulators: Parallel environments; reset here.
        seeds: One reset seed per episode, never used in training.
        streams: Source of the policy's randomness.
        deterministic: Take the most likely action instead of sampling.
        max_steps: Longer episodes are cut: their return is that of the steps played.
        poll: Called now and then; what it raises ends the evaluation.
        on_note: Told where episodes were cut.
    """
    returns, lengths, cut = np.zeros(len(seeds)), np.zeros(len(seeds), np.int64), 0
    for wave, wave_seeds in waves(seeds, simulators.num_envs):
        generators = [streams.generator("episode", number) for number in wave]
        observations, _ = simulators.reset(seed=wave_seeds)
        part = slice(wave.start, wave.start + len(wave))
        returns[part], lengths[part], going = play_on(
            policy, environment, simulators, observations, generators, max_steps, deterministic, poll
        )
        cut += going
    if cut and on_note is not None:
        on_note(
            f"{cut} of {len(seeds)} episodes had not ended after {max_steps:,} steps and were cut there: their "
            "returns are of these steps only. Give the environment a time limit (environment.options.max_steps)"
        )
    return Returns(
        values=tuple(float(value) for value in returns),
        seeds=tuple(int(seed) for seed in seeds),
        lengths=tuple(int(length) for length in lengths),
    )


def play_on(
    policy: Policy,
    environment: Environment,
    simulators: Simulators,
    observations: Array,
    generators: Sequence[np.random.Generator],
    max_steps: int,
    deterministic: bool = False,
    poll: Callable[[], None] | None = None,
) -> tuple[FloatArray, Array, int]:
    """Play the first simulators on from where they stand, each to the end of its episode or for `max_steps`.

    Args:
        policy: Who plays.
        environment: The plugin, for its spaces.
        simulators: Parallel environments; those beyond the generators rest.
        observations: Theirs now, `(num_envs, ...)`.
        generators: Source of the policy's randomness, one for each that plays.
        max_steps: Environment steps of each, at most.
        deterministic: Take the most likely action instead of sampling.
        poll: Called now and then; what it raises ends the play.

    Returns:
        Sums of rewards and environment steps, one for each generator, and how many episodes had not ended.
    """
    dims, count = uniforms_per_action(environment), len(generators)
    returns, lengths = np.zeros(count), np.zeros(count, np.int64)
    playing = np.arange(simulators.num_envs) < count
    simulators.rest(~playing)
    uniforms = np.full((simulators.num_envs, dims), 0.5)
    for step in range(max_steps):
        if not playing.any():
            break
        if poll is not None and step % POLL_STEPS == 0:
            poll()
        if deterministic:
            actions = policy.act(observations, deterministic=True)
        else:
            for slot in np.flatnonzero(playing).tolist():
                uniforms[slot] = draw(generators[slot], dims)
            actions = policy.act_with_uniforms(observations, uniforms)
        observations, rewards, terminated, truncated, _ = simulators.step(actions)
        slots = np.flatnonzero(playing)
        returns[slots] += np.asarray(rewards)[slots]
        lengths[slots] += 1
        ended = playing & (np.asarray(terminated) | np.asarray(truncated))
        if ended.any():
            playing &= ~ended
            simulators.rest(~playing)
    return returns, lengths, int(playing.sum())
