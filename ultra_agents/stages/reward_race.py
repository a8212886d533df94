"""A race of short training arms: does training with an implicit reward end higher than training without it?

The only test of what a reward is for. Each pair of arms starts from the starting policy with the same random numbers,
is trained as refining trains it, the reward falling to 0 over the arm, and is scored by the same episodes. A pair is
begun only if the budget pays for it; all of it is charged to the methods that use advice. Asked for by
`verification.rules.reward_pairs`. Not part of the ULTRA paper.
"""

from __future__ import annotations

import numpy as np

from ultra_agents.contracts import Modulation, Policy
from ultra_agents.events import StageProgress, StepsSpent
from ultra_agents.modulation.rules import RuleModulation
from ultra_agents.rules import RuleSet
from ultra_agents.seeding import Streams
from ultra_agents.stages.context import RunContext
from ultra_agents.verification.paired import Budget, Entrant, Episodes, Horizon
from ultra_agents.verification.reward import RewardRace
from ultra_agents.verification.sequential import Decision, Rule, decide, interval

SHARE = 3
"""A race may take one in so many of the environment steps that each method has."""
FEWEST = 2
"""Pairs of arms without which nothing is decided."""
SCORED = 4
"""Episodes that score each arm."""


def race_reward(context: RunContext, rules: RuleSet) -> RewardRace:
    """Train pairs of arms with and without the reward of `rules`, bound, until it is known which end higher."""
    terms = context.config.verification.rules
    budget = Budget(min(terms.reward_max_steps, context.config.refine.steps // SHARE))
    rule = Rule(tuple(range(FEWEST, max(terms.reward_pairs, FEWEST) + 1)), terms.confidence, 0.0, 0.0)
    horizon = Horizon(terms.horizon, terms.discount, value_at_truncation=False)
    arms, gains, stopped, longest = list[tuple[float, float]](), list[float](), "pairs", 0
    for number in range(terms.reward_pairs):
        wanted = longest or 2 * terms.reward_steps + 2 * SCORED * horizon.steps
        if not budget.affords(wanted):
            stopped = "steps"
            break
        context.check_stop()
        before, streams = budget.spent, context.streams.child("reward race", number)
        with_it, without = (_trained(context, given, streams, budget) for given in (_modulation(context, rules), None))
        ends = _scored(context, [with_it, without], streams, budget, horizon)
        arms.append(ends)
        gains.append(ends[0] - ends[1])
        longest = max(longest, budget.spent - before)
        context.emit(
            StageProgress("rules", number + 1, terms.reward_pairs, "training arms with and without the reward")
        )
        if (said := _decided(gains, rule)) is not None:
            stopped = said
            break
    context.emit(StepsSpent("rules", budget.spent, "reward race"))
    found = interval(gains, rule)
    said = _decided(gains, rule)
    return RewardRace(
        "better" if said == "good" else "worse" if said == "bad" else "undecided",
        found.mean, found.low, found.high, tuple(arms), terms.reward_steps, budget.spent, stopped,
    )  # fmt: skip


def _decided(gains: list[float], rule: Rule) -> Decision | None:
    """`good` or `bad`; arms that all end alike say nothing, however many they are."""
    said = decide(gains, rule) if any(gains) else None
    return None if said == "hopeless" else said


def _modulation(context: RunContext, rules: RuleSet) -> Modulation:
    return RuleModulation(None, rules, context.environment.quantities, context.modulation, acts=False, learn="policy")


def _trained(context: RunContext, modulation: Modulation | None, streams: Streams, budget: Budget) -> Policy:
    """One arm; the same draws whether with or without."""
    steps = context.config.verification.rules.reward_steps
    with context.simulators(context.config.refine.num_envs) as simulators:
        trainer = context.algorithm.trainer(context.policy, simulators, steps, streams.child("train"), modulation)
        while trainer.steps < steps:
            context.check_stop()
            trainer.update()
        budget.spent += trainer.steps
    return trainer.policy


def _scored(
    context: RunContext, arms: list[Policy], streams: Streams, budget: Budget, horizon: Horizon
) -> tuple[float, float]:
    """Mean returns of both arms over the same episodes; what was trained is scored, whatever it costs."""
    entrants = [Entrant(arm) for arm in arms]
    open_ended = Budget(len(arms) * SCORED * horizon.steps)
    with Episodes(
        context.environment, context.policy, streams.child("score"), horizon, open_ended, width=SCORED, strict=True
    ) as episodes:
        episodes.extend(entrants, SCORED)
    budget.spent += open_ended.spent
    ends = [float(np.mean(one.returns)) for one in entrants]
    return ends[0], ends[1]
