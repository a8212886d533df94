"""Can the environment really restore a state? Asked before anything is believed of a counterfactual test.

A test compares two futures of one state; if restoring loses part of the state (a counter, a generator, a sticky
action), every measured gain is of something else. The probe plays a few steps, saves the state, plays on, restores it
into the same slot and into another one, repeats the same actions, and compares bit by bit. A third slot with the same
seed is never saved: saving must not change anything either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ultra_agents.contracts import Environment, Policy
from ultra_agents.contracts.environment import uniforms_per_action
from ultra_agents.errors import EnvironmentFault
from ultra_agents.records import Array
from ultra_agents.rollout.collect import draw
from ultra_agents.rollout.simulators import LocalSimulators, Simulators
from ultra_agents.seeding import Streams

_Row = tuple[bytes, float, bool, bool]


@dataclass(frozen=True)
class Probe:
    """What the probe found.

    Attributes:
        ok: Restored states have exactly the future of the saved ones.
        differed: What did not, and where; empty if nothing.
        env_steps: Environment steps spent, all slots.
    """

    ok: bool
    differed: str
    env_steps: int


def restore_is_exact(
    environment: Environment, policy: Policy, streams: Streams, *, steps: int = 200, before: tuple[int, ...] = (3, 40)
) -> Probe:
    """Save and restore a state of an episode of `policy`, and compare what follows.

    Args:
        environment: One that offers `snapshot`; plugin errors in saving and restoring count as a difference.
        policy: Chooses the actions that are repeated.
        streams: Source of the seeds and of the policy's randomness.
        steps: Longest stretch compared, environment steps; ends earlier with the episode.
        before: After how many steps the state is saved: one trial each, fewer where the episode ends before.
    """
    spent = 0
    for trial, wait in enumerate(before):
        with LocalSimulators(environment, 3) as simulators:
            try:
                differed, used = _trial(simulators, environment, policy, streams.child("probe", trial), wait, steps)
            except EnvironmentFault as error:
                return Probe(False, f"failed: {error.problem}" + (f" ({error.found})" if error.found else ""), spent)
        spent += used
        if differed:
            return Probe(False, differed, spent)
    return Probe(True, "", spent)


def _trial(
    simulators: Simulators, environment: Environment, policy: Policy, streams: Streams, wait: int, steps: int
) -> tuple[str, int]:
    """One state: what differed (empty: nothing), and the steps taken by the three slots."""
    rng, dims, used = streams.generator("actions"), uniforms_per_action(environment), 0
    seed, other = streams.integers(2, "seeds")
    observations, _ = simulators.reset(seed=[seed, other, seed])

    def act(seen: Array) -> Array:
        action = policy.act_with_uniforms(np.asarray(seen[:1]), draw(rng, dims)[None])
        return np.repeat(np.asarray(action), 3, axis=0)

    for _ in range(wait):
        actions = act(observations)
        following, _, terminated, truncated, _ = simulators.step(actions)
        used += 3
        observations = following
        if terminated[0] or truncated[0]:
            break  # the next episode's first state will do
    (state,) = simulators.snapshot([0])
    first = np.array(observations[0])
    played: list[Array] = []
    truth: list[_Row] = []
    while len(played) < steps and not (truth and (truth[-1][2] or truth[-1][3])):
        actions = act(observations)
        result = simulators.step(actions)
        used += 3
        played.append(actions)
        truth.append(_row(result, 0))
        observations = result[0]
        if what := _difference(_row(result, 2), truth[-1]):
            return f"{what}, {len(played)} steps after the state was saved (compared with a slot never saved)", used
    restored = simulators.restore([0, 1], [state, state])
    places = ((0, "the same slot"), (1, "another slot"))
    for slot, where in places:
        if np.asarray(restored[slot]).tobytes() != first.tobytes():
            return f"observation right after restoring into {where}", used
    for step, actions in enumerate(played):
        result = simulators.step(actions)
        used += 3
        for slot, where in places:
            if what := _difference(_row(result, slot), truth[step]):
                return f"{what}, {step + 1} steps after restoring into {where}", used
    return "", used


def _row(result: Any, slot: int) -> _Row:
    """Observation (an ended episode's own last one), reward and ends of one slot."""
    observations, rewards, terminated, truncated, info = result
    ended = bool(terminated[slot] or truncated[slot])
    seen = np.asarray(info["final_obs"][slot] if ended else observations[slot], observations.dtype)
    return seen.tobytes(), float(rewards[slot]), bool(terminated[slot]), bool(truncated[slot])


def _difference(found: _Row, expected: _Row) -> str:
    names = ("observation", "reward", "termination", "truncation")
    return next((name for name, a, b in zip(names, found, expected, strict=True) if a != b), "")
