"""Where to look: which steps' actions matter, estimated cheaply and told to the identifier as evidence.

Not part of the ULTRA paper; off by default. `value` costs nothing: how much the policy's value estimate changes from a
shown step to the next one shown. `simulator` asks a few states what each action would lead to: one short rollout per
action from the stored state, the action held as long as advice may be held, then the policy, all under the same random
numbers, the policy's value at the cut; the spread between the best and the worst action is what that step decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from ultra_agents.config import NarrationConfig
from ultra_agents.contracts import Environment, Policy
from ultra_agents.narration.describe import estimate_tokens
from ultra_agents.records import Array, FloatArray, Narration, Trajectory
from ultra_agents.seeding import Streams

MOST_ACTIONS = 8
"""Named actions tried per state; of longer lists an even choice."""


class Simulates(Protocol):
    """Parallel environments that can restore a state (`ultra_agents.rollout.simulators.Simulators`)."""

    num_envs: int

    def reset(self, *, seed: Any = None) -> Any:
        """Start an episode everywhere."""
        ...

    def restore(self, indices: Sequence[int], snapshots: Sequence[bytes]) -> Array:
        """Put states into environments; their observations."""
        ...

    def step(self, actions: Any) -> tuple[Array, FloatArray, Array, Array, dict[str, Any]]:
        """One step of all environments."""
        ...


@dataclass(frozen=True)
class Evidence:
    """What a pre-screening found in one segment.

    Attributes:
        lines: What the identifier is told; empty where nothing stood out.
        env_steps: Environment steps it took.
        steps: The steps named there, the one that matters most first.
    """

    lines: tuple[str, ...] = ()
    env_steps: int = 0
    steps: tuple[int, ...] = ()


def by_value(trajectory: Trajectory, narration: Narration, config: NarrationConfig) -> Evidence:
    """The candidates after which the policy's value estimate changed most until the next step shown."""
    values, asked = np.asarray(trajectory.values, dtype=np.float64), set(narration.candidates)
    changes = {step: float(values[after] - values[step]) for step, after in pairwise(narration.steps) if step in asked}
    best = _largest({step: abs(change) for step, change in changes.items()}, config.prescreen_steps)
    if not best:
        return Evidence()
    told = ", ".join(f"step {step} ({_signed(changes[step])})" for step in best)
    return Evidence(
        (f"Evidence: the policy's own estimate of what is to come changed most after {told}.",), 0, tuple(best)
    )


def by_simulator(
    trajectory: Trajectory,
    narration: Narration,
    config: NarrationConfig,
    *,
    environment: Environment,
    policy: Policy,
    simulators: Simulates,
    streams: Streams,
    hold: int,
    discount: float,
) -> Evidence:
    """The candidates at which the choice of action made the largest difference in short rollouts.

    Args:
        trajectory: The episode, with its simulator states; without them there is no evidence.
        narration: What is shown of it; only its candidates are tried.
        config: How many steps, and how long the rollouts.
        environment: Its action names; at most `MOST_ACTIONS` are tried.
        policy: Acts after the action tried.
        simulators: As many at once as it has; used by this call alone.
        streams: Source of the random numbers all rollouts of one state share.
        hold: Environment steps the action tried is held.
        discount: Of rewards, and of the value at the cut.
    """
    if trajectory.snapshots is None or not narration.candidates:
        return Evidence()
    names = _evenly(environment.actions.names, MOST_ACTIONS)
    steps = _evenly(narration.candidates, config.prescreen_states)
    jobs = [(step, name) for step in steps for name in names]
    simulators.reset(seed=streams.integers(simulators.num_envs, "reset"))
    worth: dict[tuple[int, str], float] = {}
    spent = 0
    for begin in range(0, len(jobs), simulators.num_envs):
        wave = jobs[begin : begin + simulators.num_envs]
        found, used = _play(wave, trajectory, config.prescreen_horizon, environment, policy, simulators, streams, hold,
                            discount)  # fmt: skip
        worth.update(zip(wave, found, strict=True))
        spent += used
    spread = {step: max(worth[step, n] for n in names) - min(worth[step, n] for n in names) for step in steps}
    best = _largest(spread, config.prescreen_steps)
    if not best:
        return Evidence((), spent)
    told = ", ".join(f"step {step} ({_figure(spread[step])})" for step in best)
    line = (
        f"Evidence: in short simulations of {len(steps)} of these steps the choice of action made the largest "
        f"difference of return at {told}."
    )
    return Evidence((line,), spent, tuple(best))


def with_evidence(narration: Narration, evidence: Evidence) -> Narration:
    """The narration with what the pre-screening found at its end."""
    text = "\n".join([narration.text, *evidence.lines])
    tokens = estimate_tokens(text) if evidence.lines else narration.tokens
    return replace(narration, text=text, tokens=tokens, env_steps=evidence.env_steps)


def reserve(config: NarrationConfig) -> NarrationConfig:
    """The same configuration with room in its token budget for the evidence, as far as the budget allows."""
    room = 40 + 8 * config.prescreen_steps
    return config.model_copy(update={"token_budget": max(config.token_budget - room, config.token_budget // 2)})


def _play(
    jobs: Sequence[tuple[int, str]],
    trajectory: Trajectory,
    horizon: int,
    environment: Environment,
    policy: Policy,
    simulators: Simulates,
    streams: Streams,
    hold: int,
    discount: float,
) -> tuple[list[float], int]:
    """Discounted return of one rollout per (step, action name), and the environment steps they took."""
    assert trajectory.snapshots is not None
    count = len(jobs)
    dims = max(int(np.prod(environment.action_space.shape or ())), 1)
    observations = np.array(simulators.restore(range(count), [trajectory.snapshots[step] for step, _ in jobs]))
    draws = {
        step: streams.generator("prescreen", trajectory.episode, step).random((horizon, dims)).clip(1e-9, 1 - 1e-9)
        for step in {step for step, _ in jobs}
    }
    tried = np.stack([np.asarray(environment.actions.encode(name)) for _, name in jobs])
    returns, alive, factor, used = np.zeros(count), np.ones(count, dtype=bool), 1.0, 0
    for time in range(horizon):
        own = policy.act_with_uniforms(observations, np.stack([draws[step][time] for step, _ in jobs]))
        acts = tried if time < hold else own
        actions = np.zeros((simulators.num_envs, *np.shape(tried)[1:]), dtype=np.asarray(own).dtype)
        actions[:count] = acts
        used += int(np.count_nonzero(alive))
        seen, rewards, terminated, truncated, _ = simulators.step(actions)
        returns += np.where(alive, factor * np.asarray(rewards)[:count], 0.0)
        factor *= discount
        alive &= ~(np.asarray(terminated) | np.asarray(truncated))[:count]
        observations = np.array(np.asarray(seen)[:count])
        if not alive.any():
            break
    if alive.any():
        returns[alive] += factor * np.asarray(policy.value(observations[alive]))
    return [float(value) for value in returns], used


def _largest(sizes: dict[int, float], count: int) -> list[int]:
    """At most `count` steps with the largest sizes above 0, the largest first; at most half of them all."""
    most = min(count, max(len(sizes) // 2, 1))
    above = [step for step in sizes if sizes[step] > 1e-9]
    return sorted(above, key=lambda step: (-sizes[step], step))[:most]


def _evenly(things: Sequence[Any], count: int) -> list[Any]:
    if len(things) <= count:
        return list(things)
    return [things[int(index)] for index in np.linspace(0, len(things) - 1, count).round()]


def _figure(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _signed(value: float) -> str:
    return ("+" if value > 0 else "-") + _figure(abs(value))
