"""The search of plans in a run: whether there is one, for what, and what it may spend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ultra_agents.agents.goal_terms import Goals
from ultra_agents.config import VerificationConfig
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings
from ultra_agents.stages.narrate import restores
from ultra_agents.verification import GoalMeter, PlanSearch, SearchTerms, max_tests


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
    config, goals = context.config, context.config.form == "goals"
    if not config.searches or (config.proposer == "llm" and not goals and not tested):
        yield None
        return
    instead = "moves are proposed instead of goals" if goals else "nothing is proposed"
    if not restores(context, findings, f"the simulator cannot search plans, so {instead}"):
        yield None
        return
    agents, numbers, told = context.agents, config.agents.search, config.proposer == "llm"
    terms = SearchTerms(
        config=numbers,
        moves=agents.max_moves,
        min_hold=agents.min_hold,
        max_hold=agents.max_hold,
        plan_steps=agents.plan_steps,
        discount=verification.discount,
        min_gain=verification.min_gain,
        searches=max_tests(len(findings.narrations), agents.max_critical, agents.max_revisions if told else 0),
    )
    if goals:
        longest, paid = longest_goal(context, terms), terms.budget // 2
        share = f"agents.search.total_steps pays for {terms.budget:,} environment steps of each of {terms.searches} "
        if paid < agents.min_hold:
            context.note("search", f"{share}searches, which is below one rollout: moves are proposed instead of goals")
            yield None
            return
        if paid < longest:
            context.note("search", f"{share}searches, so goals are of at most {paid} steps instead of {longest}")
    elif terms.budget < (least := numbers.one_rollout(agents.max_moves, agents.max_hold, agents.plan_steps)):
        context.note(
            "search",
            f"agents.search.total_steps pays for {terms.budget:,} environment steps of each of {terms.searches} "
            f"searches, and comparing one plan with the policy takes up to {least:,}: "
            + ("most suggestions are tested as they are" if told else "hardly anything is found"),
        )
    streams = context.telling(findings.trajectories) if told else context.streams
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


def longest_goal(context: RunContext, terms: SearchTerms) -> int:
    """Environment steps of a goal, at most, whatever its search may cost: what a plan may take and a test can play."""
    written = context.agents.max_moves * context.agents.max_hold
    longest = min(terms.plan_steps or written, written, context.config.verification.longest_plan)
    return max(min(longest, context.config.narration.segment_steps), context.agents.min_hold)


def goals_of(context: RunContext, findings: Findings, search: PlanSearch | None) -> Goals | None:
    """Goals that may be set in this run; None where advice is of another form, or nothing can search for them."""
    if context.config.form != "goals" or search is None:
        return None
    meter = GoalMeter(context.environment, findings.trajectories)
    terms = search.terms
    return Goals(
        meter=meter,
        reach=partial(search.reach, meter=meter),
        least=terms.min_hold,
        most=min(longest_goal(context, terms), terms.budget // 2),
        search=terms.config,
    )
