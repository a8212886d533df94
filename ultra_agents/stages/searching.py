"""The search of plans in a run: whether there is one, and what it may spend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ultra_agents.config import VerificationConfig
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings
from ultra_agents.stages.narrate import restores
from ultra_agents.verification import PlanSearch, SearchTerms, max_tests


@contextmanager
def searching(
    context: RunContext, findings: Findings, verification: VerificationConfig, tested: bool
) -> Iterator[PlanSearch | None]:
    """What searches in this run; None where nothing does, or where states cannot be restored.

    Args:
        context: The run.
        findings: Its episodes.
        verification: Workers, slots, discount and least gain.
        tested: Suggestions are tested one by one; a model's are not improved where nothing tests them.
    """
    config = context.config
    if not config.searches or (config.proposer == "llm" and not tested):
        yield None
        return
    if not restores(context, findings, "the simulator cannot search plans, so nothing is proposed"):
        yield None
        return
    agents, numbers, own = context.agents, config.agents.search, config.proposer == "search"
    bounds = agents.max_moves, agents.max_hold, agents.plan_steps
    terms = SearchTerms(
        config=numbers,
        moves=agents.max_moves,
        min_hold=agents.min_hold,
        max_hold=agents.max_hold,
        plan_steps=agents.plan_steps,
        discount=verification.discount,
        min_gain=verification.min_gain,
        searches=max_tests(len(findings.narrations), agents.max_critical, 0 if own else agents.max_revisions),
    )
    if terms.budget < (least := numbers.one_rollout(*bounds)):
        context.note(
            "search",
            f"agents.search.total_steps pays for {terms.budget:,} environment steps of each of {terms.searches} "
            f"searches, and comparing one plan with the policy takes up to {least:,}: "
            + ("hardly anything is found" if own else "most suggestions are tested as they are"),
        )
    streams = context.streams if own else context.telling(findings.trajectories)
    with PlanSearch(
        context.environment,
        context.policy,
        terms,
        streams.child("search"),
        workers=verification.workers,
        slots=verification.slots,
        engine=config.engine,
    ) as search:
        yield search
