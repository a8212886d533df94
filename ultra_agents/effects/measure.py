"""What actions do: each is tried from stored states, and every quantity is compared with what it is otherwise.

Each named action is held for some steps from states of the collected episodes, in two ways. *Against nothing*: idle
after it, compared with idling all along, where an action does nothing; that is what a push does by itself. *Against
the policy*: the policy goes on after it, compared with the policy all along, under the same random numbers; that is
what is left of a push once the policy has answered it. Of a continuous action each component is tried alone at both
ends of its range, while the others idle, or are the policy's.

All comparisons are paired: the same states, and where the policy acts the same draws. What is typical is the median
over states, for in a few of them nothing can change (a paddle at the wall), and a mean would be true of none; of facts
(0 or 1) and of the return it is the mean. Where a fact divides the states (a foot on the ground or not), each side is
compared by itself as well: what an ankle does on the ground is lost in a median over flight and stance. Not part of
the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from gymnasium.spaces import Box

from ultra_agents.contracts import Environment, Policy, capabilities
from ultra_agents.contracts.environment import uniforms_per_action
from ultra_agents.contracts.quantities import FACT
from ultra_agents.contracts.vector import before_reset
from ultra_agents.effects.states import FEWEST, chosen_states, dividing_fact, named
from ultra_agents.records import Array, FloatArray, Trajectory
from ultra_agents.rollout.simulators import Simulators
from ultra_agents.seeding import Streams

HOLDS = ((1, 2, 4, 8), (1, 4), (4,))
"""Steps an action is held: the first choice of which the cap on steps pays for `FEWEST` states."""
AHEAD = 8
"""Steps after which quantities are compared, at most."""
MOST_STATES = 24
MOST_ACTIONS = 12
"""Named actions tried, or twice the components; of longer lists an even choice."""
SAME = 1e-6
"""Differences that are rounding."""
RETURN = "return"
"""The sum of rewards since the state, which is compared like a quantity."""

Against: TypeAlias = Literal["idle", "policy"]


@dataclass(frozen=True)
class Effect:
    """How one action, held so long, changes one quantity.

    Attributes:
        action: Its name, or a component with its value ("hip=1").
        held: Environment steps it was held.
        against: What it is compared with, and what acts after it.
        quantity: A name of the legend, or `return`.
        typical: Median paired difference (of facts and returns the mean) after 1, 2, ... steps; None where fewer than
            two states have one.
        low: A tenth of the states differ by less, at the step after which `typical` is largest.
        high: A tenth differ by more there.
        size: `typical` there, in standard deviations of the quantity over the collected episodes.
        surely: States there that differ to the more usual side less the others, in standard deviations of a coin's.
        where: What is so in the states it was measured from ("stance=1"); empty for all of them.
    """

    action: str
    held: int
    against: Against
    quantity: str
    typical: tuple[float | None, ...]
    low: float
    high: float
    size: float
    surely: float
    where: str = ""


@dataclass(frozen=True)
class Effects:
    """What was measured.

    Attributes:
        effects: Everything that changed.
        states: Stored states it was measured from.
        env_steps: Environment steps it took.
        idle: Name of the action that does nothing, where there is one.
        divided: What divides the states ("stance=1") and how many are on that side; empty where nothing does.
    """

    effects: tuple[Effect, ...]
    states: int
    env_steps: int
    idle: str | None
    divided: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, eq=False)
class _Push:
    """An action, or one component of it (`part`), put in the place of what would act otherwise."""

    name: str
    value: Array
    part: int | None = None


@dataclass(frozen=True, eq=False)
class _Arm:
    """What is played from a state: `push` for `held` steps, then what it is compared with; no push: that alone."""

    against: Against
    push: _Push | None = None
    held: int = 0


def measure_effects(
    trajectories: Sequence[Trajectory],
    *,
    environment: Environment,
    policy: Policy,
    simulators: Simulators,
    streams: Streams,
    max_steps: int,
    poll: Callable[[], None] = lambda: None,
) -> Effects | None:
    """Try actions from stored states.

    Args:
        trajectories: Episodes with simulator states.
        environment: Names quantities and actions.
        policy: Whose episodes these are.
        simulators: Any number of environments that can restore; used by this call alone.
        streams: Source of all randomness.
        max_steps: Environment steps, at most.
        poll: Called between waves; what it raises ends the measurement.

    Returns:
        None where there are no quantities or no stored states, or where the steps do not pay for two states.

    Raises:
        EnvironmentFault: The plugin fails.
    """
    stored = [one for one in trajectories if one.snapshots]
    if "quantities" not in capabilities(environment) or not stored:
        return None
    pushes, idle = _pushes(environment), environment.actions.idle
    places = [(one, step) for one in stored for step in range(len(one))]
    fact, so = dividing_fact(stored, environment)
    for holds in HOLDS:
        arms = list(_arms(pushes, idle, holds))
        count = min(MOST_STATES, max_steps // (AHEAD * len(arms)), len(places))
        if count >= (FEWEST if fact is None else 2 * FEWEST):
            break
    if count < 2:
        return None
    chosen, sides = chosen_states(so, count, streams.generator("states")), {"": np.ones(count, dtype=bool)}
    states = [places[index] for index in chosen]
    if fact is not None and count >= 2 * FEWEST:
        sides |= {f"{fact}=1": so[chosen], f"{fact}=0": ~so[chosen]}
    return _measured(states, sides, arms, trajectories, environment, policy, simulators, streams, poll)


def measure_action(
    action: str,
    held: int,
    states: Sequence[tuple[Trajectory, int]],
    trajectories: Sequence[Trajectory],
    *,
    environment: Environment,
    policy: Policy,
    simulators: Simulators,
    streams: Streams,
) -> Effects:
    """Try one action, or one part of it (`hip=0.5`), from states that were chosen for that.

    Args:
        action: Its name, or one component with its value.
        held: Environment steps it is held, 1 to `AHEAD`.
        states: Episodes with the steps to begin at, each with its simulator state.
        trajectories: What is usual, for the size of an effect.
        environment: Names quantities and actions.
        policy: Whose episodes these are.
        simulators: Any number of environments that can restore; used by this call alone.
        streams: Source of all randomness.

    Raises:
        KeyError: There is no such action.
        EnvironmentFault: The plugin fails.
    """
    push = _named_push(environment, action)
    arms = list(_arms([push], environment.actions.idle, (held,)))
    every = {"": np.ones(len(states), dtype=bool)}
    return _measured(states, every, arms, trajectories, environment, policy, simulators, streams, lambda: None)


def steps_of_action(environment: Environment, action: str) -> int:
    """Environment steps that `measure_action` takes for each state, at most."""
    idle = environment.actions.idle
    return AHEAD * (2 if idle is None else 3 if action == idle else 4)


def _measured(
    states: Sequence[tuple[Trajectory, int]],
    sides: Mapping[str, Array],
    arms: Sequence[_Arm],
    trajectories: Sequence[Trajectory],
    environment: Environment,
    policy: Policy,
    simulators: Simulators,
    streams: Streams,
    poll: Callable[[], None],
) -> Effects:
    simulators.reset(seed=streams.integers(simulators.num_envs, "reset"))
    found, steps = _play_all(states, arms, environment, policy, simulators, streams, poll)
    facts = {name: one.unit == FACT for name, one in environment.legend.items()} | {RETURN: True}
    scales = _scales(trajectories, environment)
    references = {arm.against: index for index, arm in enumerate(arms) if arm.push is None}
    effects = [
        effect
        for index, arm in enumerate(arms)
        if arm.push is not None
        for where, rows in sides.items()
        for effect in _compared(
            arm, arm.push, where, (found[:, index] - found[:, references[arm.against]])[rows], facts, scales
        )
    ]
    divided = tuple((where, int(rows.sum())) for where, rows in sides.items() if where)
    return Effects(tuple(effects), len(states), steps, environment.actions.idle, divided)


def _pushes(environment: Environment) -> list[_Push]:
    codec, space = environment.actions, environment.action_space
    if isinstance(space, Box) and codec.components and space.is_bounded():
        low, high = space.low.reshape(-1), space.high.reshape(-1)
        found = [
            _Push(f"{name}={value:g}", np.asarray(value, space.dtype), part)
            for part, name in enumerate(codec.components)
            for value in (high[part], low[part])
        ]
    else:
        found = [_Push(name, np.asarray(codec.encode(name))) for name in codec.names]
    if len(found) <= MOST_ACTIONS:
        return found
    return [found[int(index)] for index in np.linspace(0, len(found) - 1, MOST_ACTIONS).round()]


def _named_push(environment: Environment, action: str) -> _Push:
    codec, space = environment.actions, environment.action_space
    label = action.partition("=")[0]
    if isinstance(space, Box) and label.strip() in codec.components and " " not in action.strip():
        part = codec.components.index(label.strip())
        return _Push(action, np.asarray(codec.encode(action)).reshape(-1)[part], part)
    return _Push(action, np.asarray(codec.encode(action), space.dtype))


def _arms(pushes: Sequence[_Push], idle: str | None, holds: Sequence[int]) -> Iterator[_Arm]:
    for against in ("idle", "policy") if idle is not None else ("policy",):
        yield _Arm(against)
        for push in pushes:
            if against == "policy" or push.name != idle:
                yield from (_Arm(against, push, held) for held in holds)


def _play_all(
    states: Sequence[tuple[Trajectory, int]],
    arms: Sequence[_Arm],
    environment: Environment,
    policy: Policy,
    simulators: Simulators,
    streams: Streams,
    poll: Callable[[], None],
) -> tuple[FloatArray, int]:
    """What quantities and return were, `(states, arms, AHEAD, names)`, NaN after an end; and the steps taken."""
    jobs = [(state, arm) for state in range(len(states)) for arm in range(len(arms))]
    dims = uniforms_per_action(environment)
    draws = [
        streams.generator("draws", one.episode, step).random((AHEAD, dims)).clip(1e-9, 1 - 1e-9)
        for one, step in states
    ]
    found = np.full((len(states), len(arms), AHEAD, len(environment.legend) + 1), np.nan)
    steps, width = 0, simulators.num_envs
    for begin in range(0, len(jobs), width):
        poll()
        wave = jobs[begin : begin + width]
        snapshots = [(one.snapshots or ())[step] for one, step in (states[state] for state, _ in wave)]
        uniforms = np.stack([draws[state] for state, _ in wave], axis=1)
        values, used = _play([arms[arm] for _, arm in wave], snapshots, uniforms, environment, policy, simulators)
        for (state, arm), row in zip(wave, values, strict=True):
            found[state, arm] = row
        steps += used
    return found, steps


def _play(
    arms: Sequence[_Arm],
    snapshots: Sequence[bytes],
    uniforms: FloatArray,
    environment: Environment,
    policy: Policy,
    simulators: Simulators,
) -> tuple[FloatArray, int]:
    """One wave: `(arms, AHEAD, names)` and its environment steps; `uniforms` are `(AHEAD, arms, dims)`."""
    count, codec, space = len(arms), environment.actions, environment.action_space
    seen = np.array(simulators.restore(range(count), snapshots))
    found = np.full((count, AHEAD, len(environment.legend) + 1), np.nan)
    earned, alive, used = np.zeros(count), np.ones(count, dtype=bool), 0
    nothing = None if codec.idle is None else np.asarray(codec.encode(codec.idle))
    batch = np.zeros((simulators.num_envs, *(space.shape or ())), dtype=space.dtype)
    for time in range(AHEAD):
        batch[:count] = policy.act_with_uniforms(seen, uniforms[time])
        for row, arm in enumerate(arms):
            if arm.against == "idle":
                batch[row] = nothing
            if arm.push is not None and time < arm.held:
                if arm.push.part is None:
                    batch[row] = arm.push.value
                else:
                    batch[row].reshape(-1)[arm.push.part] = arm.push.value
        following, rewards, terminated, truncated, info = simulators.step(batch)
        used += int(np.count_nonzero(alive))
        ended = np.asarray(terminated) | np.asarray(truncated)
        last = np.asarray(before_reset(np.asarray(following), ended, info))[:count]
        earned += np.asarray(rewards)[:count]
        rows = np.stack([*named(environment, last).values(), earned], axis=1)
        found[:, time] = np.where(alive[:, None], rows, np.nan)
        alive &= ~ended[:count]
        if not alive.any():
            break
        seen = np.array(np.asarray(following)[:count])
    return found, used


def _scales(trajectories: Sequence[Trajectory], environment: Environment) -> FloatArray:
    """What each quantity, and the return of `AHEAD` steps, varies by over the episodes; 0 where it does not."""
    told = [named(environment, one.observations) for one in trajectories if len(one)]
    columns = [np.concatenate([row[name] for row in told]) for name in environment.legend]
    sums = [np.convolve(one.rewards, np.ones(AHEAD), "valid") for one in trajectories if len(one) >= AHEAD]
    columns.append(np.concatenate(sums) if sums else np.zeros(1))
    finite = [column[np.isfinite(column)] for column in columns]
    return np.array([float(np.std(column)) if len(column) else 0.0 for column in finite])


def _compared(
    arm: _Arm, push: _Push, where: str, differences: FloatArray, facts: Mapping[str, bool], scales: FloatArray
) -> Iterator[Effect]:
    """Of `(states, AHEAD, names)` differences what is not nothing, one effect for each quantity."""
    for (name, fact), rows, scale in zip(facts.items(), np.moveaxis(differences, 2, 0), scales, strict=True):
        told = np.isfinite(rows).sum(axis=0) >= 2
        if not told.any():
            continue
        typical = np.full(AHEAD, np.nan)
        typical[told] = (np.nanmean if fact else np.nanmedian)(rows[:, told], axis=0)
        at = int(np.nanargmax(np.abs(typical)))
        if abs(typical[at]) <= SAME:
            continue
        met = rows[np.isfinite(rows[:, at]), at]
        up, down = int(np.count_nonzero(met > SAME)), int(np.count_nonzero(met < -SAME))
        yield Effect(
            action=push.name,
            held=arm.held,
            against=arm.against,
            quantity=name,
            typical=tuple(None if np.isnan(value) else float(value) for value in typical),
            low=float(np.quantile(met, 0.1)),
            high=float(np.quantile(met, 0.9)),
            size=float(abs(typical[at]) / scale) if scale > SAME else 0.0,
            surely=abs(up - down) / max(up + down, 1) ** 0.5,
            where=where,
        )
