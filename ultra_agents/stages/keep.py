"""Whether what training made of a start is kept: paired episodes of both, each as it would act, on fresh seeds.

PPO under rules in force can ruin what the rules had won, and a copy can unlearn them. The higher mean wins. Under
rules that leave little to the network both act nearly alike, whatever became of the network: where half of the steps
do not tell them apart, the other half compares the networks alone, and of the two comparisons the one that found the
larger difference decides: a network that is a little better alone may have ruined what the rules win over it. Rules
that correct the network's own action leave it a say in every state, and it was trained to be corrected: there all
steps go into the first comparison. Charged to the method, out of a part of its budget that is set aside before it
trains. Not part of the ULTRA paper.
"""

from __future__ import annotations

import numpy as np

from ultra_agents.config import Config
from ultra_agents.contracts import Policy, Prepared
from ultra_agents.events import StepsSpent
from ultra_agents.records import Kept
from ultra_agents.stages.context import RunContext
from ultra_agents.verification.paired import Budget, Entrant, Episodes, Horizon
from ultra_agents.verification.sequential import GainInterval, Rule, interval, returns_spread

SHARE = 10
"""The test may take one in so many of the environment steps that each method has."""
WAVE = 4
"""Pairs played side by side, if the steps pay for so many; half as many where two comparisons share the steps."""


def unaffordable(config: Config, episode: int) -> str:
    """Why what training makes will not be compared, with episodes reckoned at so many steps; empty where it will."""
    reserve, longest = config.refine.steps // SHARE, min(config.verification.rules.horizon, episode)
    if reserve >= 2 * longest:
        return ""
    return (
        f"what training makes of the tested start will not be kept: a pair of episodes of up to {longest:,} steps has "
        f"to show that it is better, and {reserve:,} steps (one of {SHARE} of refine.steps) do not pay for one; raise "
        "refine.steps, or lower verification.rules.horizon"
    )


def better_of(
    context: RunContext,
    method: str,
    prepared: Prepared,
    trained: Policy,
    limit: int,
    episode: int | None = None,
) -> tuple[Policy, Kept, int]:
    """Compare a trained network with the one it started as.

    Args:
        context: The run.
        method: Name of the method.
        prepared: The start, and the rules that are in force over either.
        trained: What training made.
        limit: Environment steps that may be spent; as many pairs are played as they pay for.
        episode: Steps that an episode is reckoned with before one was played; None: the horizon.

    Returns:
        The network to end with (the start where not one pair is paid for), the comparison, environment steps spent.
    """
    terms, spent = context.config.verification.rules, 0
    horizon = Horizon(terms.horizon, terms.discount, value_at_truncation=False)
    twice = prepared.in_force and not prepared.corrects

    def compared(before: Policy, after: Policy, most: int) -> tuple[GainInterval, int]:
        nonlocal spent
        both = start, end = Entrant(before, reckoned=episode), Entrant(after, reckoned=episode)
        found, budget = list[float](), Budget(max(most, 0))
        settings = context.environment, prepared.start, context.streams.child("confirm", method), horizon, budget
        workers, wave = context.config.verification.workers, WAVE // 2 if twice else WAVE
        with Episodes(*settings, width=wave, workers=workers, strict=False) as episodes:
            while (more := min(wave, int(episodes.left // sum(one.longest(terms.horizon) for one in both)))) > 0:
                context.check_stop()
                episodes.extend(both, len(found) + more)
                found = np.subtract(end.returns, start.returns).tolist()
                if prepared.in_force and len(found) > wave and not any(found):  # the rules leave nothing to either
                    break
        spent += budget.spent
        spread = returns_spread(start.rewards, terms.discount) if start.rewards else 0.0
        rule = Rule((len(found),), terms.confidence, terms.noise * spread, 0.0)
        return interval(found, rule), len(found)

    in_force = prepared.as_trained(prepared.start), prepared.as_trained(trained)
    ends, pairs = compared(*in_force, limit // 2 if twice else limit)
    if twice and ends.low <= 0 <= ends.high:
        alone, more = compared(prepared.start, trained, limit - spent)
        if more and abs(alone.mean) > abs(ends.mean):
            ends, pairs = alone, more
    better = ends.mean > 0
    kept = Kept("trained" if better else "start", ends.mean, ends.low, ends.high, pairs)
    context.emit(StepsSpent("confirm", spent, method))
    return trained if better else prepared.start, kept, spent
