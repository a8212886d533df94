"""After the explaining: what the advice is worth, without training anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ultra_agents.evaluation.advice_measures import advice_measures, tested_attempts, trial_row, unrecorded
from ultra_agents.llm.transcript import Transcript
from ultra_agents.records import HUMAN
from ultra_agents.stages.context import RunContext
from ultra_agents.stages.findings import Findings
from ultra_agents.stages.narrate import restores
from ultra_agents.stages.rules_overview import rules_worth
from ultra_agents.text import counted
from ultra_agents.verification.fidelity import measure_fidelity

MEASURES = "measures.json"
PAIRS = 8
"""Pairs of rollouts of the fidelity measurement played at once."""


def measure(context: RunContext, findings: Findings, seconds: dict[str, float]) -> dict[str, Any]:
    """Everything measured about the advice, also written to `measures.json`.

    Args:
        context: The run.
        findings: Episodes, explanations and advice.
        seconds: Wall seconds by stage; that of `explain` is the price.

    Returns:
        As `advice_measures`; where advice is rules also `rules`, what these are worth and cost; where a person gave
        advice also `human`.
    """
    found = measures_of(context, findings, seconds, _fidelity(context, findings))
    context.folder.write_json(measures_path(context.folder.path), found)
    return found


def measures_of(
    context: RunContext, findings: Findings, seconds: Mapping[str, float], fidelity: dict[str, Any] | None
) -> dict[str, Any]:
    """As `measure`, with the identification fidelity given; nothing is played and nothing written.

    What a person advised is in `human` alone: everything else is about the run's proposer.
    """
    config, joint, human = context.config, findings.explained.joint, human_measures(findings)
    explanations = [one for one in findings.explanations if not one.by_person]
    found = advice_measures(
        explanations,
        findings.trajectories,
        Transcript(context.folder.transcript).usage(inherited=True),  # the advice's price, whoever paid it
        proposer=proposer_name(context),
        seconds=seconds.get("explain", 0.0),
        advice=[row for row in findings.advice if row.source != HUMAN],
        fidelity=fidelity,
        joint=None if joint is None else asdict(joint),
        effects=findings.effects.env_steps,
        confidence=config.evaluate.confidence,
        seed=config.seed,
    )
    if (rules := findings.rules) is not None:
        worth = rules_worth(rules, seconds.get("rules", 0.0))
        told = worth["headline"] + unrecorded(worth["not_recorded"])
        told = told if not explanations else f"{found['headline']} Rules: {told}"
        found |= {"headline": told, "rules": worth}
        found["not_recorded"] += worth["not_recorded"]
        used = found["accepted"] + (bool(worth["held"]) and not rules.by_person)
        spent = {key: value + worth.get(key, 0) for key, value in found["cost"].items() if key != "cached"}
        found["per_accepted"] = {key: value / used for key, value in spent.items()} if used else None
    if human is not None:
        found |= {"headline": f"{found['headline']} {human['headline']}", "human": human}
    return found


def human_measures(findings: Findings) -> dict[str, Any] | None:
    """What a person advised in this run and what came of it, in JSON types; None where nobody did."""
    trials = tested_attempts([one for one in findings.explanations if one.by_person])
    sets = [] if findings.rules is None else [one for one in findings.rules.proposals if one.source == HUMAN]
    if not trials and not sets:
        return None
    held = sum(trial.test.passed for trial in trials)
    parts = [f"{held} of {counted(len(trials), 'suggestion')} {'holds' if held == 1 else 'hold'}"] if trials else []
    if sets and findings.rules is not None:
        parts.append("their rules are in use" if findings.rules.by_person else "their rules are not in use")
    return {
        "headline": f"A person's advice: {', '.join(parts)}.",
        "tested": len(trials),
        "held": held,
        "undecided": sum(trial.test.verdict == "undecided" for trial in trials),
        "rules": len(sets),
        "env_steps": sum(trial.test.env_steps for trial in trials) + findings.human_rule_steps,
        "trials": [trial_row(trial) for trial in trials],
    }


def measures_path(folder: Path) -> Path:
    """Where a run folder keeps its measures."""
    return folder / MEASURES


def proposer_name(context: RunContext) -> str:
    """Who proposes, for people: a control's name, or the advisor's entry in `llms`."""
    config = context.config
    return config.proposer if config.proposer != "llm" else config.agents.advisor.llm or next(iter(config.llms))


def _fidelity(context: RunContext, findings: Findings) -> dict[str, Any] | None:
    config, environment = context.config, context.environment
    if not config.evaluate.fidelity or not restores(context, findings, "identification fidelity is not measured"):
        return None
    with context.simulators(2 * PAIRS, workers=0) as simulators:
        found = measure_fidelity(
            [one for one in findings.explanations if not one.by_person],
            findings.trajectories,
            environment=environment,
            policy=context.policy,
            simulators=simulators,
            streams=context.streams.child("fidelity"),
            repeats=config.evaluate.fidelity,
            horizon=config.verification.horizon,
            discount=config.verification.discount,
            confidence=config.evaluate.confidence,
        )
    return None if found is None else asdict(found)
