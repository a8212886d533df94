"""Whether what training made of a start is kept: paired episodes of both, each as it would act, on fresh seeds.

PPO under rules in force can ruin what the rules had won, and a copy can unlearn them. Undecided, the higher mean wins;
under rules that leave nothing to the network both are alike, and the network that scores better alone is kept. Charged
to the method out of a part of its budget that is set aside before it trains. Not part of the ULTRA paper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ultra_agents.contracts import Policy, Prepared
from ultra_agents.events import StepsSpent
from ultra_agents.records import Kept
from ultra_agents.stages.context import RunContext
from ultra_agents.verification.paired import Budget, Entrant, Episodes, Horizon
from ultra_agents.verification.sequential import Rule, decide, interval, looks, returns_spread

SHARE = 10
"""The test may take one in so many of the environment steps that each method has."""


def better_of(
    context: RunContext,
    method: str,
    prepared: Prepared,
    trained: Policy,
    limit: int,
    score: Callable[[Policy, int], Sequence[float]],
) -> tuple[Policy, Kept, int]:
    """Compare a trained network with the one it started as.

    Args:
        context: The run.
        method: Name of the method.
        prepared: The start, and the rules that are in force over either.
        trained: What training made.
        limit: Environment steps that may be spent.
        score: Returns of a network alone on the selection seeds, for networks that the rules leave nothing to do.

    Returns:
        The network to end with, the comparison, environment steps spent.
    """
    terms, budget = context.config.verification.rules, Budget(limit)
    over = prepared.over or (lambda policy: policy)
    before, after = Entrant(over(prepared.start)), Entrant(over(trained))
    horizon = Horizon(terms.horizon, terms.discount, value_at_truncation=False)
    at = looks(terms.min_pairs, terms.pairs)
    found, rule = list[float](), Rule(at, terms.confidence, 0.0, 0.0)
    settings = context.environment, prepared.start, context.streams.child("confirm", method), horizon, budget
    workers = context.config.verification.workers
    with Episodes(*settings, width=at[0], workers=workers, strict=False) as episodes:
        for look in at:
            context.check_stop()
            if not episodes.extend([before, after], look):
                break
            found = np.subtract(after.returns, before.returns).tolist()
            spread = returns_spread(before.rewards, terms.discount)
            rule = Rule(at, terms.confidence, terms.noise * spread, terms.min_gain * spread)
            if decide(found, rule) in ("good", "bad") or not any(found):
                break
    ends = interval(found, rule)
    better = ends.mean > 0
    if prepared.over is not None and found and not any(found):
        better = np.mean(score(trained, 0)) > np.mean(score(prepared.start, 0))
    kept = Kept("trained" if better else "start", ends.mean, ends.low, ends.high, len(found))
    context.emit(StepsSpent("confirm", budget.spent))
    return trained if better else prepared.start, kept, budget.spent
