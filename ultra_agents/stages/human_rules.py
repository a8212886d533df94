"""A person's rules: tested like the run's sets, and put among its proposals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ultra_agents.records import HUMAN, RuleProposal
from ultra_agents.rules import RuleSet, interface_of, load_rules
from ultra_agents.rules.layer import BoundRules
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings
from ultra_agents.stages.human import Progress, telling
from ultra_agents.stages.human_kept import attempted, kept, with_set
from ultra_agents.stages.rules import rule_streams, rule_terms
from ultra_agents.verification import RuleTest, RuleTester


@dataclass(frozen=True)
class RulesTried:
    """What came of testing a person's rules.

    Attributes:
        rules: The set as written.
        test: Its test; None where it was tested before, and only what `proposal` remembers is known.
        proposal: As it stands, or would stand, among the run's proposals.
        known: It was tested before: nothing was played now.
    """

    rules: RuleSet
    test: RuleTest | None
    proposal: RuleProposal
    known: bool = False


def read_rules_file(context: RunContext, path: Path) -> RuleSet:
    """A person's rules, if they fit the run's environment and any of them acts.

    Raises:
        RuleError: They cannot be read, do not fit, or none of them acts.
    """
    rules = load_rules(path, interface_of(context.environment))
    BoundRules(rules, context.environment)
    return rules


def try_rules(
    context: RunContext, findings: Findings, rules: RuleSet, why: str = "", *,
    workers: int | None = None, progress: Progress = lambda what, steps: None,
) -> RulesTried:  # fmt: skip
    """Test a person's set as the run's sets are tested, against the policy alone, unless it was tested before."""
    text, found = rules.to_yaml(), findings.rules
    for index, one in enumerate(() if found is None else found.proposals):
        assert found is not None
        chosen = found.test is not None and found.chosen == index
        if one.text == text and (chosen or any(each.gain is not None for each in one.attempts)):
            return RulesTried(rules, found.test if chosen else None, one, known=True)
    config = context.config
    purpose = "rules"

    def began(what: str, steps: int) -> None:
        nonlocal purpose
        purpose = what
        progress(what, steps)

    tester = RuleTester(
        context.environment,
        context.policy,
        rule_terms(config),
        rule_streams(context),
        trajectories=findings.trajectories,
        workers=config.verification.workers if workers is None else workers,
        engine=config.engine,
        progress=began,
    )
    with telling(lambda: purpose, lambda: tester.env_steps, progress):
        test = tester.test([rules])
    said = why or "; ".join(one.why for one in rules.document.rules if one.why)
    return RulesTried(rules, test, RuleProposal(text, HUMAN, said, attempts=(attempted(text, said, test),)))


def keep_rules(context: RunContext, findings: Findings, tried: RulesTried) -> tuple[Findings, str]:
    """Put a tested set into the run folder, and say what is in force now.

    Raises:
        RunError: It cannot be written.
    """
    assert tried.test is not None, "what was tested before is there already"
    found, told = with_set(context, findings, tried.proposal, tried.test)
    return kept(context, replace(findings, rules=found), tried.test.env_steps, "rules"), told
