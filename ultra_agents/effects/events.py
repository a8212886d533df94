"""What preceded events (a reward of a kind, a termination) in the collected episodes; costs no environment step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ultra_agents.contracts import Environment, capabilities
from ultra_agents.effects.states import named
from ultra_agents.narration.rewards import unusual_rewards, usual_reward
from ultra_agents.narration.wording import reward_word
from ultra_agents.records import Array, FloatArray, Trajectory

BEFORE = (16, 8, 4, 0)
"""Steps before an event at which quantities are told; 0 is the state of the step in which it happens."""
MOST_KINDS = 4


@dataclass(frozen=True)
class Event:
    """How one quantity was before the events of one kind.

    Attributes:
        kind: What happened, in the environment's words where it has any.
        count: Events of the kind.
        episodes: Episodes with one.
        quantity: A name of the legend.
        means: Mean over the events `BEFORE` it; None where fewer than two have one.
        elsewhere: Mean over the steps that are not shortly before such an event.
        spread: Standard deviation there.
        size: Largest difference of a mean from `elsewhere`, in spreads.
        surely: That difference in standard errors.
    """

    kind: str
    count: int
    episodes: int
    quantity: str
    means: tuple[float | None, ...]
    elsewhere: float
    spread: float
    size: float
    surely: float


def events_table(trajectories: Sequence[Trajectory], environment: Environment) -> tuple[Event, ...]:
    """What preceded each of the commonest kinds of event; empty without quantities, or where nothing happened twice.

    Args:
        trajectories: The collected episodes.
        environment: Names quantities, and kinds of rewards where it has words for them.
    """
    if "quantities" not in capabilities(environment):
        return ()
    told = [named(environment, one.observations) for one in trajectories]
    kinds: dict[str, list[Array]] = {}
    for index, one in enumerate(trajectories):
        for kind, steps in _events(one, environment):
            kinds.setdefault(kind, [np.zeros(0, np.int64) for _ in trajectories])[index] = steps
    commonest = sorted(kinds, key=lambda kind: -sum(map(len, kinds[kind])))[:MOST_KINDS]
    return tuple(event for kind in commonest for event in _preceding(kind, kinds[kind], told))


def _events(trajectory: Trajectory, environment: Environment) -> Iterator[tuple[str, Array]]:
    """Kinds of event in one episode and their steps; a last step that ends it is a kind of its own."""
    rewards = trajectory.rewards
    events, usual = np.flatnonzero(unusual_rewards(rewards)), usual_reward(rewards)
    kinds: dict[str, list[int]] = {}
    for step in events:
        reward = rewards[step : step + 1]
        unusual = "unusually high reward" if reward[0] > np.median(rewards) else "unusually low reward"
        word = unusual if usual is None else reward_word(environment, reward) or f"reward {reward[0]:+.3g}"
        kinds.setdefault(word, []).append(int(step))
    if trajectory.terminated:
        kinds.setdefault("end of an episode", []).append(len(trajectory) - 1)
    yield from ((kind, np.array(steps)) for kind, steps in kinds.items())


def _preceding(kind: str, steps: Sequence[Array], told: Sequence[Mapping[str, FloatArray]]) -> Iterator[Event]:
    """One row for each quantity; `steps` of the events by episode."""
    count, episodes = sum(map(len, steps)), sum(len(some) > 0 for some in steps)
    for name in told[0] if count >= 2 else ():
        values = [row[name] for row in told]
        apart = np.concatenate([one[_far(len(one), some)] for one, some in zip(values, steps, strict=True)])
        apart = apart[np.isfinite(apart)]
        if len(apart) < 2 or np.std(apart) <= 1e-9:
            continue
        elsewhere, spread = float(np.mean(apart)), float(np.std(apart))
        means: list[float | None] = []
        size = surely = 0.0
        for before in BEFORE:
            met = np.concatenate([one[some[some >= before] - before] for one, some in zip(values, steps, strict=True)])
            met = met[np.isfinite(met)]
            means.append(float(np.mean(met)) if len(met) >= 2 else None)
            if len(met) >= 2 and (distance := abs(float(np.mean(met)) - elsewhere)) > size * spread:
                error = max(float(np.std(met, ddof=1)) / np.sqrt(len(met)), 1e-9 * spread)
                size, surely = distance / spread, distance / error
        if size > 0:
            yield Event(kind, count, episodes, name, tuple(means), elsewhere, spread, size, surely)


def _far(length: int, events: Array) -> Array:
    """`(length,)` bool: steps that are not at or shortly before one of the `events`."""
    near = np.zeros(length, dtype=bool)
    for step in events:
        near[max(step - BEFORE[0], 0) : step + 1] = True
    return ~near
