"""Whether what training made of a start is kept: paired episodes of both, each as it would act, on fresh seeds.

PPO under rules in force can ruin what the rules had won, and a copy can unlearn them. The higher mean wins. Under
rules that leave nothing to the network both act alike, and are compared alone. Charged to the method, out of a part of
its budget that is set aside before it trains. Not part of the ULTRA paper.
"""

from __future__ import annotations

import numpy as np

from ultra_agents.contracts import Policy, Prepared
from ultra_agents.events import StepsSpent
from ultra_agents.records import Kept
from ultra_agents.stages.context import RunContext
from ultra_agents.verification.paired import Budget, Entrant, Episodes, Horizon
from ultra_agents.verification.sequential import Rule, interval, returns_spread

SHARE = 10
"""The test may take one in so many of the environment steps that each method has."""
WAVE = 4
"""Pairs played side by side."""


def better_of(
    context: RunContext,
    method: str,
    prepared: Prepared,
    trained: Policy,
    limit: int,
) -> tuple[Policy, Kept, int]:
    """Compare a trained network with the one it started as.

    Args:
        context: The run.
        method: Name of the method.
        prepared: The start, and the rules that are in force over either.
        trained: What training made.
        limit: Environment steps that may be spent; as many pairs are played as they pay for.

    Returns:
        The network to end with, the comparison, environment steps spent.
    """
    terms, budget = context.config.verification.rules, Budget(limit)
    horizon = Horizon(terms.horizon, terms.discount, value_at_truncation=False)
    settings = context.environment, prepared.start, context.streams.child("confirm", method), horizon, budget

    def pairs(before: Entrant, after: Entrant) -> list[float]:
        workers = context.config.verification.workers
        with Episodes(*settings, width=WAVE, workers=workers, strict=False) as episodes:
            found: list[float] = []
            while episodes.extend([before, after], len(found) + WAVE):
                context.check_stop()
                found = np.subtract(after.returns, before.returns).tolist()
                if prepared.in_force and len(found) > WAVE and not any(found):  # the rules leave nothing to either
                    break
        return found

    found = pairs(start := Entrant(prepared.as_trained(prepared.start)), Entrant(prepared.as_trained(trained)))
    if prepared.in_force and not any(found):
        found = pairs(start := Entrant(prepared.start), Entrant(trained))
    spread = returns_spread(start.rewards, terms.discount) if start.rewards else 0.0
    ends = interval(found, Rule((len(found),), terms.confidence, terms.noise * spread, 0.0))
    better = ends.mean > 0
    kept = Kept("trained" if better else "start", ends.mean, ends.low, ends.high, len(found))
    context.emit(StepsSpent("confirm", budget.spent))
    return trained if better else prepared.start, kept, budget.spent
