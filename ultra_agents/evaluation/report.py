"""Stage 11: what a run found, as `report.json` for programs and `report.html` for people.

The page is made from the JSON alone, apart from pictures and narrations, and claims only what intervals carry.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ultra_agents.config import Config, baseline_of, default_baseline, trains
from ultra_agents.contracts import ReferenceReturns
from ultra_agents.errors import RunError
from ultra_agents.evaluation.page import render_html
from ultra_agents.evaluation.statistics import (
    Interval,
    iqm,
    mean_interval,
    paired_difference,
    probability_of_improvement,
    proportion_interval,
)
from ultra_agents.evaluation.video import Video
from ultra_agents.evaluation.wording import headline, method_label
from ultra_agents.files import write_whole
from ultra_agents.records import HUMAN, Advice, Array, Explanation, MethodResult, Narration, Returns, Segment, Usage
from ultra_agents.runs.files import plain

__all__ = ["ReportInputs", "build_report", "render_html", "write_report"]

SCHEMA = 1
UNEQUAL = 0.02
"""Budgets that differ by more than this share are pointed out."""


@dataclass(frozen=True, eq=False)
class ReportInputs:
    """Everything a report is made of.

    Attributes:
        config: The resolved configuration.
        config_hash: `config.hash()`.
        versions: Packages and plugins with their versions; one level of nesting is shown.
        results: One per method, in the order to show them.
        explanations: One per explained segment.
        narrations: What the agents were shown, by `segment.name`.
        usage: What model calls cost, by agent.
        frames: Rendered critical states `(H, W, 3)` uint8 by `(episode, step)`.
        env_steps_by_purpose: Environment steps of the whole run (`collect`, `test`, `refine:<method>`, ...).
        table: `entries`, `radius`, `hit_rate` of the advice table, and what its test found (`stages.TableTest`).
        imitation: What became of imitating it (`stages.Imitation`, without the policy), where that was tried.
        rounds: Further rounds (`stages.Round`, likewise).
        refining: What every method refined with (`events.RefiningSettled`).
        command: What to type to get this run again.
        started: ISO time.
        finished: ISO time.
        seconds_by_stage: Wall seconds.
        reference: Returns that give a number its meaning, where the environment has them.
        peak_memory_mb: Largest resident memory in MiB, where known.
        warnings: What went wrong without stopping the run.
        measures: What the advice is worth (`advice_measures`), where advice was asked for.
        rules: The sets of rules that were proposed and what the test left of them; None where advice is moves only.
        start: Which of policy, copy and either with rules refining started from, and their paired returns; likewise.
        video: The starting and a refined policy side by side, or the words why not; None shows nothing.
        parent: Of a fork, where it comes from and what the stages it shares cost there (`runs.lineage.Parent`).
        notes: A person's notes to the agents: `time`, `text`, and `questions` that were asked with each.
    """

    config: Config
    config_hash: str
    versions: Mapping[str, Any]
    results: Sequence[MethodResult]
    explanations: Sequence[Explanation] = ()
    narrations: Mapping[str, Narration] = field(default_factory=dict)
    usage: Mapping[str, Usage] = field(default_factory=dict)
    frames: Mapping[tuple[int, int], Array] = field(default_factory=dict)
    env_steps_by_purpose: Mapping[str, int] = field(default_factory=dict)
    table: Mapping[str, Any] = field(default_factory=dict)
    imitation: Mapping[str, Any] | None = None
    rounds: Sequence[Mapping[str, Any]] = ()
    refining: Mapping[str, Any] | None = None
    command: str = ""
    started: str = ""
    finished: str = ""
    seconds_by_stage: Mapping[str, float] = field(default_factory=dict)
    reference: ReferenceReturns | None = None
    peak_memory_mb: float | None = None
    warnings: Sequence[str] = ()
    measures: Mapping[str, Any] | None = None
    rules: Mapping[str, Any] | None = None
    start: Mapping[str, Any] | None = None
    video: Video | None = None
    parent: Mapping[str, Any] | None = None
    notes: Sequence[Mapping[str, Any]] = ()


def build_report(inputs: ReportInputs) -> dict[str, Any]:
    """The content of `report.json`: JSON types only, no NaN, equal for equal inputs."""
    config, confidence = inputs.config, inputs.config.evaluate.confidence
    methods = {result.method: _method(result, inputs) for result in inputs.results}
    comparison = _comparison(inputs.results, confidence, config.seed)
    advice = _advice(inputs)
    report: dict[str, Any] = {
        "schema": SCHEMA,
        "name": config.name,
        "headline": headline(methods, comparison, advice, inputs.rules),
        "scope": _scope(inputs),
        "parent": None if inputs.parent is None else dict(inputs.parent),
        "caveats": _caveats(inputs, comparison, advice),
        "methods": methods,
        "comparison": comparison,
        "flow": _flow(inputs, advice),
        "advice": advice,
        "rules": None if inputs.rules is None else dict(inputs.rules),
        "start": None if inputs.start is None else dict(inputs.start),
        "measures": None if inputs.measures is None else dict(inputs.measures),
        "table": dict(inputs.table),
        "imitation": None if inputs.imitation is None else {k: v for k, v in inputs.imitation.items() if k != "copy"},
        "rounds": [{k: v for k, v in one.items() if k != "copy"} for one in inputs.rounds],
        "llm": _llm(inputs.usage, _accepted_of_proposer(advice)),
        "env_steps": dict(inputs.env_steps_by_purpose),
        "reference": None if inputs.reference is None else asdict(inputs.reference),
        "refining": None if inputs.refining is None else dict(inputs.refining),
        "config_hash": inputs.config_hash,
        "config": config.model_dump(mode="json"),
        "versions": dict(inputs.versions),
        "command": inputs.command,
        "started": inputs.started,
        "finished": inputs.finished,
        "seconds": {"total": _elapsed(inputs), "by_stage": dict(inputs.seconds_by_stage)},
        "peak_memory_mb": inputs.peak_memory_mb,
        "warnings": list(inputs.warnings),
        "notes": [dict(one) for one in inputs.notes],
    }
    made: dict[str, Any] = plain(report)
    return made


def write_report(folder: Path, inputs: ReportInputs) -> dict[str, Any]:
    """Write `report.json` and `report.html` into `folder`, each complete or not at all; the JSON's content.

    Raises:
        RunError: The folder cannot be written.
    """
    report = build_report(inputs)
    page = render_html(report, frames=inputs.frames, narrations=inputs.narrations, video=inputs.video)
    text = json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    for name, content in (("report.html", page), ("report.json", text)):
        try:
            write_whole(folder / name, content)
        except OSError as error:
            raise RunError(
                f"cannot write {folder / name}", found=str(error), hint=f"make room, then: ultra resume {folder}"
            ) from error
    return report


def _method(result: MethodResult, inputs: ReportInputs) -> dict[str, Any]:
    confidence, seed = inputs.config.evaluate.confidence, inputs.config.seed
    charged, ruled = sum(result.env_steps.values()), result.with_rules
    return {
        "label": method_label(result.method, inputs.config),
        "returns_before": _returns(result.before, confidence, seed),
        "returns_after": _returns(result.last, confidence, seed),
        "returns_last": _returns(result.last, confidence, seed),
        "returns_best": _returns(result.best, confidence, seed),
        "returns_after_with_rules": None if ruled is None else _returns(ruled, confidence, seed),
        "kept": None if result.kept is None else asdict(result.kept),
        "best_step": result.best_step,
        "change": _change(result.last, result.before, confidence, seed),
        "change_with_rules": None if ruled is None else _change(ruled, result.before, confidence, seed),
        "normalised": _normalised(result, inputs.reference),
        "env_steps": {"total": charged, **result.env_steps},
        "curve": [{"steps": point.steps, "value": point.value} for point in result.curve],
        "metrics": dict(result.metrics),
        "seconds": result.seconds,
    }


def _change(returns: Returns, before: Returns, confidence: float, seed: int) -> dict[str, Any]:
    found = paired_difference(returns, before, confidence, seed)
    return {**_ends(found.interval), "verdict": found.verdict, "words": found.in_words()}


def _returns(returns: Returns, confidence: float, seed: int) -> dict[str, Any]:
    return {
        **_ends(mean_interval(returns.values, confidence, seed)),
        "iqm": iqm(returns.values),
        "episodes": len(returns.values),
        "values": list(returns.values),
        "seeds": list(returns.seeds),
        "lengths": list(returns.lengths),
    }


def _ends(found: Interval) -> dict[str, Any]:
    return {"mean": found.value, "low": found.low, "high": found.high, "confidence": found.confidence}


def _normalised(result: MethodResult, reference: ReferenceReturns | None) -> dict[str, float] | None:
    """Last and best mean return with 0 = the starting policy and 1 = the environment's reference score."""
    if reference is None or reference.reference <= result.before.mean:
        return None
    span = reference.reference - result.before.mean
    means = {"last": result.last.mean, "best": result.best.mean}
    return {name: (mean - result.before.mean) / span for name, mean in means.items()}


def _comparison(results: Sequence[MethodResult], confidence: float, seed: int) -> dict[str, Any]:
    held_against = baseline_of(result.method for result in results)
    baseline = next((result for result in results if result.method == held_against), None)
    if baseline is None:
        return {}
    rows: dict[str, Any] = {}
    for result in results:
        if result is baseline:
            continue
        ruled = result.with_rules
        rows[result.method] = {
            "against": baseline.method,
            **_gap(result.last, baseline.last, confidence, seed),
            "with_rules": None if ruled is None else _gap(ruled, baseline.last, confidence, seed),
            "env_steps": [sum(result.env_steps.values()), sum(baseline.env_steps.values())],
        }
    return rows


def _gap(returns: Returns, others: Returns, confidence: float, seed: int) -> dict[str, Any]:
    """Paired returns against those of a baseline."""
    gap = paired_difference(returns, others, confidence, seed)
    chance = probability_of_improvement(returns.values, others.values, confidence, seed)
    return {
        **_ends(gap.interval),
        "differences": list(gap.differences),
        "episodes": len(gap.differences),
        "enough": gap.enough,
        "verdict": gap.verdict,
        "words": gap.in_words(),
        "probability_of_improvement": {**_ends(chance), "value": chance.value},
    }


def _advice(inputs: ReportInputs) -> dict[str, Any]:
    """What came of advice: `rows` and `accepted` are everybody's, `human` a person's, the rest the proposer's."""
    rows = [(explanation.segment, row) for explanation in inputs.explanations for row in explanation.advice]
    proposed = _by_proposer(inputs)
    drops = [drop for explanation in proposed for drop in explanation.drops]
    attempts = [attempt for explanation in proposed for attempt in explanation.attempts]
    tests = [attempt.test for attempt in attempts if attempt.test is not None]
    tests_of_accepted = [row.test for _, row in rows if row.test is not None and row.source != HUMAN]
    held = sum(test.passed for test in tests)
    precision = proportion_interval(held, len(tests), inputs.config.evaluate.confidence)
    reasons = Counter(drop.reason for drop in drops)
    return {
        "proposed": len(attempts),
        "accepted": len(rows),
        "dropped": {
            "total": len(drops),
            "by_reason": dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
            "by_stage": dict(sorted(Counter(drop.stage for drop in drops).items())),
        },
        "tested": len(tests),
        "held": held,
        "undecided": sum(test.verdict == "undecided" for test in tests),
        "precision": None if precision is None else {**_ends(precision), "value": precision.value},
        "mean_gain_accepted": float(np.mean([t.gain for t in tests_of_accepted])) if tests_of_accepted else None,
        "mean_gain_tested": float(np.mean([test.gain for test in tests])) if tests else None,
        "env_steps": sum(explanation.env_steps for explanation in inputs.explanations),
        "human": _human(inputs),
        "rows": [_advice_row(segment, row) for segment, row in rows],
    }


def _accepted_of_proposer(advice: Mapping[str, Any]) -> int:
    human: Mapping[str, Any] = advice["human"] or {"accepted": 0}
    return int(advice["accepted"] - human["accepted"])


def _by_proposer(inputs: ReportInputs) -> list[Explanation]:
    return [one for one in inputs.explanations if not one.by_person]


def _human(inputs: ReportInputs) -> dict[str, Any] | None:
    """What a person advised at single steps, and what came of it; None where nobody did."""
    mine = [one for one in inputs.explanations if one.by_person]
    if not mine:
        return None
    return {
        "suggestions": len(mine),
        "accepted": sum(len(one.advice) for one in mine),
        "env_steps": sum(one.env_steps for one in mine),
        "rows": [
            {
                "episode": one.segment.episode, "step": state.step, "fate": state.fate, "reason": state.reason,
                "plan": str(attempt.plan), "why": attempt.rationale,
                "test": None if attempt.test is None else asdict(attempt.test),
            }
            for one in mine for state in one.states for attempt in state.attempts
        ],
    }  # fmt: skip


def _advice_row(segment: Segment, row: Advice) -> dict[str, Any]:
    """A row of `advice.rows`: the fields of `Advice`, the plan in words (`plan`) and as `[action, hold]` (`moves`)."""
    joint = row.joint
    return {
        **asdict(row),
        "plan": str(row.plan),
        "moves": row.plan.moves,
        "joint": None if joint is None else {
            **asdict(joint), "verdict": joint.verdict
        },
        "search": None if (search := row.search) is None else {
            "written": None if search.written is None else str(search.written), "changed": search.changed,
            "gain": search.gain, "tried": search.tried, "env_steps": search.env_steps, "reason": search.reason,
            "goal": None if search.toward is None else search.toward.row,
        },
        "segment": segment.name,
        "kind": segment.kind,
    }  # fmt: skip


def _flow(inputs: ReportInputs, advice: Mapping[str, Any]) -> dict[str, Any]:
    proposed = _by_proposer(inputs)
    return {
        "episodes": len({explanation.segment.episode for explanation in proposed}),
        "segments": len(proposed),
        "critical": sum(len(explanation.states) for explanation in proposed),
        "suggestions": advice["proposed"],
        "tested": advice["tested"],
        "accepted": _accepted_of_proposer(advice),
    }


def _llm(usage: Mapping[str, Usage], accepted: int) -> dict[str, Any]:
    total = sum(usage.values(), Usage())
    tokens = total.prompt_tokens + total.completion_tokens
    return {
        **asdict(total),
        "tokens_per_accepted": tokens / accepted if accepted else None,
        "by_agent": {agent: asdict(used) for agent, used in usage.items()},
    }


def _scope(inputs: ReportInputs) -> str:
    episodes = max((len(result.last.values) for result in inputs.results), default=0)
    return (
        f"Every interval here ({inputs.config.evaluate.confidence:.0%}) is over {episodes} evaluation episodes of ONE "
        f"training seed ({inputs.config.seed}). It tells how well the returns of these very policies are known. It "
        "says nothing about other training seeds: training again with another seed can end elsewhere, and only "
        "several seeds can show whether a method is better."
    )


def _caveats(inputs: ReportInputs, comparison: Mapping[str, Any], advice: Mapping[str, Any]) -> list[str]:
    found = []
    for name, row in comparison.items():
        mine, other = row["env_steps"]
        if other and trains(name) and abs(mine / other - 1) > UNEQUAL:
            charged = f"{name} was charged {mine:,} environment steps, {row['against']} {other:,}"
            found.append(f"The budgets differ: {charged}.")
    if len(comparison) > 1:
        against = next(iter(comparison.values()))["against"]
        found.append(
            f"{len(comparison)} methods were compared with {against}; the intervals are not corrected for that, and "
            "picking the best of them afterwards would be too kind to it."
        )
    if advice["accepted"] and (advice["tested"] or not _accepted_of_proposer(advice)):
        found.append(
            "The gains of accepted suggestions come from the very test that selected them, so they are optimistic."
        )
    elif _accepted_of_proposer(advice):
        found.append("The advice was not tested in the simulator: nobody measured whether it holds.")
    lacking = (inputs.measures or {}).get("not_recorded", 0)
    if lacking:
        found.append(
            f"{lacking} of the agents' questions had no answer in the recording that was replayed and were dropped: "
            "the advice is not all that the recorded model would have given."
        )
    alone = [result.method for result in inputs.results if trains(result.method)]
    if not comparison and any(baseline_of([method]) is None for method in alone):
        missing = default_baseline()
        found.append(f"The method {missing!r} was not run: how much training alone would have gained is not known.")
    return found


def _elapsed(inputs: ReportInputs) -> float:
    """Wall seconds from start to finish; the stages' sum where the times cannot be read."""
    try:
        begin, end = datetime.fromisoformat(inputs.started), datetime.fromisoformat(inputs.finished)
        return (end - begin).total_seconds()
    except (ValueError, TypeError):
        return float(sum(inputs.seconds_by_stage.values()))
