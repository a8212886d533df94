"""After the tests, before anything is used: a person's word on what held (`agents.approve`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ultra_agents.agents.approval import Question, approved
from ultra_agents.agents.checkpoint import checkpoint_of
from ultra_agents.agents.wording import measured
from ultra_agents.events import AdviceDecided
from ultra_agents.records import Advice, advice_of
from ultra_agents.records.approval import REFUSED, Place, refuse
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings
from ultra_agents.stages.rules import in_words
from ultra_agents.text import clean


def approve_advice(context: RunContext, findings: Findings) -> list[Place]:
    """Episode and step of each accepted suggestion that a person refused; `ApprovalNeeded` while one has no answer."""
    advice = advice_of(findings.explanations)
    answers = approved(checkpoint_of(context.folder), [_about(row) for row in advice], _nobody)
    refused = [row for row, yes in zip(advice, answers, strict=True) if not yes]
    names = {(row.episode, row.step): one.segment.name for one in findings.explanations for row in one.advice}
    for row in refused:
        plan = row.plan
        context.emit(
            AdviceDecided(
                names[row.episode, row.step], row.step, plan.actions, plan.steps, "reject", REFUSED, work="approve"
            )
        )
    return [(row.episode, row.step) for row in refused]


def approve_rules(context: RunContext, findings: Findings) -> bool:
    """Whether a person lets the set of rules that held act; `ApprovalNeeded` while there is no answer."""
    found = findings.rules
    if found is None or not found.held:
        return True
    rules = parse_rules(found.rules, interface_of(context.environment))
    told = "; ".join([clean(found.headline, 200), *(clean(line, 200) for line in in_words(rules))])
    (answer,) = approved(checkpoint_of(context.folder), [("rules", told)], _nobody)
    return answer


def _about(row: Advice) -> Question:
    """A suggestion as it is put to a person."""
    found = measured(row.plan, row.test) if row.test is not None else "Not tested."
    together = "" if row.joint is None else f" Together with others: {row.joint.verdict}."
    why = f" Why there: {clean(row.rationale, 300)}" if row.rationale else ""
    plan = clean(str(row.plan), 120)
    return f"{row.episode}:{row.step}", f"{plan} in place of {row.taken_action}. {found}{together}{why}"


def _nobody(question: Question, left: int) -> None:
    """The stage itself has no answers: whoever runs it asks a person, and runs it again."""


def without_refused(findings: Findings, refused: Sequence[Place]) -> Findings:
    """The findings with these suggestions rejected."""
    joint = findings.explained.joint
    if joint is not None and set(joint.advice) & set(refused):
        joint = replace(joint, advice=())  # what is left of that set was not tested together
    explained = replace(findings.explained, explanations=refuse(findings.explanations, refused), joint=joint)
    return replace(findings, explained=explained)
