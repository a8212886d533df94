"""How a person's tested advice enters a run folder: stages keep their place, their values change, all at once."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from ultra_agents.advice.table import advice_to_lines
from ultra_agents.events import AdviceDecided, RulesShown, StepsSpent
from ultra_agents.records import Advice, Explanation, RuleAttempt, RuleProposal
from ultra_agents.rules import interface_of, parse_rules
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.explain import rows_of_table
from ultra_agents.stages.findings import Findings, RulesFound
from ultra_agents.stages.keeping import AsJSON
from ultra_agents.stages.measure import measures_of, measures_path
from ultra_agents.stages.rules import in_words, rule_terms, test_reward
from ultra_agents.text import counted, spanned
from ultra_agents.verification import RuleTest
from ultra_agents.verification.rules import rule_of
from ultra_agents.verification.sequential import decide


def kept(context: RunContext, findings: Findings, env_steps: int, purpose: str = "test") -> Findings:
    """Put `findings` into the run folder where they differ from it: explanations or rules, table, measures.

    The stages are as finished as before. What is printed and reported of them agrees with the advice afterwards, also
    where the table and the measures were not made yet: they will be.

    Raises:
        RunError: It cannot be written; nothing has changed then.
    """
    folder = context.folder
    values: dict[str, Any] = {}
    if (done := folder.stage_done("explain")) is not None:
        rows = AsJSON[tuple[Explanation, ...]](tuple[Explanation, ...]).write(findings.explanations)
        values["explain"] = {**done["value"], "explanations": rows}
    if folder.stage_done("tabulate") is not None:
        findings = replace(findings, advice=rows_of_table(context.config, findings.explanations))
        values["tabulate"] = AsJSON[list[Advice]](list[Advice]).write(list(findings.advice))
    if findings.rules is not None:
        values["rules"] = AsJSON[RulesFound](RulesFound).write(findings.rules)
    if folder.stage_done("measure") is not None:
        before = findings.measures
        seconds = {"explain": before["cost"]["seconds"], "rules": before.get("rules", {}).get("seconds", 0.0)}
        findings = replace(findings, measures=measures_of(context, findings, seconds, before["fidelity"]))
        values["measure"] = findings.measures
    folder.revise(values)
    if "tabulate" in values:
        folder.write_text(folder.advice, advice_to_lines(findings.advice))
    if "measure" in values:
        folder.write_json(measures_path(folder.path), findings.measures)
    _tell(context, findings, env_steps, purpose)
    return findings


def _tell(context: RunContext, findings: Findings, env_steps: int, purpose: str) -> None:
    """The events of it, so that displays count the steps and show the suggestion."""
    work = f"human {time.time_ns()}"
    context.emit(StepsSpent(purpose, env_steps, work))
    if purpose == "rules":
        return
    one = findings.explanations[-1]
    case = one.states[0]
    attempt = case.attempts[0]
    assert attempt.test is not None, "a person's advice is tested"
    test, decision = attempt.test, "accept" if case.fate == "accepted" else "reject"
    context.emit(
        AdviceDecided(
            one.segment.name, case.step, attempt.plan.actions, attempt.plan.steps, decision, case.reason,
            test.gain, test.low, test.high, test.pairs, work,
        )
    )  # fmt: skip


def attempted(text: str, why: str, test: RuleTest) -> RuleAttempt:
    """A set and its test, as a proposal remembers them."""
    return RuleAttempt(
        text, why, test.gain, test.low, test.high, test.pairs, feedback=test.verdict, env_steps=test.env_steps
    )


def with_set(context: RunContext, findings: Findings, mine: RuleProposal, test: RuleTest) -> tuple[RulesFound, str]:
    """The run's rules with a person's set among the proposals, and what is in force, in words.

    What was spent on either test stays charged: a test that is no longer the run's goes with its proposal.
    """
    found = findings.rules or RulesFound()
    takes, told = _takes_the_place(context, found, test)
    proposals = list(found.proposals)
    if not takes:
        paid = replace(mine, env_steps=test.env_steps)
        return replace(found, proposals=(*proposals, paid)), told
    if found.test is not None and found.chosen is not None:
        before = proposals[found.chosen]
        remembered = attempted(before.text, before.reasoning, found.test)
        proposals[found.chosen] = replace(
            before,
            env_steps=before.env_steps + found.test.env_steps,
            attempts=before.attempts or (replace(remembered, env_steps=found.test.env_steps),),
        )
    rules = parse_rules(test.rules, interface_of(context.environment))
    measured = f"{spanned(test.gain, test.low, test.high)} per episode in {counted(test.pairs, 'pair')}"
    headline = (
        f"{test.verdict}: {measured}, a person's set" if test.pairs else "undecided: a person's set, not paid for"
    )
    context.emit(RulesShown(mine.source, 1, in_words(rules), test.verdict, test.gain, test.low, test.high, test.pairs))
    return RulesFound(
        (*proposals, mine), test, test.rules, None, headline, chosen=len(proposals),
        reward=test_reward(context, findings, rules),
    ), told  # fmt: skip


def _takes_the_place(context: RunContext, found: RulesFound, test: RuleTest) -> tuple[bool, str]:
    """Whether a person's set becomes the run's, and why, in words.

    Both were played against the policy alone in the same episodes, so what one earned more than the other is known
    pair by pair, for nothing.
    """
    held = test.verdict == "accepted"
    if not found.proposals or found.chosen is None:
        return True, "it is the run's set now" + ("" if held else ", and as it did not hold no rule acts")
    if not held:
        return False, "the run's own set stays, as it was"
    if found.untested:
        return False, "the run's own set stays: it is used untested, as verification.mode asks"
    if not found.held or found.test is None:
        return True, "it takes the place of the run's own set, which did not hold"
    if found.test.pairs_of != test.pairs_of:
        return False, "the run's own set stays: confirmed in different episodes, the two cannot be compared"
    gains = [mine[1] - its[1] for mine, its in zip(test.returns, found.test.returns, strict=False)]
    terms = rule_terms(context.config)
    both = f"in the {counted(len(gains), 'episode')} both played"
    if gains and decide(gains, rule_of(terms, (len(gains),), found.test.spread)) == "good":
        return True, f"it takes the place of the run's own set: surely better {both}"
    return False, f"the run's own set stays: {both} yours is not surely better"
