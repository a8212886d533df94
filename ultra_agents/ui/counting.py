"""What of a run's events is added up, and which of it was counted before.

Work that was cut off is done again when a run is resumed, and told again: of two events about the same piece of work
the second counts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from ultra_agents.events import AdviceDecided, AgentSpoke, Dropped, RulesDecided, StepsSpent
from ultra_agents.records import Usage

Counted: TypeAlias = AgentSpoke | AdviceDecided | RulesDecided | StepsSpent | Dropped
"""Events that are added up."""
Seen: TypeAlias = Mapping[int, frozenset[int]]
"""Hashes of pieces of work, in buckets, so that one is added at a low price."""
BUCKETS, BUCKET = 256, 400
"""Pieces of work that are remembered: in so many sets, of so many each at most; a full set begins anew."""


def usage_of(event: AgentSpoke) -> Usage:
    """What one reply has used."""
    if event.cached:
        return Usage(cached=1)
    if not event.charged:
        return Usage()
    return Usage(1, 0, event.prompt_tokens, event.completion_tokens, event.seconds, event.cost)


def decision_of(event: AdviceDecided | RulesDecided) -> str:
    """What was decided, for people: a set of rules that its writers let pass is `forward`, for its test is to come."""
    return "forward" if isinstance(event, RulesDecided) and event.decision == "accept" else event.decision


def work_of(event: Counted) -> tuple[object, ...] | None:
    """What tells a piece of work from every other one of a run; None where the event does not name it."""
    if not event.work:
        return None
    match event:
        case StepsSpent():
            return "steps", event.purpose, event.work
        case Dropped():
            return "dropped", event.stage, event.reason, event.segment, event.work
        case AgentSpoke():
            return "asked", event.agent, event.segment, event.work, event.request
        case AdviceDecided() | RulesDecided():
            return "decided", event.decision, event.segment, event.work


def first_time(seen: Seen, event: Counted) -> Seen | None:
    """What is remembered with the work of `event`; None where that was counted before."""
    if (work := work_of(event)) is None:
        return seen
    names = [hash(work)]
    if names[0] in seen.get(names[0] % BUCKETS, ()):
        return None
    if isinstance(event, AgentSpoke) and event.request:
        names.append(hash((*work[:-1], 0)))  # asked again, it comes from the cache: that is no more work
    made = dict(seen)
    for name in names:
        before = made.get(name % BUCKETS, frozenset())
        made[name % BUCKETS] = frozenset((name,)) if len(before) >= BUCKET else before | {name}
    return made
