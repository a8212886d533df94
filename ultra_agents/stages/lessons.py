"""Rules taught to a network: labels are free on every state ever met.

What the rules do can be computed for any state, so a copy of the policy learns from the collected episodes, from
rounds under the rules and from rounds under itself (DAgger: Ross et al. 2011, arXiv 1011.0686). In the last round it
learns until it agrees no better with what the rules do in environments that were held out. Where no rule covers a
state it is held to what the policy did. Environment steps of the rounds are charged to the methods that use advice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from gymnasium.spaces import Box

from ultra_agents.contracts import Demonstrations, Policy, Widening, agreed
from ultra_agents.events import StageProgress
from ultra_agents.records import Array
from ultra_agents.rules import RuleSet
from ultra_agents.rules.layer import RulePolicy
from ultra_agents.rules.margins import teller
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings

HELD_OUT = 4
"""One in so many environments of a round is held out; of fewer than so many none, for too little would be left."""


def widened(context: RunContext, findings: Findings, rules: RuleSet) -> Policy:
    """The policy, with what the rules speak of, or decide by, as further inputs where that is asked for."""
    policy, wanted = context.policy, context.config.imitation.widen
    if wanted == "none":
        return policy
    if not context.algorithm.can_widen:
        context.note("widen", "imitation.widen: the algorithm's networks take no further inputs, so it is left out")
        return policy
    seen = np.concatenate([one.observations for one in findings.trajectories])
    read = policy.widening.rules if policy.widening is not None else ()
    texts = tuple(dict.fromkeys((*read, rules.to_yaml()))) if wanted == "margins" else read
    told = teller(context.environment, texts)
    margins = [name for name in told.legend if name not in context.environment.legend]
    return context.algorithm.widen(policy, Widening.of(told, (*rules.names, *margins), seen, texts))


class Lessons:
    """States met so far and what the rules do there; some are held out, to see how well the rest was learnt."""

    def __init__(self) -> None:
        self.shown: list[_Labelled] = []
        self.held_out: list[_Labelled] = []
        self.agreement: list[float] = []
        self.env_steps = 0

    @property
    def labels(self) -> int:
        """States with a label."""
        return sum(int(one.covered.sum()) for one in (*self.shown, *self.held_out))

    def demonstrations(self, held_out: bool) -> Demonstrations:
        """All that is shown, with what is held out or without."""
        shown = _together(self.shown, "shown")
        return replace(shown, held_out=_together(self.held_out)) if held_out and self.held_out else shown


@dataclass(frozen=True, eq=False)
class _Labelled:
    """`n` states, and what the rules do there.

    Attributes:
        observations: `(n, *observation_shape)`.
        actions: `(n, ...)` what they make of the policy's likeliest action.
        shown: `(n, ...)` what is learnt.
        covered: `(n,)` bool, where they do anything.
    """

    observations: Array
    actions: Array
    shown: Array
    covered: Array

    def where(self, rows: Array) -> _Labelled:
        return _Labelled(self.observations[rows], self.actions[rows], self.shown[rows], self.covered[rows])


def _together(parts: Sequence[_Labelled], which: str = "actions") -> Demonstrations:
    observations, actions, covered = (
        np.concatenate([getattr(one, name) for one in parts]) for name in ("observations", which, "covered")
    )
    weights = np.ones(int(covered.sum()))
    return Demonstrations(observations[covered], actions[covered], weights, observations[~covered])


def taught(
    context: RunContext, findings: Findings, policy: Policy, layer: RulePolicy
) -> tuple[Policy | None, Lessons]:
    """A copy of the policy that learnt the rules; None where they cover no state that was met."""
    rounds, learning = context.config.imitation.rounds, Lessons()
    streams = context.streams.child("start", "clone")

    # A correction of the policy's torques acts on its noise as well, and the sum is clipped to the bounds.
    sampled = layer.rules.needs_own and isinstance(context.environment.action_space, Box)

    def labelled(observations: Array, *which: str | int) -> _Labelled:
        actions, decision = layer.over(observations, policy.act(observations, deterministic=True))
        shown = layer.act(observations, streams.generator("label", *which)) if sampled else actions
        return _Labelled(observations, actions, shown, decision.covered)

    learning.shown.append(labelled(np.concatenate([one.observations for one in findings.trajectories]), "collected"))
    copy: Policy | None = None
    for number in range(rounds):
        met, environments = _met(context, number, layer, copy)
        found = labelled(met, number)
        learning.env_steps += len(met)
        if copy is not None and found.covered.any():
            own = copy.act(met[found.covered], deterministic=True)
            learning.agreement.append(agreed(own, found.actions[found.covered]))
        held_out = (environments % HELD_OUT == 0) & (environments.max() >= HELD_OUT - 1)
        learning.shown.append(found.where(~held_out))
        learning.held_out.append(found.where(held_out))
        if not _together(learning.shown).weights.size:
            return None, learning
        context.emit(
            StageProgress("start", number + 1, rounds, f"learning the rules from {learning.labels:,} labelled states")
        )
        context.check_stop()
        demonstrations = learning.demonstrations(held_out=number == rounds - 1)
        copy = context.algorithm.imitate(policy, demonstrations, streams.child(number))
    if not rounds and learning.labels:
        copy = context.algorithm.imitate(policy, learning.demonstrations(held_out=False), streams)
    return copy, learning


def _met(context: RunContext, number: int, layer: RulePolicy, copy: Policy | None) -> tuple[Array, Array]:
    """States met in one round `(n, ...)`, and the environment each was met in `(n,)`.

    Under the rules; in later rounds under the copy at every other step.
    """
    config, streams = context.config, context.streams.child("start", "round", number)
    rng, seen = streams.generator("act"), []
    count = min(config.refine.num_envs, config.imitation.round_steps)
    with context.simulators(count, workers=0) as simulators:
        observations = np.array(simulators.reset(seed=streams.integers(count, "reset"))[0])
        for _ in range(config.imitation.round_steps // count):
            context.check_stop()
            seen.append(observations)
            actions = layer.act(observations, rng)
            if copy is not None:
                own = copy.act(observations, rng)
                mine = rng.random(count) < 0.5
                actions = np.where(mine.reshape(-1, *[1] * (own.ndim - 1)), own, actions).astype(own.dtype)
            observations = np.array(simulators.step(actions)[0])
    return np.concatenate(seen), np.tile(np.arange(count), len(seen))
